"""Three ledgers with differences that are known: exactly those are found."""

from collections.abc import Iterable
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec.structs import replace
from tests.acme import DAY, HOUR, TARGETS, event, loan, login, source, us
from tests.unit.report.kept import Fate, Kept
from tests.unit.report.world import ZONE, filled, world

from lendsignal.clock import from_us
from lendsignal.errors import InputError
from lendsignal.model.attribution import Ad, Recorded
from lendsignal.plan import Entry, Planned
from lendsignal.report import Limits, Reconciliation, load, read_ledger, reconcile
from lendsignal.report.chart import Bars
from lendsignal.report.charts import charts_of
from lendsignal.report.ledger import Paid
from lendsignal.report.slices import EVERYTHING, Slice

LAGOS = ZoneInfo(ZONE)
DAY_ONE = date(2026, 3, 10)


def paid(name: str = "L1", **fields: Any) -> Paid:
    known: dict[str, Any] = {
        "loan_id": name,
        "day": DAY_ONE,
        "at_us": us(0),
        "amount": Decimal(25_000),
        "currency": "NGN",
    }
    return Paid(**{**known, **fields})


def reported(
    kept: Kept, ledger: Iterable[Paid] | None = None, one: Slice = EVERYTHING, **options: Any
) -> Reconciliation:
    with load(kept.folder) as tables:
        return reconcile(tables, ledger, one, **{"zone": LAGOS, **options})


def loans_that_differ(report: Reconciliation) -> list[tuple[Any, ...]]:
    return [(one["what"], one["loan_id"]) for one in report.ledger_differences.records()]


def test_equal_ledgers_have_no_difference(tmp_path: Path) -> None:
    report = reported(Kept(tmp_path).tell(loan(0)), [paid()])

    assert report.is_well
    assert loans_that_differ(report) == []
    (row,) = report.ledger.records()
    assert (row["loans_in_ledger"], row["loans_told"]) == (1, 1)
    assert (row["amount_in_ledger"], row["amount_told"]) == (Decimal("25000.00"), Decimal("25000.00"))


def test_every_difference_with_the_lenders_ledger_is_found(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(0),
        loan(1, "extra"),
        loan(2, "other amount", amount=Decimal("24999.99")),
        loan(3, "other currency", currency="KES"),
        loan(14 * HOUR, "other day"),  # past midnight in Lagos
        loan(5, "late", arrives=5 + 3 * HOUR + 1),
        loan(6, "undone"),
        event("loan_cancelled", 7, loan_id="undone"),
        loan(8, "never in the books"),
        event("loan_cancelled", 9, loan_id="never in the books"),
        loan(10, "staff", user_id="u9", test=True),
        loan(-2 * DAY, "before the ledger begins"),
    )
    ledger = [
        paid(),
        paid("missing"),
        paid("other amount"),
        paid("other currency"),
        paid("other day", at_us=None),
        paid("late", at_us=us(5)),
        paid("undone"),
        paid("twice"),
        paid("twice"),
    ]
    report = reported(kept.tell(loan(11, "twice")), ledger)

    assert loans_that_differ(report) == [
        ("not_in_ledger", "extra"),
        ("told_late", "late"),
        ("not_told", "missing"),
        ("amount", "other amount"),
        ("currency", "other currency"),
        ("day", "other day"),
        ("twice_in_ledger", "twice"),
        ("reversed", "undone"),
    ]
    checks = {str(one["check"]): one["differences"] for one in report.checks.records()[:4]}
    assert checks == {"missing": 1, "extra": 2, "differs": 4, "late": 1}
    assert not report.is_well


def test_an_empty_ledger_is_not_well(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(loan(0), loan(2 * DAY, "L2"))

    assert loans_that_differ(reported(kept, [], Slice(until=DAY_ONE))) == [("not_in_ledger", "L1")]
    assert not reported(kept, []).is_well


def test_only_days_that_were_asked_for_are_compared(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(loan(0), loan(1, "extra"), loan(DAY, "L2"), loan(DAY + 1, "extra too"))
    ledger = [paid(), paid("L2", day=date(2026, 3, 11), at_us=us(DAY)), paid("missing")]

    assert loans_that_differ(reported(kept, ledger, Slice(since=date(2026, 3, 11)))) == [
        ("not_in_ledger", "extra too")
    ]


def test_a_loan_of_the_day_before_in_the_books_is_no_extra_one(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(loan(14 * HOUR))  # past midnight in Lagos

    assert loans_that_differ(reported(kept, [paid()], Slice(since=date(2026, 3, 11)))) == []


def test_the_day_is_the_ledgers_own(tmp_path: Path) -> None:
    # 13.5 hours after 9:00 UTC it is 22:30 there, and 23:30 in Lagos: one day; an hour later it is not.
    kept = Kept(tmp_path).tell(loan(14.5 * HOUR))
    midnight = paid(at_us=None, day=date(2026, 3, 11))

    assert loans_that_differ(reported(kept, [midnight])) == []
    assert loans_that_differ(reported(kept, [midnight], zone=UTC)) == [("day", "L1")]


def test_money_adds_up_to_the_minor_unit_for_each_day_and_currency(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        *(loan(n, f"L{n}", amount=Decimal("0.10")) for n in range(3)), loan(9, "J", currency="JPY")
    )
    ledger = [paid(f"L{n}", amount=Decimal("0.10"), at_us=us(n)) for n in range(3)]
    report = reported(kept, [*ledger, paid("J", currency="JPY", amount=Decimal(24_999))])
    rows = {one["currency"]: one for one in report.ledger.records()}

    assert rows["NGN"]["amount_told"] == Decimal("0.30")
    assert rows["NGN"]["amount_difference"] == 0
    assert rows["JPY"]["amount_difference"] == 1


def accepted(path: Path, *events: Any) -> Kept:
    """Disbursements of ten users, each sent with its fee as value and accepted."""
    kept = Kept(path, source(send={"disbursement": "ev_d"}, value={"disbursement": "fee"}))
    kept.tell(*(login(-1, f"p{n}", user_id=f"u{n}") for n in range(10)))
    kept.tell(*(loan(n, f"L{n}", user_id=f"u{n}", fee=Decimal(f"150{n}.5{n}")) for n in range(10)), *events)

    def fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
        return (
            Fate("dead", "http_400", 20) if planned.conversion.loan_id == "L9" else Fate("accepted", "", 20)
        )

    return kept.send(fate)


def ids(kept: Kept) -> dict[str | None, str]:
    return {one.conversion.loan_id: one.conversion.id for _, _, one, _ in kept.planned()}


def noted(kept: Kept, number: int, **fields: Any) -> Recorded:
    """What the platform recorded of loan `number`: as it was sent, unless `fields` say otherwise."""
    known: dict[str, Any] = {
        "feed": "mmp",
        "mmp": "appsflyer",
        "app": "acme-ng",
        "id": f"af-p{number}",
        "name": "ev_d",
        "at_us": us(number),
        "conversion": ids(kept)[f"L{number}"],
        "amount": Decimal(f"150{number}.5{number}"),
        "currency": "NGN",
        "sent_by": "S2S",
    }
    return Recorded(**{**known, **fields})


def test_every_difference_with_the_platform_is_found_and_no_other(tmp_path: Path) -> None:
    kept = accepted(tmp_path)
    kept.feed(
        noted(kept, 0),
        # L1 is not recorded
        noted(kept, 2, amount=Decimal("1502.53")),
        noted(kept, 3, currency="KES"),
        noted(kept, 4, at_us=us(4 + DAY)),
        noted(kept, 5, copies=2),
        noted(kept, 6, name="ev_other"),
        noted(kept, 7),
        noted(kept, 7, primary=False, detail="older"),
        noted(kept, 8, amount=None, currency=""),
        noted(kept, 9),  # we have it as dead
        noted(kept, 0, conversion="f" * 32, at_us=us(3)),
        noted(kept, 0, conversion="", sent_by="S2S", at_us=us(5)),
        noted(kept, 0, conversion="", sent_by="SDK", at_us=us(6)),
    )
    report = reported(kept)
    loan_of = {name: number for number, name in ids(kept).items()}
    found = {
        (one["what"], loan_of.get(str(one["conversion_id"]))) for one in report.platform_differences.records()
    }

    assert found == {
        ("not_recorded", "L1"),
        ("value", "L2"),
        ("value", "L3"),
        ("redated", "L4"),
        ("recorded_twice", "L5"),
        ("name", "L6"),
        ("value", "L8"),
        ("not_accepted", "L9"),
        ("unknown_id", None),
        ("without_id", None),
    }
    assert len(report.platform_differences.rows) == 10
    ours = {one["destination"]: one for one in report.platform.records()}["appsflyer-ng"]
    assert (ours["accepted"], ours["recorded"], ours["matched"]) == (9, 9, 8)


def test_the_table_for_the_platform_has_no_loan_id(tmp_path: Path) -> None:
    kept = accepted(tmp_path)
    kept.feed(noted(kept, 2, amount=Decimal(1)))
    report = reported(kept, [paid(f"L{n}") for n in range(10)])

    assert "loan_id" not in report.platform_differences.to_csv()
    assert all(f"L{n}" not in report.platform_differences.to_csv().split(",") for n in range(10))


def test_only_days_that_the_raw_data_covers_are_compared(tmp_path: Path) -> None:
    kept = accepted(tmp_path, loan(3 * DAY, "L10", user_id="u1"))
    kept.feed(*(noted(kept, n) for n in range(9)))
    report = reported(kept)
    (row,) = report.platform.records()

    assert (row["matched"], row["missing"], row["not_covered"]) == (9, 0, 1)
    assert report.is_well


def test_a_currency_without_cents_is_compared_in_whole_units(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"}, value={"disbursement": "fee"}))
    kept.tell(
        login(-1, "p0", user_id="u0"), loan(0, "L0", user_id="u0", currency="JPY", fee=Decimal("1500.00"))
    )
    kept.send(lambda name, planned, entry: Fate("accepted", "", 20))
    kept.feed(noted(kept, 0, currency="JPY", amount=Decimal("1500.4")))

    assert reported(kept).platform_differences.rows == ()


def test_limits_decide_what_is_well(tmp_path: Path) -> None:
    kept = accepted(tmp_path)
    kept.feed(*(noted(kept, n) for n in range(8)))  # one of nine is missing

    assert not reported(kept).is_well
    assert reported(kept, limits=Limits(missing=0.12)).is_well
    assert not reported(kept, limits=Limits(missing=0.11)).is_well


def test_without_ledger_or_raw_data_the_report_says_so(tmp_path: Path) -> None:
    report = reported(Kept(tmp_path).tell(loan(0)))

    assert report.is_well
    assert len(report.notes) == 2


def test_a_made_up_lenders_ledgers_differ_exactly_where_they_were_changed(tmp_path: Path) -> None:
    kept = filled(tmp_path, world())
    with kept.tables() as tables:
        told = tables.rows(
            "select loan_id, at_us, amount, currency from counted where type = 'disbursed' and not superseded"
            " and not reversed and not test order by seq"
        )
        late = tables.number(
            "select count(*) from counted where type = 'disbursed' and not superseded and not reversed"
            " and not test and received_us - at_us > 3 * 3600 * 1000000::bigint"
        )
    ledger = [
        paid(name, at_us=at_us, day=from_us(at_us).astimezone(LAGOS).date(), amount=amount, currency=currency)
        for name, at_us, amount, currency in told
    ]
    changed = [
        *(msgspec.structs.replace(one, amount=one.amount + 1) for one in ledger[10:14]),
        *ledger[17:],
        *(paid(f"new {n}", day=ledger[40].day) for n in range(5)),
        *ledger[:7],
    ]
    report = reported(kept, changed)
    kinds = [one["what"] for one in report.ledger_differences.records()]

    assert len(told) > 150
    # Of 17 loans seven stayed, four changed, and six are gone from the books.
    assert {kind: kinds.count(kind) for kind in set(kinds) - {"told_late"}} == {
        "amount": 4,
        "not_in_ledger": 6,
        "not_told": 5,
    }
    assert late >= kinds.count("told_late") >= late - 6
    difference = sum(Decimal(str(one["amount_difference"])) for one in report.ledger.records())
    # the six that are gone from the books, less one unit on each of four, less what was never told
    assert difference == sum(one.amount for one in (*ledger[7:10], *ledger[14:17])) - 4 - 5 * 25_000


def test_the_ledger_is_read_by_its_own_header_and_in_its_own_zone() -> None:
    text = ["\ufeffLoanNo;Paid;Sum;Cur\n", "a;2026-03-10T00:30;12.50;ngn\n", "b;2026-03-10;7;NGN\n", "\n"]
    names = {"loan_id": "LoanNo", "paid_out_at": "Paid", "amount": "Sum", "currency": "Cur"}
    first, second = read_ledger(text, columns=names, zone=LAGOS)

    # Half past midnight in Lagos is 23:30 of the day before in UTC.
    assert first == Paid(
        loan_id="a", day=DAY_ONE, at_us=us(-9.5 * HOUR), amount=Decimal("12.50"), currency="NGN"
    )
    assert (second.at_us, second.day) == (None, DAY_ONE)


def test_an_offset_in_the_ledger_counts_as_it_stands() -> None:
    text = ["loan_id,paid_out_at,amount\n", "a,2026-03-10T14:30:00+05:30,1\n"]

    (one,) = read_ledger(text, zone=LAGOS, currency="INR")

    assert (one.at_us, one.currency) == (us(0), "INR")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (",2026-03-10,1,NGN", "loan_id"),
        ("a,10.03.2026,1,NGN", "paid_out_at"),
        ("a,2026-03-10,1.000.5,NGN", "amount"),
        ("a,2026-03-10,NaN,NGN", "amount"),
        ("a,2026-03-10,1,naira", "currency"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_without_its_content(line: str, field: str) -> None:
    with pytest.raises(InputError) as refused:
        read_ledger(["loan_id,paid_out_at,amount,currency\n", "ok,2026-03-10,1,NGN\n", line])

    assert refused.value.field == f"ledger line 3, {field}"
    assert all(
        cell not in str(refused.value) for cell in line.split(",") if len(cell) > 3 and "2026" not in cell
    )


def test_a_ledger_without_a_column_says_which() -> None:
    with pytest.raises(InputError) as refused:
        read_ledger(["loan,paid_out_at,amount,currency\n"])

    assert refused.value.field == "ledger line 1, loan_id"


# in slices


def branded(path: Path) -> Kept:
    """Of ten users' loans the even ones came by Meta and are first, the odd ones by Kwai and repeat ones."""
    kept = Kept(path, source(send={"disbursement": "ev_d"}, value={"disbursement": "fee"}))
    kept.tell(*(login(-1, f"p{n}", user_id=f"u{n}") for n in range(10)))
    kept.attribute(
        *(("acme-ng", f"af-p{n}", ("Meta", "Kwai")[n % 2], "one") for n in range(10)),
    )
    kept.tell(
        *(
            loan(n, f"L{n}", user_id=f"u{n}", fee=Decimal(f"150{n}.5{n}"), loan_number=1 + n % 2)
            for n in range(10)
        )
    )
    return kept.send(lambda name, planned, entry: Fate("accepted", "", 20))


def counts(report: Reconciliation, key: str) -> dict[tuple[Any, Any, Any], tuple[Any, Any]]:
    return {
        (one[key], one["step"], one["check"]): (one["differences"], one["of"])
        for one in report.checks.records()
    }


def test_a_difference_stands_where_its_loan_came_from(tmp_path: Path) -> None:
    kept = branded(tmp_path)
    kept.feed(*(noted(kept, n) for n in range(10) if n not in (1, 3, 4)))
    ledger = [paid(f"L{n}", at_us=us(n), amount=Decimal(25_000 + (n == 6))) for n in range(10)]

    report = reported(kept, ledger, Slice(by=("channel",)))
    found = counts(report, "channel")

    assert found["kwai", "platform", "missing"] == (2, 5)
    assert found["meta", "platform", "missing"] == (1, 5)
    assert found["meta", "ledger", "differs"] == (1, 5)
    assert found["kwai", "ledger", "differs"] == (0, 5)
    assert [(one["channel"], one["what"]) for one in report.ledger_differences.records()] == [
        ("meta", "amount")
    ]
    assert {(one["channel"], one["loans_told"]) for one in report.ledger.records()} == {
        ("meta", 5),
        ("kwai", 5),
    }
    assert {(one["channel"], one["loans"]) for one in report.sent.records()} == {("meta", 5), ("kwai", 5)}


def test_what_is_asked_for_by_itself_is_compared_alone_and_nothing_becomes_unknown(tmp_path: Path) -> None:
    kept = branded(tmp_path)
    kept.feed(*(noted(kept, n) for n in range(10) if n != 1))
    ledger = [paid(f"L{n}", at_us=us(n)) for n in range(10)]

    kwai, first = (
        reported(kept, ledger, Slice(where=(pair,))) for pair in (("channel", "kwai"), ("loans", "first"))
    )

    assert [one["what"] for one in kwai.platform_differences.records()] == ["not_recorded"]
    assert [one["what"] for one in first.platform_differences.records()] == []
    assert {one["of"] for one in kwai.checks.records()} == {5}
    assert {one["loans_in_ledger"] for one in first.ledger.records()} == {5}


def test_what_only_one_side_knows_stands_under_what_that_side_tells(tmp_path: Path) -> None:
    kept = branded(tmp_path)
    unknown = noted(kept, 0, conversion="f" * 32, at_us=us(3), ad=Ad(channel="tiktok", media_source="TikTok"))
    kept.feed(*(noted(kept, n) for n in range(10)), unknown)
    ledger = [*(paid(f"L{n}", at_us=us(n)) for n in range(10)), paid("books alone")]

    by_both = reported(kept, ledger, Slice(by=("channel", "brand")))
    there = reported(kept, ledger, Slice(where=(("brand", "acme"),)))
    elsewhere = reported(kept, ledger, Slice(where=(("channel", "meta"),)))

    alone = by_both.ledger_differences.records()
    assert [(one["channel"], one["brand"], one["loan_id"]) for one in alone] == [
        ("(not told)", "acme", "books alone")
    ]
    strangers = by_both.platform_differences.records()
    assert [(one["channel"], one["brand"], one["what"]) for one in strangers] == [
        ("tiktok", "acme", "unknown_id")
    ]
    # Every loan of a lender with one brand is of that brand; of no loan that was not told a channel is known.
    assert loans_that_differ(there) == [("not_told", "books alone")]
    assert loans_that_differ(elsewhere) == []
    assert any(note.startswith("1 loans of the ledger that nobody told us of") for note in elsewhere.notes)


def test_slicing_makes_no_alarm_where_there_was_none(tmp_path: Path) -> None:
    kept = branded(tmp_path)
    ledger = [*(paid(f"L{n}", at_us=us(n)) for n in range(10)), paid("books alone")]
    limits = Limits(missing=0.1)  # one of eleven is missing

    whole, parts = (
        reported(kept, ledger, one, limits=limits) for one in (EVERYTHING, Slice(by=("channel",)))
    )

    assert whole.is_well
    assert parts.is_well
    assert not reported(kept, ledger, Slice(by=("channel",)), limits=Limits(missing=0.09)).is_well
    found = {(row["channel"], row["check"]): row["well"] for row in parts.checks.records()}
    assert (found["(not told)", "missing"], found["meta", "missing"]) == (False, True)


def test_the_picture_of_a_slice_has_its_parts_and_not_its_days(tmp_path: Path) -> None:
    kept = branded(tmp_path)
    report = reported(kept, [paid(f"L{n}", at_us=us(n)) for n in range(9)], Slice(by=("channel",)))
    chart = charts_of(report)[0]
    assert isinstance(chart, Bars)

    assert chart.labels == ("kwai · NGN", "meta · NGN")
    assert [one.values for one in chart.series] == [(4, 5), (5, 5)]


def test_weeks_and_months_hold_the_days_of_both_sides(tmp_path: Path) -> None:
    # 10 March is a Tuesday; the loan of Sunday the 15th at 23:30 UTC is Monday's in Lagos.
    sunday = 5 * DAY + 14.5 * HOUR
    kept = Kept(tmp_path).tell(loan(0), loan(sunday, "L2"))
    monday = paid("L2", day=date(2026, 3, 16), at_us=None)
    weeks = reported(kept, [paid(), monday, paid("X", day=date(2026, 4, 1), at_us=None)], Slice(every="week"))
    months = reported(kept, [paid(), monday], Slice(every="month"))

    assert [
        (one["week"], one["loans_in_ledger"], one["loans_told"], one["missing"])
        for one in weeks.ledger.records()
    ] == [("2026-03-09", 1, 1, 0), ("2026-03-16", 1, 1, 0), ("2026-03-30", 1, 0, 1)]
    assert [(one["month"], one["loans_told"]) for one in months.ledger.records()] == [("2026-03-01", 2)]


@pytest.mark.parametrize(
    ("one"),
    [
        Slice(by=("channel",)),
        Slice(by=("os", "loans"), every="week"),
        Slice(every="day"),
        Slice(by=("app",), binding="first_install"),
    ],
    ids=lambda one: "-".join(one.names),
)
def test_parts_add_up_to_the_whole(made_up: tuple[Kept, list[Paid]], one: Slice) -> None:
    kept, ledger = made_up
    whole, parts = reported(kept, ledger), reported(kept, ledger, one)

    def sums(report: Reconciliation) -> dict[Any, tuple[int, int]]:
        found: dict[Any, tuple[int, int]] = {}
        for row in report.checks.records():
            n, of = found.get((row["step"], row["check"]), (0, 0))
            key = (row["step"], row["check"])
            found[key] = (n + int(str(row["differences"])), of + int(str(row["of"])))
        return found

    assert sums(parts) == sums(whole)
    for name in ("amount_in_ledger", "amount_told", "amount_difference"):
        assert sum(Decimal(str(row[name])) for row in parts.ledger.records()) == sum(
            Decimal(str(row[name])) for row in whole.ledger.records()
        )
    assert {row["check"] for row in parts.checks.records() if row["remark"] == "thin"}


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, list[Paid]]:
    """A made-up lender whose books lack three loans and have two more, and three days of raw data."""
    kept = filled(tmp_path_factory.mktemp("parts"), world(users=150, days=40))
    with kept.tables() as tables:
        told = tables.rows(
            "select loan_id, at_us, amount, currency from counted where type = 'disbursed' and not superseded"
            " and not reversed and not test order by seq"
        )
    ledger = [
        paid(name, at_us=at_us, day=from_us(at_us).astimezone(LAGOS).date(), amount=amount, currency=currency)
        for name, at_us, amount, currency in told[3:]
    ]
    kept.feed(
        *(
            Recorded(
                feed="mmp",
                mmp="appsflyer",
                app="acme-android",
                id=f"i{number}",
                name=entry.name,
                at_us=round(planned.conversion.occurred_at.timestamp() * 1_000_000),
                conversion=planned.conversion.id,
                sent_by="S2S",
            )
            for number, (_, _, planned, entry) in enumerate(kept.planned())
            if number % 7
        )
    )
    kept.log.close()
    return kept, [*ledger, paid("X1", day=ledger[9].day), paid("X2", day=ledger[20].day)]


def test_a_conversion_with_two_destinations_of_one_platform_counts_where_it_arrived(tmp_path: Path) -> None:
    targets = {
        name: replace(TARGETS["appsflyer-ng"], name=name) for name in ("appsflyer-ng", "appsflyer-moved")
    }
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"}, targets=targets))
    kept.tell(login(-1, "p0"), loan(0, "L0"), loan(1, "L1"))

    def fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
        arrives = "appsflyer-ng" if planned.conversion.loan_id == "L0" else "appsflyer-moved"
        return Fate("accepted", "", 20) if entry.destination == arrives else Fate("dead", "http_400", 20)

    kept.send(fate)
    silent = reported(kept)
    kept.feed(noted(kept, 0, id="af-p0", amount=None, currency=""))
    heard = reported(kept)

    columns = ("destination", "loans", "accepted", "dead")
    assert [tuple(one[name] for name in columns) for one in silent.sent.records()] == [
        ("appsflyer-moved", 1, 1, 0),
        ("appsflyer-ng", 1, 1, 0),
    ]
    assert heard.sent == silent.sent
    compared = ("destination", "accepted", "matched", "missing", "not_covered")
    assert [tuple(one[name] for name in compared) for one in silent.platform.records()] == [
        ("appsflyer-moved", 0, 0, 0, 1),
        ("appsflyer-ng", 0, 0, 0, 1),
    ]
    assert [tuple(one[name] for name in compared) for one in heard.platform.records()] == [
        ("appsflyer-moved", 1, 0, 1, 0),
        ("appsflyer-ng", 1, 1, 0, 0),
    ]
