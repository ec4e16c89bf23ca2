"""Every user with the facts that lists are made of, as tables of DuckDB: set by set, no loop a user.

    customer   a row for each user: what became of the loans, when what happened, and the last login
    person     a row for each user who may be told of: the key and the ids of the last login, hashed contacts

Millions of users fit because what is wide is in no table: `person` stands in a file of its own meanwhile, and
what a login shows besides ids joins `customer` only where a list asks for it (`WIDE`).
Moments are microseconds since 1970, UTC. `as_of_us` is what "now" means throughout.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from lendsignal.audience.files import IDS, TOLD, Files, quoted
from lendsignal.report.tables import Tables

LOANS = """
create or replace temp table list_loan as
select any_value(user_key) as user_key, max(at_us) filter (type = 'disbursed') as disbursed_us,
    max(amount::double) filter (type = 'disbursed') as amount,
    any_value(currency) filter (type = 'disbursed') as currency,
    sum(amount::double) filter (type in ('repaid', 'recovered')) as paid,
    max(at_us) filter (type = 'repaid' and coalesce(closes_loan, outstanding = 0)) as closed_us,
    coalesce(max(coalesce(dpd, 1)) filter (type = 'overdue'), 0) as max_dpd,
    arg_max(coalesce(dpd, 1), at_us) filter (type = 'overdue') as last_dpd,
    max(at_us) filter (type = 'overdue') as overdue_us, max(at_us) filter (type = 'extended') as extended_us,
    min(at_us) filter (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd)) as lost_us
from counted
where loan is not null and not test and not superseded and not reversed and {chosen}
    and type in ('disbursed', 'repaid', 'recovered', 'extended', 'overdue', 'defaulted')
group by loan having count(*) filter (type = 'disbursed') > 0
"""

BORROWERS = """
create or replace temp table list_borrower as
select user_key, count(*) as loans, count(*) filter (closed_us is null) as open_loans,
    count(closed_us) as closed_loans, count(*) filter (max_dpd > 0 or lost_us is not null) as late_loans,
    count(lost_us) as lost_loans, max(max_dpd) as max_dpd,
    count(*) filter (closed_us is null and lost_us is null and last_dpd > 0
        and overdue_us > coalesce(extended_us, 0)) as arrears_loans,
    max(lost_us) as lost_us, min(disbursed_us) as first_loan_us, max(disbursed_us) as last_loan_us,
    max(closed_us) as last_closed_us, any_value(currency) as currency,
    -- of loans that are over: what came back less what was paid out
    coalesce(sum(coalesce(paid, 0) - amount) filter (closed_us is not null or lost_us is not null), 0)
        as realised_value
from list_loan group by user_key
"""

STEPS = """
create or replace temp table list_step as
select user_key, max(at_us) filter (type = 'registered') as registered_us,
    max(at_us) filter (type = 'applied') as applied_us,
    max(at_us) filter (type = 'credit_granted') as granted_us,
    max(at_us) filter (type = 'credit_denied') as denied_us,
    bool_or(type = 'registered') as known_from_start,
    count(*) filter (type = 'disbursed' and reversed) as reversed_loans
from counted
where not test and not superseded and {chosen}
    and (not reversed or type = 'disbursed')
    and type in ('registered', 'applied', 'credit_granted', 'credit_denied', 'disbursed')
group by user_key
"""

LOGINS = """
create or replace temp table list_login as
with last as (
    select user_key, max(occurred_at) as occurred_at
    from raw_touches where shown is not null and not test and {chosen} group by user_key
)
select t.user_key, t.seq, t.event_id, t.brand || ':' || t.user_id as user,
    epoch_us(t.occurred_at) as login_us, t.app, lower(coalesce(t.os, '')) as os,
    t.att_status, t.limit_ad_tracking, t.appsflyer_id, t.firebase_app_instance_id, t.adjust_adid,
    case when not coalesce(t.limit_ad_tracking, false) then t.gaid end as gaid,
    case when not coalesce(t.limit_ad_tracking, false) and coalesce(t.att_status, 3) in (0, 3)
        then t.idfa end as idfa,
    case when not coalesce(t.limit_ad_tracking, false) then t.oaid end as oaid
from raw_touches t semi join last on last.user_key = t.user_key and last.occurred_at = t.occurred_at
where t.shown is not null and not t.test
"""

LAST_LOGINS = """
delete from list_login where seq in (  -- of two logins in one instant the larger event id counts
    with tied as (select user_key from list_login group by 1 having count(*) > 1)
    select seq from list_login semi join tied using (user_key)
    qualify row_number() over (partition by user_key order by event_id desc, seq desc) > 1)
"""

COMPLETED = """
update list_login set gaid = f.gaid, idfa = f.idfa, oaid = f.oaid
from (  -- an id that a login lacks is that of an earlier login of the same installation
    select l.user_key, arg_max(t.gaid, t.occurred_at) as gaid, arg_max(t.idfa, t.occurred_at) as idfa,
        arg_max(t.oaid, t.occurred_at) as oaid
    from list_login l join raw_touches t on t.user_key = l.user_key and t.app is not distinct from l.app
        and (t.appsflyer_id = l.appsflyer_id or t.firebase_app_instance_id = l.firebase_app_instance_id
            or t.adjust_adid = l.adjust_adid)
    where l.gaid is null and l.idfa is null and l.oaid is null
        and not coalesce(l.limit_ad_tracking, false) and coalesce(l.att_status, 3) in (0, 3)
        and epoch_us(t.occurred_at) <= l.login_us
    group by l.user_key
) f where f.user_key = list_login.user_key
"""

CONTACTS = """
create or replace temp table list_contact as
select user_key, max(user) as user, max(seq) filter (told) as told_seq,
    arg_max_null(allows, (at_us, seq)) filter (asked) as allows
from {told} where {chosen} group by user_key
"""

PEOPLE = """
with known as (
    select coalesce(l.user_key, c.user_key) as user_key, coalesce(l.user, c.user) as user,
        coalesce(l.app, {default_app}) as app, l.os, l.gaid, l.idfa, l.oaid, l.appsflyer_id,
        h.email, h.email_google, h.phone_digits, h.phone_e164, c.allows
    from list_login l full join list_contact c using (user_key)
    left join {told} h on h.user_key = c.user_key and h.seq = c.told_seq and h.told
)
select (md5_number_lower(concat_ws(chr(31), k.user_key, coalesce(gaid, ''), coalesce(idfa, ''),
        coalesce(oaid, ''), coalesce(appsflyer_id, ''), coalesce(hex(email), ''),
        coalesce(hex(email_google), ''), coalesce(hex(phone_digits), ''), coalesce(hex(phone_e164), ''))
    ) >> 2)::bigint as key,
    k.user_key, k.user, a.app, a.country, nullif(coalesce(nullif(k.os, ''), a.platform), '') as os,
    gaid, idfa, oaid, appsflyer_id, email, email_google, phone_digits, phone_e164,
    coalesce(k.allows, {unasked}) as allows,
    coalesce(gaid, idfa, oaid, appsflyer_id) is not null or email is not null
        or phone_digits is not null as reachable
from known k left join app a on a.app = k.app
"""

CUSTOMERS = """
create or replace temp table customer as
select coalesce(p.user_key, s.user_key, b.user_key) as user_key, p.user, p.key, p.app, p.country, p.os,
    coalesce(p.allows, true) as allows, coalesce(p.reachable, false) as reachable,
    l.login_us, coalesce(s.known_from_start, false) as known_from_start,
    coalesce(b.loans, 0) as loans, coalesce(b.open_loans, 0) as open_loans,
    coalesce(b.closed_loans, 0) as closed_loans, coalesce(b.late_loans, 0) as late_loans,
    coalesce(s.reversed_loans, 0) as reversed_loans, coalesce(b.lost_loans, 0) > 0 as defaulted,
    coalesce(b.arrears_loans, 0) as arrears_loans, coalesce(b.max_dpd, 0) as max_dpd, b.lost_us,
    s.registered_us, s.applied_us, s.granted_us, s.denied_us, b.first_loan_us, b.last_loan_us,
    b.last_closed_us, b.currency, b.realised_value,
    coalesce(p.user_key, s.user_key, b.user_key) in (select user_key from list_tester) as test
from person p full join list_step s using (user_key) full join list_borrower b
    on b.user_key = coalesce(p.user_key, s.user_key)
left join list_login l on l.user_key = p.user_key
"""

LOGIN_COLUMNS = (
    "os_version", "model", "locale", "timezone", "carrier", "app_version", "att_status",
    "limit_ad_tracking", "emulator",
)  # fmt: skip
"""What the last login shows besides ids: a list that asks for one of these makes `customer` wide."""

WIDE = f"""
create or replace temp table customer as
select c.*, {", ".join(f"t.{name}" for name in LOGIN_COLUMNS)}
from customer c left join list_login l using (user_key) left join raw_touches t on t.seq = l.seq
"""

TESTERS = """
create or replace temp table list_tester as
select user_key from tester union select user_key from raw_conversions where test
union select user_key from person where user in (select unnest($test))
"""

EVERYBODY = "true"
CHOSEN = "user_key in (select user_key from list_chosen)"


class Asked(Struct, frozen=True, kw_only=True):
    """What facts depend on besides the ledger. `unasked`: by app, whether who was never asked consents."""

    unasked: Mapping[str, bool] = {}
    default_app: Mapping[str, str] = {}
    test: frozenset[str] = frozenset()


def make_customers(
    tables: Tables, files: Files, told: Sequence[str], asked: Asked, *, wide: bool = True
) -> None:
    """Makes `customer` of everybody; `told` are the files of contacts and consents.

    `wide`: with what the last login shows besides ids.
    """
    _make(tables, files, told, asked, EVERYBODY, wide=wide)


def make_chosen(
    tables: Tables, files: Files, told: Sequence[str], asked: Asked, since: int, *, wide: bool = True
) -> int:
    """The same of those alone of whom something came in behind a position of the log; how many they are.

    They stand in `list_chosen`.
    """
    tables.db.execute(
        "create or replace temp table list_chosen as select distinct user_key from raw_events"
        f" where seq > {since:d} and user_key is not null and type not like 'lendsignal.%'"
    )
    _make(tables, files, told, asked, CHOSEN, wide=wide)
    return tables.number("select count(*) from list_chosen")


def _make(
    tables: Tables, files: Files, told: Sequence[str], asked: Asked, chosen: str, *, wide: bool
) -> None:
    db, read = tables.db, read_told(files, told)
    for statement in (LOANS, BORROWERS, "drop table list_loan", STEPS, LOGINS, LAST_LOGINS, COMPLETED):
        given = {"default_dpd": tables.default_dpd} if "$default_dpd" in statement else None
        db.execute(statement.format(chosen=chosen), given)
    db.execute(CONTACTS.format(chosen=chosen, told=read))
    people = PEOPLE.format(
        default_app=_chosen("split_part(coalesce(l.user, c.user), ':', 1)", asked.default_app, "''"),
        unasked=_chosen("k.app", asked.unasked, "true"),
        told=read,
    )
    kept = quoted(files.people)
    db.execute(f"copy ({people}) to {kept} (format parquet, compression uncompressed)")
    db.execute(f"create or replace temp view person as select * from read_parquet({kept})")
    db.execute(TESTERS, {"test": sorted(asked.test)})
    db.execute(CUSTOMERS)
    if wide:
        db.execute(WIDE)
    for name in ("list_step", "list_borrower", "list_contact", "list_login"):
        db.execute(f"drop table {name}")


NEW_IDS = """
select p.key, p.user_key, unhex(sha256(p.user)) as who, p.country, p.os, p.gaid, p.idfa, p.oaid,
    p.appsflyer_id, p.email, p.email_google, p.phone_digits, p.phone_e164
from person p semi join list_needed n on n.key = p.key anti join {known} k on k.key = p.key
order by p.key
"""
"""The ids of members that no file has yet."""


def read_told(files: Files, names: Sequence[str]) -> str:
    """SQL of all contacts and consents that were told."""
    if not names:
        return _empty(TOLD)
    return f"read_parquet([{', '.join(quoted(files.root / name) for name in names)}])"


def known_ids(files: Files, names: Sequence[str]) -> str:
    """SQL of the ids that are in files already."""
    if not names:
        return _empty(IDS)
    return f"read_parquet([{', '.join(quoted(files.root / name) for name in names)}])"


def _empty(columns: str) -> str:
    words = [one.strip().split(" ", 1) for one in columns.split(",")]
    listed = ", ".join(f'null::{kind} as "{name}"' for name, kind in words)
    return f"(select {listed} where false)"


def _chosen(word: str, values: Mapping[str, Any], otherwise: str) -> str:
    """SQL that gives a value by a word."""
    cases = "".join(
        f" when {quoted(name)} then {quoted(one) if isinstance(one, str) else str(one).lower()}"
        for name, one in sorted(values.items())
    )
    return f"case {word}{cases} else {otherwise} end" if cases else otherwise
