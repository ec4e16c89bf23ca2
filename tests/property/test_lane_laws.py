"""Laws of lanes in the sender: order and counts hold whatever the platform answers, whenever it is killed."""

import json
import os
import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.acme import APPS
from tests.desk import TOKEN, Desk, Hand
from tests.laned import a_loan, laned, user_with_loans

from lendsignal.deliver import Done, NoAnswer, Unknown, Wire
from lendsignal.deliver.sender import Sender
from lendsignal.destination.spec import Response

ANSWERS: dict[str, Response | NoAnswer] = {
    "accepted": Response(status=200, body=b'{"verdicts": ["accepted"]}'),
    "rejected": Response(status=200, body=b'{"verdicts": ["rejected:invalid_field"]}'),
    "busy": Response(status=503),
    "much later": Response(status=503, headers={"retry-after": "900"}),
    "slow down": Response(status=429, headers={"retry-after": "60"}),
    "paused": Response(status=401),
    "answer lost": NoAnswer("no_answer", left=True),
    "no connection": NoAnswer("connect_failed", left=False),
}


class Network:
    """Stands in for the network: requests end when and how the law's author says."""

    def __init__(self) -> None:
        self.flights: list[tuple[list[tuple[str, float]], Any]] = []
        self.done: list[Done] = []
        self.sent: dict[str, list[float]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self.flights)

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None:
        rows = [(row["user"], row["at"]) for row in json.loads(wire.body)["events"]]
        on_their_way = {user for others, _ in self.flights for user, _ in others}
        assert not on_their_way & {user for user, _ in rows}, "two of a lane are on their way"
        assert len({user for user, _ in rows}) == len(rows), "two of a lane are in one request"
        for user, at in rows:
            self.sent[user].append(at)
        self.flights.append((rows, token))

    def end(self, number: int, how: str) -> None:
        if self.flights:
            _, token = self.flights.pop(number % len(self.flights))
            self.done.append(Done(token, ANSWERS[how]))

    def wait(self, seconds: float) -> list[Done]:
        done, self.done = self.done, []
        return done

    def close(self) -> None:
        self.flights.clear()
        self.done.clear()


class LanedDesk(Desk):
    """A desk whose sender speaks to the made-up network."""

    network: Network | None = None

    def started(self) -> Sender:
        if self.network is None:
            self.network = Network()
        clock = self.clock
        return Sender(
            self.log,
            self.store,
            self.outlets,
            APPS,
            self.settings,
            clock,
            network=self.network,
            steady=lambda: clock.us / 1e6,
        )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("loan"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("ends"), st.integers(0, 2), st.sampled_from(sorted(ANSWERS))),
        st.tuples(st.just("passes"), st.sampled_from([0, 1, 20, 90]), st.just("")),
        st.tuples(st.just("killed"), st.just(0), st.just("")),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(steps, st.sampled_from([1, 4]), st.booleans())
def test_a_lane_keeps_its_order_and_nothing_is_lost(
    told: list[tuple[str, int, str]], batch: int, narrow: bool
) -> None:
    """No head is passed here, so that what is sent in a lane never goes back in time."""
    outlet = laned(
        facts={"batch": batch, "max_age": timedelta(days=90)},
        on_unknown=Unknown(retry=10_000),
        lane_wait=timedelta(days=90),
        concurrency=1 if narrow else 8,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"ACME_TOKEN": TOKEN}),
        LanedDesk(Path(folder), outlet, sandbox="http://127.0.0.1:1", clock=Hand(0)) as desk,
    ):
        network = desk.network
        assert network is not None
        desk.tell(*(one for n in (1, 2, 3) for one in user_with_loans(f"u{n}", 0)))
        planned = 3
        for what, number, how in told:
            match what:
                case "loan":
                    minute = (desk.clock.us - Hand(0).us) / 60_000_000 + planned / 60
                    desk.tell(a_loan(f"u{number}", round(minute, 3)))
                    planned += 1
                case "ends":
                    network.end(number, how)
                case "passes":
                    desk.clock.ahead(number)
                case _:
                    desk.restart()
            desk.turns(2)
            assert desk.balanced()
        for _ in range(planned * 3):
            desk.clock.ahead(60)
            desk.turns(1)
            while network.flights:
                network.end(0, "accepted")
            desk.turns(2)

        assert desk.open() == []
        tally = desk.tally()
        assert tally["planned"] == planned == tally.get("accepted", 0) + tally.get("dead", 0)
        for moments in network.sent.values():
            assert moments == sorted(moments)
