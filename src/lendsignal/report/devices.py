"""Phones by how many users they have: whose loans they carry, what was lost on them, and rings of users."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from lendsignal.report.funnel import exact, left_out
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import EVERYTHING, Slice, facts
from lendsignal.report.tables import Tables

TOP = 50
"""Rows of the longest tables, unless more are asked for."""

BANDS = {"1": 1, "2": 2, "3–4": 3, "5–9": 5, "10 and more": 10}
"""How many users, from how many on."""

NO_PHONE = "(no phone known)"

GATHERED = """
create or replace temp table phone_of as  -- without any device id an installation is all we know of its phone
select number as installation, coalesce(device, -1 - number) as phone from installation;

create or replace temp table showed as
select t.brand, p.phone, t.user_key, any_value(t.test) as test, count(*) as logins,
    min(p.installation) as number
from touch t join phone_of p on p.installation = t.own group by t.brand, p.phone, t.user_key;

create or replace temp table phone as
select brand, phone, count(*) as users, count(*) filter (test) as test_users, sum(logins)::bigint as logins
from showed group by brand, phone;

create or replace temp table shared_phone as  -- only of these it is told who they are
select s.brand, s.phone, arg_min(i.app, i.number) as app, arg_min(i.id, i.number) as device,
    any_value(p.users) as users, any_value(p.test_users) as test_users, any_value(p.logins) as logins
from (select * from phone where users > 1) p join showed s on s.brand = p.brand and s.phone = p.phone
    join installation i on i.number = s.number
group by s.brand, s.phone;

"""

LOST = """
create or replace temp table lost_loan as
select distinct loan from counted where loan is not null and not superseded and not reversed
    and (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd))
"""

PAID_OUT = """
create or replace temp table paid_out as
select c.brand, p.phone, u.users, c.amount, c.currency, l.loan is not null as lost, b.came_back
from device_fact c left join phone_of p on p.installation = c.installation
    left join phone u on u.brand = c.brand and u.phone = p.phone
    left join lost_loan l on l.loan = c.loan
    left join (  -- what came back is told of lost loans alone
        select d.seq, sum(r.amount) as came_back
        from (select * from device_fact where loan in (select loan from lost_loan)) d
            join counted r on r.loan = d.loan
        where r.type in ('repaid', 'recovered')
            and not r.superseded and not r.reversed and coalesce(r.currency, d.currency) = d.currency
        group by d.seq
    ) b on b.seq = c.seq
"""

SKIPPED = """
create or replace temp table skipped as
select split_part(c.user, ':', 1) as brand, p.phone, count(*) as n
from (select record from delivery where what = 'skipped' and reason = 'shared_device') d
    join conversion c on c.record = d.record
    left join phone_of p on p.installation = c.installation
group by all
"""

LOANS = """
select brand, phone, count(*) as loans, count(*) filter (lost) as lost from paid_out
where users > 1 group by all
"""
"""Of phones with several users: of no other is it told."""


class Devices(Report, frozen=True, kw_only=True):
    """`bands` has all phones, `phones` those with the most users, `rings` users who share several."""

    shared_from: int
    bands: Table
    money: Table
    phones: Table
    rings: Table


def devices(tables: Tables, one: Slice = EVERYTHING, *, top: int = TOP) -> Devices:
    """Who shares a phone with whom, within a brand, and how the loans on those phones do.

    A phone is what shares a device id, directly or through an installation seen with two; where none is known
    each installation counts as one. Test users count as users of a phone; their loans do not count. A slice
    says which loans count, and changes nothing of who is a user of which phone; rows are those of phones,
    whatever `by` says. Raises `InputError` where the slice names what there is not.
    """
    lent = "c.type = 'disbursed' and not c.superseded and not c.reversed"
    beside = "c.brand, c.loan, c.amount, c.currency, coalesce(c.last_login, c.held) as installation"
    facts(tables, replace(one, by=(), every=None), into="device_fact", only=lent, app=False, beside=beside)
    tables.db.execute(GATHERED)
    tables.db.execute(LOST, {"default_dpd": tables.default_dpd})
    tables.db.execute(PAID_OUT)
    tables.db.execute(SKIPPED)
    enough = tables.shared_device_users
    note = (
        f"From {enough} users on a phone is shared (resolve.shared_device_users). Decisions count by one id"
        " at a time, from the moment that the option was set."
        if enough
        else "Decisions count no users of a phone: resolve.shared_device_users is not set."
    )
    return Devices(
        title=", ".join(filter(None, ("Devices", replace(one, by=(), every=None).words))),
        as_of=tables.as_of,
        shared_from=enough,
        bands=_bands(tables),
        money=_money(tables),
        phones=_phones(tables, top),
        rings=_rings(tables, top),
        notes=(note, *left_out(tables)),
    )


def _band(users: str) -> str:
    """SQL of the band that a number of users falls in."""
    known = " ".join(
        f"when {users} >= {least} then '{name}'" for name, least in reversed(list(BANDS.items()))
    )
    return f"case {known} else '{NO_PHONE}' end"


def _bands(tables: Tables) -> Table:
    phones = {
        band: (n, users)
        for band, n, users in tables.rows(
            f"select {_band('users')} as band, count(*), sum(users)::bigint from phone group by band"
        )
    }
    loans = {
        band: (n, lost)
        for band, n, lost in tables.rows(
            f"select {_band('users')} as band, count(*), count(*) filter (lost) from paid_out group by band"
        )
    }
    skipped = dict(
        tables.rows(
            f"select {_band('p.users')} as band, sum(n)::bigint"
            " from skipped s left join phone p using (brand, phone) group by band"
        )
    )
    total = sum(n for n, _ in loans.values())
    rows: list[tuple[Cell, ...]] = []
    for band in (*BANDS, NO_PHONE):
        if band == NO_PHONE and band not in loans:
            continue
        n, lost = loans.get(band, (0, 0))
        share = n / total if total else None
        rows.append((band, *phones.get(band, (0, 0)), n, *_lost(lost, n), share, skipped.get(band, 0)))
    return table(
        "Phones by their number of users",
        columns(
            "users_of_phone phones users loans lost lost_share low high remark share_of_loans skipped",
            share_of_loans=SHARE,
            lost_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "users: of each phone, added up: who has two phones counts twice. loans: paid out, by the phone of"
        "\nthe last login. lost: of these, in default; a loan still running can still be lost."
        f"\nthin: fewer than {THIN} loans. skipped: deliveries that were not sent for it (shared_device).",
    )


def _lost(lost: int, loans: int) -> tuple[Cell, ...]:
    """How many of the loans were lost, their share, its interval and what to know of it."""
    rate = Rate(lost, loans)
    return lost, rate.value, rate.low, rate.high, rate.remark


def _money(tables: Tables) -> Table:
    found = tables.rows(
        f"select coalesce(currency, '(none)'), {_band('users')} as band, sum(amount),"
        " sum(amount) filter (lost), sum(coalesce(came_back, 0)) filter (lost)"
        " from paid_out where amount is not null group by 1, 2"
    )
    order = [*BANDS, NO_PHONE]
    rows: list[tuple[Cell, ...]] = [
        (band, currency, exact(paid), exact(lost), exact(back))
        for currency, band, paid, lost, back in sorted(found, key=lambda row: (row[0], order.index(row[1])))
    ]
    return table(
        "Money by the phones' number of users",
        columns(
            "users_of_phone currency disbursed lost_disbursed came_back",
            disbursed=MONEY,
            lost_disbursed=MONEY,
            came_back=MONEY,
        ),
        rows,
        "lost_disbursed: of disbursed, what went to loans that were lost; came_back: what was repaid and"
        "\nrecovered on these. Exact sums in major units of the currency; currencies are never added up.",
    )


def _phones(tables: Tables, top: int) -> Table:
    enough = tables.shared_device_users
    found = tables.rows(
        f"with of_loans as ({LOANS}), whole as (select brand, count(*) as n from paid_out group by brand)"
        " select p.brand, p.app, p.device, p.users, p.test_users, p.logins, coalesce(l.loans, 0),"
        "   w.n, coalesce(l.lost, 0), coalesce(s.n, 0)"
        " from shared_phone p left join of_loans l using (brand, phone) left join whole w using (brand)"
        "   left join skipped s on s.brand = p.brand and s.phone = p.phone"
        " order by p.users desc, 7 desc, p.brand, p.device limit $top",
        {"top": top},
    )
    rows: list[tuple[Cell, ...]] = []
    for *what, users, test_users, logins, loans, whole, lost, skipped in found:
        shared = users >= enough if enough else None
        share = loans / whole if whole else None
        counts = (users, test_users, shared, logins, loans)
        rows.append((*what, *counts, *_lost(lost, loans), share, skipped))
    return table(
        "Phones with the most users",
        columns(
            "brand app device users test_users shared logins loans lost lost_share low high remark"
            " share_of_loans skipped",
            share_of_loans=SHARE,
            lost_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "device: an id of the first installation seen on it. share_of_loans: of the brand's."
        f"\nAt most {top} phones of several users, those with the most first.",
    )


def _rings(tables: Tables, top: int) -> Table:
    shared = tables.rows(
        "select s.brand, s.phone, s.user_key from showed s join shared_phone p using (brand, phone)"
        " order by 1, 2, 3"
    )
    ring_of = _joined(shared)
    tables.db.execute("create or replace temp table ring (brand varchar, phone bigint, ring integer)")
    tables.fill_rows("ring", ("brand", "phone", "ring"), [(*key, ring) for key, ring in ring_of.items()])
    found = tables.rows(
        f"with of_loans as ({LOANS}), whole as (select brand, count(*) as n from paid_out group by brand),"
        " member as (select r.ring, count(distinct s.user_key) as users"
        "   from ring r join showed s using (brand, phone) group by r.ring)"
        " select r.brand, min(p.device), count(*) as phones,"
        "   coalesce(any_value(m.users), 0) as users, max(p.users),"
        "   coalesce(sum(l.loans), 0)::bigint, any_value(w.n), coalesce(sum(l.lost), 0)::bigint"
        " from ring r join shared_phone p using (brand, phone) left join of_loans l using (brand, phone)"
        "   left join whole w using (brand) left join member m on m.ring = r.ring"
        " group by r.brand, r.ring having count(*) > 1 order by users desc, 1, 2 limit $top",
        {"top": top},
    )
    rows: list[tuple[Cell, ...]] = []
    for brand, device, phones, users, most, loans, whole, lost in found:
        share = loans / whole if whole else None
        rows.append((brand, device, phones, users, users / phones, most, loans, *_lost(lost, loans), share))
    return table(
        "Rings: users who share several phones",
        columns(
            "brand device phones users users_a_phone most_users loans lost lost_share low high remark"
            " share_of_loans",
            share_of_loans=SHARE,
            lost_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "Phones of several users that have users in common, directly or through another; device: of one"
        "\nof them. A household has few users a phone, a ring has many.",
    )


def _joined(shown: Sequence[tuple[Any, ...]]) -> Mapping[tuple[str, int], int]:
    """A number for each phone, the same for all that users tie together; `shown` are (brand, phone,
    user's key)."""
    parent: dict[tuple[str, int], tuple[str, int]] = {}
    phone_of: dict[int, tuple[str, int]] = {}

    def top(one: tuple[str, int]) -> tuple[str, int]:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for brand, phone, user in shown:
        one = (brand, phone)
        parent[top(one)] = top(phone_of.setdefault(user, one))
    numbers: dict[tuple[str, int], int] = {}
    return {one: numbers.setdefault(top(one), len(numbers)) for one in list(parent)}
