"""Shared phones over a log: counted with the decisions, from their place on, and only where asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acme import again, event, loan, login, phone, source, us

from lendsignal.decide import Decider
from lendsignal.errors import LogError
from lendsignal.log import Log, open_log
from lendsignal.model import Device, Event
from lendsignal.plan import Planned, PolicySource, Withdrawn
from lendsignal.resolve import ResolveSettings, Snapshot, phone_keys


class Clock:
    """A clock that stands still."""

    replay = False

    def now_us(self) -> int:
        return us(0)


def policy(users: int = 3, then: Any = "skip") -> PolicySource:
    return source(resolve=ResolveSettings(shared_device_users=users, shared_device=then))


class Lender:
    """A decider over a log. `tell` decides events by themselves, `wait` only appends them."""

    def __init__(self, folder: Path, wanted: PolicySource) -> None:
        self.log: Log = open_log(folder / "log.sqlite")
        self.decider = Decider(self.log, wanted, Clock(), lambda: None)

    def turn(self) -> None:
        while self.decider.turn():
            pass

    def wait(self, *events: Event) -> "Lender":
        self.log.append(events)
        return self

    def tell(self, *events: Event) -> "Lender":
        self.turn()
        self.wait(*events).turn()
        return self

    def loans(self) -> dict[str, str]:
        """By loan: what became of its deliveries."""
        return {
            record.conversion.loan_id or "": str(entry.skip)
            for _, record in self.log.records(0, 10_000)
            if isinstance(record, Planned) and record.conversion.name == "disbursement"
            for entry in record.entries
        }

    def known(self, name: str = "a") -> int:
        """How many users showed that phone, as the log keeps it."""
        found = self.log.phones(phone_keys("acme", Snapshot("acme-ng", phone(name))), 1_000)
        return max(map(len, found.values()), default=0)


def by(user: str, one: Event, **changes: Any) -> Event:
    return again(one, user_id=user, event_id=f"{one.event_id}-{user}", **changes)


def visit(user: str, minutes: float, name: str = "a") -> list[Event]:
    """A user logs in on that phone and gets a loan a minute later."""
    number = f"{user}-{minutes:g}"
    return [by(user, login(minutes, name)), by(user, loan(minutes + 1, number, loan_number=2))]


@pytest.fixture
def lender(tmp_path: Path) -> Iterator[Callable[..., Lender]]:
    opened: list[Lender] = []

    def make(*args: Any, folder: str = "one") -> Lender:
        (tmp_path / folder).mkdir(exist_ok=True)
        opened.append(Lender(tmp_path / folder, policy(*args) if args else source()))
        return opened[-1]

    yield make
    for one in opened:
        one.log.close()


def test_the_third_user_makes_a_phone_shared_from_that_login_on(lender: Callable[..., Lender]) -> None:
    one = lender(3, "skip")
    for at, user in enumerate(("u1", "u2", "u3")):
        one.tell(*visit(user, 10 * at))

    assert one.loans() == {"u1-0": "None", "u2-10": "None", "u3-20": "shared_device"}


def test_the_others_of_the_phone_see_it_with_their_next_loan(lender: Callable[..., Lender]) -> None:
    one = lender(3, "skip")
    for at, user in enumerate(("u1", "u2", "u3")):
        one.tell(*visit(user, 10 * at))

    one.tell(by("u1", loan(40, "next", loan_number=3)), *visit("u2", 50, "own"))

    assert one.loans()["next"] == "shared_device"
    assert one.loans()["u2-50"] == "None"


def test_two_users_on_one_phone_stay_two(lender: Callable[..., Lender]) -> None:
    one = lender(3, "skip").tell(*visit("u1", 0), *visit("u2", 10))

    assert one.loans() == {"u1-0": "None", "u2-10": "None"}
    assert one.log.state("acme:u1") != one.log.state("acme:u2")


def test_binding_as_ever_counts_and_sends(lender: Callable[..., Lender]) -> None:
    one = lender(2, "bind").tell(*visit("u1", 0), *visit("u2", 10), *visit("u3", 20))

    assert set(one.loans().values()) == {"None"}
    assert one.known() == 3


def test_one_user_on_one_phone_ever_again_is_one_user(lender: Callable[..., Lender]) -> None:
    one = lender(2, "skip").tell(*visit("u1", 0), *visit("u1", 10), *visit("u1", 20))

    assert set(one.loans().values()) == {"None"}
    assert one.known() == 1


def test_an_agents_login_and_a_repeated_login_count_nobody(lender: Callable[..., Lender]) -> None:
    one = lender(2, "skip").tell(
        *visit("u1", 0),
        by("u2", login(5, "a", actor="agent")),
        by("u1", login(0, "a")),
        by("u1", loan(9, "L9", loan_number=3)),
    )

    assert one.known() == 1
    assert one.loans()["L9"] == "None"


def test_users_of_two_brands_on_one_phone_share_nothing(lender: Callable[..., Lender]) -> None:
    one = lender(2, "skip").tell(*visit("u1", 0), again(login(5, "a"), brand="other", app="other-ng"))

    one.tell(by("u1", loan(9, "L9", loan_number=3)))

    assert one.loans()["L9"] == "None"


def test_a_restart_forgets_nobody(lender: Callable[..., Lender]) -> None:
    lender(3, "skip").tell(*visit("u1", 0), *visit("u2", 10))

    again_ = lender(3, "skip").tell(*visit("u3", 20))

    assert again_.loans()["u3-20"] == "shared_device"


def test_a_batch_that_was_not_kept_counted_nobody(
    lender: Callable[..., Lender], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lender(3, "skip").tell(*visit("u1", 0))
    one.wait(*visit("u2", 10), *visit("u3", 20))

    def torn(decided: Any) -> None:
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(one.log, "commit", torn)
        with pytest.raises(LogError):
            one.decider.turn()
    assert one.known() == 1
    one.turn()

    assert one.known() == 3
    assert one.loans() == {"u1-0": "None", "u2-10": "None", "u3-20": "shared_device"}


def test_whoever_logged_in_before_the_option_counts_from_the_next_login(
    lender: Callable[..., Lender],
) -> None:
    lender().tell(*visit("u1", 0), *visit("u2", 10))
    one = lender(2, "skip")
    assert one.known() == 0

    one.tell(*visit("u3", 20), by("u1", login(30, "a")), by("u2", loan(40, "L9", loan_number=3)))

    assert one.loans() == {"u1-0": "None", "u2-10": "None", "u3-20": "None", "L9": "shared_device"}


def test_a_policy_that_changes_within_a_batch_applies_from_its_place(lender: Callable[..., Lender]) -> None:
    """What waited is decided by the rules of its time: counted, then skipped, then by a higher number."""
    lender(2, "bind").wait(*visit("u1", 0), *visit("u2", 10))
    lender(2, "skip").wait(*visit("u1", 20))
    three = lender(3, "skip").wait(*visit("u1", 30), *visit("u3", 40), *visit("u2", 50, "b"))

    three.turn()

    assert three.loans() == {
        "u1-0": "None",
        "u2-10": "None",
        "u1-20": "shared_device",
        "u1-30": "None",
        "u3-40": "shared_device",
        "u2-50": "None",
    }


def test_a_higher_number_within_a_batch_counts_everybody_of_the_batch(lender: Callable[..., Lender]) -> None:
    lender(2, "skip").tell(*visit("u1", 0)).wait(*visit("u2", 10), *visit("u3", 20))
    two = lender(3, "skip").wait(*visit("u1", 30))

    two.turn()

    assert two.loans() == dict.fromkeys(("u2-10", "u3-20", "u1-30"), "shared_device") | {"u1-0": "None"}


def test_a_higher_number_counts_on_from_everybody_who_is_known(lender: Callable[..., Lender]) -> None:
    crowd = [one for n in range(5) for one in visit(f"u{n}", 10 * n)]
    lender(2, "skip").tell(*crowd)
    one = lender(6, "skip")
    assert one.known() == 5

    one.tell(*visit("u0", 90), *visit("u9", 100))

    assert one.loans()["u0-90"] == "None"
    assert one.loans()["u9-100"] == "shared_device"


def test_without_the_option_nothing_is_kept_or_read(
    lender: Callable[..., Lender], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lender()

    def asked(*args: Any) -> Any:
        raise AssertionError("nobody asked")

    with monkeypatch.context() as patch:
        patch.setattr(one.log, "phones", asked)
        one.tell(*visit("u1", 0), *visit("u2", 10), *visit("u3", 20))

    assert one.known() == 0
    assert set(one.loans().values()) == {"None"}


def test_a_late_login_on_a_shared_phone_takes_back_what_waits(lender: Callable[..., Lender]) -> None:
    one = lender(2, "skip").tell(*visit("u1", 0), *visit("u2", 10, "own"))
    one.tell(by("u2", login(10.5, "a", arrives=12)))

    taken_back = [
        (record.reason, str(record.skip))
        for _, record in one.log.records(0, 1_000)
        if isinstance(record, Withdrawn)
    ]
    assert taken_back == [("shared_device", "shared_device")] * 2


def test_a_login_without_any_id_shows_no_phone(lender: Callable[..., Lender]) -> None:
    blank = Device(model="Pixel 9")
    one = lender(2, "skip").tell(
        *(by(user, login(at, blank)) for at, user in enumerate(("u1", "u2", "u3"))),
        by("u1", event("registered", 5)),
    )

    assert one.known() == 0
