"""A data folder as tables in memory, for every report to ask: read-only, and at one moment.

A table is made when a statement first names it: a report costs what it looks at. Moments are microseconds
since 1970, UTC; `user` is `brand:user_id`, and `user_key` a number that is quicker to join by. The tables,
column by column, are in docs/reference/reports.md.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, assert_never
from zoneinfo import ZoneInfo

from lendsignal.archive.prepared import prepared_beside
from lendsignal.clock import MICROSECOND, from_us
from lendsignal.derive import DerivePolicy
from lendsignal.errors import DataError, LendsignalError
from lendsignal.log import DataFolder, Deliveries, Stage
from lendsignal.log.sqlite import rows
from lendsignal.model import DEVICE_SCOPED, IdKind
from lendsignal.plan import PolicySource
from lendsignal.report import making
from lendsignal.report.engine import Engine
from lendsignal.report.installations import KINDS, NAMED_BY, in_order, parted, together, torn
from lendsignal.report.prepared import YOUNGEST, Prepared, Unusable
from lendsignal.report.sources import TABLE_OF, Sources, reading
from lendsignal.report.spill import Spill
from lendsignal.resolve import ResolveSettings

if TYPE_CHECKING:  # loaded with the first tables: whoever only tells of reports lives without it
    import numpy as np

__all__ = ["MEMORY", "Answer", "Base", "Tables", "answered_by", "load", "reading"]

MEMORY = "3GB"
"""What DuckDB keeps in memory at most; what is more it puts on disk meanwhile."""

EVERYTHING = 2**62
"""A position behind every record."""

_MISSING = re.compile(r"Table with name (\w+) does not exist")


class Answer(Protocol):
    """What a statement gives, row by row or column by column."""

    def fetchall(self) -> list[Any]: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchmany(self, size: int) -> list[Any]: ...

    def fetchnumpy(self) -> dict[str, Any]: ...


class Base:
    """A DuckDB in memory that makes its tables when they are first asked for."""

    def __init__(
        self, make: Callable[[str], None], *, threads: int | None = None, memory: str = MEMORY
    ) -> None:
        import duckdb

        self._scratch = Spill()
        self._missing = duckdb.CatalogException
        self.db = duckdb.connect(
            ":memory:",
            config={
                "threads": threads or os.cpu_count() or 1,
                "memory_limit": memory,
                "temp_directory": self._scratch.name,
                "preserve_insertion_order": False,
            },
        )
        self.db.execute("set TimeZone = 'UTC'")
        self._make = make
        self._asked: set[str] = set()

    def beside(self, make: Callable[[str], None], schema: str) -> "Base":
        """The same database by another schema, whose tables are named first; close it before this one."""
        other = Base.__new__(Base)
        other._scratch, other._missing = self._scratch, self._missing
        other.db = self.db.cursor()
        other.db.execute("set TimeZone = 'UTC'")
        other.db.execute(f"create schema {schema}")
        other.db.execute(f"set search_path = '{schema}'")
        other._make, other._asked = make, set()
        return other

    def execute(self, query: str, parameters: Any = None) -> "Answer":
        """A statement; tables that it names and that are not there yet are made first."""
        while True:
            try:
                return self.db.execute(query, parameters)
            except self._missing as error:
                name = _MISSING.search(str(error))
                if name is None or name[1] in self._asked:
                    raise
            self._asked.add(name[1])
            self._make(name[1])

    def temporary(self) -> set[str]:
        """The helping tables that reports made here."""
        found = self.execute("select table_name from duckdb_tables() where temporary").fetchall()
        return {name for (name,) in found}

    def read(self, sources: Sources, name: str) -> None:
        """Makes a table of the archive known. Raises `DataError` where its files cannot be read."""
        import duckdb

        try:
            sources.put(self.db, name)
        except duckdb.IOException as error:
            raise DataError(f"the archive cannot be read: {error}") from error

    def register(self, name: str, found: object) -> None:
        """Lets statements name an object of Python's."""
        self.db.register(name, found)

    def unregister(self, name: str) -> None:
        """Lets it go."""
        self.db.unregister(name)

    def close(self) -> None:
        """Lets memory and disk go."""
        self.db.close()
        self._scratch.cleanup()


class Tables:
    """What reports are computed from, in `db`. Close it, or use it in a `with`."""

    def __init__(
        self,
        sources: Sources,
        as_of: datetime | None = None,
        *,
        threads: int | None = None,
        memory: str = MEMORY,
        engine: Engine = Engine.DUCKDB,
    ) -> None:
        self._sources = sources
        self._prepared: Prepared | None = None
        self.filled: dict[str, str] = {}
        """Which query each temporary table of facts was last filled by: see `slices`."""
        self._at = as_of
        self._youngest: datetime | None = None
        self._seen_kinds: set[IdKind] | None = None
        self._policy = PolicySource(
            derive=DerivePolicy(portfolio=""), resolve=ResolveSettings(), routes=(), targets={}
        )
        log = sources.log
        if log is not None:
            version = log.policy()
            self._policy = (None if version is None else log.policy_source(version)) or self._policy
        derive, resolve = self._policy.derive, self._policy.resolve
        self.settle_us = resolve.settle // MICROSECOND
        """How long a route waits for the phone's own login, by the policy in force."""
        self.pen_after_us = resolve.pen_after // MICROSECOND
        """How long after an event a first touch still answers for it, by the policy in force."""
        self.default_dpd = derive.default_dpd
        """Days past due from which a loan counts as lost, by the policy in force."""
        self.shared_device_users = resolve.shared_device_users
        """Users on one phone that make it a shared one, by the policy in force; 0: they are not counted."""
        self.platforms: dict[str, str] = {app.name: app.platform for app in derive.apps.values()}
        """The platform of each app: android or ios."""
        self.history_is_whole = derive.history == "whole" if log is not None else False
        """Whether who has no loan in the log had none, by the policy in force."""
        self.zones: Mapping[str, ZoneInfo] = {
            app.name: ZoneInfo(app.timezone) for app in derive.apps.values()
        }
        """The time zone of each app, in which its days are counted; of one that is not known, UTC."""
        match engine:
            case Engine.DUCKDB:
                self.db = Base(self.make, threads=threads, memory=memory)
            case Engine.CLICKHOUSE:
                try:
                    from lendsignal.report.clickhouse import ClickHouse
                except ImportError:
                    needed = "ClickHouse needs the extra `clickhouse` (pip install 'lendsignal[clickhouse]')"
                    raise LendsignalError(needed) from None
                self.db = ClickHouse(self.make, sorted({zone.key for zone in self.zones.values()}))
            case _:
                assert_never(engine)

    @property
    def as_of(self) -> datetime | None:
        """The moment that was asked for, else when the youngest event arrived; `None` without any event."""
        if self._youngest is None:
            found = self.number(YOUNGEST) if self._prepared is None else self._prepared.youngest_us()
            if not found:
                return None
            self._youngest = self._at or from_us(found)
        return self._youngest

    @property
    def unread_records(self) -> int:
        """Records that the sender has not read yet: their deliveries are planned, and nothing more."""
        return self.number(
            "select count(*) from raw_conversions"
            " where rebinds is null and entries > 0 and record > $position",
            {"position": self._position()},
        )

    @property
    def not_routed(self) -> int:
        """Conversions that no route takes: counted with the decisions, and always those of now."""
        log = self._sources.log
        return 0 if log is None else log.tally().get(("not_routed", ""), 0)

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
        """Lets the memory and the files go."""
        if self._prepared is not None:
            self._prepared.close()
        self.db.close()
        self._sources.close()

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # making

    @property
    def is_prepared(self) -> bool:
        """Whether tables are taken from what was made of the archive before."""
        return self._prepared is not None

    def attached(self, path: Path) -> bool:
        """Makes the tables of a file known as `prepared`; False where it cannot be read."""
        import duckdb

        try:
            self.db.db.execute(f"attach {making.word(str(path))} as prepared (read_only)")
        except duckdb.Error:
            return False
        return True

    def prepare_from(self, path: Path) -> None:
        """Takes what was made before from that file, where it is of this archive and of these policies."""
        with suppress(Unusable):
            self._prepared = Prepared(self, self._sources, path)

    def make(self, name: str) -> None:
        """Makes a table, where there is one of that name."""
        if self._prepared is None or not self._prepared.make(name):
            self.make_in(self.db, name)

    def make_in(self, db: Base, name: str) -> None:
        """Makes a table of what `db` has: of everything, or of a part of it."""
        own = getattr(self, f"_make_{name}", None)
        if name in TABLE_OF:
            self.db.read(self._sources, name)
        elif name == "touch":
            self._make_touch(db)
        elif own is not None:
            own()
        elif name in making.VIEWS:
            db.execute(making.VIEWS[name].format_map(_Words(self)))
        elif name in making.TABLES:
            asked: dict[str, object] = {
                "settle": self.settle_us,
                "pen_after": self.pen_after_us,
                "position": self._position(),
                "whole": self.history_is_whole,
                "default_dpd": self.default_dpd,
            }
            query = making.TABLES[name]
            given = {key: value for key, value in asked.items() if f"${key}" in query}
            db.execute(query.format_map(_Words(self)), given)

    def _position(self) -> int:
        """The last record that the sender has read."""
        if self._at is not None:
            return EVERYTHING
        return 0 if self._sources.sent is None else Deliveries(self._sources.sent).position()

    def _make_app(self) -> None:
        self.db.execute(
            "create table app (app varchar, brand varchar, platform varchar, country varchar,"
            " currency varchar, zone varchar)"
        )
        self.fill_rows(
            "app",
            ("app", "brand", "platform", "country", "currency", "zone"),
            [
                (app.name, app.brand, app.platform, app.country, app.currency, app.timezone)
                for app in self._policy.derive.apps.values()
            ],
        )

    def _make_touch(self, db: Base) -> None:
        """What each touch shows, and the installation that stands after it by resolve's rule: as long as
        every touch of a user shows an installation it is the touch's own."""
        db.execute(making.TABLES["touch"].format_map(_Words(self)))
        db.execute(making.STANDING.format_map(_Words(self)))
        if db.execute("select 1 from touch_standing limit 1").fetchone() is not None:
            db.execute(making.STOOD)

    def _make_installation(self) -> None:
        self.db.execute("select 1 from look_number limit 1")  # they are numbered together

    def _make_look_number(self) -> None:
        """Numbers the snapshots by the installation they show, and the installations by their phone."""
        numbers, phones, shown = self._numbered()
        self.db.register("arriving", {"n": _range(len(numbers)), "installation": numbers})
        self.db.execute(
            "create table look_number as select shown, installation::integer as installation"
            " from touch_look join arriving using (n)"
        )
        self.db.unregister("arriving")
        self.db.register("arriving", {"number": _range(len(shown)), "device": phones, "shown": shown})
        everything = {"looks": "touch_look", "numbers": "look_number", "touches": "raw_touches"}
        self.db.execute(self.worded(making.INSTALLATION, arriving="arriving", **everything))
        self.db.unregister("arriving")

    def _numbered(self) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
        """The installation of each look; of each installation its phone and whether it showed itself."""
        import numpy as np

        n = self.number("select count(*) from touch_look")
        install = self._ids("install")
        of_phone = self._ids("phone")
        groups = together(install["n"], install["id"], n)
        for group in torn(groups, install["n"], install["kind"], install["id"]):
            self._part(groups, group, install)
        shows = np.zeros(n, dtype=bool)
        shows[install["n"]] = True
        # Phones that showed no installation are told apart by their own ids, in each app.
        alone = ~shows[of_phone["n"]]
        phones_alone = together(of_phone["n"][alone], of_phone["in_app"][alone], n)
        numbers = in_order(np.where(shows, groups, groups.max(initial=0) + 1 + phones_alone))
        shown = np.zeros(numbers.max(initial=-1) + 1, dtype=bool)
        shown[numbers] = shows
        member = numbers[of_phone["n"]]
        device = in_order(together(member, of_phone["id"], len(shown)))
        known = np.zeros(len(shown), dtype=bool)
        known[member] = True
        return numbers, np.ma.masked_array(device, mask=~known), shown

    def _part(self, groups: "np.ndarray", group: int, ids: "Mapping[str, np.ndarray]") -> None:
        """Gives each installation of a group in which ids contradict each other a group of its own."""
        import numpy as np

        looks: dict[int, dict[int, int]] = {int(n): {} for n in np.flatnonzero(groups == group)}
        for place in np.flatnonzero(groups[ids["n"]] == group):
            looks[int(ids["n"][place])][int(ids["kind"][place])] = int(ids["id"][place])
        groups[list(looks)] = groups.max() + 1 + np.array(parted(list(looks.values())))

    def _ids(self, which: str) -> "Mapping[str, np.ndarray]":
        """The ids of all looks: by the look's number, the kind's place, and a number for each id."""
        shown = (
            " union all ".join(
                f"select n, {place}::utinyint as kind, app, {kind.value} as value from touch_look"
                f" where {kind.value} is not null"
                for place, kind in enumerate(KINDS)
                if (kind in DEVICE_SCOPED) == (which == "phone") and kind.value in self._shown(KINDS)
            )
            or "select 0 as n, 0::utinyint as kind, '' as app, '' as value where false"
        )
        # A phone may have several apps; an installation is of one.
        chosen = "hash(kind, value) as id, " if which == "phone" else "hash(kind, value, app) as id, "
        return self.db.execute(
            f"select n, kind, {chosen} hash(kind, value, app) as in_app from ({shown})"
        ).fetchnumpy()

    # the sender's own counts

    def _make_waits(self) -> None:
        self.db.execute("create table waits (destination varchar, id bigint, stage varchar, reason varchar)")
        sent = self._sources.sent
        if self._at is not None:
            self.db.execute(making.WAITED)
        elif sent is not None:
            names = dict(rows(sent, "select id, name from destination"))
            waiting = rows(sent, "select destination, id, stage, reason from open")
            self.fill(
                "waits",
                destination=[names[one[0]] for one in waiting],
                id=_numbers([one[1] for one in waiting]),
                stage=["held" if one[2] == Stage.HELD else "waiting" for one in waiting],
                reason=["pending" if one[2] == Stage.PENDING else one[3] for one in waiting],
            )

    def _make_sent(self) -> None:
        self.db.execute(
            "create table sent (destination varchar, conversion varchar, what varchar, reason varchar,"
            " n bigint)"
        )
        sent = self._sources.sent
        if self._at is not None:
            self.db.execute(making.COUNTED_THEN)
        elif sent is not None:
            tally = list(Deliveries(sent).tally().items())
            self.fill(
                "sent",
                destination=[key[0] for key, _ in tally],
                conversion=[key[1] for key, _ in tally],
                what=[key[2] for key, _ in tally],
                reason=[key[3] for key, _ in tally],
                n=_numbers([n for _, n in tally]),
            )

    def _make_paused(self) -> None:
        """Who waits for a person now; of earlier moments it is not kept."""
        self.db.execute("create table paused (destination varchar, since_us bigint, reason varchar)")
        sent = self._sources.sent
        if self._at is None and sent is not None:
            self.fill_rows(
                "paused",
                ("destination", "since_us", "reason"),
                [
                    (destination, pause.since_us, pause.reason)
                    for destination, pause in Deliveries(sent).paused().items()
                ],
            )

    # words of SQL

    def worded(self, statement: str, **words: str) -> str:
        """A statement with its open words filled in, some of them as they are given."""
        return statement.format_map(_Words(self, words))

    def word(self, name: str) -> str:
        """What stands in the statements of `making` under a name."""
        derive = self._policy.derive
        match name:
            case "key":
                return making.key_of_type()
            case "once":
                return making.once()
            case "ad":
                return making.AD
            case "step":
                return making.step()
            case "steps":
                return making.words(list(making.STEP_OF))
            case "step_columns":
                return making.step_columns()
            case "money_columns":
                return making.money_columns()
            case "loan_events":
                return making.words(making.LOAN_EVENTS)
            case "event_columns":
                return making.event_columns()
            case "is_agreed":
                return making.IS_AGREED.format(p="p")
            case "default_app":
                return making.chosen("brand", derive.default_app, "''")
            case "binds":
                return making.binds(self._zone(f"coalesce(app, {self.word('default_app')})"))
            case "came_day" | "happened_day":
                return making.day(name.replace("day", "at"), self._zone("app"))
            case "os":
                return f"lower(coalesce(t.os, {making.chosen('t.app', self.platforms, repr(''))}))"
            case "destination":
                sent = self._sources.sent
                renamed = {} if sent is None else Deliveries(sent).renamed()
                return making.chosen("destination", renamed, "destination")
            case "ids":
                return making.ids(kind.value for kind in KINDS)
            case "named":
                return making.named(self._shown(NAMED_BY))
            case "known":
                return making.known(self._shown(KINDS))
            case "name":
                return making.name(self._shown(NAMED_BY))
            case "phone":
                return making.phone(self._shown(DEVICE_SCOPED))
            case "same_phone":
                return making.same_phone(self._shown(DEVICE_SCOPED))
            case _:
                raise KeyError(name)

    def known_in(self, looks: str) -> str:
        """A query of the ids that a table of snapshots shows: installation, kind, value."""
        return making.known(self._shown(KINDS), looks)

    def _shown(self, kinds: Sequence[IdKind]) -> list[str]:
        """Those of these ids that any snapshot shows: most lenders have three of twelve."""
        if self._seen_kinds is None:
            counts = ", ".join(f"count({kind.value})" for kind in KINDS)
            (found,) = self.rows(f"select {counts} from touch_look")
            self._seen_kinds = {kind for kind, n in zip(KINDS, found, strict=True) if n}
        return [kind.value for kind in kinds if kind in self._seen_kinds]

    def _zone(self, app: str) -> str:
        return making.chosen(app, {name: zone.key for name, zone in self.zones.items()}, "'UTC'")


class _Words(dict[str, str]):
    """What `making` leaves open, filled in as it is asked for."""

    def __init__(self, tables: Tables, given: Mapping[str, str] | None = None) -> None:
        super().__init__(given or {})
        self._tables = tables

    def __missing__(self, name: str) -> str:
        return self._tables.word(name)


_ENGINE: ContextVar[Engine] = ContextVar("engine", default=Engine.DUCKDB)


@contextmanager
def answered_by(engine: Engine) -> Iterator[None]:
    """Whatever is loaded within is asked of that engine."""
    before = _ENGINE.set(engine)
    try:
        yield
    finally:
        _ENGINE.reset(before)


def load(folder: DataFolder, *, as_of: datetime | None = None, prepared: bool = True) -> Tables:
    """The tables of a data folder as it stands; empty ones where it keeps nothing yet.

    What was made of the archive before is taken from there (`prepared`), with what changed since: it is the
    same, and quicker.

    `as_of` asks for what was known at that moment: what had come in, been decided, answered and told by then.
    Raises `LogError` where a file is damaged, `DataError` where the archive's files are not there.
    """
    sources = Sources(folder, as_of)
    try:
        engine = _ENGINE.get()
        tables = Tables(sources, None if as_of is None else as_of.astimezone(UTC), engine=engine)
        if prepared and as_of is None and engine is Engine.DUCKDB:
            tables.prepare_from(prepared_beside(folder.archive))
        return tables
    except BaseException:
        sources.close()
        raise


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


def _range(n: int) -> "np.ndarray[Any, Any]":
    import numpy as np

    return np.arange(n, dtype=np.int64)
