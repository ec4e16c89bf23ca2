"""What a user has forbidden meanwhile is sent through again by nobody."""

from pathlib import Path

import pytest
from tests.acme import consent_of, us
from tests.desk import TOKEN, acme, borrower, verdicts
from tests.laned import ids_in
from tests.ordered import OrderedDesk
from tests.scripted import platform

from lendsignal.deliver import orders
from lendsignal.deliver.choose import Choice, Chooser


@pytest.fixture(autouse=True)
def setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    monkeypatch.setattr(orders, "LOOK_SECONDS", 0.0)


DEAD = Choice(states=frozenset({"dead"}))


def test_a_replay_leaves_out_whose_consent_ended_and_asks_again_for_the_others(tmp_path: Path) -> None:
    with (
        platform(verdicts("rejected:bad"), verdicts("accepted")) as played,
        OrderedDesk(tmp_path, acme(facts={"batch": 2}), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower("u1"), *borrower("u2")).until(lambda: desk.tally().get("dead") == 2)
        desk.tell(consent_of(1, False, user_id="u2")).quiet()

        chosen = Chooser(desk.log, desk.store, desk.outlets, us(2)).to_send_again(DEAD)
        assert (len(chosen), chosen.left_out()) == (1, {"no_consent": 1})

        desk.tell(consent_of(3, True, user_id="u2")).quiet()
        allowed = Chooser(desk.log, desk.store, desk.outlets, us(4)).to_send_again(DEAD)
        assert len(allowed) == 2, "who allows it again is sent for again"


def test_a_consent_that_ends_between_choice_and_replay_counts(tmp_path: Path) -> None:
    with (
        platform(verdicts("rejected:bad"), verdicts("accepted")) as played,
        OrderedDesk(tmp_path, acme(facts={"batch": 2}), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower("u1"), *borrower("u2")).until(lambda: desk.tally().get("dead") == 2)
        (order,) = Chooser(desk.log, desk.store, desk.outlets, us(1)).to_send_again(DEAD).again()
        desk.tell(consent_of(1, False, user_id="u2")).quiet()

        assert desk.order(order) == (1, 1)
        desk.until(lambda: desk.tally().get("accepted") == 1)
        assert len(ids_in(played.came[1])) == 1
        assert desk.balanced()
