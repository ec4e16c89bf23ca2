"""The table of what came of deliveries: laid by day, so that a day goes whole.

`receipt_kept` is the part of it that has no day: what came of the dead goes there before its day goes.
"""

SCHEMA = """
create sequence if not exists receipt_id;
create table if not exists receipt (    -- many receipts a row, packed
    slot smallint not null,             -- one of theirs
    id bigint not null default nextval('receipt_id'),
    low bigint not null,
    high bigint not null,
    body bytea not null,
    xid xid8 not null default pg_current_xact_id(), -- who follows goes by it: ids are committed in any order
    day date not null default (now() at time zone 'utc')::date,
    primary key (id, day)
) partition by range (day);
create index if not exists receipt_span on receipt (low, high);
create index if not exists receipt_order on receipt (xid, id);
create table if not exists receipt_kept partition of receipt for values from (minvalue) to ('2000-01-02');
create table if not exists copied (     -- until when each desk's copy was whole
    desk text primary key,
    whole timestamptz not null
) with (fillfactor = 50);
"""

KEPT = "receipt_kept"
KEPT_DAY = "2000-01-01"
"""The part without a day of its own, and the day that its rows say."""

_SET_ASIDE = """
do $$
declare
    today date := (now() at time zone 'utc')::date;
    part text := 'receipt_' || to_char(today, 'YYYYMMDD');
begin
    if (select relkind = 'r' from pg_class where oid = to_regclass('receipt')) then
        create sequence receipt_id;
        perform setval('receipt_id', (select coalesce(max(id), 0) + 1 from receipt), false);
        alter table receipt alter column id drop identity if exists;
        alter table receipt drop constraint receipt_pkey;
        execute format('alter table receipt add column day date not null default %L', today);
        execute format('alter index if exists receipt_span rename to %I', part || '_span');
        execute format('alter index if exists receipt_order rename to %I', part || '_order');
        execute format('alter table receipt rename to %I', part);
    end if;
end $$
"""
"""What was there counts as of today: it stays as long as what comes today."""

_TAKE_IN = """
do $$
declare
    today date := (now() at time zone 'utc')::date;
    part text := 'receipt_' || to_char(today, 'YYYYMMDD');
begin
    if (select not relispartition from pg_class where oid = to_regclass(part)) then
        execute format(
            'alter table receipt attach partition %I for values from (%L) to (%L)',
            part, '2000-01-02', today + 1
        );
    end if;
end $$
"""

UPGRADE = (_SET_ASIDE, *(one for one in SCHEMA.split(";\n") if one.strip()), _TAKE_IN)
"""For tables whose receipts were in one table. It is read once, while nobody writes into it."""
