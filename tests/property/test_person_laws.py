"""Laws of persons: one first in each scope, found as a slow recount finds it, however events are batched."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import ANDROID, APPS, SEND, again, event, loan, login, source, target, us

from lendsignal.decide import Decider
from lendsignal.log import open_log
from lendsignal.model import Event
from lendsignal.plan import Planned, PolicySource

LITE = msgspec.structs.replace(ANDROID, name="lite-ng", brand="lite", bundle="com.lite.loans")
USERS = {
    "a1": ("acme", "P1"),
    "a2": ("acme", "P1"),
    "b1": ("lite", "P1"),
    "a3": ("acme", "P2"),
    "b2": ("lite", None),
}
"""Five users: their brand, and the person they are said to be."""


def rules(first: str) -> PolicySource:
    plain = source(send=SEND)
    derive = msgspec.structs.replace(
        plain.derive,
        apps={**APPS, "lite-ng": LITE},
        default_app={"acme": "acme-ng", "lite": "lite-ng"},
        first=first,
        history="whole",
    )
    to = target("appsflyer-ng", "acme-ng")
    return msgspec.structs.replace(plain, derive=derive, routes=plain.routes[:1], targets={to.name: to})


class StoppedClock:
    replay = False

    def now_us(self) -> int:
        return us(1_000)


def of_user(name: str, at: int, kind: str) -> Event:
    brand, _ = USERS[name]
    app = "acme-ng" if brand == "acme" else "lite-ng"
    if kind == "login":
        told = login(at, name, app=app)
    elif kind == "loan":
        told = loan(at, f"L{at}")
    else:
        told = event(kind, at, application_id=f"A{at}")
    arrived = event("any", 500 + at).received_at
    return again(told, user_id=name, brand=brand, event_id=f"{name}-{kind}-{at}", received_at=arrived)


stories = st.lists(
    st.builds(
        of_user,
        st.sampled_from(sorted(USERS)),
        st.integers(0, 99),
        st.sampled_from(["login", "loan", "applied"]),
    ),
    max_size=20,
    unique_by=lambda one: one.event_id,
)


SEEN = [
    again(told, user_id=name, brand=brand, person_id=person, event_id=f"first-{name}")
    for name, (brand, person) in USERS.items()
    for told in [login(-9, name, app="acme-ng" if brand == "acme" else "lite-ng")]
]
"""Every user's first login: only it tells the person."""


def decided(events: Sequence[Event], first: str, cuts: Sequence[int] = ()) -> list[Planned]:
    """What is planned of the events behind everybody's first login, in batches that end at these places,
    each after a restart."""
    events = [*SEEN, *events]
    places = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    with TemporaryDirectory() as folder:
        for start, end in pairwise(places):
            log = open_log(Path(folder) / "log.sqlite")
            log.append(list(events[start:end]))
            decider = Decider(log, rules(first), StoppedClock(), lambda: None)
            while decider.turn():
                pass
            log.close()
        log = open_log(Path(folder) / "log.sqlite")
        found = [record for _, record in log.records(0, 100_000) if isinstance(record, Planned)]
        log.close()
    return found


@settings(max_examples=60, deadline=None)
@given(stories, st.sampled_from(["brand", "portfolio"]))
def test_a_loan_is_the_first_where_a_recount_of_all_earlier_loans_of_the_person_finds_none(
    events: list[Event], first: str
) -> None:
    expected: dict[str, list[str]] = {"first_loan": [], "repeat_loan": [], "first_application": []}
    had: set[tuple[str, ...]] = set()
    for one in events:
        if one.type not in ("disbursed", "applied"):
            continue
        human = USERS[one.user_id][1] or one.user_id
        scope = (one.type, human) if first == "portfolio" else (one.type, human, one.brand)
        if scope not in had:
            expected["first_loan" if one.type == "disbursed" else "first_application"].append(one.event_id)
        elif one.type == "disbursed":
            expected["repeat_loan"].append(one.event_id)
        had.add(scope)

    planned = decided(events, first)

    found = {
        name: [one.conversion.event_id for one in planned if one.conversion.name == name] for name in expected
    }
    assert found == expected


@settings(max_examples=40, deadline=None)
@given(stories, st.sampled_from(["brand", "portfolio"]), st.lists(st.integers(1, 19), max_size=3))
def test_batches_and_restarts_change_no_conversion(events: list[Event], first: str, cuts: list[int]) -> None:
    one, other = decided(events, first), decided(events, first, cuts)

    assert [(p.conversion.id, p.conversion.name) for p in one] == [
        (p.conversion.id, p.conversion.name) for p in other
    ]
