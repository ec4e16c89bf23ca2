"""Who is let in: by which header, for what, until when, and how often."""

import base64
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.measured import measured

from lendsignal.log import ApiKey, Keys, KeyUse, open_keys
from lendsignal.source import Keyring, SourceMeters, SourceSettings, access_of
from lendsignal.source.answers import Refusal
from lendsignal.source.keys import Bucket, key_in

KEY, OTHER = "ls_one", "ls_two"
DIGEST, OTHER_DIGEST = (sha256(key.encode()).hexdigest() for key in (KEY, OTHER))


class Hand:
    """A clock that the test sets: microseconds for ends, seconds for rates."""

    replay = False

    def __init__(self) -> None:
        self.us = 1_000
        self.seconds = 0.0

    def now_us(self) -> int:
        return self.us

    def steady(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Keys]:
    one = open_keys(tmp_path / "keys.sqlite")
    yield one
    one.close()


def ring(hand: Hand, *, until_us: int | None = None, store: Keys | None = None, **settings: Any) -> Keyring:
    """A ring with the key of `crm` in its configuration."""
    source = SourceSettings(**settings)
    access = access_of("crm", source, DIGEST, until_us=until_us)
    return Keyring({DIGEST: access}, hand, hand.steady, sources={"crm": source}, store=store)


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def refused(ask: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as found:
        ask()
    return found.value


# which key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer ls_one", b"ls_one"),
        (b"bearer  ls_one ", b"ls_one"),
        (b"Basic " + base64.b64encode(b"ls_one:"), b"ls_one"),
        (b"Basic " + base64.b64encode(b"ls_one:ignored"), b"ls_one"),
        (b"Basic " + base64.b64encode(b":"), None),
        (b"Basic not-base64!", None),
        (b"Digest ls_one", None),
        (b"", None),
    ],
)
def test_a_key_comes_as_a_bearers_or_as_the_name_of_basic(header: bytes, key: bytes | None) -> None:
    assert key_in(header) == key


def test_an_unknown_key_is_refused_and_a_known_one_tells_its_source(hand: Hand) -> None:
    keys = ring(hand)

    assert keys.admit(bearer(KEY), "events").source == "crm"
    unknown = refused(lambda: keys.admit(bearer(OTHER), "events"))
    assert (unknown.status, unknown.why, unknown.source) == (401, "unknown_key", "")


def test_a_key_is_good_for_its_scopes_only(hand: Hand) -> None:
    keys = ring(hand, scopes=("segment",))

    assert keys.admit(bearer(KEY), "segment").source == "crm"
    lacking = refused(lambda: keys.admit(bearer(KEY), "read"))
    assert (lacking.status, lacking.why, lacking.source) == (403, "scope", "crm")


def test_a_key_ends_at_its_moment_though_it_was_used_before(hand: Hand) -> None:
    keys = ring(hand, until_us=2_000)

    hand.us = 1_999
    assert keys.admit(bearer(KEY), "events")
    hand.us = 2_000
    ended = refused(lambda: keys.admit(bearer(KEY), "events"))
    assert (ended.status, ended.why) == (401, "ended_key")


# keys made while it runs


def made(**fields: Any) -> ApiKey:
    return ApiKey(**{"sha256": OTHER_DIGEST, "source": "crm", "made_us": 1, **fields})


def test_a_key_that_is_made_is_good_at_the_next_look(hand: Hand, store: Keys, tmp_path: Path) -> None:
    keys = ring(hand, store=store, scopes=("events", "read"))
    refused(lambda: keys.admit(bearer(OTHER), "read"))
    typed = open_keys(tmp_path / "keys.sqlite")
    typed.add(made(scopes=("read", "relay")))
    keys.look()

    assert keys.admit(bearer(OTHER), "read").scopes == {"read"}
    assert keys.admit(bearer(KEY), "events").source == "crm"
    typed.end(OTHER_DIGEST, 1_000)
    typed.end(DIGEST, 1_000)
    keys.look()
    assert refused(lambda: keys.admit(bearer(KEY), "read")).why == "ended_key"
    assert refused(lambda: keys.admit(bearer(OTHER), "read")).why == "ended_key"
    typed.close()


def test_a_key_of_a_source_that_is_configured_no_more_is_unknown(hand: Hand, store: Keys) -> None:
    store.add(made(source="gateway"))
    keys = ring(hand, store=store)

    assert refused(lambda: keys.admit(bearer(OTHER), "events")).why == "unknown_key"


def test_two_keys_of_a_source_overlap_while_the_sender_changes_over(hand: Hand, store: Keys) -> None:
    store.add(made())
    store.end(DIGEST, 5_000)
    keys = ring(hand, store=store)

    assert keys.admit(bearer(KEY), "events").source == keys.admit(bearer(OTHER), "events").source == "crm"
    hand.us = 5_000
    assert refused(lambda: keys.admit(bearer(KEY), "events")).why == "ended_key"
    assert keys.admit(bearer(OTHER), "events").source == "crm"


def test_the_use_of_a_key_is_written_down_once_it_is_noted(hand: Hand, store: Keys) -> None:
    keys = ring(hand, store=store)
    for _ in range(3):
        hand.us += 10
        keys.admit(bearer(KEY), "events")
    refused(lambda: keys.admit(bearer(OTHER), "events"))
    keys.note()
    keys.note()

    assert store.uses() == {DIGEST: KeyUse(1_030, 3)}


def test_whoever_looks_after_the_file_notes_the_last_use_when_it_ends(hand: Hand, store: Keys) -> None:
    other = open_keys(Path(store.path))
    with ring(hand, store=store) as keys:
        keys.admit(bearer(KEY), "events")

    assert other.uses() == {DIGEST: KeyUse(1_000, 1)}
    other.close()


def test_what_is_left_of_a_source_is_known_before_its_last_key_ends(hand: Hand, store: Keys) -> None:
    store.add(made(expires_us=60_001_000))
    keys = ring(hand, until_us=30_001_000, store=store)
    meters = SourceMeters()
    meters.keys_left = keys.left

    assert measured(meters).value("source_keys_left_seconds", source="crm") == 60
    hand.us = 90_000_000
    assert measured(meters).value("source_keys_left_seconds", source="crm") == 0
    assert ring(hand).left() == {}


# how much


def test_a_bucket_lets_in_what_it_holds_and_fills_by_the_second() -> None:
    bucket = Bucket(2.0, 4.0, 0.0)

    assert [_taken(bucket, 0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
    assert _taken(bucket, 0.5) == 0.0
    assert _taken(bucket, 0.75) == 0.25
    assert [_taken(bucket, 99.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]


def _taken(bucket: Bucket, now: float) -> float:
    wait = bucket.seconds_to_wait(now)
    if not wait:
        bucket.take(1)
    return wait


def test_a_batch_larger_than_the_burst_is_let_in_and_waited_for_afterwards() -> None:
    bucket = Bucket(10.0, 20.0, 0.0)
    assert bucket.seconds_to_wait(0.0) == 0.0
    bucket.take(100)

    # 80 too many and one more to come, at 10 a second.
    assert bucket.seconds_to_wait(0.0) == pytest.approx(8.1)
    assert bucket.seconds_to_wait(8.1) == 0.0


def test_each_key_of_a_source_has_an_allowance_of_its_own(hand: Hand, store: Keys) -> None:
    store.add(made())
    keys = ring(hand, store=store, per_second=2, burst=3)
    one, other = (keys.admit(bearer(key), "events") for key in (KEY, OTHER))
    keys.take(one, 6)

    waits = refused(lambda: keys.wait(one))
    assert (waits.status, waits.why, waits.source, waits.retry_after) == (429, "rate", "crm", 2)
    keys.wait(other)
    hand.seconds = 2.0
    keys.wait(one)


def test_a_key_without_a_rate_is_never_told_to_wait(hand: Hand) -> None:
    keys = ring(hand)
    access = keys.admit(bearer(KEY), "events")
    for _ in range(3):
        keys.take(access, 1_000_000)

    keys.wait(access)
