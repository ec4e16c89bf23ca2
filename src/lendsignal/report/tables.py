"""The log and the deliveries as tables in memory, for every report to ask: read-only, and at one moment.

What is kept as msgpack is read into columns, with only the fields that reports look at. Moments are
microseconds since 1970, UTC; `user` is `brand:user_id`. The tables, column by column, are in
docs/reference/reports.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

import apsw
import msgspec
from msgspec import Struct

from lendsignal.clock import MICROSECOND, from_us, to_us
from lendsignal.derive import DerivePolicy, binds_at
from lendsignal.errors import Damaged
from lendsignal.log import DataFolder, Deliveries, Feeds, Log, Stage
from lendsignal.log.deliveries import unpacked
from lendsignal.log.sqlite import DAMAGE, connect, rows
from lendsignal.model import ONCE_PER_KEY, TOUCH_TYPES, Event
from lendsignal.plan import record_id
from lendsignal.plan.records import ENTRIES_PER_RECORD
from lendsignal.report.installations import Ids, Installations, device_of, ids_of
from lendsignal.report.stored import (
    Snapshots,
    StoredKnown,
    StoredOrigin,
    StoredPlanned,
    StoredRebound,
    StoredRecords,
    StoredWithdrawn,
    key_of,
    stored_event,
    stored_records,
)
from lendsignal.resolve import Mark, ResolveSettings, Snapshot, Touches, device_at

if TYPE_CHECKING:  # both are loaded with the first tables: whoever only tells of reports lives without them
    import numpy as np

SCHEMA = """
create table event (
    seq bigint, type varchar, user varchar, event_id varchar, key varchar, loan_id varchar,
    at_us bigint, binds_us bigint, received_us bigint, app varchar, amount decimal(38, 8),
    currency varchar, fee decimal(38, 8), loan_number integer, dpd integer, revision integer,
    verdict varchar, test boolean, history boolean, analytics boolean, application_id varchar,
    grant_id varchar, term_days integer, due_day varchar, outstanding decimal(38, 8), by_day boolean);
create table instalment (seq bigint, due_day varchar, amount decimal(38, 8));
create table touch (
    user varchar, at_us bigint, event_id varchar, received_us bigint, app varchar,
    own integer, installation integer, seen_us bigint, test boolean);
create table tester (user varchar);
create table installation (
    number integer, id varchar, app varchar, device integer, shown boolean);
create table known_id (installation integer, kind varchar, value varchar);
create table attribution (
    feed varchar, mmp varchar, app varchar, id varchar, kind varchar, at_us bigint, day varchar,
    channel varchar, media_source varchar, campaign varchar, campaign_id varchar, ad_set varchar,
    ad_set_id varchar, ad varchar, ad_id varchar, installation integer);
create table recorded (
    feed varchar, mmp varchar, app varchar, id varchar, name varchar, at_us bigint, day varchar,
    conversion varchar, amount decimal(38, 8), currency varchar, sent_by varchar, kind varchar,
    is_primary boolean, channel varchar, media_source varchar, campaign varchar, campaign_id varchar,
    copies bigint);
create table spend (
    feed varchar, account varchar, day varchar, channel varchar, media_source varchar, campaign varchar,
    campaign_id varchar, ad_set varchar, ad_set_id varchar, ad varchar, ad_id varchar, country varchar,
    currency varchar, amount decimal(38, 8), impressions bigint, clicks bigint);
create table conversion (
    record bigint, id varchar, name varchar, user varchar, event_id varchar, event_type varchar,
    loan_id varchar, loan_number integer, at_us bigint, received_us bigint, planned_us bigint,
    app varchar, installation integer, touch_us bigint, first_installation integer, rebound integer,
    certain boolean, test boolean, history boolean, entries integer);
create table step (
    step integer, destination varchar, kind varchar, conversion varchar, name varchar, skip varchar,
    settle_us bigint);
create table entry (id bigint, record bigint, rebinds bigint, step integer, planned_us bigint);
create table valued (id bigint, amount decimal(38, 8), currency varchar);
create table receipt (
    place bigint, id bigint, what varchar, reason varchar, sent_us bigint, answered_us bigint);
create table waits (destination varchar, id bigint, stage varchar, reason varchar);
create table sent (destination varchar, conversion varchar, what varchar, reason varchar, n bigint);
create table paused (destination varchar, since_us bigint, reason varchar);
"""

COUNTED = """
create table counted as
with reversal as (
    select user, case type when 'repayment_reversed' then 'repaid' else 'disbursed' end as type,
        key, max(at_us) as at_us
    from event where verdict = 'taken'
        and type in ('disbursement_reversed', 'loan_cancelled', 'repayment_reversed')
    group by all
), standing as (
    -- of a fact that was told for both purposes the telling for optimisation stands
    select *, seq - if(analytics, 4000000000000000000, 0) as weight, type in (select unnest($once))
        and key is not null
        and weight <> max(weight) over (partition by user, type, coalesce(key, seq::varchar)) as superseded
    from event where verdict = 'taken'
)
select s.* exclude (weight), coalesce(r.at_us >= s.at_us, false) as reversed
from standing s left join reversal r on r.user = s.user and r.type = s.type and r.key = s.key
"""

ORIGIN = """
create table origin as
with coming as (  -- a return to the same installation through an ad leaves its origin as it is
    select *, row_number() over (partition by installation order by at_us, feed, kind, id) as place
    from attribution where installation is not null and kind <> 're_engagement'
)
select installation, channel, media_source, campaign, campaign_id,
    -- what happened before an MMP noticed belongs to the first origin all the same
    case when place = 1 then -9223372036854775807 else at_us end as from_us
from coming
qualify row_number() over (partition by installation, from_us order by place desc) = 1
"""

BOUND = """
create table bound as
with mark as (  -- two touches in one instant are settled by the larger event id
    select * from touch where not test
    qualify row_number() over (partition by user, at_us order by event_id desc) = 1
), origin as (
    select user, own as installation, at_us from touch where own is not null
    qualify row_number() over (partition by user order by at_us, event_id) = 1
), latest as (
    select c.seq, c.user, c.binds_us, c.received_us, c.history, m.installation as last_login,
        m.at_us as touch_us, m.received_us as touch_received_us
    from counted c asof left join mark m on c.user = m.user and c.binds_us >= m.at_us
    where not c.test
), released as (  -- no login by then: what the holding pen released it to, or a first login soon after
    select l.seq, coalesce(any_value(c.installation), any_value(o.installation)) as held
    from latest l left join origin o on o.user = l.user and o.at_us <= l.binds_us + $pen_after
        left join counted e on e.seq = l.seq
        left join conversion c on c.user = l.user and c.event_id = e.event_id
    where l.last_login is null group by l.seq
), late as (
    select *, not history and touch_received_us > received_us + $settle as is_late from latest
), arrived as (
    select l.seq, arg_max(t.installation, row(t.at_us, t.event_id)) as installation
    from late l join touch t on t.user = l.user and t.at_us <= l.binds_us
        and t.received_us <= l.received_us + $settle
    where l.is_late group by l.seq
)
select l.seq, l.last_login, case when l.last_login is not null then o.installation end as first_install,
    l.touch_us, l.touch_received_us, coalesce(l.is_late, false) as is_late,
    case when l.is_late then a.installation else l.last_login end as as_arrived, r.held
from late l left join origin o on o.user = l.user left join arrived a on a.seq = l.seq
    left join released r on r.seq = l.seq
"""

DELIVERY = """
create table delivery as
with last as (
    select id, arg_max(what, place) as what, arg_max(reason, place) as reason,
        arg_max(answered_us, place) as answered_us
    from receipt where what in ('accepted', 'dead', 'skipped', 'cancelled') group by id
), tried as (
    select id, count(*) filter (sent_us > 0) as attempts, count(*) filter (what = 'retry') as retries
    from receipt group by id
), seen as (
    select e.*, s.* exclude (step), c.at_us, c.received_us, l.what as ended, l.reason as end_reason,
        l.answered_us, w.stage, w.reason as wait_reason,
        coalesce(t.attempts, 0) as attempts, coalesce(t.retries, 0) as retries
    from entry e join step s using (step) left join conversion c on c.record = coalesce(e.rebinds, e.record)
        left join last l on l.id = e.id left join tried t on t.id = e.id left join waits w on w.id = e.id
), opened as (  -- a rebinding's entry is a delivery only where it was opened: the rest moved others
    select e.* from seen e left join seen p on p.record = e.rebinds and p.kind = e.kind
    where e.rebinds is null or e.ended is not null or e.stage is not null
        or (e.skip is not null and e.record <= $position
            and (p.id is null or (p.destination <> e.destination and p.end_reason = 'rebound')))
)
select id, destination, conversion, name,
    case when stage is not null then stage
        when ended is not null then ended
        when record > $position then 'planned'
        when skip is not null then 'skipped'
        else 'missing' end as what,
    case when stage is not null then wait_reason
        when ended is not null then end_reason
        when skip is not null then skip else '' end as reason,
    planned_us, answered_us, attempts, retries, at_us, received_us
from opened
"""

AT_ONCE = 20_000

_whole_event = msgspec.msgpack.Decoder(Event).decode


_EVENT_COLUMNS = (
    "seq type user event_id key loan_id at_us binds_us received_us app amount currency fee loan_number dpd "
    "revision verdict history analytics application_id grant_id term_days due_day outstanding by_day"
).split()
_INSTALMENT_COLUMNS = ("seq", "due_day", "amount")
_CONVERSION_COLUMNS = (
    "record id name user event_id event_type loan_id loan_number at_us received_us planned_us certain test "
    "history entries"
).split()


class Tables:
    """What reports are computed from, in `db`. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        import duckdb

        self.db = duckdb.connect(":memory:")
        self.db.execute(SCHEMA)
        self.as_of: datetime | None = None
        """When the youngest event arrived; `None` without any event."""
        self.settle_us = ResolveSettings().settle // MICROSECOND
        """How long a route waits for the phone's own login, by the policy in force."""
        self.pen_after_us = ResolveSettings().pen_after // MICROSECOND
        """How long after an event a first touch still answers for it, by the policy in force."""
        self.default_dpd = DerivePolicy(portfolio="").default_dpd
        """Days past due from which a loan counts as lost, by the policy in force."""
        self.shared_device_users = ResolveSettings().shared_device_users
        """Users on one phone that make it a shared one, by the policy in force; 0: they are not counted."""
        self.platforms: dict[str, str] = {}
        """The platform of each app: android or ios."""
        self.history_is_whole = False
        """Whether who has no loan in the log had none, by the policy in force."""
        self.zones: Mapping[str, ZoneInfo] = {}
        """The time zone of each app, in which its days are counted; of one that is not known, UTC."""
        self.unread_records = 0
        """Records that the sender has not read yet: their deliveries are planned, and nothing more."""
        self.not_routed = 0
        """Conversions that no route takes."""

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query over the tables."""
        return self.db.execute(query, parameters or {}).fetchall()

    def number(self, query: str, parameters: Mapping[str, Any] | None = None) -> int:
        """The one number that a query gives."""
        ((found,),) = self.rows(query, parameters)
        return int(found or 0)

    def fill(self, table: str, /, **columns: "Sequence[Any] | np.ndarray[Any, Any]") -> None:
        """Adds rows to a table, column by column; columns of numbers may be masked where they are unknown."""
        arrays = {key: _array(column) for key, column in columns.items()}
        self.db.register("arriving", arrays)
        self.db.execute(f"insert into {table} ({', '.join(arrays)}) select {', '.join(arrays)} from arriving")
        self.db.unregister("arriving")

    def fill_rows(self, table: str, columns: Sequence[str], arriving: Sequence[tuple[Any, ...]]) -> None:
        """Adds rows to a table."""
        if arriving:
            self.fill(table, **dict(zip(columns, zip(*arriving, strict=True), strict=True)))

    def close(self) -> None:
        """Lets the memory go."""
        self.db.close()

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(folder: DataFolder, *, recorded: bool = False, ids: bool = False) -> Tables:
    """The tables of a data folder as it stands; empty ones where it keeps nothing yet.

    What MMPs say they recorded, and the values that went out, are read where `recorded` says so: it is as
    much as the events, and few reports look at it. The deliveries are read first, so that whatever they speak
    of is in the log. Raises `LogError` where a file is damaged.
    """
    tables = Tables()
    with reading(folder.deliveries) as sent, reading(folder.log) as logged, reading(folder.feeds) as told:
        gathered = Installations()
        snapshots = Snapshots(gathered)
        position = 0
        if logged is not None:
            log = Log(logged)
            policy = _policy(tables, log)
            touches = _load_events(tables, logged, log.position(), policy, snapshots)
            conversions = _load_records(tables, logged, snapshots, values=recorded)
            _number(tables, gathered, touches, conversions)
            if ids:
                _load_ids(tables, gathered)
            tables.not_routed = log.tally().get(("not_routed", ""), 0)
        if sent is not None:
            position = _load_sent(tables, sent)
        if told is not None:
            _load_feeds(tables, Feeds(told), gathered)
            if recorded:
                _load_recorded(tables, Feeds(told))
    tables.db.execute(ORIGIN)
    tables.db.execute(COUNTED, {"once": sorted(ONCE_PER_KEY)})
    tables.db.execute(BOUND, {"settle": tables.settle_us, "pen_after": tables.pen_after_us})
    tables.db.execute(DELIVERY, {"position": position})
    tables.unread_records = tables.number(
        "select count(*) from conversion where entries > 0 and record > $position", {"position": position}
    )
    return tables


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection | None]:
    """A connection that reads one moment's state of a file and never writes; `None` without such a file."""
    if not path.exists():
        yield None
        return
    db = connect(path, "", read_only=True)
    try:
        db.execute("begin")
        has_tables = db.execute("select count(*) from sqlite_master").fetchone()
        yield db if has_tables and has_tables[0] else None
    except DAMAGE as error:
        raise Damaged(path.name, str(error)) from error
    finally:
        db.close()


def _policy(tables: Tables, log: Log) -> DerivePolicy:
    version = log.policy()
    source = None if version is None else log.policy_source(version)
    if source is None:
        return DerivePolicy(portfolio="")
    tables.platforms = {app.name: app.platform for app in source.derive.apps.values()}
    tables.zones = {app.name: ZoneInfo(app.timezone) for app in source.derive.apps.values()}
    tables.settle_us = source.resolve.settle // MICROSECOND
    tables.pen_after_us = source.resolve.pen_after // MICROSECOND
    tables.default_dpd = source.derive.default_dpd
    tables.history_is_whole = source.derive.history == "whole"
    tables.shared_device_users = source.resolve.shared_device_users
    return source.derive


class _Touches(Struct):
    """Touches on their way into the table, column by column; installations as `gathered` numbered them."""

    user: list[str] = []
    at_us: list[int] = []
    event_id: list[str] = []
    received_us: list[int] = []
    app: list[str] = []
    ids: list[Ids] = []
    installation: list[int | None] = []


def _load_events(
    tables: Tables, db: apsw.Connection, position: int, policy: DerivePolicy, snapshots: Snapshots
) -> _Touches:
    """Fills `event`, and gathers the touches: of these, only what decisions took counts."""
    verdicts = dict(rows(db, "select seq, verdict from verdict"))
    touches = _Touches()
    testers: set[str] = set()
    arriving: list[tuple[Any, ...]] = []
    instalments: list[tuple[Any, ...]] = []
    youngest = 0
    for seq, body in db.execute("select seq, body from event order by seq"):
        event = stored_event(body)
        received_us = to_us(event.received_at)
        kind = event.type
        if kind.startswith("lendsignal."):
            continue
        youngest = max(youngest, received_us)
        user = f"{event.brand}:{event.user_id}"
        app = event.app or policy.default_app.get(event.brand, "")
        at_us = binds_us = to_us(event.occurred_at)
        if event.time_precision == "day":
            binds_us = to_us(binds_at(_whole_event(body), policy))
        verdict = verdicts.get(seq, "taken") if seq <= position else "undecided"
        taken = verdict == "taken"
        arriving.append(
            (
                seq,
                kind,
                user,
                event.event_id,
                key_of(event),
                event.loan_id,
                at_us,
                binds_us,
                received_us,
                app,
                event.amount if event.amount is not None else event.limit,
                event.currency,
                event.fee,
                event.loan_number,
                event.dpd,
                event.revision,
                verdict,
                event.history,
                event.purpose == "analytics",
                event.application_id,
                event.grant_id,
                event.term_days,
                event.due_date,
                event.outstanding,
                event.time_precision == "day",
            )
        )
        instalments.extend((seq, one.due_date, one.amount) for one in event.schedule)
        if len(arriving) == AT_ONCE:
            tables.fill_rows("event", _EVENT_COLUMNS, arriving)
            tables.fill_rows("instalment", _INSTALMENT_COLUMNS, instalments)
            arriving.clear()
            instalments.clear()
        if event.test and taken:
            testers.add(user)
        if taken and kind in TOUCH_TYPES and event.actor == "user" and bytes(event.device):
            installation, ids = snapshots.of_device(app, event.device)
            touches.user.append(user)
            touches.at_us.append(at_us)
            touches.event_id.append(event.event_id)
            touches.received_us.append(received_us)
            touches.app.append(app)
            touches.ids.append(ids)
            touches.installation.append(installation)
    tables.fill_rows("event", _EVENT_COLUMNS, arriving)
    tables.fill_rows("instalment", _INSTALMENT_COLUMNS, instalments)
    tables.fill("tester", user=sorted(testers))
    tables.db.execute("update event set test = user in (select user from tester)")
    tables.as_of = from_us(youngest) if youngest else None
    return touches


_Bound: TypeAlias = tuple[str | None, int | None, int | None, int | None]
"""Of a binding: the app, the installation, when the touch was, and the first installation."""


class _Conversions(Struct):
    """Conversions on their way into the table: what never changes, and the binding that held in the end."""

    rows: list[tuple[Any, ...]] = []
    bound: list[_Bound] = []
    rebound: list[int] = []
    valued: list[tuple[int, str, str]] = []


def _load_records(tables: Tables, db: apsw.Connection, snapshots: Snapshots, *, values: bool) -> _Conversions:
    """Fills `entry` and, where `values` asks for it, `valued`, and gathers the conversions."""
    found = _Conversions()
    place_of: dict[int, int] = {}
    steps: dict[tuple[str | int | None, ...], int] = {}
    entries: list[tuple[int | None, ...]] = []
    for number, body in db.execute("select id, body from part"):
        snapshots.add(number, body)
    for number, record, kept in _records(db):
        if isinstance(record, StoredWithdrawn):
            continue
        planned = record.planned if isinstance(record, StoredRebound) else record
        origin, known = kept.origins[planned.origin], kept.known[planned.known]
        at_us = known.at_us
        bound = _bound(origin, known, snapshots)
        if isinstance(record, StoredPlanned):
            rebinds = None
            place_of[number] = len(found.rows)
            found.bound.append(bound)
            found.rebound.append(0)
            found.rows.append(
                (
                    number,
                    planned.id.hex(),
                    planned.name,
                    f"{origin.brand}:{origin.user_id}",
                    origin.event_id,
                    origin.event_type,
                    origin.loan_id,
                    origin.loan_number,
                    origin.occurred_us,
                    origin.received_us,
                    at_us,
                    planned.certain,
                    origin.test,
                    planned.history,
                    len(planned.entries),
                )
            )
        else:
            rebinds = record.record
            moved = place_of.get(rebinds)
            if moved is not None:
                found.bound[moved] = bound
                found.rebound[moved] += 1
        for place, entry in enumerate(planned.entries):
            step = (entry.destination, entry.kind, planned.name, entry.name, entry.skip, entry.settle_us)
            if values and (value := _money(entry.value)) is not None:
                found.valued.append((number * ENTRIES_PER_RECORD + place, *value))
            entries.append(
                (
                    number * ENTRIES_PER_RECORD + place,
                    number,
                    rebinds,
                    steps.setdefault(step, len(steps)),
                    at_us,
                )
            )
    tables.fill_rows("entry", ("id", "record", "rebinds", "step", "planned_us"), entries)
    tables.fill_rows(
        "step",
        ("step", "destination", "kind", "conversion", "name", "skip", "settle_us"),
        [(number, *step) for step, number in steps.items()],
    )
    tables.fill_rows("valued", ("id", "amount", "currency"), found.valued)
    return found


def _money(stored: msgspec.Raw) -> tuple[str, str] | None:
    """The amount, as text, and the currency of a stored `model.Money`."""
    return msgspec.msgpack.decode(stored, type=tuple[str, str] | None) if bytes(stored) else None


def _records(
    db: apsw.Connection,
) -> Iterator[tuple[int, StoredPlanned | StoredRebound | StoredWithdrawn, StoredRecords]]:
    """Every record by its number, with the row it stands in."""
    for seq, body in db.execute("select seq, body from record order by seq"):
        kept = stored_records(body)
        for place, record in enumerate(kept.records):
            yield record_id(seq, place), record, kept


def _bound(origin: StoredOrigin, known: StoredKnown, snapshots: Snapshots) -> _Bound:
    binding = known.binding
    first = known.other_install or binding
    first_installation = None if first is None else snapshots.of_snapshot(first.snapshot)[1]
    if binding is None:
        return origin.app, None, None, first_installation
    app, installation = snapshots.of_snapshot(binding.snapshot)
    return app, installation, binding.at_us, first_installation


def _number(tables: Tables, gathered: Installations, touches: _Touches, conversions: _Conversions) -> None:
    """Fills `touch`, `conversion` and `installation`, once it is known which installations are one."""
    standing, seen_us = _standing(touches, gathered)
    phones = gathered.phones()

    root = [gathered.root(number) for number in range(gathered.seen)]
    tables.fill(
        "touch",
        user=touches.user,
        at_us=touches.at_us,
        event_id=touches.event_id,
        received_us=touches.received_us,
        app=touches.app,
        own=_numbers([None if number is None else root[number] for number in touches.installation]),
        installation=_numbers([None if number is None else root[number] for number in standing]),
        seen_us=seen_us,
    )
    tables.db.execute("update touch set test = user in (select user from tester)")
    if conversions.rows:
        app, installation, touch_us, first = zip(*conversions.bound, strict=True)
        tables.fill(
            "conversion",
            **dict(zip(_CONVERSION_COLUMNS, zip(*conversions.rows, strict=True), strict=True)),
            app=app,
            installation=_numbers([None if number is None else root[number] for number in installation]),
            touch_us=_numbers(touch_us),
            first_installation=_numbers([None if number is None else root[number] for number in first]),
            rebound=conversions.rebound,
        )
    installations = gathered.all()
    tables.fill(
        "installation",
        number=_numbers([found.number for found in installations]),
        id=[found.name for found in installations],
        app=[found.app for found in installations],
        device=_numbers([phones.get(found.number) for found in installations]),
        shown=[found.shown for found in installations],
    )


def _load_ids(tables: Tables, gathered: Installations) -> None:
    """Fills `known_id`: every id that each installation was seen with."""
    _fill_in_parts(
        tables,
        "known_id",
        ("installation", "kind", "value"),
        (
            (one.number, kind.value, value)
            for one in gathered.all()
            for kind, value in (*one.ids.items(), *one.phone_ids)
        ),
    )


def _standing(touches: _Touches, gathered: Installations) -> tuple[list[int | None], list[int]]:
    """The installation that stands after each touch by resolve's rule, and when it was seen.

    As long as every touch of a user shows an installation it is the touch's own; where one does not,
    `resolve.device_at` says what it rebinds to.
    """
    standing, seen_us = list(touches.installation), list(touches.at_us)
    unclear = {
        user
        for user, number in zip(touches.user, touches.installation, strict=True)
        if not gathered.shows(number)
    }
    if not unclear:
        return standing, seen_us
    places: dict[str, list[int]] = defaultdict(list)
    for place, user in enumerate(touches.user):
        if user in unclear:
            places[user].append(place)
    for mine in places.values():
        known = _touches_of(touches, mine)
        for place in mine:
            binding = device_at(known, touches.at_us[place])
            if binding is None:
                standing[place] = None
            else:
                snapshot = binding.snapshot
                standing[place] = gathered.find(snapshot.app, ids_of(snapshot.device))
                seen_us[place] = binding.at_us
    return standing, seen_us


def _touches_of(touches: _Touches, places: Sequence[int]) -> Touches:
    """One user's touches as resolve has them, none forgotten."""
    snapshots: dict[tuple[str, Ids], int] = {}
    marks = []
    for place in places:
        shown = (touches.app[place], touches.ids[place])
        index = snapshots.setdefault(shown, len(snapshots))
        marks.append(Mark(touches.at_us[place], touches.event_id[place], index, touches.received_us[place]))
    return Touches(
        tuple(Snapshot(app, device_of(ids)) for app, ids in snapshots),
        tuple(sorted(marks)),
    )


_AD = "ad.channel ad.media_source ad.campaign ad.campaign_id"
_WHOLE_AD = f"{_AD} ad.ad_set ad.ad_set_id ad.ad ad.ad_id"
_ATTRIBUTED = f"feed mmp app id at_us {_WHOLE_AD}".split()
_RECORDED = f"feed mmp app id name at_us conversion currency sent_by copies {_AD}".split()
_SPENT = f"feed account country currency impressions clicks {_WHOLE_AD}".split()
"""What is read of each noun of `model.attribution`, into columns of the last word's name."""


def _load_feeds(tables: Tables, feeds: Feeds, gathered: Installations) -> None:
    """Fills `attribution` and `spend`."""
    attributed, spent = attrgetter(*_ATTRIBUTED), attrgetter(*_SPENT)
    _fill_in_parts(
        tables,
        "attribution",
        [*_ATTRIBUTED, "kind", "day", "installation"],
        (
            (*attributed(one), one.kind.value, _day(tables, one.app, one.at_us), gathered.of(one.app, one.id))
            for one in feeds.attributions()
        ),
    )
    _fill_in_parts(
        tables,
        "spend",
        [*_SPENT, "day", "amount"],
        ((*spent(one), one.day.isoformat(), str(one.amount)) for one in feeds.spend()),
    )


def _load_recorded(tables: Tables, feeds: Feeds) -> None:
    """Fills `recorded`."""
    recorded = attrgetter(*_RECORDED)
    _fill_in_parts(
        tables,
        "recorded",
        [*_RECORDED, "kind", "is_primary", "day", "amount"],
        (
            (
                *recorded(one),
                one.kind.value,
                one.primary,
                _day(tables, one.app, one.at_us),
                None if one.amount is None else str(one.amount),
            )
            for one in feeds.recorded()
        ),
    )


def _fill_in_parts(
    tables: Tables, table: str, columns: Sequence[str], arriving: Iterator[tuple[Any, ...]]
) -> None:
    names = [column.rpartition(".")[2] for column in columns]
    while part := list(islice(arriving, AT_ONCE)):
        tables.fill_rows(table, names, part)


def _day(tables: Tables, app: str, at_us: int) -> str:
    """The app's own day; empty where the moment is not told."""
    zone: tzinfo = tables.zones.get(app, UTC)
    return from_us(at_us).astimezone(zone).date().isoformat() if at_us else ""


def _load_sent(tables: Tables, db: apsw.Connection) -> int:
    """Fills what became of deliveries; returns the last record that the sender has read."""
    names = dict(rows(db, "select id, name from destination"))
    receipts = [
        (place, one.id, one.what, one.reason, one.sent_us, one.answered_us)
        for place, one in enumerate(
            one for (body,) in db.execute("select body from receipt order by id") for one in unpacked(body)
        )
    ]
    tables.fill_rows("receipt", ("place", "id", "what", "reason", "sent_us", "answered_us"), receipts)
    waiting = rows(db, "select destination, id, stage, reason from open")
    tables.fill(
        "waits",
        destination=[names[one[0]] for one in waiting],
        id=_numbers([one[1] for one in waiting]),
        stage=["held" if one[2] == Stage.HELD else "waiting" for one in waiting],
        reason=["pending" if one[2] == Stage.PENDING else one[3] for one in waiting],
    )
    store = Deliveries(db)
    for old, new in store.renamed().items():
        tables.db.execute("update entry set destination = ? where destination = ?", [new, old])
    sent = list(store.tally().items())
    tables.fill(
        "sent",
        destination=[key[0] for key, _ in sent],
        conversion=[key[1] for key, _ in sent],
        what=[key[2] for key, _ in sent],
        reason=[key[3] for key, _ in sent],
        n=_numbers([n for _, n in sent]),
    )
    paused = store.paused()
    tables.fill(
        "paused",
        destination=list(paused),
        since_us=_numbers([pause.since_us for pause in paused.values()]),
        reason=[pause.reason for pause in paused.values()],
    )
    return store.position()


def _array(values: "Sequence[Any] | np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """A column as an array; whole numbers and truths are kept as such, which is quicker to hand over."""
    import numpy as np

    if isinstance(values, np.ndarray):
        return values
    match values[0] if values else None:
        case bool():
            return np.array(values, dtype=np.bool_)
        case int():
            return _numbers(values)
        case _:
            return np.array(values, dtype=object)


def _numbers(values: Sequence[int | None]) -> "np.ndarray[Any, Any]":
    """Whole numbers as an array; what is unknown is masked."""
    import numpy as np

    if None in values:
        known = np.array([0 if value is None else value for value in values], dtype=np.int64)
        return np.ma.masked_array(known, mask=[value is None for value in values])
    return np.array(values, dtype=np.int64)
