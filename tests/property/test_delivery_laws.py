"""Laws of sending, whatever the platform does, whenever it is killed, whatever is taken back meanwhile."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.acme import IOS, consent_of, event, login, us
from tests.desk import MINUTE, TOKEN, Desk, acme, borrower

from lendsignal.deliver import Done, NoAnswer, Outlet, Unknown, Wire, sender
from lendsignal.destination.spec import Response
from lendsignal.log import Stage

ENDS = ("accepted", "dead", "skipped", "cancelled")
"""What becomes of a delivery, once."""

ENDINGS = (
    "accepted", "rows", "split", "rejected", "busy", "slow down", "paused", "garbage",
    "answer lost", "request lost", "no connection",
)  # fmt: skip
"""How a request may end; after `answer lost` the platform has it and we do not know."""


class Line:
    """Stands in for the network: requests end when the law's author says, and how he says."""

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform

    def __len__(self) -> int:
        return len(self._platform.flights)

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None:
        self._platform.flights.append((wire, token))
        self._platform.asked.update(one["user"] for one in json.loads(wire.body)["events"])

    def wait(self, seconds: float) -> list[Done]:
        done, self._platform.done = self._platform.done, []
        return done

    def close(self) -> None:
        return None


class Platform:
    """What is on its way, and what truly arrived, by conversion id."""

    def __init__(self) -> None:
        self.flights: list[tuple[Wire, Any]] = []
        self.done: list[Done] = []
        self.took: Counter[tuple[str, str]] = Counter()
        self.unsure: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[str] = Counter()

    def end(self, number: int, ending: str, rows: Callable[[int], list[str]]) -> None:
        """Ends one of the requests in flight."""
        wire, token = self.flights.pop(number % len(self.flights))
        ids = ids_of(wire)
        result: Response | NoAnswer
        match ending:
            case "answer lost":
                self.took.update(ids)
                self.unsure.update(ids)
                result = NoAnswer("no_answer", left=True)
            case "request lost":
                self.unsure.update(ids)
                result = NoAnswer("connection_reset", left=True)
            case "no connection":
                result = NoAnswer("connect_failed", left=False)
            case "garbage":
                result = Response(status=502, body=b"<html>")
            case _:
                words = verdicts(ending, len(ids), rows)
                self.took.update(one for one, word in zip(ids, words, strict=True) if word == "accepted")
                result = Response(status=200, body=json.dumps({"verdicts": words}).encode())
        self.done.append(Done(token, result))

    def die(self, arrived: Callable[[], bool]) -> None:
        """The sender is killed with requests in flight, and with answers it has not looked at."""
        for wire, _ in self.flights:
            ids = ids_of(wire)
            self.unsure.update(ids)
            if arrived():
                self.took.update(ids)
        for one in self.done:
            self.unsure.update(ids_in(one.token))
        self.flights, self.done = [], []


def verdicts(ending: str, count: int, rows: Callable[[int], list[str]]) -> list[str]:
    match ending:
        case "rows":
            return rows(count)
        case "split":
            return ["split:bad_row"] * count
        case "rejected":
            return ["rejected:invalid"] * count
        case "busy":
            return ["retry:busy"] * count
        case "slow down":
            return ["throttled:30"] * count
        case "paused":
            return ["paused:bad_token"] * count
        case _:
            return ["accepted"] * count


def ids_of(wire: Wire) -> list[tuple[str, str]]:
    """(destination's own header, conversion id) of each event of a request."""
    account = dict(wire.headers)["Authorization"].rpartition(" ")[2]
    return [(account, one["id"]) for one in json.loads(wire.body)["events"]]


def ids_in(flight: Any) -> list[tuple[str, str]]:
    account = os.environ[flight.line.outlet.own.token.env]
    return [(account, one["id"]) for one in flight.request.json["events"]]


def outlets(rule: Unknown) -> Iterable[Outlet]:
    """Two accounts of one kind in one app, and one in the brand's other app."""
    yield acme("acme-a", account="a", token="TOKEN_A", on_unknown=rule)
    yield acme("acme-b", account="b", token="TOKEN_B", on_unknown=rule, concurrency=1)
    yield acme("acme-ph", app=IOS, token="TOKEN_PH", on_unknown=rule)


NAMES = {"acme-a": "A", "acme-b": "B", "acme-ph": "PH"}


class Books(RuleBasedStateMachine):
    """Events come in, requests end, time goes by, the sender dies; `unknown` is the rule for the unsure."""

    unknown = Unknown(retry=2)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.platform = Platform()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(sender, "LateTransport", lambda bells, may_leave: Line(self.platform))
        for letter in NAMES.values():
            self.patches.setenv(f"TOKEN_{letter}", f"{TOKEN}-{letter}")
        self.desk = Desk(Path(self.folder.name), *outlets(self.unknown))
        self.users = 0
        self.forbidden: dict[str, int] = {}

    @property
    def now(self) -> float:
        """Minutes since the story began."""
        return (self.desk.clock.us - us(0)) / MINUTE

    @rule(number=st.integers(1, 7))
    def users_borrow(self, number: int) -> None:
        for _ in range(number):
            self.users += 1
            name = (
                "unknown" if self.users % 11 == 0 else "poison" if self.users % 13 == 0 else f"u{self.users}"
            )
            self.desk.tell(*borrower(name, self.now))

    @rule(turns=st.integers(1, 3))
    def the_sender_turns(self, turns: int) -> None:
        self.desk.turns(turns)

    @precondition(lambda self: self.platform.flights)
    @rule(number=st.integers(0, 99), ending=st.sampled_from(ENDINGS), data=st.data())
    def a_request_ends(self, number: int, ending: str, data: st.DataObject) -> None:
        words = st.sampled_from(["accepted", "rejected:invalid", "retry:busy", "split:bad_row"])
        self.platform.end(
            number, ending, lambda count: data.draw(st.lists(words, min_size=count, max_size=count))
        )
        self.desk.turns(2)

    @rule(minutes=st.sampled_from([0.1, 1, 20, 24 * 60]))
    def time_goes_by(self, minutes: float) -> None:
        self.desk.clock.ahead(minutes)
        self.desk.turns(2)

    @precondition(lambda self: self.users)
    @rule(
        number=st.integers(1, 99), app=st.sampled_from(["acme-ng", "acme-ios"]), ago=st.sampled_from([0, 5])
    )
    def a_login_comes_late(self, number: int, app: str, ago: int) -> None:
        name = f"u{1 + number % self.users}"
        phone = f"{name}-{self.now}-{app}"
        at = self.now - ago
        self.desk.tell(login(at, phone, user_id=name, app=app, arrives=self.now, event_id=f"in-{phone}-{at}"))

    @precondition(lambda self: self.users)
    @rule(number=st.integers(1, 99), kind=st.sampled_from(["disbursement_reversed", "consent_changed"]))
    def something_is_taken_back(self, number: int, kind: str) -> None:
        name = f"u{1 + number % self.users}"
        if kind == "consent_changed":
            self.desk.tell(consent_of(self.now, False, user_id=name, event_id=f"no-{name}-{self.now}"))
            self.desk.turns()
            self.forbidden.setdefault(name, self.platform.asked[name])
        else:
            self.desk.tell(event(kind, self.now, user_id=name, loan_id=f"L-{name}"))

    @rule(data=st.data())
    def the_sender_is_killed(self, data: st.DataObject) -> None:
        # What came of requests is on disk within FLUSH_SECONDS; here it is, so that only flights are unsure.
        self.desk.sender.book.commit()
        self.platform.die(lambda: data.draw(st.booleans()))
        self.desk.restart()

    @precondition(lambda self: not self.platform.flights)
    @rule()
    def the_sender_ends_well(self) -> None:
        self.desk.restart(killed=False)

    @invariant()
    def the_books_balance(self) -> None:
        assert self.desk.balanced()

    @invariant()
    def nothing_is_doubled_but_what_nobody_could_know(self) -> None:
        allowed = 2 if self.unknown.retry else 0
        for one, times in self.platform.took.items():
            assert times <= 1 + min(allowed, self.platform.unsure[one])

    @invariant()
    def nobody_is_told_of_a_user_whose_consent_has_ended(self) -> None:
        for name, times in self.forbidden.items():
            assert self.platform.asked[name] == times

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.patches.undo()
            self.desk.close()
            self.folder.cleanup()

    def finish(self) -> None:
        """From here on every request is accepted: in the end nothing waits any more."""
        for _ in range(40):
            self.desk.turns(2)
            while self.platform.flights:
                self.platform.end(0, "accepted", lambda count: [])
                self.desk.turns(2)
            self.desk.clock.ahead(20)
        stages = {one.stage for name in NAMES for one in self.desk.open(name)}
        assert stages <= {Stage.HELD}
        ends: Counter[int] = Counter()
        accepted: set[tuple[str, str]] = set()
        for receipt in self.desk.all_receipts():
            ends[receipt.id] += receipt.what in ENDS
            if receipt.what == "accepted":
                record: Any = self.desk.log.record(receipt.id // 64)
                account = f"{TOKEN}-{NAMES[receipt.destination]}"
                accepted.add((account, record.conversion.id))
        assert set(ends.values()) <= {0, 1}, "a delivery ends once"
        assert accepted <= set(self.platform.took), "what we call accepted, the platform has"
        self.the_books_balance()
        self.nothing_is_doubled_but_what_nobody_could_know()
        self.nobody_is_told_of_a_user_whose_consent_has_ended()


class CarefulBooks(Books):
    unknown = Unknown(retry=0)


@pytest.mark.parametrize("books", [Books, CarefulBooks], ids=["retry", "hold"])
def test_the_books_balance_and_nothing_is_lost_or_doubled(books: type[Books]) -> None:
    run_state_machine_as_test(
        books,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
