"""Every stand-in for lists refuses an addition that is broken in one place."""

import pytest
from tests.strictness import lists
from tests.strictness.lists import CASES, Row, row_of

from lendsignal.destination.audiences import audience_platforms


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, Row]:
    name: str = request.param
    return name, row_of(name)


def test_at_least_95_of_100_broken_additions_make_nobody_a_member(case: tuple[str, Row]) -> None:
    _, row = case

    assert sum(row.made.values()) >= 70
    assert row.share >= 0.95
    assert {"missing", "type", "id", "word", "size", "access"} <= row.made.keys()


def test_an_addition_that_is_taken_all_the_same_has_a_reason(case: tuple[str, Row]) -> None:
    name, row = case

    assert set(row.taken) == set(CASES[name].sheet.lets_pass)


def test_every_platform_that_has_an_address_has_a_sheet() -> None:
    assert {one.kind for one in CASES.values()} == set(audience_platforms()) - {"file"}


def test_a_stand_in_that_takes_every_addition_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "is_taken", lambda case, message: True)

    assert row_of("snap").share < 0.05
