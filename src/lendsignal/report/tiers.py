"""How the quality tiers keep their word: the part of grants in each, what their loans came to, and the cuts.

A tier is a share of grants, the best ones by score or by predicted value, and tiers are nested: the best 20 %
are among the best 30 %. What cuts there are, how scores drift, and when new cuts follow is said in
docs/reference/tiers.md; this report counts what came of it.
"""

from collections.abc import Sequence

from lendsignal.clock import from_us
from lendsignal.derive import CutTable
from lendsignal.derive.recut import Watched, scope_of
from lendsignal.errors import InputError
from lendsignal.report.earnings import ranked_parts
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import EVERYTHING, Slice, sent_facts
from lendsignal.report.spend import rounded
from lendsignal.report.tables import Tables

GRADED = """
create or replace temp table graded as
select f.part, v.user_key as user,
    case when v.name = $base then 'all' when v.name like 'credit_top%' then 'score' else 'value' end as basis,
    case when v.name = $base then 100
        else substr(v.name, position('_top' in v.name) + 4)::integer end as share,
    v.event_id, c.loan, c.grant_id, c.application_id
from conversion v join sent_fact f on f.record = v.record
left join counted c on c.user_key = v.user_key and c.event_id = v.event_id
where (v.name = $base or v.name like 'credit_top%' or v.name like 'value_top%')
    and v.certain and not v.test and v.at_us >= $since
"""

WHAT_IF = """
insert into graded
with scored as (  -- the best first, among grants of one country, product and version of the score
    select g.part, g.user, g.event_id, g.loan, g.grant_id, g.application_id, row_number() over scope as place,
        count(*) over (partition by a.country, s.product, s.score_version) as n
    from graded g join raw_events s on s.user_key = g.user and s.event_id = g.event_id and s.verdict = 'taken'
    left join app a on a.app = s.app
    where g.basis = 'all' and s.score is not null
    window scope as (partition by a.country, s.product, s.score_version
        order by s.score desc, hash(g.user, g.event_id))
)
select part, user, 'what if', $share::integer, event_id, loan, grant_id, application_id from scored
where place <= ceil(n * $share / 100)
"""

LENT = """
create or replace temp table graded_loan as
with lent as (
    select user_key as user, loan, grant_id, application_id, coalesce(currency, '(none)') as currency
    from counted where type = 'disbursed' and loan is not null and not test and not superseded
        and not reversed
), lost as (
    select distinct loan from counted where type in ('defaulted', 'overdue') and loan is not null
        and not superseded and not reversed and (type = 'defaulted' or dpd >= $default_dpd)
), earned as (
    select loan, sum(earned) as earned, sum(lost) as lost from booked group by loan
)
select distinct g.part, g.basis, g.share, l.loan, l.currency, o.loan is not null as is_lost,
    coalesce(e.earned, 0) as earned, coalesce(e.lost, 0) as lost
from graded g join lent l on l.user = g.user and (l.loan = g.loan
    or (g.loan is null and l.grant_id is not null and l.grant_id = g.grant_id)
    or (g.loan is null and (l.grant_id is null or g.grant_id is null)
        and l.application_id = g.application_id))
left join lost o on o.loan = l.loan left join earned e on e.loan = l.loan
"""


class TiersReport(Report, frozen=True, kw_only=True):
    """`shares` holds each tier to its share; `quality` says what its loans came to; `drift` whether scores
    have moved; `cuts` has every table of cuts there ever was."""

    shares: Table
    quality: Table
    drift: Table
    cuts: Table


def tiers(
    tables: Tables,
    one: Slice = EVERYTHING,
    *,
    watched: Sequence[Watched] = (),
    history: Sequence[CutTable] = (),
    in_force: str | None = None,
    per_grant: bool = False,
    what_if: Sequence[int] = (),
) -> TiersReport:
    """The tiers of first grants, or with `per_grant` of all of them, since there were cuts.

    `watched` is how today's cuts do, `history` every table of them, `in_force` the version that decides now.
    `what_if` are shares in per cent that are cut beside, by the scores that the grants came with: of those
    looked at the best first, as many as the share says. Raises `InputError` where the slice names what there
    is not, or a share is none.
    """
    wrong = [share for share in what_if if not 0 < share < 100]
    if wrong:
        raise InputError("what_if", f"{wrong[0]}: a share is from 1 to 99 per cent")
    sent_facts(tables, one.beside("the report", "conversion"))
    since = min((made.made_us for made in history), default=-(2**62))
    base = "credit" if per_grant else "first_credit"
    tables.db.execute(GRADED, {"base": base, "since": since})
    for share in sorted(set(what_if)):
        tables.db.execute(WHAT_IF, {"share": share})
    tables.db.execute(LENT, {"default_dpd": tables.default_dpd})
    return TiersReport(
        title=", ".join(filter(None, ("Tiers", one.words))),
        as_of=tables.as_of,
        shares=_shares(tables, one),
        quality=_quality(tables, one),
        drift=_drift(watched),
        cuts=_cuts(history, in_force),
        notes=() if history else ("No table of cuts was made here: tiers are the lender's own, or none.",),
    )


def _shares(tables: Tables, one: Slice) -> Table:
    grants: dict[tuple[str, ...], int] = {}
    inside: dict[tuple[str, ...], list[tuple[str, int, int]]] = {}
    for part, basis, share, n in tables.rows(
        "select part, basis, share, count(distinct hash(user, event_id)) from graded"
        " group by all order by part, basis, share"
    ):
        key = tuple(part)
        if basis == "all":
            grants[key] = n
        else:
            inside.setdefault(key, []).append((basis, share, n))
    rows: list[tuple[Cell, ...]] = []
    for part in ranked_parts(inside.keys() | grants.keys(), one, grants):
        n = grants.get(part, 0)
        for basis, share, hits in inside.get(part, []):
            rate, target = Rate(min(hits, n), n), share / 100
            off = rate.low is not None and rate.high is not None and not rate.low <= target <= rate.high
            remark = " ".join(filter(None, (rate.remark, "off" if off else "")))
            rows.append((*part, basis, share, target, n, hits, rate.value, rate.low, rate.high, remark))
    return table(
        "Realised share of each tier",
        columns(
            f"{' '.join(one.names)} basis tier target grants in_tier realised low high remark",
            target=SHARE,
            realised=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "realised: of the grants that could be in a tier, with its 95 % interval; off: the target is outside."
        "\nA slice need not keep the target: cuts are made for a scope and not for a campaign."
        f"\nthin: fewer than {THIN} grants.",
    )


def _quality(tables: Tables, one: Slice) -> Table:
    found = tables.rows(
        "select part, basis, share, currency, count(*), count(*) filter (is_lost), sum(earned), sum(lost)"
        " from graded_loan group by part, basis, share, currency"
        " order by part, basis = 'all', basis, share, currency"
    )
    rows: list[tuple[Cell, ...]] = []
    for part, basis, share, currency, loans, bad, earned, lost in found:
        rate = Rate(bad, loans)
        rows.append(
            (
                *part,
                basis,
                share,
                currency,
                loans,
                bad,
                rate.value,
                rate.low,
                rate.high,
                rounded(earned, currency),
                rounded(lost, currency),
                rounded((earned - lost) / loans, currency),
                rate.remark,
            )
        )
    return table(
        "What the loans of each tier came to",
        columns(
            f"{' '.join(one.names)} basis tier currency loans lost bad_rate low high revenue loss"
            " value_per_loan remark",
            bad_rate=SHARE,
            low=SHARE,
            high=SHARE,
            revenue=MONEY,
            loss=MONEY,
            value_per_loan=MONEY,
        ),
        rows,
        "The loans paid out on grants of the tier; 100 is all grants. Tiers are nested: each holds those"
        "\nbefore it. value_per_loan: fees repaid less principal lost, so far. Loans still running can still"
        "\nearn and be lost, in every tier alike.",
    )


def _drift(watched: Sequence[Watched]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            seen.scope.label(),
            seen.basis,
            seen.n,
            seen.psi,
            seen.psi_limit,
            seen.off,
            ""
            if seen.psi is None or seen.psi_limit is None
            else "moved"
            if seen.psi > seen.psi_limit
            else "by chance",
        )
        for seen in watched
    ]
    return table(
        "Whether scores have moved",
        columns("scope basis grants psi noise_floor off remark", off=SHARE),
        rows,
        "psi: how the scores of the last seven days' grants differ from those that the cuts were made of;"
        "\nbelow noise_floor chance alone does as much. off: how far the worst tier is from its share.",
    )


def _cuts(history: Sequence[CutTable], in_force: str | None) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{from_us(one.made_us):%Y-%m-%d %H:%M:%S}",
            one.version,
            one.version == in_force,
            scope_of(cut).label(),
            cut.basis,
            cut.share,
            cut.cut,
            made.reason,
            made.n,
        )
        for one in history
        for made in one.sets
        if made.made_us == one.made_us
        for cut in made.cuts
    ]
    return table(
        "Every cut there ever was",
        columns("made version in_force scope basis tier cut reason grants"),
        rows,
        "made: UTC. A table holds from then on and changes nothing that was decided before; scopes that did"
        "\nnot change keep theirs.",
    )
