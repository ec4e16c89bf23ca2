"""What is made of the archive once for all reports, and how reports bring it up to what holds now.

The file beside the archive's book holds the tables that cost most: who had which installation, where that
came from, which event belongs to which. All of them are kept by user, by look or by installation; what came
in since says whose rows have to be made anew, by the same statements, and all other rows are taken as they
are. So a report says the same with that file and without it. Where something came in that changes numbers
which many rows hold, or where policies or versions are others, it is not used at all until it is made anew.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from lendsignal.archive import VERSION
from lendsignal.model import DEVICE_SCOPED
from lendsignal.plan import record_id
from lendsignal.plan.records import ENTRIES_PER_RECORD
from lendsignal.report import making
from lendsignal.report.installations import KINDS, NAMED_BY
from lendsignal.report.sources import Sources

if TYPE_CHECKING:
    from lendsignal.report.tables import Base, Tables

FORM = 2
"""Of the file: another one is not read."""

OF_LOANS = "loans, number_of_loan"
OF_BINDING = "last_login, first_install, held, touch_us, touch_received_us, is_late, as_arrived"

FROM_PLACED: Mapping[str, str] = {
    "counted": f"select * exclude ({OF_LOANS}, {OF_BINDING}) from placed_loan",
    "placed": f"select * exclude ({OF_LOANS}) from placed_loan",
    "bound": "select seq, last_login, first_install, touch_us, touch_received_us, is_late, as_arrived, held"
    " from placed_loan where not test",
    "event_touch": "select seq, user_key, binds_us, received_us, history, last_login, touch_us,"
    " touch_received_us, is_late from placed_loan where not test",
    "loans_of": "select seq, loans, number_of_loan as loan_number from placed_loan"
    " where not test and type not in ('logged_in', 'app_opened')",
}
"""Tables whose columns stand in `placed_loan`."""

BY_USER = (
    "tester",
    "event_struck",
    "touch",
    "conversion",
    "placed_loan",
    "journey",
    "booked",
    "brought",
    "agreed",
    "decision",
)
"""Tables of which a user's rows follow from what came in of that user alone."""

NEEDS: Mapping[str, Sequence[str]] = {
    "tester": ("raw_events",),
    "event_struck": ("raw_events",),
    "event": ("raw_events", "tester"),
    "counted": ("event", "event_struck"),
    "touch": ("raw_touches", "tester"),
    "event_touch": ("counted", "touch"),
    "bound": ("event_touch", "touch", "raw_conversions", "raw_events"),
    "loans_of": ("counted",),
    "placed": ("counted", "bound"),
    "placed_loan": ("placed", "loans_of"),
    "conversion": ("raw_conversions",),
    "journey": ("placed_loan",),
    "booked": ("counted",),
    "brought": ("booked", "placed_loan"),
    "agreed": ("placed_loan", "conversion"),
    "decision": ("counted", "conversion"),
}
"""What each table is made of, as far as it is of single users."""

RAW: Mapping[str, str] = {
    "raw_events": "seq, event_id, type, brand, user_id, app, occurred_at, received_at, time_precision,"
    " verdict, revision, purpose, test, history, application_id, grant_id, loan_id, payment_id,"
    " loan_number, product, amount, currency, fee, credit_limit, term_days, due_date, outstanding,"
    " closes_loan, dpd, user_key, fact_key, loan_key",
    "raw_touches": "seq, event_id, brand, user_id, app, occurred_at, received_at, os, shown, user_key",
    "raw_conversions": "record, rebinds, conversion_id, name, event_id, event_type, brand, user_id, loan_id,"
    " loan_number, occurred_at, received_at, planned_at, certain, test, history, app, event_app, touched_at,"
    " shown, first_shown, entries, user_key",
}
"""The archive's tables that tell of users, and what of them others are made of."""

ENDS = "'accepted', 'dead', 'skipped', 'cancelled'"

KEPT: Mapping[str, str] = {
    **{name: f"select * from {name}" for name in BY_USER},
    # In pieces of some users each: all of it is more than fits into memory.
    "placed_loan": "select * from placed_loan where abs(user_key % {pieces}) = {piece}"
    " order by user_key, at_us, seq",
    "touch": "select * from touch order by user_key, at_us, event_id",
    "touch_look": "select * from touch_look order by n",
    "look_number": "select * from look_number",
    "installation": "select * from installation order by number",
    "install_name": "select * from install_name",
    "first_seen": "select * from first_seen order by installation",
    "attribution": "select * from attribution",
    "origin": "select * from origin order by installation",
    # Of deliveries those that are over; an entry of a rebinding may yet become one.
    "delivery": f"select * from delivery where what in ({ENDS}) and id // {ENTRIES_PER_RECORD} = record"
    " order by id",
    "open_delivery": "select delivery as id from planned_delivery"
    " anti join prepared.delivery d on d.id = delivery",
    "journey": "select * from journey order by user_key",
    "booked": "select * from booked order by user_key, at_us",
    "brought": "select * from brought order by user_key, at_us",
    "agreed": "select * from agreed order by user_key",
    "decision": "select * from decision order by user_key, decided",
    "posting": "select * from posting order by id",
    # By what looks that come later are told to be of an installation or a phone that is known.
    "install_id": "select distinct hash(kind, value, app) as id, kind, installation from look_id"
    " join look_number using (shown) where kind in ({install_kinds})",
    "lone_id": "select distinct hash(kind, value, l.app) as id, installation from look_id l"
    " join look_number using (shown) join installation i on i.number = installation"
    " where not i.shown and kind in ({phone_kinds})",
    "phone_id": "select distinct hash(kind, value) as id, i.device from look_id l"
    " join look_number using (shown) join installation i on i.number = installation"
    " where kind in ({phone_kinds})",
}
"""What the file holds."""


YOUNGEST = "select coalesce(epoch_us(max(received_at)), 0) from raw_events where type not like 'lendsignal.%'"
"""When the youngest event arrived, which no tick of our own is; 0 without any."""


class Unusable(Exception):
    """The file cannot be used, for the reason it names: everything is made of the archive itself."""


class About(Struct, frozen=True):
    """Of which archive a file was made, and by what."""

    form: int
    fingerprint: str
    taken_away: int
    log: int
    outcomes: int
    events: int
    devices: int
    youngest_us: int
    seconds: float
    made_us: int


class Prepared:
    """The tables of a file, with what came in since."""

    def __init__(self, tables: "Tables", sources: Sources, path: Path) -> None:
        """Raises `Unusable`."""
        if not path.exists():
            raise Unusable("nothing is prepared")
        self._tables = tables
        self._db = tables.db
        if not tables.attached(path):
            raise Unusable("it cannot be read")
        try:
            self._about = self._checked(sources)
            self._find_new()
            self._number_new()
        except Unusable:
            self._db.db.execute("detach prepared")
            raise
        self._told_anew = self._has_told_anew(sources)
        self._fresh: Base | None = None
        self._again: Base | None = None
        self._posted: Base | None = None
        self._made: set[str] = set()

    def youngest_us(self) -> int:
        """When the youngest event arrived; 0 without any."""
        since = self._tables.number(f"{YOUNGEST} and seq > {self._about.log}")
        return max(self._about.youngest_us, since)

    def close(self) -> None:
        """Lets go of what was made beside."""
        for one in (self._fresh, self._again, self._posted):
            if one is not None:
                one.db.close()

    def make(self, name: str) -> bool:
        """Makes a table of what was prepared; False: it was not."""
        if name in FROM_PLACED:
            self._db.execute(f"create view {name} as {FROM_PLACED[name]}")
        elif name in BY_USER:
            self._by_user(name)
        elif name == "delivery":
            self._delivery()
        elif name == "posting":
            self._posting()
        elif name == "first_seen":
            self._first_seen()
        elif name in ("attribution", "origin") and not self._told_anew:
            self._db.execute(f"create view {name} as select * from prepared.{name}")
        else:
            return False
        return True

    # whether it can be used

    def _checked(self, sources: Sources) -> About:
        found = about(self._tables)
        if found is None or found.form != FORM:
            raise Unusable("it has another form")
        if found.fingerprint != fingerprint(self._tables):
            raise Unusable("policies, or what makes tables, are others")
        if found.taken_away != sources.taken_away or any(
            made > sources.reach[stream]
            for stream, made in (("log", found.log), ("outcomes", found.outcomes))
        ):
            raise Unusable("it was made of what is not in the archive any more")
        return found

    def _has_told_anew(self, sources: Sources) -> bool:
        told = {name for (name,) in self._tables.rows("select name from prepared.told_file")}
        new_names = self._tables.number("select count(*) from new_look") > 0
        return told != sources.told_files or sources.told_since or new_names

    # what came in since

    def _find_new(self) -> None:
        """`fresh_user`, of whom something came in; `new_look`, snapshots that nobody had shown."""
        log = self._about.log
        self._db.execute(
            "create table fresh_user as select distinct user_key from ("
            f" select user_key from raw_events where seq > {log}"
            f" union all select user_key from raw_touches where seq > {log}"
            f" union all select user_key from raw_conversions where record >= {record_id(log + 1, 0)})"
        )
        self._has_fresh = self._tables.number("select count(*) from fresh_user") > 0
        ids = making.ids(kind.value for kind in KINDS)
        looks = self._tables.number("select count(*) from prepared.touch_look")
        self._db.execute(
            "create table new_look as with first as ("
            f"  select shown, min(seq) as seq from raw_touches where shown is not null and seq > {log}"
            "     and shown not in (select shown from prepared.touch_look) group by shown)"
            f" select {looks} + row_number() over (order by seq) - 1 as n, t.shown,"
            f"   coalesce(t.app, '') as app, {ids} from raw_touches t join first using (seq) order by seq"
        )

    def _by_user(self, name: str) -> None:
        if not self._has_fresh:
            self._db.execute(f"create view {name} as select * from prepared.{name}")
            return
        self._need(name)
        self._db.execute(
            f"create view {name} as select * from prepared.{name} p"
            " anti join fresh_user f on f.user_key = p.user_key"
            f" union all by name select * from fresh.{name}"
        )

    def _need(self, name: str) -> None:
        """Makes a table of the fresh users alone, in a schema beside."""
        if name in self._made:
            return
        for part in NEEDS.get(name, ()):
            self._need(part)
        if self._fresh is None:
            self._fresh = self._db.beside(self._tables.make, "fresh")
        if name in RAW:
            self._db.execute(
                f"create table fresh.{name} as select {RAW[name]} from {name}"
                " where user_key in (select user_key from fresh_user)"
            )
        else:
            self._tables.make_in(self._fresh, name)
        self._made.add(name)

    def _first_seen(self) -> None:
        if not self._has_fresh:
            self._db.execute("create view first_seen as select * from prepared.first_seen")
            return
        self._db.execute("select 1 from touch limit 0")  # made, with that of the fresh users
        self._db.execute(
            "create table seen_anew as select own as installation from fresh.touch where own is not null"
            " union select own from prepared.touch semi join fresh_user using (user_key)"
            " where own is not null"
        )
        self._db.execute(
            "create table first_seen as select * from prepared.first_seen anti join seen_anew"
            " using (installation) union all select own, min(at_us), bool_or(test) from touch"
            " where own in (select installation from seen_anew) group by own"
        )

    def _delivery(self) -> None:
        """Deliveries that are planned since, or of which something was told since, are looked at anew."""
        first = record_id(self._about.log + 1, 0)
        self._db.execute(
            "create table open_delivery as select id from waits union select id from prepared.open_delivery"
            f" union select delivery from raw_outcomes where pack > {self._about.outcomes}"
            f" union select delivery from raw_deliveries where record >= {first}"
        )
        self._db.execute(  # what a rebinding moved is looked at with it
            "insert into open_delivery select p.delivery from raw_deliveries p where p.record in ("
            "   select rebinds from raw_deliveries semi join open_delivery o on o.id = delivery"
            "   where rebinds is not null) and p.delivery not in (select id from open_delivery)"
        )
        if not self._tables.number("select count(*) from open_delivery"):
            self._db.execute("create view delivery as select * from prepared.delivery")
            return
        again = self._again = self._db.beside(self._tables.make, "again")
        for table in ("raw_deliveries", "raw_outcomes"):
            self._db.execute(
                f"create table again.{table} as select r.* from {table} r"
                " semi join open_delivery o on o.id = r.delivery"
            )
        self._db.execute(
            "create table again.raw_conversions as select record, rebinds, occurred_at, received_at"
            " from raw_conversions where record in ("
            "   select coalesce(rebinds, record) from again.raw_deliveries)"
        )
        self._db.execute("select 1 from waits limit 0")
        for name in ("planned_delivery", "receipt", "delivery"):
            self._tables.make_in(again, name)
        self._db.execute(
            "create view delivery as select * from prepared.delivery p"
            " anti join open_delivery o on o.id = p.id union all by name select * from again.delivery"
        )

    def _posting(self) -> None:
        """Those of deliveries that are looked at anew, and of users of whom something came in since."""
        self._db.execute("select 1 from delivery limit 0")  # made, with those that are open
        fresh = " union select id from prepared.posting semi join fresh_user using (user_key)"
        self._db.execute(
            f"create table stale as select id from open_delivery{fresh if self._has_fresh else ''}"
        )
        if not self._tables.number("select count(*) from stale"):
            self._db.execute("create view posting as select * from prepared.posting")
            return
        posted = self._posted = self._db.beside(self._tables.make, "posted")
        self._db.execute("create table posted.delivery as select * from delivery semi join stale using (id)")
        for name in ("conversion", "decision"):
            self._db.execute(
                f"create table posted.{name} as select * from {name}"
                " where record in (select record from posted.delivery)"
            )
        self._tables.make_in(posted, "posting")
        self._db.execute(
            "create view posting as select * from prepared.posting anti join stale using (id)"
            " union all by name select * from posted.posting"
        )

    # numbers of installations and phones

    def _number_new(self) -> None:
        """Numbers the snapshots that came in since, behind those that are numbered."""
        if not self._has_fresh:
            for name in ("touch_look", "look_number", "installation", "install_name"):
                self._db.execute(f"create view {name} as select * from prepared.{name}")
            return
        found = _numbered(self._tables, self._about.devices)
        self._db.execute("create table new_number (shown bigint, installation integer)")
        self._tables.fill_rows("new_number", ("shown", "installation"), found.looks)
        self._db.execute("create table new_installation (number integer, device integer, shown boolean)")
        self._tables.fill_rows("new_installation", ("number", "device", "shown"), found.installations)
        self._name_new()
        for name, new in (("touch_look", "new_look"), ("look_number", "new_number")):
            self._db.execute(
                f"create view {name} as select * from prepared.{name} union all by name select * from {new}"
            )
        self._tell_of_changed()

    def _name_new(self) -> None:
        """What new installations are known by."""
        named = making.named([kind.value for kind in NAMED_BY], "new_look", "new_number")
        self._db.execute(
            "create table new_name as select name, min(installation)::integer as installation,"
            f" min(installation) = max(installation) as is_one from ({named}) group by name"
        )
        if self._tables.number(
            "select count(*) from new_name n left join prepared.install_name p using (name)"
            " where not n.is_one or p.installation <> n.installation"
        ):
            raise Unusable("a name of an installation was shown by another one")
        self._db.execute(
            "create view install_name as select * from prepared.install_name union all"
            " select name, installation from new_name anti join prepared.install_name using (name)"
        )

    def _tell_of_changed(self) -> None:
        """Installations of which a touch came in since are described anew: what they run may have changed."""
        log = self._about.log
        self._db.execute(
            "create table changed as select distinct installation from look_number"
            f" where shown in (select shown from raw_touches where seq > {log})"
        )
        self._db.execute(
            "create table changed_number as select n.* from look_number n semi join changed"
            " using (installation);"
            " create table changed_look as select l.* from touch_look l"
            "   semi join changed_number using (shown);"
            " create table changed_touch as select shown, os, app, occurred_at, event_id from raw_touches"
            "   semi join changed_number using (shown);"
            " create table changed_installation as"
            "   select number, device, p.shown from prepared.installation p"
            "     semi join changed on installation = number"
            "   union all select * from new_installation"
        )
        self._db.execute(
            self._tables.worded(
                making.INSTALLATION.replace("table installation", "table installation_anew"),
                looks="changed_look",
                numbers="changed_number",
                touches="changed_touch",
                arriving="changed_installation",
            )
        )
        self._db.execute(
            "create view installation as select * from prepared.installation p"
            " anti join changed c on c.installation = p.number union all select * from installation_anew"
        )


class _Look(Struct, frozen=True):
    """A snapshot that nobody had shown before, with its ids as (kind, id, phone): an id is that of one app,
    a phone's is the same in every app."""

    shown: int
    ids: list[tuple[int, int, int]]

    @property
    def installs(self) -> list[tuple[int, int]]:
        """The ids of its installation: (kind, id)."""
        return [(kind, id_) for kind, id_, _ in self.ids if not is_of_phone(kind)]

    @property
    def phones(self) -> list[tuple[int, int]]:
        """The ids of its phone: (id, phone)."""
        return [(id_, phone) for kind, id_, phone in self.ids if is_of_phone(kind)]


class _Numbering:
    """Numbers what was shown for the first time as if all had been numbered at once, in the order of coming.

    `look` raises `Unusable` where an id ties together, or tears, what has several numbers, or one.
    """

    def __init__(self, tables: "Tables", devices: int) -> None:
        """`devices`: how many numbers of phones are given, those of installations without one included."""
        self._devices = devices
        self._following = tables.number("select count(*) from prepared.installation")
        self._by_install: dict[int, set[int]] = {}
        self._ids: dict[int, dict[int, int]] = {}
        for kind, id_, installation in tables.rows(
            "select kind, id, installation from prepared.install_id where installation in"
            " (select installation from prepared.install_id semi join new_id using (id))"
        ):
            self._by_install.setdefault(id_, set()).add(installation)
            self._ids.setdefault(installation, {})[kind] = id_
        self._by_phone: dict[int, set[int]] = {}
        for id_, installation in tables.rows(
            "select id, installation from prepared.lone_id semi join new_id using (id)"
        ):
            self._by_phone.setdefault(id_, set()).add(installation)
        self._phones: dict[int, int | None] = dict(
            tables.rows(
                "select distinct p.id, p.device from prepared.phone_id p semi join new_id n on n.phone = p.id"
            )
        )
        self._device: dict[int, int | None] = dict(
            tables.rows(
                "select number, device from prepared.installation where number in ("
                " select installation from prepared.install_id semi join new_id using (id) union"
                " select installation from prepared.lone_id semi join new_id using (id))"
            )
        )
        self.looks: list[tuple[int, int]] = []
        """Each snapshot with its installation."""
        self._made: dict[int, bool] = {}

    @property
    def installations(self) -> list[tuple[int, int | None, bool]]:
        """Those that are new, each with its phone, and whether it showed itself."""
        return [(number, self._device[number], shows) for number, shows in self._made.items()]

    def look(self, one: _Look) -> None:
        """Numbers the next snapshot."""
        known = self._by_install if one.installs else self._by_phone
        # Phones that showed no installation are told apart by their own ids, in each app.
        names = [id_ for _, id_ in one.installs] or [id_ for id_, _ in one.phones]
        found = set[int]().union(*(known.get(id_, ()) for id_ in names))
        if len(found) > 1:
            raise Unusable("an id ties two installations together")
        number, is_new = (found.pop(), False) if found else (self._following, True)
        ids = self._ids.setdefault(number, {})
        if any(ids.setdefault(kind, id_) != id_ for kind, id_ in one.installs):
            raise Unusable("ids of one installation contradict each other")
        for id_ in names:
            known.setdefault(id_, set()).add(number)
        self._take_phone(one, number, is_new=is_new)
        self.looks.append((one.shown, number))

    def _take_phone(self, one: _Look, number: int, *, is_new: bool) -> None:
        seen = {self._phones[phone] for _, phone in one.phones if phone in self._phones}
        if is_new:
            if len(seen) > 1:
                raise Unusable("an id ties two phones together")
            device = seen.pop() if seen else self._devices
            self._devices += device == self._devices
            self._following, self._made[number] = self._following + 1, bool(one.installs)
            self._device[number] = device if one.phones else None
        else:
            device = self._device[number]
            if one.phones and (device is None or seen - {device}):
                raise Unusable("an id ties two phones together, or names one that had no name")
        for _, phone in one.phones:
            self._phones[phone] = device


def _numbered(tables: "Tables", devices: int) -> _Numbering:
    """The numbers of all snapshots that nobody had shown. Raises `Unusable`."""
    union = " union all ".join(
        f"select n, shown, {place}::utinyint as kind, app, {kind.value} as value from new_look"
        f" where {kind.value} is not null"
        for place, kind in enumerate(KINDS)
    )
    tables.db.execute(
        "create table new_id as"
        " select n, shown, kind, hash(kind, value, app) as id, hash(kind, value) as phone"
        f" from ({union})"
    )
    looks: dict[int, _Look] = {}
    for n, shown, *id_ in tables.rows("select n, shown, kind, id, phone from new_id order by n, kind"):
        looks.setdefault(n, _Look(shown, [])).ids.append((id_[0], id_[1], id_[2]))
    numbering = _Numbering(tables, devices)
    for _, one in sorted(looks.items()):
        numbering.look(one)
    return numbering


def is_of_phone(kind: int) -> bool:
    """Whether the ids of a place in `KINDS` stay with the phone."""
    return KINDS[kind] in DEVICE_SCOPED


def fingerprint(tables: "Tables") -> str:
    """A word that changes with the statements that make tables, and with all that they are filled with."""
    import duckdb

    of_ids = dict.fromkeys(("ids", "named", "known", "name", "phone", "same_phone", "looks", "numbers"), "")
    of_ids |= dict.fromkeys(("touches", "arriving"), "")
    statements = [
        tables.worded(statement, **of_ids)
        for _, statement in sorted({**making.TABLES, **making.VIEWS}.items())
    ]
    statements += [making.STANDING, making.STOOD, making.INSTALLATION, repr(sorted(KEPT.items()))]
    asked = (tables.settle_us, tables.pen_after_us, tables.default_dpd, tables.history_is_whole)
    words = (FORM, VERSION, duckdb.__version__, asked, *statements)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def about(tables: "Tables") -> About | None:
    """What an attached file says of itself; `None`: nothing."""
    import duckdb

    try:
        ((said,),) = tables.db.db.execute("select said from prepared.about").fetchall()
        return msgspec.json.decode(said, type=About)
    except (duckdb.Error, msgspec.DecodeError, ValueError):
        return None
