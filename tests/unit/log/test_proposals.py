"""Proposals and what a person decided of each."""

from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct

from lendsignal.log.proposals import Proposals, open_proposals


class Body(Struct, frozen=True):
    multiplier: float


ONE, OTHER = ("google", "1", "search"), ("meta", "", "broad")


@pytest.fixture
def store(tmp_path: Path) -> Proposals:
    return open_proposals(tmp_path / "proposals.sqlite")


def test_a_proposal_is_kept_with_what_it_rests_on(store: Proposals) -> None:
    numbers = store.propose(100, [(ONE, Body(1.2)), (OTHER, Body(0.8))])
    found = [store.of(number) for number in numbers]

    assert [(one.channel, one.campaign_id, one.campaign) for one in found if one] == [ONE, OTHER]
    assert [one.body for one in found if one] == [{"multiplier": 1.2}, {"multiplier": 0.8}]
    assert {(one.state, one.made_us, one.decided_us) for one in found if one} == {("open", 100, None)}


def test_a_decision_says_who_made_it_when_and_why(store: Proposals) -> None:
    (number,) = store.propose(100, [(ONE, Body(1.2))])
    found = store.decide(number, "accepted", at_us=200, who="ada", note="cheap lately")

    assert found is not None
    assert (found.state, found.decided_us, found.who, found.note) == ("accepted", 200, "ada", "cheap lately")


def test_what_is_decided_is_not_decided_again(store: Proposals) -> None:
    (number,) = store.propose(100, [(ONE, Body(1.2))])
    store.decide(number, "declined", at_us=200, who="ada", note="")

    assert store.decide(number, "accepted", at_us=300, who="bob", note="") is None
    assert store.decide(99, "accepted", at_us=300, who="bob", note="") is None
    assert [one.state for one in store.all()] == ["declined"]


def test_a_new_round_replaces_only_what_nobody_decided(store: Proposals) -> None:
    first, second = store.propose(100, [(ONE, Body(1.2)), (OTHER, Body(0.8))])
    store.decide(first, "accepted", at_us=150, who="ada", note="")
    (third,) = store.propose(200, [(OTHER, Body(0.9))])

    assert {one.id: one.state for one in store.all()} == {
        first: "accepted",
        second: "replaced",
        third: "open",
    }
    assert [one.id for one in store.all("open")] == [third]


def test_the_last_step_of_a_campaign_is_the_last_that_was_accepted(store: Proposals) -> None:
    for at_us, state in ((100, "accepted"), (200, "accepted"), (300, "declined")):
        (number,) = store.propose(at_us, [(ONE, Body(1.2))])
        store.decide(number, state, at_us=at_us + 1, who="ada", note="")  # type: ignore[arg-type]

    assert store.last_step_us() == {ONE: 201}


def test_proposals_outlast_the_process(tmp_path: Path) -> None:
    with closing(open_proposals(tmp_path / "proposals.sqlite")) as store:
        store.propose(100, [(ONE, Body(1.2))])

    with closing(open_proposals(tmp_path / "proposals.sqlite", read_only=True)) as again:
        assert [one.body for one in again.all()] == [{"multiplier": 1.2}]
