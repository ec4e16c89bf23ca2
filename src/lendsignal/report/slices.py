"""One way to slice every report: by what, where what holds, on which days, and by which rule of binding.

A report asks for the *facts* it counts (`facts`: events; `sent_facts`: conversions; `came_facts`: installs;
`spent_facts`: costs) and finds beside each its `part`, the cells of the columns that the slice adds. What a
key means is said once, in `PARTS`, whatever is counted. Days, weeks and months are those of the fact's app.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Literal, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.report.campaigns import Campaign, Campaigns, campaigns
from lendsignal.report.days import local_day, quoted
from lendsignal.report.tables import Tables

Key: TypeAlias = Literal[
    "channel",
    "media_source",
    "campaign",
    "ad_set",
    "brand",
    "app",
    "country",
    "os",
    "product",
    "loans",
    "loan_number",
    "conversion",
]
"""What a report may be sliced by. The first four are where the installation came from by then."""

Every: TypeAlias = Literal["day", "week", "month"]
"""Spans of the app's own calendar; a week begins on Monday."""

Rule: TypeAlias = Literal["last_login", "first_install"]
"""Which installation counts: the one the user had last logged in on at the event, or the user's first."""

Cohort: TypeAlias = Literal["install", "registration"]
"""Whose day counts: that of the coming that the event is bound to, or that of the user's registration."""

KEYS: tuple[str, ...] = get_args(Key)
EVERY: tuple[str, ...] = get_args(Every)
RULES: tuple[str, ...] = get_args(Rule)

AD_LABELS = ("channel", "media_source", "campaign", "ad_set")
"""Keys of where an installation came from."""

APP_KEYS = ("brand", "country", "os")
"""Keys that the lender's own apps tell of."""

INSTALLATION_KEYS = (*AD_LABELS, *APP_KEYS, "app")
"""Keys of the installation that something is bound to."""

LOAN_KEYS = ("loans", "loan_number")
"""Keys that a loan has, whichever of its events is counted."""

NO_TOUCH = "(no touch)"
NOT_ATTRIBUTED = "(not attributed)"
NO_AD_SET = "(no ad set)"
NO_PRODUCT = "(no product)"
NO_LOAN = "(no loan)"
NO_CONVERSION = "(no conversion)"
NOT_TOLD = "(not told)"

_APP = "coalesce(nullif(i.app, ''), nullif(c.app, ''))"


def origin_part(label: str, i: str = "i", o: str = "o") -> str:
    """SQL of where an installation `i` came from, by a column of `origin_named` or `named`."""
    return (
        f"case when {i}.number is null then '{NO_TOUCH}' else coalesce({o}.{label}, '{NOT_ATTRIBUTED}') end"
    )


def ad_part(label: str, none: str, ad: str) -> str:
    """The same by a column of `named`, `ad`; `none` is SQL of whether there is no installation at all."""
    return f"case when {none} then '{NO_TOUCH}' else coalesce({ad}.{label}, '{NOT_ATTRIBUTED}') end"


PARTS: Mapping[str, str] = {
    "channel": origin_part("channel_label"),
    "media_source": origin_part("source_label"),
    "campaign": origin_part("campaign_label"),
    "ad_set": origin_part("ad_set_label"),
    "brand": "c.brand",
    "app": f"coalesce({_APP}, '{NO_TOUCH}')",
    "country": f"coalesce(nullif(a.country, ''), '{NOT_TOLD}')",
    "os": f"case when i.number is null then '{NO_TOUCH}' else coalesce(nullif(i.os, ''), '{NOT_TOLD}') end",
    "product": f"coalesce(c.product, p.product, '{NO_PRODUCT}')",
    "loans": "l.loans",
    "loan_number": f"coalesce(l.loan_number::varchar, '{NOT_TOLD}')",
    "conversion": f"coalesce(v.name, '{NO_CONVERSION}')",
}
"""SQL of what a fact `c` is counted under: `i` is the installation it is bound to, `o` where that came from
by then, `a` its app, `p` the loan's product, `l` the kind of loan, `v` a conversion that the event made."""

MADE = (
    "coalesce((select list(v.name) from conversion v"
    " where v.user_key = c.user_key and v.event_id = c.event_id),"
    f" ['{NO_CONVERSION}'])"
)
"""SQL of all conversions that an event made: where one is asked for, the event still counts once."""

ORIGINS = """
create or replace temp view origin_named as
select o.*, n.channel_label, n.source_label, n.campaign_label, n.ad_set_label
from origin o left join named n on n.ad_number = o.ad_number
"""

PRODUCTS = """
create or replace temp table product_of as
select user_key, loan as id, true as is_loan, max(product) as product from event
    where loan is not null and product is not null group by all
union all
select user_key, hash(application_id), false, max(product) from event
    where application_id is not null and product is not null group by all
"""


class Slice(Struct, frozen=True, kw_only=True):
    """What a report is sliced by (`by`, and `every` day, week or month) and what of it is looked at.

    `where` holds pairs of key and value: of one key any value, of several keys all must hold. `limits` are
    pairs of what whoever asks may see at all; they hold beside. `since` and `until` are local days of the
    fact's app, both included.
    """

    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    since: date | None = None
    until: date | None = None
    every: Every | None = None
    binding: Rule = "last_login"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the slice adds, in the order of a `part`."""
        return (*(() if self.every is None else (self.every,)), *self.by)

    @property
    def keys(self) -> frozenset[str]:
        """Every key that it asks for."""
        return frozenset(self.by).union(key for key, _ in (*self.where, *self.limits))

    @property
    def has_days(self) -> bool:
        """Whether it asks on which day a fact is."""
        return self.every is not None or self.since is not None or self.until is not None

    @property
    def words(self) -> str:
        """What a title adds: "by campaign and week, first install"; empty for all there is."""
        by = " and ".join(name.replace("_", " ") for name in (*self.by, *filter(None, (self.every,))))
        held = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in self.where)
        days = (
            ""
            if self.since is None and self.until is None
            else f"{self.since or 'the beginning'} to {self.until or 'now'}"
        )
        rule = "" if self.binding == "last_login" else "first install"
        return ", ".join(filter(None, (by and f"by {by}", held, days, rule)))

    def only(self, keys: Iterable[str], report: str) -> "Slice":
        """Itself, where it asks for these keys alone. Raises `InputError` with those that the report has."""
        allowed = tuple(keys)
        for key in (*self.by, *(key for key, _ in (*self.where, *self.limits))):
            if key not in allowed:
                raise InputError(
                    "slice",
                    f"{report} has no {key!r}; it has {', '.join(allowed)}",
                    nearest=nearest(key, allowed),
                )
        return self

    def beside(self, report: str, *apart: str) -> "Slice":
        """Itself, where it is not sliced by what the report has apart already. Raises `InputError`."""
        for key in apart:
            if key in self.by:
                raise InputError("by", f"{report} has each {key.rstrip('s')} apart already; see --where")
        return self


EVERYTHING = Slice()


def slice_of(
    *,
    by: Sequence[str] = (),
    where: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    every: str | None = None,
    binding: str | None = None,
) -> Slice:
    """A slice from the words of a command line or a query: `where` holds `key=value`, days are ISO dates.

    Several keys of `by` may stand in one word, between commas. Raises `InputError` that names the option,
    what is allowed, and the nearest word that is.
    """
    names = tuple(name.strip() for word in by for name in word.split(",") if name.strip())
    held: list[tuple[str, str]] = []
    for word in where:
        key, equals, value = word.partition("=")
        if not equals or not value.strip():
            raise InputError("where", f"{word!r}: write it like channel=meta")
        held.append((key.strip(), value.strip()))
    for option, name in (*(("by", name) for name in names), *(("where", key) for key, _ in held)):
        _one_of(option, name, KEYS)
    if len(set(names)) < len(names):
        raise InputError("by", "names a key twice")
    first, last = _day("from", since), _day("to", until)
    if first is not None and last is not None and first > last:
        raise InputError("from", f"{first} lies after {last}")
    return Slice(
        by=names,
        where=tuple(held),
        since=first,
        until=last,
        every=None if every is None else _one_of("every", every, EVERY),  # type: ignore[arg-type]
        binding=_one_of("binding", binding or "last_login", RULES),  # type: ignore[arg-type]
    )


def limited(one: Slice, limits: Mapping[str, Sequence[str]]) -> Slice:
    """The slice of somebody who may see these values of each key only. Of anything else there is nothing,
    whether it is there or not."""
    return replace(one, limits=tuple((key, value) for key, some in limits.items() for value in some))


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(option, f"{text!r}: write a day like 2026-03-10") from None


def _one_of(option: str, name: str, allowed: Sequence[str]) -> str:
    if name not in allowed:
        raise InputError(
            option, f"there is no {name!r}; there is {', '.join(allowed)}", nearest=nearest(name, allowed)
        )
    return name


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if any is."""
    found = get_close_matches(word, list(known), 1)
    return found[0] if found else None


# facts


def facts(
    tables: Tables,
    one: Slice,
    *,
    into: str = "fact",
    only: str = "true",
    cohort: Cohort | None = None,
    loans: bool = False,
    app: bool = True,
    first: str = "c.seq",
    beside: str = "",
) -> None:
    """Fills the temporary table `into(seq, part, app, moment_us, loans, …)`: the events in the slice.

    `only` is SQL of which events of `counted`, as `c`; `beside` is SQL of further columns of theirs. Of users
    marked as test there are none. `moment_us` is what days are told of: the event, or with a `cohort` the
    coming or the registration it goes back to; with the registration, where the user came from is also as it
    was then. `loans` and `app` are filled where they are asked for; `first` is SQL of what stands in place
    of `seq`. An event that made several conversions stands under each of them where the slice is by
    conversion. Raises `InputError` for a value of `where` that nothing has, with the nearest that something
    has.
    """
    prepared(tables, one)
    keys = one.keys
    by_registration, asks_loans = cohort == "registration", loans or bool(keys.intersection(LOAN_KEYS))
    anchor, bound = ("r", "b") if by_registration else ("c", "c")
    moment = {"install": "coalesce(nullif(o.came_us, 0), s.at_us)", "registration": "r.at_us"}.get(
        cohort or "", "c.at_us"
    )
    of_installation = cohort == "install" or bool(keys.intersection(INSTALLATION_KEYS))
    of_app = app or one.has_days
    joins = [
        "join registered r on r.user_key = c.user_key left join bound b on b.seq = r.seq"
        if by_registration
        else "",
        f"left join installation i on i.number = coalesce({bound}.{one.binding}, {bound}.held)"
        if of_app or of_installation
        else "",
        # Joins over all events cost more than the rest of most reports: only where somebody asks.
        f"left join origin_named o on o.installation = i.number and {anchor}.at_us >= o.from_us"
        f" and {anchor}.at_us < o.until_us"
        if cohort == "install" or keys.intersection(AD_LABELS)
        else "",
        "left join first_seen s on s.installation = i.number" if cohort == "install" else "",
    ]
    if cohort == "registration":
        tables.db.execute(
            "create or replace temp table registered as select user_key, arg_min(seq, at_us) as seq,"
            " min(at_us) as at_us from counted where type = 'registered' and not test and not superseded"
            " group by user_key"
        )
    _fill(
        tables,
        one,
        into,
        first=first,
        source=f"{'placed_loan' if asks_loans else 'placed'} c",
        joins=joins,
        app=_APP if of_app or of_installation else "null::varchar",
        only=f"not c.test and ({only})",
        moment=moment,
        own={"loans": "c.loans", "loan_number": f"coalesce(c.number_of_loan::varchar, '{NOT_TOLD}')"},
        beside=f"{'c.loans' if loans else 'null::varchar'} as loans" + (f", {beside}" if beside else ""),
    )


TIED_KEYS = (*AD_LABELS, "app", "country", "os", "loans")
"""What rows that are tied to an installation, and to no moment, can be told apart by."""

COME_AGAIN = """
create or replace temp table come_again as
select installation from origin group by installation having count(*) > 1
"""
"""Installations that came from several places: of what is bound there the moment says from where."""


class Tied(Struct, frozen=True):
    """That `tied_facts` answers; to `facts` it leaves what is bound to installations of the table `apart`."""

    apart: str | None = None

    def rest(self, one: Slice) -> str:
        """SQL of the events that are left to `facts`, of `placed` as `c`."""
        return "false" if self.apart is None else f"coalesce(c.{one.binding}, c.held) {self.is_apart}"

    def but_apart(self, one: Slice) -> str:
        """SQL that adds to a condition of tied rows `c`: what is left to `facts` is not in them."""
        return "" if self.apart is None else f" and coalesce(not c.{one.binding} {self.is_apart}, true)"

    @property
    def is_apart(self) -> str:
        """SQL that follows an installation's number: whether it is one of them."""
        return f"in (select installation from {self.apart})"


def tied(
    tables: Tables, one: Slice, cohort: Cohort | None = None, *, keys: Collection[str] = TIED_KEYS
) -> Tied | None:
    """Whether a slice can be answered by what was prepared of each user and installation together.

    `None`: it asks for what only the events tell, or for another key than these, or nothing is prepared.
    """
    by_moment = cohort == "registration" or (cohort is None and one.has_days)
    if not tables.is_prepared or by_moment or not one.keys.issubset(keys):
        return None
    if cohort is None and not one.keys.intersection(AD_LABELS):
        return Tied()
    tables.db.execute(COME_AGAIN)
    return Tied("come_again" if tables.number("select count(*) from come_again") else None)


def tied_facts(
    tables: Tables,
    one: Slice,
    how: Tied,
    *,
    into: str,
    of: str,
    beside: Sequence[str],
    cohort: Cohort | None = None,
    as_table: bool = False,
) -> None:
    """Makes `into(user_key, place, app, moment_us, …)` of the rows of `of` in the slice; the part that each
    number stands for is in `into_part(place, part)`.

    `of` is `journey`, `brought` or `agreed`; what `how` leaves to `facts` is not in it. `app` and `moment_us`
    are filled for a `cohort`. `beside` names further columns. What is asked once need not be `as_table`.
    """
    prepared(tables, one)
    columns = ", ".join(f"c.{name}" for name in beside)
    parts = {**PARTS, "loans": "c.loans"}
    of_loans = replace(one, where=_pairs(one.where, loans=True), limits=_pairs(one.limits, loans=True))
    only = " and ".join(_held(of_loans, parts)) or "true"
    if cohort is None and not one.keys.intersection(INSTALLATION_KEYS):
        only += how.but_apart(one)
        everything = f"hash({_list(())})"
        query = (
            f"select c.user_key, {everything} as place, null::varchar as app, null::bigint as moment_us,"
            f" {columns} from {of} c where {only}"
        )
        _lay(tables, f"{into}_part", "view", f"select {everything} as place, {_list(())} as part")
        _lay(tables, into, "view", query)
        return
    placed_in = _placing(tables, one, how, cohort)
    unplaced = _unplaced(tables, one, how, into=f"{into}_apart", of=of, beside=beside, cohort=cohort)
    names = "user_key, place, app, moment_us"
    query = (
        f"select c.user_key, p.place, p.app, p.moment_us, {columns} from {of} c"
        f" join {placed_in} p on p.number = c.{one.binding} where {only}"
        f" union all select {names}, {columns} from {unplaced} c"
    )
    each = (f"select place, part from {name}" for name in (placed_in, unplaced))
    _lay(tables, f"{into}_part", "view", " union ".join(each))
    under = (tables.filled[placed_in], tables.filled[unplaced])
    _lay(tables, into, "table" if as_table else "view", query, *under)


def _pairs(pairs: Sequence[tuple[str, str]], *, loans: bool) -> tuple[tuple[str, str], ...]:
    """Those of a slice's conditions that are of loans, or all others."""
    return tuple(pair for pair in pairs if (pair[0] in LOAN_KEYS) == loans)


def _placing(tables: Tables, one: Slice, how: Tied, cohort: Cohort | None) -> str:
    """The table of which part each installation belongs to: most of what is bound is told apart by it."""
    into = f"installation_by_{cohort}" if cohort else "installation_at_all"
    by_ad = bool(one.keys.intersection(AD_LABELS))
    _fill(
        tables,
        replace(one, where=_pairs(one.where, loans=False), limits=_pairs(one.limits, loans=False)),
        into,
        first="i.number",
        source="installation i",
        joins=["cross join (select null::varchar as app) c", *_of_installation(cohort, by_ad)],
        only="i.app <> ''" + ("" if how.apart is None else f" and not i.number {how.is_apart}"),
        app=_APP if cohort else "null::varchar",
        moment=_came(cohort),
        beside="hash(part) as place",
    )
    return into


def _unplaced(
    tables: Tables,
    one: Slice,
    how: Tied,
    *,
    into: str,
    of: str,
    beside: Sequence[str],
    cohort: Cohort | None,
) -> str:
    """The table of what is bound to no installation, or to one whose app is not known."""
    by_ad = bool(one.keys.intersection(AD_LABELS))
    only = f"c.{one.binding} is null"
    if tables.number("select count(*) from installation where app = ''"):
        only = f"({only} or c.{one.binding} in (select number from installation where app = ''))"
    _fill(
        tables,
        one,
        into,
        first="c.user_key",
        source=f"{of} c",
        joins=[
            f"left join installation i on i.number = c.{one.binding}",
            *_of_installation(cohort, by_ad),
        ],
        only=only + how.but_apart(one),
        app=_APP if cohort else "null::varchar",
        moment=_came(cohort),
        own={"loans": "c.loans"},
        beside=", ".join(("hash(part) as place", *(f"c.{name}" for name in beside))),
    )
    return into


def _of_installation(cohort: Cohort | None, by_ad: bool) -> Iterator[str]:
    """Joins of what is asked of an installation that came from one place."""
    if cohort or by_ad:
        named = "origin_named" if by_ad else "origin"
        yield f"left join {named} o on o.installation = i.number"
    if cohort:
        yield "left join first_seen s on s.installation = i.number"


def _came(cohort: Cohort | None) -> str:
    return "coalesce(nullif(o.came_us, 0), s.at_us)" if cohort else "null::bigint"


def sent_facts(
    tables: Tables,
    one: Slice,
    *,
    into: str = "sent_fact",
    of: str = "conversion",
    only: str = "true",
    app: bool = True,
    beside: str = "",
) -> None:
    """Fills `into(record, part, app, moment_us, …)`: conversions, by the installation they were bound to.

    `of` is a table of what belongs to conversions (`conversion`, `decision` or `posting`): its rows, `only`
    those for which that SQL holds, as `c`, with `beside`, SQL of further columns. `app` is filled where it is
    asked for.
    """
    prepared(tables, one)
    source = f"{of} c"
    if one.keys.intersection(("product", *LOAN_KEYS)):  # the conversion does not say
        source = (
            f"(select n.*, e.seq, e.product, e.loan, e.application_id from {of} n left join ("
            "   select user_key, event_id, max(seq) as seq, max(product) as product, max(loan) as loan,"
            "   max(application_id) as application_id from counted"
            "   where not superseded and type not in ('logged_in', 'app_opened') group by all) e"
            " on e.user_key = n.user_key and e.event_id = n.event_id) c"
        )
    bound = "installation" if one.binding == "last_login" else "first_installation"
    of_app = app or one.has_days
    joins = [
        f"left join installation i on i.number = c.{bound}"
        if of_app or one.keys.intersection(INSTALLATION_KEYS)
        else "",
        "left join origin_named o on o.installation = i.number and c.at_us >= o.from_us"
        " and c.at_us < o.until_us"
        if one.keys.intersection(AD_LABELS)
        else "",
        "left join loans_of l on l.seq = c.seq" if one.keys.intersection(LOAN_KEYS) else "",
    ]
    own = {"conversion": "c.name", "brand": f"coalesce(a.brand, '{NOT_TOLD}')"}
    _fill(
        tables,
        one,
        into,
        first="c.record",
        source=source,
        joins=joins,
        app=_APP if of_app else "null::varchar",
        only=only,
        moment="c.at_us",
        own=own,
        beside=beside,
        as_it_lies=True,
    )


OF_AD = (
    "c.kind, c.installation, c.mmp, c.day, c.channel, c.media_source, c.campaign, c.campaign_id, c.ad_set,"
    " c.ad_set_id, c.ad, c.ad_id"
)
"""Columns of `attribution` that name the ad."""


def came_facts(
    tables: Tables,
    one: Slice,
    *,
    into: str = "came_fact",
    kinds: Sequence[str] = ("install",),
    testers: bool = False,
    beside: str = OF_AD,
) -> None:
    """Fills `into(id, part, app, moment_us, kind, installation, mmp, day, …)`: what MMPs attributed.

    It is of these kinds, with the columns of `attribution` that name the ad, or those of `beside`, SQL of
    `c`; `id` is the MMP's own. Of keys there are `CAME_KEYS`. What has no moment stands under `(not told)`.
    Installs that a test user was seen on are left out, unless `testers` asks for all that the MMPs tell.
    """
    prepared(tables, one)
    joins = [
        "left join named o on o.ad_number = c.ad_number" if one.keys.intersection(AD_LABELS) else "",
        "left join installation j on j.number = c.installation" if "os" in one.keys else "",
        "" if testers else "left join first_seen s on s.installation = c.installation",
        # The install is one whether or not a login has shown it.
        "left join (select 0 as number, '' as app, null as os) i on true",
    ]
    own = {
        "brand": f"coalesce(a.brand, '{NOT_TOLD}')",
        "os": f"coalesce(nullif(j.os, ''), nullif(a.platform, ''), '{NOT_TOLD}')",
    }
    only = f"c.kind in ({', '.join(map(quoted, kinds))})"
    if not testers:
        only += " and not coalesce(s.test, false)"
    _fill(
        tables,
        one,
        into,
        first="c.id",
        source="attribution c",
        joins=joins,
        only=only,
        moment="nullif(c.at_us, 0)",
        own=own,
        beside=beside,
    )


LATEST_LOAN = """
create or replace temp table latest_loan as
select c.user_key, arg_max(c.product, c.at_us) as product, arg_max(l.loans, c.at_us) as loans,
    arg_max(l.loan_number, c.at_us) as loan_number
from counted c join loans_of l on l.seq = c.seq
where c.type = 'disbursed' and not c.reversed and not c.superseded group by c.user_key
"""

FIRST_SHOWN = """
(select user_key, arg_min(own, (at_us, event_id)) as installation from touch where own is not null
 group by user_key)
"""


def touch_facts(tables: Tables, one: Slice, *, into: str = "touch_fact", only: str = "true") -> None:
    """Fills `into(user_key, part, app, moment_us, event_id)`: the touches, those of test users left out.

    `only` is SQL of which touches, as `c`. A login is of no loan and makes no conversion: it stands under its
    user's latest loan, and under every conversion that its user has had.
    """
    of_loans = one.keys.intersection(("product", *LOAN_KEYS))
    prepared(tables, one)
    if of_loans:
        tables.db.execute(LATEST_LOAN)
    bound = "c.installation" if one.binding == "last_login" else "b.installation"
    joins = [
        f"left join {FIRST_SHOWN} b on b.user_key = c.user_key" if one.binding == "first_install" else "",
        f"left join installation i on i.number = {bound}",
        "left join origin_named o on o.installation = i.number and c.at_us >= o.from_us"
        " and c.at_us < o.until_us",
        "left join latest_loan w on w.user_key = c.user_key" if of_loans else "",
        "left join (select distinct user_key, name from conversion) v on v.user_key = c.user_key"
        if "conversion" in one.keys
        else "",
    ]
    labels = {"channel": "channel", "media_source": "source", "campaign": "campaign", "ad_set": "ad_set"}
    own = {
        **{key: f"coalesce(o.{name}_label, '{NOT_ATTRIBUTED}')" for key, name in labels.items()},
        "os": f"coalesce(nullif(i.os, ''), nullif(c.os, ''), '{NOT_TOLD}')",
        "product": f"coalesce(w.product, '{NO_PRODUCT}')",
        "loans": f"coalesce(w.loans, '{NO_LOAN}')",
        "loan_number": f"coalesce(w.loan_number::varchar, '{NOT_TOLD}')",
        "conversion": f"coalesce(v.name, '{NO_CONVERSION}')",
    }
    _fill(
        tables,
        one,
        into,
        first="c.user_key",
        source="(select *, null::bigint as loan, null::varchar as application_id from touch) c",
        joins=joins,
        only=f"not c.test and ({only})",
        moment="c.at_us",
        own=own,
        beside="c.event_id",
    )


AD_KEYS = ("channel", "media_source", "campaign", "ad_set", "country", "brand")
"""What a cost can be told apart by; of countries and brands only what it tells, or the lender's only one."""

CAME_KEYS = ("channel", "media_source", "campaign", "ad_set", "app", "country", "os", "brand")
"""What an install can be told apart by."""

EVENT_KEYS = KEYS
"""What an event can be told apart by."""


def spent_facts(tables: Tables, one: Slice, *, into: str = "spent_fact") -> bool:
    """Fills `into(part, day, currency, amount, impressions, clicks)`, days being those of the ad account.

    False, and nothing is filled, where the slice asks for what no cost tells of.
    """
    if not one.keys.issubset(AD_KEYS):
        tables.db.execute(
            f"create or replace temp table {into} (part varchar[], day varchar, currency varchar,"
            " amount decimal(38, 8), impressions bigint, clicks bigint)"
        )
        return False
    prepared(tables, one)
    only = {
        key: (quoted(found[0][0]) if len(found) == 1 else quoted(NOT_TOLD))
        for key in ("country", "brand")
        for found in [tables.rows(f"select distinct {key} from app")]
    }
    parts = {
        "channel": f"coalesce(o.channel_label, '{NOT_ATTRIBUTED}')",
        "media_source": f"coalesce(o.source_label, '{NOT_ATTRIBUTED}')",
        "campaign": f"coalesce(o.campaign_label, '{NOT_ATTRIBUTED}')",
        "ad_set": f"coalesce(o.ad_set_label, '{NOT_ATTRIBUTED}')",
        "country": f"coalesce(nullif(c.country, ''), {only['country']})",
        "brand": only["brand"],
    }
    cells = [parts[key] for key in one.by]
    if one.every is not None:
        cells.insert(0, f"date_trunc('{one.every}', c.day::date)::date::varchar")
    held = _held(one, parts)
    if one.since is not None:
        held.append(f"c.day >= '{one.since}'")
    if one.until is not None:
        held.append(f"c.day <= '{one.until}'")
    tables.db.execute(
        f"create or replace temp table {into} as select {_list(cells)} as part, c.day, c.currency, c.amount,"
        " c.impressions, c.clicks, c.channel, c.campaign_id, c.campaign"
        " from spend c left join named o on o.ad_number = c.ad_number"
        f" where {' and '.join(held) or 'true'}"
    )
    return True


def cells_of(tables: Tables, one: Slice, moment: str, app: str) -> tuple[str, str]:
    """SQL of the part, and of whether it is in the slice, for facts that a report lays out by itself.

    Its query must have the aliases that `PARTS` speaks of.
    """
    prepared(tables, one)
    cells = [PARTS[key] for key in one.by]
    if one.every is not None:
        cells.insert(0, period_of(tables, one.every, moment, app))
    held = _held(one, PARTS)
    return _list(cells), " and ".join((*held, within(tables, one, moment, app)))


def period_of(tables: Tables, every: Every, moment: str, app: str) -> str:
    """SQL of the span that a moment lies in, by its first day, as text: "2026-03-09"."""
    day = local_day(tables, moment, app)
    return f"{day}::varchar" if every == "day" else f"date_trunc('{every}', {day})::date::varchar"


def within(tables: Tables, one: Slice, moment: str, app: str) -> str:
    """SQL of whether a moment lies on the days of the slice."""
    if one.since is None and one.until is None:
        return "true"
    day = local_day(tables, moment, app)
    bounds = (("since", ">="), ("until", "<="))
    return " and ".join(
        f"{day} {sign} date '{bound}'"
        for name, sign in bounds
        for bound in [getattr(one, name)]
        if bound is not None
    )


def today(tables: Tables, app: str) -> str:
    """SQL of the local day on which the youngest event arrived."""
    return local_day(tables, str(0 if tables.as_of is None else to_us(tables.as_of)), app)


def _fill(
    tables: Tables,
    one: Slice,
    into: str,
    *,
    first: str,
    source: str,
    joins: Sequence[str],
    moment: str,
    only: str = "true",
    own: Mapping[str, str] | None = None,
    app: str = _APP,
    beside: str = "",
    as_it_lies: bool = False,
) -> None:
    parts = {**PARTS, **(own or {})}
    joined = [*joins]
    if one.keys.intersection(APP_KEYS):
        joined.append(f"left join app a on a.app = {_APP}")
    if "product" in one.keys:
        joined.append(
            "left join product_of p on p.user_key = c.user_key"
            " and p.is_loan = (c.loan is not null) and p.id = coalesce(c.loan, hash(c.application_id))"
        )
    if "conversion" in one.by and "conversion" not in (own or {}):
        joined.append("left join conversion v on v.user_key = c.user_key and v.event_id = c.event_id")
    cells = [parts[key] for key in one.by]
    if one.every is not None:
        cells.insert(0, f"coalesce({period_of(tables, one.every, moment, _APP)}, '{NOT_TOLD}')")
    if "conversion" not in one.by and "conversion" not in (own or {}):
        parts["conversion"] = MADE
    held = _held(one, parts)
    conditions = " and ".join((only, *held, within(tables, one, moment, _APP)))
    query = (
        f"select {first}, {_list(cells)} as part, {app} as app,"
        f" {moment} as moment_us{',' if beside else ''} {beside}"
        f" from {source} {' '.join(filter(None, joined))} where {conditions}"
    )
    # Rows that are taken as they lie are read again where they lie, which costs less than a copy.
    kind = "view" if as_it_lies and not cells and not any(joined) else "table"
    _lay(tables, into, kind, query)


def _lay(tables: Tables, into: str, kind: str, query: str, *under: str) -> None:
    """What holds at one moment is laid out once; `under` is how the tables that the query reads are laid."""
    statement = f"create or replace temp {kind} {into} as {query}"
    laid = "; ".join((statement, *under))
    before = tables.filled.get(into)
    if before == laid:
        return
    if before is not None and not before.startswith(f"create or replace temp {kind} "):
        tables.db.execute(f"drop {'table' if kind == 'view' else 'view'} {into}")
    tables.db.execute(statement)
    tables.filled[into] = laid


def _held(one: Slice, parts: Mapping[str, str]) -> list[str]:
    """SQL of what must hold: one condition for each key of `where`, and one for each of `limits`."""
    found = []
    for pairs in (one.where, one.limits):
        for key in dict.fromkeys(key for key, _ in pairs):
            values = ", ".join(quoted(value) for name, value in pairs if name == key)
            part = parts[key]
            found.append(f"list_has_any({part}, [{values}])" if part == MADE else f"{part} in ({values})")
    return found


def _list(cells: Sequence[str]) -> str:
    return f"[{', '.join(cells)}]::varchar[]"


# what facts are told apart by


def prepared(tables: Tables, one: Slice) -> None:
    """Makes what the slice's keys need, once for these tables, and checks the values of `where`."""
    made = _made(tables)
    if "named" not in made:
        _name(tables)
        tables.db.execute(ORIGINS)
        made.add("named")
    if "product" in one.keys and "product" not in made:
        tables.db.execute(PRODUCTS)
        made.add("product")
    if one.limits:
        return  # what is there beside must not be told, by a refusal neither
    for key, value in one.where:
        known = values_of(tables, key)
        if value not in known:
            some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise InputError(
                "where",
                f"nothing has {key} {value!r}; there is {some or 'none'}",
                nearest=nearest(value, known),
            )


def _made(tables: Tables) -> set[str]:
    """Which of the helping tables stand in this database already."""
    names = {"named": "named", "product": "product_of"}
    there = tables.db.temporary()
    return {key for key, name in names.items() if name in there}


VALUES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "channel": ("select channel from named where channel <> ''", (NO_TOUCH, NOT_ATTRIBUTED)),
    "media_source": ("select source_label from named", (NO_TOUCH, NOT_ATTRIBUTED)),
    "campaign": ("select campaign_label from named", (NO_TOUCH, NOT_ATTRIBUTED)),
    "ad_set": ("select ad_set_label from named", (NO_TOUCH, NOT_ATTRIBUTED)),
    "brand": ("select brand from app union select brand from event", ()),
    "app": ("select app from app union select app from installation", (NO_TOUCH,)),
    "country": ("select country from app", (NOT_TOLD,)),
    "os": ("select os from installation union select platform from app", (NO_TOUCH, NOT_TOLD)),
    "product": ("select product from event", (NO_PRODUCT,)),
    "loans": ("select unnest(['first', 'repeat', 'unknown'])", (NO_LOAN,)),
    "loan_number": ("select loan_number::varchar from event", (NOT_TOLD,)),
    "conversion": ("select name from conversion", (NO_CONVERSION,)),
}
"""SQL of the values that each key has, and those that stand for knowing none."""


def values_of(tables: Tables, key: str) -> list[str]:
    """Every value of a key, in the alphabet's order; those that say that nothing is known come last."""
    query, unknown = VALUES[key]
    found = tables.rows(f"select distinct x from ({query}) t(x) where x is not null and x <> '' order by x")
    return [*(value for (value,) in found), *unknown]


def _name(tables: Tables) -> None:
    """Fills `named`: what every ad is called, the same for attribution and for cost.

    Attribution and cost may tell one campaign by id and by name: see `Campaigns`. It is called by the media
    source that attribution has for it, for cost seldom tells one.
    """
    tables.db.execute(
        "create or replace temp table named (channel varchar, media_source varchar, campaign varchar,"
        " campaign_id varchar, ad_set varchar, ad_set_id varchar, channel_label varchar,"
        " source_label varchar, campaign_label varchar, ad_set_label varchar, ad_number bigint)"
    )
    told = tables.rows(
        "with told as ("
        " select any_value(channel), any_value(media_source), any_value(campaign), any_value(campaign_id),"
        "   any_value(ad_set), any_value(ad_set_id), max(attributed)::int as attributed, ad_number"
        " from (select channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad_number,"
        "     true as attributed from attribution"
        "   union all select channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad_number,"
        "     false as attributed from spend) group by ad_number"
        ") select * from told order by 7 desc, 1, 2, 3, 4, 5, 6"
    )
    known = campaigns(tables)
    sets = Campaigns((_word(known.of(row[0], row[3], row[2])), row[5], row[4]) for row in told)
    sources: dict[object, str] = {}
    by_channel: dict[str, set[str]] = {}
    for channel, media_source, name, id_, _, _, attributed, _ in told:
        if media_source and attributed:
            sources.setdefault(known.of(channel, id_, name), media_source)
            by_channel.setdefault(channel, set()).add(media_source)
    rows: list[tuple[str | int | None, ...]] = []
    for channel, media_source, name, id_, ad_set, ad_set_id, _, number in told:
        campaign = known.of(channel, id_, name)
        alone = by_channel.get(channel, set())
        source = sources.get(campaign) or media_source or (next(iter(alone)) if len(alone) == 1 else channel)
        if not source:
            rows.append((channel, media_source, name, id_, ad_set, ad_set_id, None, None, None, None, number))
            continue
        has_name = bool(campaign.name or campaign.id)
        label = f"{source} / {campaign.label}" if has_name else source
        inner = sets.of(_word(campaign), ad_set_id, ad_set)
        deepest = inner.name or inner.id or NO_AD_SET
        rows.append(
            (
                channel,
                media_source,
                name,
                id_,
                ad_set,
                ad_set_id,
                channel or None,
                media_source or source,
                label,
                f"{label} / {deepest}" if has_name else label,
                number,
            )
        )
    tables.fill_rows(
        "named",
        (
            "channel",
            "media_source",
            "campaign",
            "campaign_id",
            "ad_set",
            "ad_set_id",
            "channel_label",
            "source_label",
            "campaign_label",
            "ad_set_label",
            "ad_number",
        ),
        rows,
    )


def _word(campaign: Campaign) -> str:
    """A campaign as one word, under which its ad sets are gathered."""
    return f"{campaign.channel} {campaign.id or campaign.name}"
