"""Phones of many users, counted by hand, and by the slow way on a made-up lender whose users share phones."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from tests.acme import again, event, loan, login, phone, source
from tests.unit.report.kept import Fate, Kept
from tests.unit.report.world import policy, told, world

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, Device, Event, IdKind, SkipReason, id_of, is_touch
from lendsignal.report import Devices, devices
from lendsignal.report.chart import Bars
from lendsignal.report.charts import charts_of
from lendsignal.report.rates import wilson
from lendsignal.resolve import ResolveSettings

SKIPPING = ResolveSettings(shared_device_users=3, shared_device="skip")


def reported(kept: Kept, top: int = 50) -> Devices:
    with kept.tables() as tables:
        return devices(tables, top=top)


def accepted(*_: Any) -> Fate:
    return Fate("accepted", "confirmed")


def borrower(user: str, name: str | Device, minutes: float, *, lost: bool = False) -> list[Event]:
    """A user who logs in on that phone and gets a loan of 100.10 a minute later, of which 40 come back."""
    mine: dict[str, Any] = {"user_id": user}
    key = f"L-{user}-{minutes:g}"
    found = [
        login(minutes, name, event_id=f"login-{user}-{minutes:g}", **mine),
        loan(minutes + 1, key, loan_number=2, amount=Decimal("100.10"), **mine),
    ]
    if lost:
        back: dict[str, Any] = {"loan_id": key, "payment_id": f"P-{key}", "currency": "NGN"}
        found += [
            event("repaid", minutes + 2, event_id=f"repaid-{key}", amount=Decimal(40), **back, **mine),
            event("defaulted", minutes + 3, event_id=f"lost-{key}", loan_id=key, **mine),
        ]
    return found


def lender(path: Path) -> Kept:
    """`shop` has three users and a test user, `kiosk` two of whom one came from the shop; others have one.

    `h` shows no phone at all.
    """
    kept = Kept(path, source(resolve=SKIPPING))
    kept.tell(
        *borrower("a", "shop", 0),
        *borrower("b", "shop", 10, lost=True),
        *borrower("c", "shop", 20, lost=True),
        login(30, "shop", user_id="t", test=True),
        *borrower("c", "kiosk", 40),
        *borrower("d", "kiosk", 50),
        *borrower("e", "e", 60),
        *borrower("f", "f", 70, lost=True),
        *borrower("g", "g", 80),
        *borrower("h", Device(model="blank"), 90),
        login(95, "e", user_id="a", actor="agent"),
    )
    return kept.send(accepted)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Devices:
    return reported(lender(tmp_path_factory.mktemp("lender")))


def named(report: Devices, table: str, by: str) -> dict[Any, dict[str, Any]]:
    return {one[by]: one for one in report.tables()[table].records()}


def test_an_empty_log_has_no_phones(tmp_path: Path) -> None:
    found = reported(Kept(tmp_path))

    assert [row["phones"] for row in found.bands.records()] == [0] * 5
    assert found.phones.rows == found.rings.rows == found.money.rows == ()
    assert "not set" in found.notes[0]


def test_phones_are_told_apart_by_how_many_users_they_have(report: Devices) -> None:
    found = {
        band: (one["phones"], one["users"]) for band, one in named(report, "bands", "users_of_phone").items()
    }

    assert found == {
        "1": (3, 3),
        "2": (1, 2),
        "3–4": (1, 4),
        "5–9": (0, 0),
        "10 and more": (0, 0),
        "(no phone known)": (0, 0),
    }


def test_loans_count_for_the_phone_of_the_last_login(report: Devices) -> None:
    found = {
        band: (one["loans"], one["share_of_loans"], one["lost"], one["lost_share"], one["remark"])
        for band, one in named(report, "bands", "users_of_phone").items()
    }

    assert found == {
        "1": (3, 3 / 9, 1, 1 / 3, "thin"),
        "2": (2, 2 / 9, 0, 0.0, "thin"),
        "3–4": (3, 3 / 9, 2, 2 / 3, "thin"),
        "5–9": (0, 0.0, 0, None, "empty"),
        "10 and more": (0, 0.0, 0, None, "empty"),
        "(no phone known)": (1, 1 / 9, 0, 0.0, "thin"),
    }
    assert (named(report, "bands", "users_of_phone")["3–4"]["low"]) == wilson(2, 3)[0]


def test_money_that_was_lost_stands_beside_what_came_back(report: Devices) -> None:
    found = [tuple(one.values()) for one in report.money.records()]

    assert found == [
        ("1", "NGN", Decimal("300.30"), Decimal("100.10"), Decimal("40.00")),
        ("2", "NGN", Decimal("200.20"), None, None),
        ("3–4", "NGN", Decimal("300.30"), Decimal("200.20"), Decimal("80.00")),
        ("(no phone known)", "NGN", Decimal("100.10"), None, None),
    ]


def test_the_phones_with_the_most_users_come_first(report: Devices) -> None:
    found = {
        name: tuple(one[key] for key in "users test_users shared logins loans lost skipped".split())
        for name, one in named(report, "phones", "device").items()
    }

    # The third user's login made it shared: then came a loan (disbursement, repeat_loan), repaid and lost.
    assert found == {"fb-shop": (4, 1, True, 4, 3, 2, 4), "fb-kiosk": (2, 0, False, 2, 2, 0, 0)}
    assert list(found) == ["fb-shop", "fb-kiosk"]
    assert report.shared_from == 3


def test_users_tie_phones_together_to_a_ring(report: Devices) -> None:
    (ring,) = report.rings.records()

    assert (ring["phones"], ring["users"], ring["users_a_phone"], ring["most_users"]) == (2, 5, 2.5, 4)
    assert (ring["loans"], ring["share_of_loans"], ring["lost"]) == (5, 5 / 9, 2)


def test_only_so_many_phones_are_listed_as_are_asked_for(tmp_path: Path) -> None:
    found = reported(lender(tmp_path), top=1)

    assert [row["device"] for row in found.phones.records()] == ["fb-shop"]
    assert total(found, "phones") == 5


def test_a_phone_without_device_ids_is_its_installation(tmp_path: Path) -> None:
    bare = Device(appsflyer_id="af-bare")
    kept = Kept(tmp_path).tell(*borrower("a", bare, 0), *borrower("b", bare, 10))

    (found,) = reported(kept).phones.records()
    assert (found["device"], found["users"], found["shared"]) == ("af-bare", 2, None)


def test_users_of_two_brands_share_no_phone(tmp_path: Path) -> None:
    other = login(1, phone("b", gaid="gaid-a"), brand="other", app="other-ng")

    found = reported(Kept(tmp_path).tell(login(0, "a"), other))
    assert found.phones.rows == ()
    assert named(found, "bands", "users_of_phone")["1"]["phones"] == 2


def test_what_was_repaid_without_a_currency_is_the_loans(tmp_path: Path) -> None:
    paid, out, repaid, lost = borrower("a", "a", 0, lost=True)
    kept = Kept(tmp_path).tell(paid, out, again(repaid, currency=None), lost)

    (found,) = reported(kept).money.records()
    assert found["came_back"] == Decimal("40.00")


# a made-up lender, by the slow way

RING = 4


def on_few_phones(one: Event) -> Event:
    """Every seventh user has one of four phones, by its device id."""
    number = crc32(one.user_id.encode())
    if one.device is None or number % 7:
        return one
    ids = {kind.value: None for kind in DEVICE_SCOPED} | {"gaid": f"ring-{number % RING}"}
    return again(one, device=msgspec.structs.replace(one.device, **ids))


class Phones:
    """The slow way: of the touches seen so far those go together that show an id in common, whoever's."""

    def __init__(self) -> None:
        self.all: list[tuple[set[str], set[str]]] = []

    def show(self, one: Event) -> None:
        assert one.device is not None
        kinds = {kind: value for kind in IdKind if (value := id_of(one.device, kind))}
        ids = {f"{kind} {value} {one.app if kind in INSTALL_SCOPED else ''}" for kind, value in kinds.items()}
        users = {one.user_id}
        for known, whose in [pair for pair in self.all if pair[0] & ids]:
            self.all.remove((known, whose))
            ids, users = ids | known, users | whose
        if ids:
            self.all.append((ids, users))

    def of(self, one: Event) -> int:
        """Which of them a touch shows."""
        mine = Phones()
        mine.show(one)
        return next(place for place, (ids, _) in enumerate(self.all) if mine.all and ids & mine.all[0][0])


def test_phones_and_their_loans_are_what_counting_one_by_one_gives(tmp_path: Path) -> None:
    events = [on_few_phones(one) for one in told(world(users=300, days=40))]
    skipping = msgspec.structs.replace(policy(), resolve=SKIPPING)
    kept = Kept(tmp_path, skipping).tell(*events).send(accepted)
    decided = [fact.event for fact, verdict in kept.log.decided(0, kept.log.end()) if verdict == "taken"]
    undone = {one.loan_id for one in decided if one.type in ("disbursement_reversed", "loan_cancelled")}
    testers = {one.user_id for one in decided if one.test}
    phones, latest, loans = Phones(), dict[str, Event](), dict[str | None, Event]()
    for one in sorted(decided, key=lambda one: (one.occurred_at, one.event_id)):
        if is_touch(one):
            phones.show(one)
            latest[one.user_id] = one
        elif one.type == "disbursed" and one.loan_id not in undone and one.user_id not in testers:
            loans[one.loan_id] = latest[one.user_id]
    carried = Counter(phones.of(touch) for touch in loans.values())

    found = reported(kept)
    rows = [(row["users"], row["loans"]) for row in found.phones.records()]
    slow = [(len(users), carried[place]) for place, (_, users) in enumerate(phones.all) if len(users) > 1]
    assert rows == sorted(slow, reverse=True)
    assert len(rows) > RING
    skipped = [entry.skip for *_, entry in kept.planned()].count(SkipReason.SHARED_DEVICE)
    assert total(found, "skipped") == skipped > 0
    assert total(found, "loans") == len(loans)


def total(report: Devices, column: str) -> Any:
    rows: list[Any] = report.bands.records()
    return sum(row[column] for row in rows)


def test_the_picture_is_what_was_lost_by_the_number_of_users(report: Devices) -> None:
    (chart,) = charts_of(report)

    assert isinstance(chart, Bars)
    assert chart.labels == ("1", "2", "3–4", "(no phone known)")
    assert chart.series[0].values == (1 / 3, 0.0, 2 / 3, 0.0)
    assert chart.series[0].high[0] == wilson(1, 3)[1]
