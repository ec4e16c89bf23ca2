"""For how long what was planned can be moved or taken back: no longer than the log keeps its record."""

from datetime import timedelta

import pytest
from tests.acme import DAY, consent_of, event, loan, login, told

from lendsignal.log.keeping import SHORTEST
from lendsignal.plan import reopened
from lendsignal.plan.decide import OPEN_FOR_US

FORTNIGHT = 14 * DAY


def test_the_log_is_kept_for_at_least_as_long_as_anything_is_moved() -> None:
    assert timedelta(microseconds=OPEN_FOR_US) <= SHORTEST


def test_a_late_login_moves_what_was_planned_within_a_fortnight_and_nothing_older() -> None:
    def after(minutes: float) -> int:
        late = login(5, "b", arrives=minutes)
        known = told(login(0, "a"), loan(10))
        assert bool(reopened(known.state, late)) == (minutes <= 10 + FORTNIGHT)
        return len(known.tell(late).rebound())

    assert after(10 + FORTNIGHT) > 0
    assert after(11 + FORTNIGHT) == 0


@pytest.mark.parametrize(
    "undoes",
    [
        lambda at: event("disbursement_reversed", 20, arrives=at, loan_id="L1"),
        lambda at: consent_of(20, False, arrives=at),
    ],
    ids=["reversal", "consent"],
)
def test_a_reversal_or_a_no_takes_back_what_was_planned_within_a_fortnight(undoes) -> None:  # type: ignore[no-untyped-def]
    def after(minutes: float) -> int:
        return len(told(login(0, "a"), loan(10)).tell(undoes(minutes)).withdrawn())

    assert after(10 + FORTNIGHT) > 0
    assert after(11 + FORTNIGHT) == 0
