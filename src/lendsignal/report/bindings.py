"""First install against last login: the same loans under both rules, and what lies between them."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from lendsignal.report.credit import (
    each_event,
    expired,
    matrix,
    moved_ids,
    orphans,
    recorded_shares,
    shares,
)
from lendsignal.report.funnel import exact, left_out
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.making import IS_AGREED, LOAN_EVENTS
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import (
    AD_LABELS,
    EVERYTHING,
    NO_TOUCH,
    Slice,
    Tied,
    ad_part,
    facts,
    tied,
    tied_facts,
)
from lendsignal.report.tables import Tables

Label = Callable[[str, str], str]
"""Given an event's type and its business key: the name of the row it is counted in."""

FIRST_LOANS = """
create or replace temp table first_loan_at as
select distinct c.seq from binding_fact c join conversion v on v.user_key = c.user_key
    and v.event_id = c.event_id
where c.type = 'disbursed' and v.name = 'first_loan' and v.certain
"""

LAID = """
create or replace temp table laid as
select c.seq, c.type, {key} as key, c.at_us, c.amount, c.currency, c.part, v.seq is not null as is_first,
    c.last_login, c.first_install, c.held, c.is_late,
    c.is_late and c.as_arrived is distinct from c.last_login as is_misled,
    l.number as last_number, f.number as first_number, lo.ad_number as last_ad, fo.ad_number as first_ad,
    c.at_us - coalesce(nullif(lo.came_us, 0), ls.at_us) as last_age_us,
    c.at_us - coalesce(nullif(fo.came_us, 0), fs.at_us) as first_age_us,
    c.last_login is not null and c.last_login <> c.first_install
        -- the same phone before its app showed an installation is not another installation
        and not (l.device is not distinct from f.device and l.device is not null
            and not (l.shown and f.shown)) as moved
from binding_fact c
left join installation l on l.number = coalesce(c.last_login, c.held)
left join installation f on f.number = coalesce(c.first_install, c.held)
left join first_seen ls on ls.installation = l.number
left join first_seen fs on fs.installation = f.number
left join origin lo on lo.installation = l.number and c.at_us >= lo.from_us and c.at_us < lo.until_us
left join origin fo on fo.installation = f.number and c.at_us >= fo.from_us and c.at_us < fo.until_us
left join first_loan_at v on v.seq = c.seq
"""

OF_AGREED = (
    *("last_login", "is_bound", "currency", "lent_us"),
    *(f"n_{kind}" for kind in LOAN_EVENTS),
    *(f"{what}_{loans}" for loans in ("first", "later") for what in ("n", "told", "amount")),
)
"""What of `agreed` is compared: a row has the events of one user that both rules bind to one installation."""

MOVED = """
with counted as (
    select part, any_value(l.type) as type, coalesce(n.label, l.type) as event, count(*) as n,
        count(*) filter (l.last_login is null) as without, count(*) filter (l.moved) as moved,
        count(*) filter (l.is_late) as late, count(*) filter (l.is_misled) as misled,
        count(*) filter (l.last_login is null and l.held is not null) as held
    from laid l left join labelled n using (seq) group by part, event
    {alike}
)
select part, any_value(type), event, sum(n)::bigint, sum(without)::bigint, sum(moved)::bigint,
    sum(late)::bigint, sum(misled)::bigint, sum(held)::bigint
from counted group by part, event order by part, event
"""

MOVED_ALIKE = """
union all
select part, type, type, n, if(is_bound, 0, n), 0, 0, 0, if(not is_bound and is_held, n, 0) from (
    select place, is_bound, last_login is not null as is_held, {each} from alike group by place, is_bound, 3
) join agreed_fact_part using (place) where n > 0
"""

APART = """
create or replace temp table apart as
select installation from origin group by installation having count(*) > 1
union
select installation from coming_of group by mmp, installation having count(*) > 1
union
select c.installation from coming_of c join agreed a on a.last_login = c.installation
where a.lent_us < c.at_us
"""
"""Installations of which it depends on the moment where they came from: their events are looked at one by
one."""

ALIKE = """
create or replace temp table alike as
select a.*, o.ad_number as ad from agreed_fact a left join origin o on o.installation = a.last_login
"""
"""All others, with where they came from. Some touch has shown each installation: all have come."""

COMING_OF = """
create or replace temp table coming_of as
select mmp, installation, at_us, kind, channel from attribution where installation is not null
"""

CREDITED_ALIKE = "".join(
    f"""
    union all
    select last_login is null, ad, last_login is null, ad, currency, {is_first}, sum(n_{loans}),
        sum(told_{loans}), sum(amount_{loans})
    from alike where n_{loans} > 0 group by all
"""
    for loans, is_first in (("first", True), ("later", False))
)

CREDITED = f"""
create or replace temp table credited as
with counted as (  -- ads have numbers, which are quicker to count by than what they are called
    select last_number is null as no_last, last_ad, first_number is null as no_first, first_ad, currency,
        is_first, count(*) as n, count(amount) as told, sum(amount) as amount
    from laid where type = 'disbursed' group by all
    {{alike}}
)
select {ad_part("source_label", "no_last", "l")} as last_source,
    {ad_part("source_label", "no_first", "f")} as first_source, currency, is_first,
    sum(n)::bigint as n, sum(told)::bigint as told, sum(amount) as amount
from counted left join named l on l.ad_number = last_ad left join named f on f.ad_number = first_ad
group by all
"""
"""Disbursements by where the last login's and the first installation came from."""

KIND = """
case when {a}_device is null or {b}_device is null then 'phone not known'
    when {a}_device <> {b}_device and {a}_app <> {b}_app then 'other phone, other app'
    when {a}_device <> {b}_device then 'other phone'
    when {a}_app <> {b}_app then 'other app on the same phone'
    else 'reinstall' end
"""
KINDS = (
    "reinstall",
    "other phone",
    "other phone, other app",
    "other app on the same phone",
    "phone not known",
)


class Bindings(Report, frozen=True, kw_only=True):
    """`moved` per event type; `sources` and `money` put disbursements side by side; `changes` says why.

    `matrix` has where each loan's credit goes to, `orphans` the installs that nothing follows, `expired` the
    signal that comes too late for its first ad, `shares` organic and returns under both rules, and `recorded`
    what MMPs make of what is sent: see `credit`.
    """

    moved: Table
    sources: Table
    money: Table
    changes: Table
    matrix: Table
    orphans: Table
    expired: Table
    shares: Table
    ids: Table
    recorded: Table


def bindings(
    tables: Tables,
    one: Slice = EVERYTHING,
    *,
    label: Label | None = None,
    switched: date | None = None,
) -> Bindings:
    """Both rules on the same loan events, with all that is known by now.

    An event is *moved* where the installation of the latest login at that moment is not the user's first.
    `label` splits the rows of the first table further, by event type and business key; `by` of the slice
    slices that table. `switched` is the day from which on conversions are sent by the last login. What is
    said of ids and of what MMPs recorded needs tables that were loaded with them. Raises `InputError` where
    the slice names what there is not.
    """
    one.beside("the comparison", "conversion")
    kinds = ", ".join(f"'{kind}'" for kind in LOAN_EVENTS)
    only = f"c.type in ({kinds}) and not c.superseded and not c.reversed"
    beside = (
        "c.user_key, c.event_id, c.type, c.at_us, c.amount, c.currency, c.last_login, c.first_install,"
        " c.held, c.is_late, c.as_arrived"
    )
    if label is not None:
        beside += ", c.key"
    tables.db.execute(COMING_OF)
    how = None if label is not None else _agreed(tables, one)
    if how is not None:
        only += f" and (not {IS_AGREED.format(p='c')} or {how.rest(one)})"
    facts(tables, one, into="binding_fact", only=only, app=False, beside=beside)
    tables.db.execute(FIRST_LOANS)
    tables.db.execute(LAID.format(key="null::varchar" if label is None else "c.key"))
    tables.db.execute(CREDITED.format(alike=CREDITED_ALIKE if how is not None else ""))
    recorded, warnings = recorded_shares(tables, switched)
    return Bindings(
        title=", ".join(filter(None, ("First install against last login", one.words))),
        as_of=tables.as_of,
        moved=_moved(tables, one, label, how is not None),
        sources=_sources(tables),
        money=_money(tables),
        changes=_changes(tables),
        matrix=matrix(tables),
        orphans=orphans(tables),
        expired=expired(tables, how is not None),
        shares=shares(tables, how is not None),
        ids=moved_ids(tables),
        recorded=recorded,
        notes=(*warnings, *left_out(tables)),
    )


def _agreed(tables: Tables, one: Slice) -> Tied | None:
    """Lays the events of which both rules say the same beside, in `alike`, where that was prepared."""
    if tied(tables, one, keys=(*AD_LABELS, "app", "country", "os")) is None:
        return None
    tables.db.execute(APART)
    how = Tied("apart" if tables.number("select count(*) from apart") else None)
    tied_facts(tables, one, how, into="agreed_fact", of="agreed", beside=OF_AGREED)
    tables.db.execute(ALIKE)
    return how


def _moved(tables: Tables, one: Slice, label: Label | None, is_tied: bool) -> Table:
    tables.db.execute("create or replace temp table labelled (seq bigint, label varchar)")
    if label is not None:
        found = tables.rows("select seq, type, coalesce(key, '') from laid")
        tables.fill_rows("labelled", ("seq", "label"), [(seq, label(kind, key)) for seq, kind, key in found])
    alike = MOVED_ALIKE.format(each=each_event()) if is_tied else ""
    counted = tables.rows(MOVED.format(alike=alike))
    order = {kind: place for place, kind in enumerate(LOAN_EVENTS)}
    rows: list[tuple[Cell, ...]] = []
    for part, _, event, n, without, moved, late, misled, held in sorted(
        counted, key=lambda row: (row[0], order[row[1]])
    ):
        rate = Rate(moved, n - without)
        rows.append(
            (
                *part,
                event,
                n,
                without,
                held,
                moved,
                rate.value,
                rate.low,
                rate.high,
                late,
                misled,
                rate.remark,
            )
        )
    return table(
        "Loan events whose last login was not on the first installation",
        columns(
            f"{' '.join(one.names)} event events without_touch held moved moved_share low high late_touch"
            " misled remark",
            moved_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "without_touch: no login by then; held: of these, bound by the first login soon after."
        "\nmoved_share is of the events with a login, with its 95 % interval;"
        f" thin: fewer than {THIN} of them, empty: none."
        f"\nlate_touch: the latest login arrived more than {tables.settle_us / 1e6:g} s after the event did;"
        " misled: what\nhad arrived by then pointed to another installation. Imported history is not judged.",
    )


def _sources(tables: Tables) -> Table:
    found = tables.rows(
        "with one as ("
        "   select last_source as source, n as last, 0 as first, is_first from credited"
        "   union all select first_source, 0, n, is_first from credited)"
        " select source, sum(first)::bigint as by_first, sum(last)::bigint as by_last,"
        "   coalesce(sum(first) filter (is_first), 0)::bigint,"
        "   coalesce(sum(last) filter (is_first), 0)::bigint"
        " from one group by source order by by_last desc, by_first desc, source"
    )
    total = sum(row[2] for row in found)
    rows: list[tuple[Cell, ...]] = []
    for source, by_first, by_last, firsts_by_first, firsts_by_last in found:
        thin = source != NO_TOUCH and min(by_first, by_last) < THIN
        rows.append(
            (
                source,
                by_first,
                by_last,
                by_last - by_first,
                (by_last - by_first) / by_first if by_first else None,
                by_first / total,
                by_last / total,
                firsts_by_first,
                firsts_by_last,
                firsts_by_last - firsts_by_first,
                "thin" if thin else "",
            )
        )
    return table(
        "Disbursements by media source",
        columns(
            "media_source first_install last_login shift shift_share share_first_install share_last_login"
            " first_loans_first_install first_loans_last_login first_loans_shift remark",
            shift_share=SHARE,
            share_first_install=SHARE,
            share_last_login=SHARE,
        ),
        rows,
        "The same disbursements twice: by the source of the first installation, and of the last login's."
        "\nshift: last_login less first_install; shift_share: as a share of first_install."
        "\nfirst loans: disbursements that are a certain first_loan conversion.",
    )


def _money(tables: Tables) -> Table:
    found: list[tuple[str, str, Decimal, Decimal]] = tables.rows(
        "with one as ("
        "   select last_source as source, currency, amount as last, 0 as first from credited where told > 0"
        "   union all select first_source, currency, 0, amount from credited where told > 0)"
        " select source, coalesce(currency, '(none)'), sum(first), sum(last) from one"
        " group by all order by 2, 4 desc, 1"
    )
    return table(
        "Money disbursed by media source",
        columns(
            "media_source currency first_install last_login shift",
            first_install=MONEY,
            last_login=MONEY,
            shift=MONEY,
        ),
        [
            (source, currency, exact(first), exact(last), exact(last - first))
            for source, currency, first, last in found
        ],
        "Exact sums in major units of the currency; currencies are never added up.",
    )


def _changes(tables: Tables) -> Table:
    """What lies between one touch and the next of a user, and between both rules of moved disbursements."""
    steps = {
        kind: (users, changes)
        for kind, users, changes in tables.rows(
            "with step as (select t.user_key, t.installation, t.at_us, t.event_id, i.app as new_app,"
            "   i.device as new_device, i.shown,"
            "   lag(i.app) over mine as old_app, lag(i.device) over mine as old_device,"
            "   lag(i.shown) over mine as old_shown, lag(t.installation) over mine as old,"
            "   row_number() over (partition by t.user_key, t.installation"
            "     order by t.at_us, t.event_id) as times"
            "   from touch t join installation i on i.number = t.installation where not t.test"
            # Most users have one installation, and nothing changes.
            "     and t.user_key in (select user_key from touch where not test group by user_key"
            "       having min(installation) <> max(installation))"
            "   window mine as (partition by t.user_key order by t.at_us, t.event_id))"
            f" select case when times > 1 then 'back to an earlier one' else"
            f" {KIND.format(a='new', b='old')} end as kind, count(distinct user_key), count(*)"
            " from step where old <> installation and not (old_device is not distinct from new_device"
            "   and old_device is not null and not (shown and old_shown)) group by kind"
        )
    }
    moved = dict(
        tables.rows(
            "with one as (select l.device as last_device, l.app as last_app, f.device as first_device,"
            "   f.app as first_app from laid m left join installation l on l.number = m.last_number"
            "   left join installation f on f.number = m.first_number"
            "   where m.type = 'disbursed' and m.moved)"
            f" select {KIND.format(a='last', b='first')} as kind, count(*) from one group by kind"
        )
    )
    rows = [
        (kind, *steps.get(kind, (0, 0)), moved.get(kind, 0)) for kind in (*KINDS, "back to an earlier one")
    ]
    return table(
        "Why the installation changed",
        columns("change users changes moved_disbursements"),
        rows,
        "users and changes: from one login to the next. moved_disbursements: from the first installation"
        "\nto that of the last login. An app of the other platform counts as another app.",
    )
