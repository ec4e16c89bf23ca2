"""The limits of an event, as `docs/reference/limits.md` tells them: taken at the limit, refused beyond."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS

from lendsignal.errors import InputError
from lendsignal.role import connections, serving
from lendsignal.source import body, mending, read_event, read_json, reader_of, relay, segment_door
from lendsignal.source.feeds import door as feeds_door
from lendsignal.source.settings import DoorSettings

READER = reader_of(APPS, timedelta(hours=48))
RECEIVED = datetime(2026, 3, 10, 9, tzinfo=UTC)
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "limits.md"


def read(**fields: Any) -> None:
    """An application with these fields, read as at the door."""
    event = {
        "type": "applied",
        "brand": "acme",
        "app": "acme-ng",
        "user_id": "u1",
        "application_id": "A1",
        "occurred_at": "2026-03-10T08:00:00Z",
    }
    read_event({**event, **fields}, RECEIVED, READER)


def instalments(n: int) -> list[dict[str, Any]]:
    return [{"due_date": "2026-04-01", "amount": "1"}] * n


FIELDS: list[tuple[str, Any, Any]] = [
    ("type", "a" * 64, "a" * 65),
    *((name, "x" * 128, "x" * 129) for name in "event_id user_id person_id product score_version".split()),
    *((name, "x" * 128, "x" * 129) for name in "application_id grant_id loan_id payment_id".split()),
    ("application_id", "A", ""),
    ("loan_number", 100_000, 100_001),
    ("loan_number", 1, 0),
    ("term_days", 36_500, 36_501),
    ("term_days", 0, -1),
    ("dpd", 36_500, 36_501),
    ("dpd", -36_500, -36_501),
    ("schedule", instalments(400), instalments(401)),
    ("properties", {str(n): n for n in range(100)}, {str(n): n for n in range(101)}),
    ("properties", {"n" * 128: 1}, {"n" * 129: 1}),
    ("properties", {"text": "t" * 1_024}, {"text": "t" * 1_025}),
    ("device", {"model": "m" * 256}, {"model": "m" * 257}),
    ("device", {"user_agent": "u" * 2_048}, {"user_agent": "u" * 2_049}),
    ("device", {"install_referrer": "r" * 2_048}, {"install_referrer": "r" * 2_049}),
    ("email", "e" * 314 + "@x.com", "e" * 315 + "@x.com"),
]


@pytest.mark.parametrize(("field", "most", "beyond"), FIELDS, ids=lambda value: str(value)[:20])
def test_a_field_is_taken_at_its_limit_and_refused_beyond(field: str, most: Any, beyond: Any) -> None:
    read(**{field: most})

    with pytest.raises(InputError) as refused:
        read(**{field: beyond})
    assert refused.value.field.split(".")[0].split("[")[0] == field


@pytest.mark.parametrize("field", ["amount", "fee", "principal", "limit", "outstanding"])
def test_an_amount_lies_from_0_to_below_10_to_the_15th_with_20_decimals(field: str) -> None:
    for most in ("0", "999999999999999", "0." + "1" * 20):
        read(currency="NGN", **{field: most})
    for beyond in ("-1", "1000000000000000", "0." + "1" * 21):
        with pytest.raises(InputError) as refused:
            read(currency="NGN", **{field: beyond})
        assert refused.value.field == field


def test_json_that_is_nested_without_end_is_refused_and_ends_nothing() -> None:
    with pytest.raises(InputError, match="nested"):
        read_json(b'{"properties": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_the_page_tells_the_numbers_that_hold() -> None:
    settings = DoorSettings()
    held = {
        "connections to the door at once": settings.max_connections,
        "connections to the pages at once": connections.PAGES_CONNECTIONS,
        "request line and headers": connections.HEAD_BYTES,
        "time until the headers are whole": connections.HEAD_SECONDS,
        "idle connection": serving.KEEP_ALIVE_SECONDS,
        "time for a body": body.SECONDS,
        "bytes of a request, unpacked": settings.max_bytes,
        "events in a request": settings.max_events,
        "calls in a Segment batch": segment_door.BATCH_LIMIT,
        "bytes of a Segment request whose key is in the body": segment_door.UNSIGNED_BYTES,
        "bytes of a message of an MMP": feeds_door.BODY_LIMIT,
        "bytes of a relay's request": relay.BODY_LIMIT,
        "members of a gzip body": body._Unpacker.MEMBERS,
        "bytes of all requests in memory": settings.max_held_bytes,
        "events that wait to be written": settings.queue,
        "a refused event": settings.quarantine_days,
        "what can still be mended of it": mending.LARGEST_KEPT,
    }
    told = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+)[^|]*\|", PAGE.read_text(), re.MULTILINE))

    assert {what: int(told[what].replace(",", "")) for what in held} == held
