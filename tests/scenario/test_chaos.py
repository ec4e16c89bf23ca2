"""The short form of `make chaos`: every platform fails in every way, and in the end has what was planned."""

import msgspec
import pytest
from tests.chaos.storm import PLATFORMS, Aftermath, Books, storm
from tests.running import drawn_seed

SECONDS = 8


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """One storm for all."""
    return storm(tmp_path_factory.mktemp("chaos"), drawn_seed(), SECONDS)


def test_after_a_storm_every_platform_has_what_was_planned_and_what_is_held_is_explained(
    after: Aftermath,
) -> None:
    assert after.broken() == []


def test_the_storm_was_felt(after: Aftermath) -> None:
    kinds = {kind for kind, n in after.fired.items() if n}
    ambiguous = {name for name, books in after.books.items() if books.ambiguous}

    assert after.users > 20
    assert {"status", "close_before", "close_after_accept", "truncate", "slow", "garbage"} <= kinds
    assert len(ambiguous) > len(PLATFORMS) / 2, "they were left without answers"
    assert any(books.held for books in after.books.values())
    assert all(not books.held for name, books in after.books.items() if not PLATFORMS[name].holds)


def test_a_conversion_that_is_said_to_be_accepted_and_never_came_is_found(after: Aftermath) -> None:
    books = after.books["warehouse"]
    lied = msgspec.structs.replace(books, received=[one for one in books.received if not same(one, books)])

    assert judged(after, "warehouse", lied) == [
        "warehouse: 1 were lost",
        "warehouse: 1 are said to be accepted and never arrived",
    ]


def test_a_conversion_that_came_once_more_than_can_be_explained_is_found(after: Aftermath) -> None:
    books = after.books["firebase-ng"]
    doubled = msgspec.structs.replace(books, received=[*books.received, books.received[0]])

    assert judged(after, "firebase-ng", doubled) == [
        "firebase-ng: 1 came more often than their ambiguous ends explain"
    ]


def test_a_held_conversion_that_no_ambiguous_end_explains_is_found(after: Aftermath) -> None:
    books = after.books["appsflyer-ng"]
    one = next(iter(books.accepted))
    held = msgspec.structs.replace(books, accepted=books.accepted - {one}, held=books.held | {one})

    assert judged(after, "appsflyer-ng", held) == [
        "appsflyer-ng: 1 are held, and none of their tries ended unknown"
    ]


def test_two_events_of_a_device_that_change_places_are_found(after: Aftermath) -> None:
    books = after.books["adjust-ng"]
    backwards = msgspec.structs.replace(books, received=books.received[::-1])

    (found,) = judged(after, "adjust-ng", backwards)
    assert found.endswith("came after a later one of their device")


def same(one: object, books: Books) -> bool:
    """Whether it is an arrival of the first conversion that arrived."""
    assert isinstance(one, dict)
    return bool(one["conversion_id"] == books.received[0]["conversion_id"])


def judged(after: Aftermath, name: str, books: Books) -> list[str]:
    """What would be said of the storm with other books for one platform."""
    return msgspec.structs.replace(after, books={**after.books, name: books}).broken()
