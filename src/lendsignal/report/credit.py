"""Where the credit of loans goes under both rules of binding: whom one rule hides, and what a switch shows.

All of it reads `laid`, the loan events that `bindings` has laid under both rules. What AppsFlyer does with a
reinstall explains the pattern to expect: without a retargeting ad its events are organic, with one they are a
re-attribution's, so that after a switch to the last login both rise and totals stay as they were
(support.appsflyer.com, "Re-attribution and re-engagement", read 2026-11-22).
"""

from collections.abc import Sequence
from datetime import date
from math import sqrt

from lendsignal.report.days import DAY_US, local_day
from lendsignal.report.funnel import exact
from lendsignal.report.layout import MONEY, SHARE, Cell, Table, columns, table
from lendsignal.report.making import LOAN_EVENTS, words
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import ad_part
from lendsignal.report.tables import Tables

FOLLOWS_WITHIN = (7, 14)
"""Days after an install within which something must follow for it not to be an orphan."""

WINDOWS = (1, 7, 30)
"""Days from an install within which ad accounts can be set to count what follows."""

ALARMING = 3.0
"""Standard errors by which organic must fall before it is called a fall: by chance once in 740 times."""

RETURNED = "('re_engagement', 're_attribution')"
"""SQL of the kinds that an ad for people who had the app before brought about."""


ORGANIC = f"channel = 'organic' and kind not in {RETURNED}"

EXPIRING = ("applied", "credit_granted", "disbursed", "repaid")
"""The event types that ad accounts optimise for."""


def matrix(tables: Tables) -> Table:
    """Disbursements by media source of the first installation and of the last login's."""
    found = tables.rows(
        "select first_source, last_source, currency, sum(n)::bigint as n,"
        " coalesce(sum(n) filter (is_first), 0)::bigint, sum(amount) from credited"
        " group by first_source, last_source, currency order by first_source, n desc, last_source, currency"
    )
    whole: dict[str, int] = {}
    for source, _, _, n, *_ in found:
        whole[source] = whole.get(source, 0) + n
    rows: list[tuple[Cell, ...]] = []
    for first, last, currency, n, firsts, amount in found:
        rows.append((first, last, currency or "(none)", n, firsts, n / whole[first], exact(amount)))
    return table(
        "Where the credit of disbursements goes",
        columns(
            "first_install last_login currency disbursements first_loans share_of_first amount",
            share_of_first=SHARE,
            amount=MONEY,
        ),
        rows,
        "Each disbursement once: the source of the user's first installation, and that of the last login's."
        "\nRows add up to the disbursements of each source under each rule: credit moves, none is made.",
    )


def orphans(tables: Tables) -> Table:
    """Installs that MMPs told of and that no event of the back end was bound to, under both rules."""
    _follow(tables)
    rows: list[tuple[Cell, ...]] = []
    for mmp, channel, kind, days, n, by_first, by_last in tables.rows(
        "select mmp, channel, kind, days, count(*),"
        " count(*) filter (coalesce(first_us > at_us + days * $day, true)),"
        " count(*) filter (coalesce(last_us > at_us + days * $day, true))"
        " from followed cross join (select unnest($within) as days)"
        # Who came too lately to have been followed is neither.
        " where at_us + days * $day <= $now group by all order by all",
        {"day": DAY_US, "within": list(FOLLOWS_WITHIN), "now": _now_us(tables)},
    ):
        first, last = Rate(by_first, n), Rate(by_last, n)
        rows.append(
            (
                mmp,
                channel or "(not attributed)",
                kind,
                days,
                n,
                by_first,
                first.value,
                by_last,
                last.value,
                last.low,
                last.high,
                (by_first - by_last) / n,
                first.remark,
            )
        )
    return table(
        "Installs that nothing follows",
        columns(
            "mmp channel kind days installs orphans_first_install share_first_install orphans_last_login"
            " share_last_login low high hidden_share remark",
            share_first_install=SHARE,
            share_last_login=SHARE,
            low=SHARE,
            high=SHARE,
            hidden_share=SHARE,
        ),
        rows,
        "orphan: no event of the back end is bound to the install within so many days of it."
        "\nhidden_share: installs that look dead under the first install and are not; low, high: the 95 %"
        "\ninterval of share_last_login. Users who never log in again stay orphans under both.",
    )


COME = """
create or replace temp table come as
select row_number() over () as n, a.mmp, a.channel, a.kind, a.at_us, a.installation
from attribution a left join first_seen s on s.installation = a.installation
where a.at_us > 0 and a.kind in ('install', 'reinstall', 're_attribution') and not coalesce(s.test, false)
"""

FOLLOWING = """
create or replace temp table following_{rule} as
with event_at as (
    select {rule} as installation, at_us from placed where {rule} is not null
        and not test and not superseded and type not in ('logged_in', 'app_opened')
), near as (
    select c.n, c.installation, c.at_us, f.at_us as first_us from come c
    join (select installation, min(at_us) as at_us from event_at group by installation) f using (installation)
), late as (  -- something came before already: only of these it is looked what came next
    select * from near where first_us < at_us
)
select n, first_us as us from near where first_us >= at_us
union all
select l.n, e.at_us from late l
asof join (select * from event_at where installation in (select installation from late)) e
on e.installation = l.installation and l.at_us <= e.at_us
"""

FOLLOWED = """
create or replace temp table followed as
select c.mmp, c.channel, c.kind, c.at_us, l.us as last_us, f.us as first_us from come c
left join following_last_login l using (n) left join following_first_install f using (n)
"""


def _follow(tables: Tables) -> None:
    """Fills `followed`: what MMPs told of, and the first event after it that is bound there by each rule."""
    tables.db.execute(COME)
    for rule in ("last_login", "first_install"):
        tables.db.execute(FOLLOWING.format(rule=rule))
    tables.db.execute(FOLLOWED)


def each_event(kinds: Sequence[str] = LOAN_EVENTS) -> str:
    """SQL of a row for each of these types with its events in a group of `alike`: `type` and `n`."""
    sums = ", ".join(f"sum(n_{kind})::bigint" for kind in kinds)
    return f"unnest([{words(kinds)}]) as type, unnest([{sums}]) as n"


def expired(tables: Tables, is_tied: bool) -> Table:
    """Loan events too old for the window of the first install, and young enough for the last login's.

    Those that both rules bind alike are as old by the one as by the other: with `is_tied` they are taken from
    `alike`.
    """
    rows: list[tuple[Cell, ...]] = []
    saved_by = {
        days: f"count(*) filter (first_age_us > {days * DAY_US} and last_age_us <= {days * DAY_US})"
        for days in WINDOWS
    }
    counts = ", ".join(f"{count} as saved_{days}" for days, count in saved_by.items())
    zeros = ", ".join("0" for _ in saved_by)
    alike = (
        f" union all select false, ad, type, n, {zeros} from (select ad, {each_event(EXPIRING)} from alike"
        "   where last_login is not null group by ad) where n > 0"
        if is_tied
        else ""
    )
    found = tables.rows(
        f"with one as (select last_number is null as nobody, last_ad, type, count(*) as n, {counts} from laid"
        "   where last_age_us is not null and first_age_us is not null"
        f"     and type in ({words(EXPIRING)}) group by all{alike})"
        f" select {ad_part('channel_label', 'nobody', 'o')} as channel, type, sum(n)::bigint,"
        f" {', '.join(f'sum(saved_{days})::bigint' for days in saved_by)}"
        " from one left join named o on o.ad_number = last_ad group by 1, 2 order by 1, 2"
    )
    for channel, event, days, n, saved in (
        (channel, event, days, n, saved)
        for channel, event, n, *each in found
        for days, saved in zip(saved_by, each, strict=True)
    ):
        rate = Rate(saved, n)
        rows.append((channel, event, days, n, saved, rate.value, rate.low, rate.high, rate.remark))
    return table(
        "Signal that the first install's window has lost",
        columns(
            "channel event days events recovered recovered_share low high remark",
            recovered_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "recovered: more than so many days after the first installation came, and within as many of the"
        "\nlast login's: events that the platform can use now. channel: of the last login's installation.",
    )


def shares(tables: Tables, is_tied: bool) -> Table:
    """Organic and returning by an ad, of disbursements, under both rules, for each MMP that tells.

    With `is_tied` those that both rules bind alike are taken from `alike`: each came after its installation.
    """
    alike = (
        " union all select mmp, rule, kind, channel, n, firsts from ("
        "   select m.mmp, c.kind, c.channel, sum(n_first + n_later) as n, sum(n_first) as firsts"
        "   from alike a cross join mmp m left join coming_of c"
        "     on c.mmp = m.mmp and c.installation = a.last_login where n_first + n_later > 0 group by all)"
        " cross join (select unnest(['first_install', 'last_login']) as rule)"
        if is_tied
        else ""
    )
    both = " union all ".join(
        f"select '{rule}' as rule, l.is_first, l.at_us, coalesce(l.{rule}, l.held) as installation"
        " from laid l where l.type = 'disbursed'"
        for rule in ("first_install", "last_login")
    )
    rows: list[tuple[Cell, ...]] = []
    for mmp, rule, events, n, organic, returned in tables.rows(
        "with mmp as (select distinct mmp from attribution),"
        " again as (select mmp, installation from coming_of group by all having count(*) > 1),"
        f" laid_by as (select m.mmp, d.* from ({both}) d cross join mmp m),"
        " placed as ("
        # Most installations came once: only those that came again are sorted.
        "   select d.*, c.kind, c.channel"
        "   from (select * from laid_by anti join again using (mmp, installation)) d"
        "   left join coming_of c on c.mmp = d.mmp and c.installation = d.installation"
        "     and d.at_us >= c.at_us"
        "   union all"
        "   select d.*, c.kind, c.channel"
        "   from (select * from laid_by semi join again using (mmp, installation)) d"
        "   asof left join coming_of c on c.mmp = d.mmp and c.installation = d.installation"
        "     and d.at_us >= c.at_us),"
        " counted as ("
        "   select mmp, rule, kind, channel, count(*) as n, count(*) filter (is_first) as firsts from placed"
        f"   group by all{alike})"
        " select mmp, rule, unnest(['disbursed', 'first_loan']) as event,"
        "   unnest([sum(n)::bigint, sum(firsts)::bigint]),"
        f"   unnest([{sums_of(ORGANIC)}]), unnest([{sums_of(f'kind in {RETURNED}')}])"
        " from counted group by mmp, rule order by mmp, event, rule"
    ):
        one, other = Rate(organic, n), Rate(returned, n)
        rows.append(
            (
                mmp,
                events,
                rule,
                n,
                organic,
                one.value,
                one.low,
                one.high,
                returned,
                other.value,
                other.low,
                other.high,
                one.remark,
            )
        )
    return table(
        "Organic and returns by an ad, under both rules",
        columns(
            "mmp event binding events organic organic_share organic_low organic_high returned returned_share"
            " returned_low returned_high remark",
            organic_share=SHARE,
            organic_low=SHARE,
            organic_high=SHARE,
            returned_share=SHARE,
            returned_low=SHARE,
            returned_high=SHARE,
        ),
        rows,
        "returned: on an installation whose latest coming by then was a re-engagement or re-attribution, by"
        "\nthe MMP's own meaning. The events are the same under both rules: only where they stand differs."
        "\nRead first_loan beside: the last login credits former borrowers to the ad that brought them back.",
    )


def sums_of(held: str) -> str:
    """SQL of how many disbursements, and how many of them first loans, something holds for."""
    return ", ".join(f"coalesce(sum({n}) filter ({held}), 0)::bigint" for n in ("n", "firsts"))


def moved_ids(tables: Tables) -> Table:
    """Of disbursements that moved, which ids are other ones on the two installations."""
    tables.db.execute(
        "create or replace temp table moved_pair as"
        " select last_login, first_install from laid where type = 'disbursed' and moved"
    )
    tables.db.execute(
        "create or replace temp table moved_look as select * from touch_look where shown in ("
        "   select shown from look_number where installation in ("
        "     select last_login from moved_pair union select first_install from moved_pair))"
    )
    rows: list[tuple[Cell, ...]] = []
    for kind, both, same in tables.rows(
        "with one as ("
        "   select kind, installation, list(value) as ids from"
        f"     ({tables.known_in('moved_look')}) group by all)"
        " select a.kind, count(*), count(*) filter (list_has_any(a.ids, b.ids))"
        " from moved_pair l join one a on a.installation = l.last_login"
        " join one b on b.installation = l.first_install and b.kind = a.kind group by all order by all"
    ):
        rate = Rate(both - same, both)
        rows.append((kind, both, same, both - same, rate.value, rate.low, rate.high, rate.remark))
    return table(
        "Which ids the moved disbursements would have missed",
        columns(
            "id disbursements same other other_share low high remark",
            other_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "Of moved disbursements with the id known on both installations. An MMP that counts by an id with"
        "\nother_share near 100 % gets each of them on the wrong install under the first-install rule; one"
        "\nthat counts by an id near 0 % gets them right under both.",
    )


def recorded_shares(tables: Tables, switched: date | None) -> tuple[Table, tuple[str, ...]]:
    """What MMPs recorded of what we sent, by week, or before and after a switch; and what is alarming in it.

    Organic that falls while the total does not is the sign of a wrong id: the MMP finds another install.
    """
    day = local_day(tables, "r.at_us", "r.app")
    span = (
        f"date_trunc('week', {day})::varchar"
        if switched is None
        else f"if({day} < date '{switched}', 'before', 'since {switched}')"
    )
    found = tables.rows(
        f"select r.mmp, {span} as span, count(*), count(*) filter (r.channel = 'organic'"
        f"   and r.kind not in {RETURNED}), count(*) filter (r.kind in {RETURNED}), min(r.at_us)"
        " from recorded r where r.conversion <> '' and r.is_primary"
        " group by all order by r.mmp, min(r.at_us)"
    )
    rows: list[tuple[Cell, ...]] = []
    warnings: list[str] = []
    earlier: dict[str, tuple[int, int]] = {}
    for mmp, when, n, organic, returned, _ in found:
        before = earlier.get(mmp, (0, 0))
        fell = _fell(before, (organic, n))
        one, other = Rate(organic, n), Rate(returned, n)
        remark = " ".join(filter(None, (one.remark, "organic fell" if fell else "")))
        rows.append((mmp, when, n, organic, one.value, one.low, one.high, returned, other.value, remark))
        if fell:
            warnings.append(
                f"{mmp}: organic fell to {organic / n:.1%} in {when}, from {before[0] / before[1]:.1%}:"
                " is the right id sent? With the last login organic rises."
            )
        earlier[mmp] = before[0] + organic, before[1] + n
    return (
        table(
            "What MMPs made of what was sent",
            columns(
                "mmp when events organic organic_share low high returned returned_share remark",
                organic_share=SHARE,
                low=SHARE,
                high=SHARE,
                returned_share=SHARE,
            ),
            rows,
            "Events with our conversion id in the MMP's raw data. organic fell: by more than chance below all"
            "\nthat came before. After a switch to the last login organic and returns both rise.",
        ),
        tuple(warnings),
    )


def _fell(before: Sequence[int], now: Sequence[int]) -> bool:
    """Whether a share is lower than before by more than chance; both are hits and cases."""
    (hits, n), (found, of) = before, now
    if min(n, of) < THIN:
        return False
    common = (hits + found) / (n + of)
    error = sqrt(common * (1 - common) * (1 / n + 1 / of))
    return error > 0 and (found / of - hits / n) / error < -ALARMING


def _now_us(tables: Tables) -> int:
    return 0 if tables.as_of is None else round(tables.as_of.timestamp() * 1_000_000)
