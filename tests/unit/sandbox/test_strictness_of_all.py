"""Every stand-in refuses a request that is broken in one place, whatever destination made it."""

import pytest
from tests.strictness import judged
from tests.strictness.judged import row_of, table
from tests.strictness.sheets import NO_STAND_IN, SHEETS

from lendsignal.destination import registry


@pytest.fixture(scope="module", params=SHEETS)
def row(request: pytest.FixtureRequest) -> judged.Row:
    kind: str = request.param
    return row_of(kind)


def test_at_least_95_of_100_broken_requests_are_refused(row: judged.Row) -> None:
    assert sum(row.made.values()) >= 90
    assert row.share >= 0.95


def test_what_is_taken_all_the_same_is_listed_with_its_reason(row: judged.Row) -> None:
    assert set(row.taken) == set(SHEETS[row.kind].lets_pass)


def test_every_kind_of_mutation_has_something_to_say_of_most_platforms(row: judged.Row) -> None:
    assert {"missing", "access"} <= {mutation for mutation, made in row.made.items() if made}


def test_every_destination_has_a_sheet() -> None:
    assert set(SHEETS) == set(registry()) - NO_STAND_IN


def test_the_page_shows_the_table_as_it_is_now() -> None:
    assert table() in judged.PAGE.read_text(), "run: python -m tests.strictness"


def test_a_stand_in_that_takes_everything_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "is_kept", lambda answer: True)

    assert row_of("meta").share < 0.05
