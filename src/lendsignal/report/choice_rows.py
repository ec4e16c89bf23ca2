"""Installs, and returns through an ad, with what came of each: what advice on events is reckoned from.

A row is one *coming*. For acquisition it is an installation that an MMP attributed, whether its user ever
registered or not, or the first installation of a new user that no MMP spoke of. For re-engagement it is a
return that an MMP credits to an ad. Hours are from the coming; money is in the app's own currency.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from lendsignal.clock import MICROSECOND, to_us
from lendsignal.report.comings import Comings, EventRows, Floats, Grants, Objective
from lendsignal.report.tables import Tables

HOUR_US = 3_600_000_000

EVENTS: Mapping[Objective, tuple[str, ...]] = {
    "acquisition": ("registration", "first_application", "first_credit", "first_loan"),
    "re-engagement": ("disbursement", "repeat_loan"),
}
"""Events that every lender has; tiers and values stand beside them where there are any."""

FACTS = ("channel", "campaign", "ad_set", "ad", "hour")
"""What is known of everybody who came, the same of those who never registered: stand-ins for what a platform
sees. A phone is known of users alone, and would give away who became one."""

NEW = """
create or replace temp table choice_came as
with known as (
    select user, arg_min(own, (at_us, event_id)) as installation, min(at_us) as at_us,
        arg_min(app, (at_us, event_id)) as app
    from touch where own is not null and not test group by user
), first_user as (
    select * from known qualify row_number() over (partition by installation order by at_us, user) = 1
), old as (  -- who did anything before the first login that we know of is not new
    select k.user from known k join counted c on c.user = k.user
    where c.at_us < k.at_us - 86400000000 group by 1
), told as (
    select * from attribution where kind = 'install' and at_us > 0
    qualify row_number() over (
        partition by coalesce(installation::varchar, app || ' ' || id) order by at_us, feed) = 1
), mine as (
    select u.user, coalesce(nullif(t.app, ''), u.app) as app, least(t.at_us, u.at_us) as at_us, t.channel,
        t.campaign, t.campaign_id, t.ad_set, t.ad_set_id, t.ad
    from told t join first_user u on u.installation = t.installation
    union all
    select null, app, at_us, channel, campaign, campaign_id, ad_set, ad_set_id, ad
    from told where installation is null
    union all
    select u.user, u.app, u.at_us, '', '', '', '', '', ''
    from first_user u anti join told using (installation)
)
select row_number() over (
    order by at_us, user, app, channel, campaign, campaign_id, ad_set, ad_set_id, ad) - 1 as row, * from mine
where user is null or user not in (select user from old)
"""

BACK = """
create or replace temp table choice_came as
with owner as (
    select own as installation, arg_min(user, (at_us, event_id)) as user from touch
    where own is not null and not test group by 1
)
select row_number() over (
    order by a.at_us, o.user, a.channel, a.campaign, a.campaign_id, a.ad_set, a.ad_set_id, a.ad
) - 1 as row, o.user, a.app, a.at_us, a.channel,
    a.campaign, a.campaign_id, a.ad_set, a.ad_set_id, a.ad
from attribution a join owner o on o.installation = a.installation
where a.kind in ('re_engagement', 're_attribution') and a.at_us > 0
"""

POSTED = """
create or replace temp table choice_posted as
select c.user, c.name, c.event_id, min(d.answered_us) as answered_us, max(v.amount)::double as value
from conversion c left join entry e on coalesce(e.rebinds, e.record) = c.record
left join delivery d on d.id = e.id and d.what = 'accepted' left join valued v on v.id = e.id
where not c.test group by all
"""

HAPPENED = """
create or replace temp table choice_happened as
with fact as (
    select c.user, c.event_id, c.at_us, c.type, c.received_us, c.history,
        case c.type when 'registered' then 'registration' when 'applied' then 'first_application'
            when 'credit_granted' then 'first_credit' when 'disbursed' then 'first_loan' end as name,
        row_number() over (partition by c.user, c.type order by c.at_us, c.seq) as nth
    from counted c
    where c.type in ('registered', 'applied', 'credit_granted', 'disbursed')
        and not c.test and not c.superseded and not c.reversed
), named as (
    select * from fact where nth = 1 and $new
    union all by name
    select * replace ('disbursement' as name) from fact where type = 'disbursed' and not $new
    union all by name
    select * replace ('repeat_loan' as name) from fact where type = 'disbursed' and nth > 1 and not $new
    union all by name
    select f.* replace (c.name as name) from conversion c
    join fact f on f.user = c.user and f.event_id = c.event_id and f.type = 'credit_granted'
    where (c.name like 'credit\\_top%' escape '\\' or c.name like 'value\\_top%' escape '\\') and $new
)
select n.user, n.name, n.type, n.event_id, n.at_us,
    -- what was imported as history was never sent: it stands for an event that is told at once
    coalesce(p.answered_us, case when n.history then n.at_us else n.received_us end) as told_us
from named n left join choice_posted p on p.user = n.user and p.event_id = n.event_id
    and p.name = case n.name when 'first_application' then 'application' else n.name end
"""

SIGNALS = """
select w.name, w.row, min(h.at_us - w.at_us) / 3600e6 as hours,
    arg_min(h.told_us, h.at_us) as told_us, any_value(w.at_us) as came_us,
    max(k.at_us - w.at_us) / 3600e6 as asked
from (select c.*, n.name from choice_came c cross join (select distinct name from choice_happened) n) w
join choice_happened h on h.user = w.user and h.name = w.name and h.at_us >= w.at_us - $slack
left join (select user, at_us from counted where type = 'applied' and not superseded) k
    on h.type in ('credit_granted', 'disbursed') and k.user = w.user
    and k.at_us >= w.at_us - $slack and k.at_us <= h.at_us
group by w.name, w.row order by w.name, w.row
"""

VALUES = """
select c.row, min(h.at_us - c.at_us) / 3600e6 as hours,
    min(coalesce(p.answered_us, h.told_us) - c.at_us) / 3600e6 as told, arg_min(p.value, h.at_us) as value
from choice_came c join choice_happened h on h.user = c.user and h.at_us >= c.at_us - $slack
    and h.name in (select unnest($names))
join choice_posted p on p.user = h.user and p.event_id = h.event_id and p.name = h.name and p.value > 0
group by c.row order by c.row
"""

MARGIN = """
with loan as (
    select user, loan_id, min(at_us) as at_us, max(amount) as amount from counted
    where type = 'disbursed' and not test and not superseded and not reversed
        and loan_id is not null and amount is not null group by all
), paid as (
    select user, loan_id, at_us, amount from counted
    where type = 'repaid' and not superseded and not reversed and amount is not null
), lost as (
    select user, loan_id, min(at_us) as at_us from counted
    where (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd)) and not superseded group by all
), ended as (
    select c.row, l.loan_id, l.amount::double as amount,
        coalesce(sum(p.amount) filter (p.at_us <= c.at_us + $horizon), 0)::double as paid,
        bool_or(b.at_us <= c.at_us + $horizon) as lost
    from choice_came c join loan l on l.user = c.user
        and l.at_us >= c.at_us - $slack and l.at_us <= c.at_us + $horizon
    left join paid p on p.user = l.user and p.loan_id = l.loan_id
    left join lost b on b.user = l.user and b.loan_id = l.loan_id
    group by all
)
select row, sum(paid - amount) filter (coalesce(lost, false) or paid >= amount) as margin from ended
group by row order by row
"""

VALUED: Mapping[str, tuple[str, ...]] = {
    "value": ("first_credit", "first_loan", "repeat_loan"),
    "value_at_apply": ("first_application",),
}
"""Signals that are told with a value, and the conversions that may carry it."""

SLACK_US = HOUR_US
"""A registration may be a little before the coming as the MMP dates it."""


def comings(
    tables: Tables,
    objective: Objective,
    horizon: timedelta,
    values: Mapping[str, float] | None = None,
    hoped: Mapping[str, float] | None = None,
) -> list[Comings]:
    """Everybody who came, app by app; those of a test user are left out.

    `values` has what a model says users are worth, by `brand:user_id`: it stands for the margin then, without
    waiting for the horizon, and who is not in it was never granted and is worth nothing. `hoped` has what it
    said of them at their application: what platforms would be told then, where no route tells it yet.
    """
    if tables.as_of is None:
        return []
    new = objective == "acquisition"
    tables.db.execute(NEW if new else BACK)
    tables.db.execute(POSTED)
    tables.db.execute(HAPPENED, {"new": new})
    rows = tables.rows(
        "select coalesce(app, ''), at_us, coalesce(channel, ''),"
        " coalesce(nullif(campaign, ''), campaign_id, ''), coalesce(nullif(ad_set, ''), ad_set_id, ''),"
        " coalesce(ad, '') from choice_came order by row"
    )
    if not rows:
        return []
    app, at_us, channel, campaign, ad_set, ad = (list(column) for column in zip(*rows, strict=True))
    count = len(rows)
    age = (to_us(tables.as_of) - np.array(at_us, dtype=np.float64)) / (24 * HOUR_US)
    users = [user or "" for (user,) in tables.rows("select user from choice_came order by row")]
    if values is None:
        margin = _margin(tables, count, horizon)
        margin[age * 24 * HOUR_US < horizon // MICROSECOND] = np.nan
    else:
        margin = np.array([values.get(user, 0.0) for user in users])
    events = [*_events(tables, EVENTS[objective], count), *_values(tables, count)]
    if hoped and new and all(one.name != "value_at_apply" for one in events):
        events += _hoped(events, [hoped.get(user, 0.0) for user in users])
    hours = [str(at // HOUR_US % 24) for at in at_us]
    facts = dict(zip(FACTS, (channel, campaign, ad_set, ad, hours), strict=True))
    currency = dict(tables.rows("select app, currency from app"))
    found = []
    for name in sorted(set(app)):
        mine = np.array([place for place, one in enumerate(app) if one == name])
        found.append(
            Comings(
                app=name,
                currency=currency.get(name) or "",
                age_days=age[mine],
                margin=margin[mine],
                channel=_taken(channel, mine),
                campaign=_taken(campaign, mine),
                ad_set=_taken(ad_set, mine),
                facts={key: _taken(column, mine) for key, column in facts.items()},
                events=tuple(_of(one, mine) for one in events),
            )
        )
    return found


def grants_and_loans(tables: Tables) -> Grants:
    """How many grants and loans there are, and how many grants were first ones."""
    ((grants, first, loans),) = tables.rows(
        "select count(*) filter (type = 'credit_granted'),"
        " count(distinct user) filter (type = 'credit_granted'), count(*) filter (type = 'disbursed')"
        " from counted where not test and not superseded and not reversed"
    )
    return Grants(grants=grants, first=first, loans=loans)


def _events(tables: Tables, always: Sequence[str], count: int) -> list[EventRows]:
    found = {name: _blank(name, count) for name in always}
    told = _columns(tables, SIGNALS, {"slack": SLACK_US})
    for name in sorted(set(told["name"].tolist())):
        mine = told["name"] == name
        row = told["row"][mine].astype(np.int64)
        asked = np.ma.filled(told["asked"][mine].astype(np.float64), np.inf)
        one = found.setdefault(name, _blank(name, count))
        one.hours[row] = np.maximum(told["hours"][mine], 0.0)
        one.told_hours[row] = np.maximum(
            (told["told_us"][mine] - told["came_us"][mine]) / HOUR_US, one.hours[row]
        )
        one.asked_hours[row] = np.maximum(asked, 0.0)
        one.sent[row] = 1.0
    return list(found.values())


def _columns(tables: Tables, query: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns of a query, masked where something is not known."""
    return tables.db.execute(query, dict(asked)).fetchnumpy()


def _blank(name: str, count: int) -> EventRows:
    never = np.full(count, np.inf)
    return EventRows(
        name=name, hours=never, told_hours=never.copy(), asked_hours=never.copy(), sent=np.zeros(count)
    )


def _values(tables: Tables, count: int) -> list[EventRows]:
    """The signals of which a conversion of each coming was sent with a value."""
    found = []
    for name, carriers in VALUED.items():
        told = _columns(tables, VALUES, {"slack": SLACK_US, "names": list(carriers)})
        row = told["row"].astype(np.int64)
        if not len(row):
            continue
        one = _blank(name, count)
        one.hours[row] = np.maximum(told["hours"], 0.0)
        one.told_hours[row] = np.maximum(told["told"], one.hours[row])
        one.sent[row] = told["value"]
        found.append(one)
    return found


def _hoped(events: Sequence[EventRows], hoped: Sequence[float]) -> list[EventRows]:
    """Applications, told with what a model said of each; who is worth nothing is not told of."""
    found = []
    for one in events:
        if one.name == "first_application":
            sent = np.where(np.isfinite(one.hours), np.maximum(hoped, 0.0), 0.0)
            never = np.where(sent > 0, 0.0, np.inf)
            found.append(
                EventRows(
                    name="value_at_apply",
                    hours=one.hours + never,
                    told_hours=one.told_hours + never,
                    asked_hours=one.asked_hours + never,
                    sent=sent,
                )
            )
    return found


def _margin(tables: Tables, count: int, horizon: timedelta) -> Floats:
    found = np.zeros(count)
    asked = {
        "slack": SLACK_US,
        "horizon": horizon // MICROSECOND,
        "default_dpd": tables.default_dpd,
    }
    told = _columns(tables, MARGIN, asked)
    found[told["row"].astype(np.int64)] = np.ma.filled(told["margin"].astype(np.float64), 0.0)
    return found


def _taken(column: Sequence[str], places: "np.ndarray[Any, np.dtype[np.int64]]") -> tuple[str, ...]:
    return tuple(column[place] for place in places.tolist())


def _of(one: EventRows, mine: "np.ndarray[Any, np.dtype[np.int64]]") -> EventRows:
    return EventRows(
        name=one.name,
        hours=one.hours[mine],
        told_hours=one.told_hours[mine],
        asked_hours=one.asked_hours[mine],
        sent=one.sent[mine],
    )
