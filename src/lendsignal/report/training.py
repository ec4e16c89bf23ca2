"""New users and what became of their loans, out of a data folder: what value models are learned from.

Everything is as it was known at the tables' moment. The facts of a user are those of the first telling of the
first grant (of the first loan, where there was no grant before it; of the first application, for who is
valued there), and of the last login that had come in by then: just what a decision had, and named as
`value.facts` names them.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import to_us
from lendsignal.report.days import local_day, local_time, quoted
from lendsignal.report.tables import Tables
from lendsignal.value.facts import ALWAYS
from lendsignal.value.settings import WorthSettings
from lendsignal.value.users import DAY_US, Floats, Ints, Loans, Number, Users, Word, words_of
from lendsignal.value.worth import APPLICATION, SCORE, Moment

VALUED = """
create or replace temp table valued_at as
with first_told as (
    select c.user, c.name, e.seq from conversion c
    join event e on e.user = c.user and e.event_id = c.event_id and e.type = c.event_type
        and e.verdict = 'taken' and not e.analytics
    where c.name in ({names}) and c.certain and not c.test
    qualify row_number() over (partition by c.user, c.name order by e.seq) = 1
)
select f.user, f.name, e.brand, e.user_id, e.seq, e.type, e.at_us, e.binds_us, e.received_us, e.app, e.by_day,
    coalesce(e.currency, a.currency) as currency, e.amount, e.fee, e.term_days, e.product, a.country,
    a.platform, r.score, r.score_version, {hour} as hour, {day} as day, {properties}
from first_told f join event e using (seq) join raw_events r using (seq) left join app a on a.app = e.app
"""

SHOWN = """
create or replace temp table valued_on as
select v.seq, arg_max(t.os, (t.at_us, t.event_id)) as os, max(t.at_us) as at_us
from valued_at v join touch t on t.user = v.user and t.at_us <= v.at_us and t.received_us <= v.received_us
where t.own is not null group by v.seq
"""

USERS = """
with came as (
    select v.seq, coalesce(nullif(o.campaign, ''), o.channel) as campaign
    from (
        select v.seq, v.at_us, coalesce(b.last_login, b.held) as installation
        from valued_at v join bound b using (seq)
    ) v asof join origin o on o.installation = v.installation and v.at_us >= o.from_us
), told as (  -- a loan goes by what the grant before it said
    select v.user, v.name, v.at_us, v.day, v.currency, coalesce(g.seq, v.seq) as told_by, v.seq
    from valued_at v left join valued_at g
        on v.name = 'first_loan' and g.user = v.user and g.name = 'first_credit' and g.at_us <= v.at_us
), given as (
    select t.seq, min(c.at_us) as at_us from told t join counted c on c.user = t.user
    where t.name = 'first_application' and c.type = 'credit_granted' and c.at_us >= t.at_us - {earlier}
        and not c.test and not c.superseded and not c.reversed
    group by t.seq
)
select t.name, t.user, f.brand, f.user_id, t.at_us, t.day::varchar as day, t.currency,
    f.at_us as known_us, f.score, f.score_version, f.amount::double as amount, f.fee::double as fee,
    f.term_days, f.product, f.app, f.country, f.hour,
    coalesce(nullif(s.os, ''), f.platform) as os, c.campaign as came_by,
    if(g.at_us < t.at_us, 0, g.at_us - t.at_us)::double as granted, {properties}
from told t join valued_at f on f.seq = t.told_by left join valued_on s on s.seq = t.told_by
left join came c on c.seq = t.seq left join given g on g.seq = t.seq
where t.currency is not null
order by t.name, t.currency, t.at_us, t.user
"""

LOANS = """
with lent as (
    select c.user, c.loan_id, c.at_us, c.amount::double as amount, c.fee::double as fee, c.currency,
        c.term_days, c.due_day, c.seq, {day} as day
    from counted c
    where c.type = 'disbursed' and not c.test and not c.superseded and not c.reversed
        and c.loan_id is not null and c.amount is not null
), due as (
    select seq, max(due_day) as last_due, sum(amount)::double as owed from instalment group by seq
), put_off as (
    select user, loan_id, max(due_day) as last_due from counted
    where type = 'extended' and due_day is not null and not superseded group by all
), dated as (
    select l.*, coalesce(l.fee, d.owed - l.amount, 0) as earns,
        greatest(try_cast(coalesce(d.last_due, l.due_day) as date), try_cast(p.last_due as date),
            case when coalesce(d.last_due, l.due_day, p.last_due) is null
                then l.day + coalesce(l.term_days, 30)::integer end) as due
    from lent l left join due d on d.seq = l.seq
    left join put_off p on p.user = l.user and p.loan_id = l.loan_id
), paid as (
    select l.user, l.loan_id, c.at_us, c.amount::double as amount, coalesce(c.outstanding = 0, false)
            or coalesce(r.closes_loan, false) as closes,
        sum(c.amount::double) over (partition by l.user, l.loan_id order by c.at_us, c.seq) as so_far,
        l.amount + l.earns as owed, {paid_day} <= l.due + {grace} as in_time
    from dated l join counted c on c.user = l.user and c.loan_id = l.loan_id
    join raw_events r on r.seq = c.seq
    where c.type in ('repaid', 'recovered') and c.amount is not null and not c.superseded and not c.reversed
), back as (
    select user, loan_id, sum(amount) filter (in_time) as cash, count(*) filter (in_time) as payments,
        min(at_us) filter (closes or so_far >= owed - 0.005) as ended_us
    from paid group by all
)
select l.user, l.at_us, coalesce(l.currency, '') as currency, l.amount, l.earns as fee, l.due::varchar as due,
    l.day::varchar as day, coalesce(l.term_days, date_diff('day', l.day, l.due))::double as term,
    coalesce(b.cash, 0) as cash, coalesce(b.payments, 0) as payments, b.ended_us
from dated l left join back b on b.user = l.user and b.loan_id = l.loan_id
order by l.user, l.at_us, l.loan_id
"""

MOMENT_OF: Mapping[str, Moment] = {
    "first_application": APPLICATION,
    "first_credit": "credit_granted",
    "first_loan": "disbursed",
}

EARLIER_US = 3_600_000_000
"""How long before its grant a loan may be dated and still be what came of it: clocks differ."""


class Training(Struct, frozen=True):
    """New users by moment and currency, as they were known at `as_of_us`; `names` are (brand, user id)."""

    as_of_us: int
    users: Mapping[Moment, Mapping[str, Users]]
    names: Mapping[Moment, Mapping[str, Sequence[tuple[str, str]]]]


def training(tables: Tables, settings: WorthSettings, *, applicants: bool = False) -> Training:
    """The users whom value can be learned from; test users, uncertain firsts and analytics are left out.

    With `applicants` those too who are valued at their first application, granted or not.

    A loan's result is the cash until the grace after its due day less principal, funding and costs; loans in
    another currency than the user's are left out. Raises `Leak` where a fact came to be known too late.
    """
    as_of_us = 0 if tables.as_of is None else to_us(tables.as_of)
    if not as_of_us:
        return Training(0, {}, {})
    names = [*ALWAYS, *(one for one in settings.properties if one not in ALWAYS)]
    moments = {name: one for name, one in MOMENT_OF.items() if applicants or one != APPLICATION}
    hour = local_time(tables, "e.at_us", "e.app")
    tables.db.execute(
        VALUED.format(
            names=", ".join(map(quoted, moments)),
            hour=f"case when not e.by_day and a.app is not null then hour({hour}) end",
            day=local_day(tables, "e.at_us", "e.app"),
            properties=", ".join(_property(name, place) for place, name in enumerate(names))
            or "null as none",
        )
    )
    tables.db.execute(SHOWN)
    listed = ", ".join(f"f.p{place}, f.k{place}" for place in range(len(names)))
    found = _columns(tables, USERS.format(properties=listed or "null as none", earlier=EARLIER_US))
    lent = _columns(
        tables,
        LOANS.format(
            day=local_day(tables, "c.at_us", "c.app"),
            paid_day=local_day(tables, "c.at_us", "c.app"),
            grace=settings.grace // timedelta(days=1),
        ),
    )
    loans = _Lent(lent, settings)
    users: dict[Moment, dict[str, Users]] = {}
    named: dict[Moment, dict[str, Sequence[tuple[str, str]]]] = {}
    for name, moment in moments.items():
        at_moment = found["name"] == name
        for currency in sorted(set(found["currency"][at_moment].tolist())):
            mine = at_moment & (found["currency"] == currency)
            part = {key: values[mine] for key, values in found.items()}
            made = _users(part, names, loans, currency, as_of_us, settings)
            if moment == APPLICATION:
                days = part["granted"].astype(np.float64) / DAY_US
                made = replace(made, granted=np.where(np.isnan(days), np.inf, days))
            users.setdefault(moment, {})[currency] = made
            who = zip(part["brand"].tolist(), part["user_id"].tolist(), strict=True)
            named.setdefault(moment, {})[currency] = tuple(who)
    return Training(as_of_us, users, named)


def _property(name: str, place: int) -> str:
    path = quoted(f'$."{name}"')
    return (
        f"json_extract_string(r.properties, {path}) as p{place}, json_type(r.properties, {path}) as k{place}"
    )


def _columns(tables: Tables, query: str) -> dict[str, Any]:
    """The columns of a query; `None` where a text is unknown, NaN where a number is."""
    found = {}
    for name, values in tables.db.execute(query).fetchnumpy().items():
        if isinstance(values, np.ma.MaskedArray):
            is_number = values.dtype.kind in "iuf"
            kept = values.astype(np.float64 if is_number else object)
            kept[np.ma.getmaskarray(values)] = np.nan if is_number else None
            values = np.ma.getdata(kept)
        elif values.dtype.kind == "O":
            values = np.array([None if one != one else one for one in values.tolist()], dtype=object)
        found[name] = values
    return found


def _users(
    part: Mapping[str, Any],
    names: Sequence[str],
    loans: "_Lent",
    currency: str,
    as_of_us: int,
    settings: WorthSettings,
) -> Users:
    at_us: Ints = part["at_us"].astype(np.int64)
    known_us: Ints = part["known_us"].astype(np.int64)
    numbers: dict[str, Number] = {}
    words: dict[str, Word] = {}
    scores = part["score"].astype(np.float64)
    versions = np.array([one or "" for one in part["score_version"].tolist()], dtype=object)
    for version in sorted(set(versions[~np.isnan(scores)].tolist())):
        values = np.where(versions == version, scores, np.nan)
        numbers[f"{SCORE} {version}".strip()] = Number(values, known_us)
    amount = part["amount"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        lent = np.where(amount > 0, amount, np.nan)
        told = {"amount": np.log1p(lent), "fee_rate": part["fee"].astype(np.float64) / lent}
    told |= {name: part[name].astype(np.float64) for name in ("term_days", "hour")}
    numbers |= {name: Number(values, known_us) for name, values in told.items() if not np.isnan(values).all()}
    for name in ("product", "app", "country", "os"):
        words[name] = words_of([one or None for one in part[name].tolist()], known_us)
    for place, name in enumerate(names):
        said, kinds = part[f"p{place}"], set(part[f"k{place}"].tolist()) - {None, "NULL", "BOOLEAN"}
        if kinds and kinds <= {"UBIGINT", "BIGINT", "DOUBLE"}:
            numbers[name] = Number(_floats(said), known_us)
        elif kinds:
            words[name] = words_of([one or None for one in said.tolist()], known_us)
    followed = (as_of_us - at_us) / DAY_US - settings.grace / timedelta(days=1)
    return Users(
        at_us=at_us,
        followed=followed,
        numbers=numbers,
        words=words,
        loans=loans.of(part["user"], at_us, _day_numbers(part["day"]), followed, currency),
        campaign=words_of(part["came_by"].tolist(), at_us),
    )


class _Lent:
    """All loans, and those of some users as days since each user's moment."""

    def __init__(self, columns: Mapping[str, Any], settings: WorthSettings) -> None:
        self._columns = columns
        self._settings = settings
        self._due = _day_numbers(columns["due"])
        self._day = _day_numbers(columns["day"])

    def of(self, users: Any, at_us: Ints, day: Floats, followed: Floats, currency: str) -> Loans:
        """The loans of these users from their moment on, user by user in the order of their opening."""
        place_of = {user: place for place, user in enumerate(users.tolist())}
        all_ = self._columns
        place = np.array([place_of.get(user, -1) for user in all_["user"].tolist()], dtype=np.int64)
        opened_us: Ints = all_["at_us"].astype(np.int64)
        mine = (place >= 0) & (all_["currency"] == currency)
        mine &= np.where(place >= 0, opened_us >= at_us[place] - EARLIER_US, False) if len(at_us) else mine
        rows = np.flatnonzero(mine)
        rows = rows[np.lexsort((opened_us[rows], place[rows]))]
        who = place[rows]
        settings, amount, cash = self._settings, all_["amount"][rows], all_["cash"][rows]
        out_for = np.maximum(self._due[rows] - self._day[rows], 0)
        cost = settings.loan_cost.get(currency, 0.0) + all_["payments"][rows] * settings.payment_cost.get(
            currency, 0.0
        )
        funding = settings.funding_rate * amount * out_for / 365
        ended_us = all_["ended_us"][rows].astype(np.float64)
        ended = np.where(np.isnan(ended_us), np.inf, (ended_us - at_us[who]) / DAY_US)
        due = self._due[rows] - day[who]
        settled = due <= followed[who]
        return Loans(
            user=who,
            number=_counted(who),
            opened=np.maximum((opened_us[rows] - at_us[who]) / DAY_US, 0.0),
            due=due,
            term=all_["term"][rows].astype(np.float64),
            amount=amount.astype(np.float64),
            fee=all_["fee"][rows].astype(np.float64),
            lost=np.where(settled, np.maximum(amount - cash, 0.0), np.nan),
            result=np.where(settled, cash - amount - funding - cost, np.nan),
            ended=ended,
        )


def _counted(who: Ints) -> Ints:
    """0, 1, 2 … within each user; the users stand together."""
    place = np.arange(len(who))
    first = np.ones(len(who), dtype=np.bool_)
    first[1:] = who[1:] != who[:-1]
    return place - np.maximum.accumulate(np.where(first, place, 0))


def _day_numbers(days: Any) -> Floats:
    """Days as ISO texts → days since 1970; NaN where one is not known."""
    known = np.array([one if one is not None else "NaT" for one in days.tolist()], dtype="datetime64[D]")
    found = known.astype(np.float64)
    found[np.isnat(known)] = np.nan
    return found


def _floats(texts: Any) -> Floats:
    return np.array([np.nan if one is None else float(one) for one in texts.tolist()])
