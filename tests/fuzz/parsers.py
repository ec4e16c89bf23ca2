"""Bytes at the parsers: `python -m tests.fuzz.parsers`; `tests.fuzz.guided` is the same guided by coverage.

Each parser gets what no sender ever meant, and may do one of two things: read it, or raise an error of ours.
Any other exception is a finding; its bytes are printed.
"""

import argparse
import base64
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from tests.lender_file import ACME

from lendsignal import config as configuration
from lendsignal.derive.expression import compiled
from lendsignal.errors import InputError, LendsignalError
from lendsignal.model import App
from lendsignal.source import read_event, read_json
from lendsignal.source.feeds import Feed, FeedSettings, SpendFeed, SpendSettings, fact_of
from lendsignal.source.feeds.files import read_attribution
from lendsignal.source.feeds.spend import Names, cost_of
from lendsignal.source.feeds.table import read_table
from lendsignal.source.files.rows import Layout, rows
from lendsignal.source.reading import masked, read_array, reader_of
from lendsignal.source.segment import Letter, mapped
from lendsignal.source.settings import SegmentSettings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_US = 1_795_348_800_000_000
APPS = {
    "acme-ng": App(
        name="acme-ng",
        brand="acme",
        platform="android",
        bundle="com.acme.loans",
        country="NG",
        currency="NGN",
        timezone="Africa/Lagos",
    )
}
READER = reader_of(APPS, timedelta(minutes=5))
FEEDS = [
    Feed(kind, FeedSettings(kind=kind, mmp="appsflyer" if kind == "generic" else None), APPS)
    for kind in ("appsflyer", "adjust", "generic")
]
KINDS: tuple[Literal["generic", "meta", "google_ads"], ...] = ("generic", "meta", "google_ads")
SPENT = [SpendFeed(kind, SpendSettings(kind=kind, timezone="Africa/Lagos")) for kind in KINDS]
CONFIG = (
    ACME
    + """\
[destination.hook]
kind = "webhook"
app = "acme-ng"
url = "https://hooks.acme.example/in"
secret = { file = "none" }
[[route]]
to = "hook"
send = { disbursement = "ev_ln" }
"""
)


def event(raw: bytes) -> None:
    """The door's reader of one event, or several, and what quarantine shows of them."""
    masked(raw)
    for found in read_array(raw) or [read_json(raw)]:
        read_event(found, NOW, READER)


def segment(raw: bytes) -> None:
    """A call of Segment's API."""
    letter = Letter(call=None, sent_at=None)
    mapped(read_json(raw), letter, NOW, READER, SegmentSettings())


def postback(raw: bytes) -> None:
    """What an MMP tells, as each of them would."""
    found = read_json(raw)
    for feed in FEEDS:
        with suppress(InputError):
            fact_of(feed, found, NOW_US)


def table(raw: bytes) -> None:
    """A file of attribution, and the same as a table of cost."""
    with _file(raw, "table.csv") as path:
        for feed in FEEDS:
            with suppress(InputError):
                list(read_attribution(path, feed, NOW_US))
        for _, row in read_table(path):
            for spent in SPENT:
                with suppress(InputError):
                    cost_of(spent, Names(), row)


def csv_rows(raw: bytes) -> None:
    """A file of events as CSV."""
    with _file(raw, "events.csv") as path:
        list(rows(path, Layout("csv")))


def json_rows(raw: bytes) -> None:
    """A file of events as JSON, and as JSON Lines."""
    with _file(raw, "events.json") as path:
        list(rows(path, Layout("jsonl")))
        list(rows(path, Layout("json")))


def config(raw: bytes) -> None:
    """A configuration."""
    configuration.parsed(raw.decode("utf-8", "replace"), Path("lendsignal.toml"))


def expression(raw: bytes) -> None:
    """A lender's own condition."""
    compiled(raw.decode("utf-8", "replace"))


class Parser(Struct, frozen=True):
    """What reads, and bytes that it reads well, from which the others are made."""

    read: Callable[[bytes], None]
    seeds: Sequence[bytes]


class _file:  # noqa: N801 - reads as the statement it is used in
    """A file with these bytes, while the block runs."""

    def __init__(self, raw: bytes, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lendsignal-parsers-")
        self._path = Path(self._folder.name) / name
        self._path.write_bytes(raw)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


LOAN: dict[str, Any] = {
    "type": "disbursed", "brand": "acme", "user_id": "u1", "loan_id": "L1", "amount": "15000.50",
    "currency": "NGN", "occurred_at": "2026-11-22T10:00:00+01:00", "term_days": 30, "email": "a@acme.example",
    "schedule": [{"due_date": "2026-12-22", "amount": 17250}], "properties": {"branch": "Ikeja"},
    "device": {"os": "android", "gaid": "8d1f3c2a-5b7e-4c90-9a61-3f2e1d0c4b5a", "ip": "102.89.23.41"},
}  # fmt: skip
CALL = {
    "type": "track", "event": "Loan Disbursed", "userId": "u1", "messageId": "m1",
    "sentAt": "2026-11-22T10:00:00Z", "timestamp": "2026-11-22T09:59:00Z",
    "properties": {"loan_id": "L1", "amount": 1, "currency": "NGN"},
    "context": {"device": {"advertisingId": "8d1f3c2a-5b7e-4c90-9a61-3f2e1d0c4b5a"},
                "os": {"name": "Android"}},
}  # fmt: skip
IDENTIFY = {**CALL, "type": "identify", "traits": {"email": "a@acme.example"}}
INSTALL = {
    "appsflyer_id": "1500000000000-1234567", "event_name": "install", "app_id": "com.acme.loans",
    "event_time": "2026-11-22 10:00:00.123", "media_source": "googleadwords_int", "campaign": "ng_1",
    "activity_kind": "install", "created_at": "1763626530", "adid": "18546f6171f67e29d1cb983322ad1329",
    "kind": "install", "happened_at": "2026-11-22T10:00:00Z", "installation": "x",
}  # fmt: skip


def _json(*found: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(one).encode() for one in found)


def _csv(*found: Mapping[str, Any]) -> tuple[bytes, ...]:
    return tuple(
        (",".join(one) + "\n" + ",".join(str(value) for value in one.values()) + "\n").encode()
        for one in found
    )


COST = {
    "day": "2026-11-21", "campaign": "ng_1", "campaign_id": "17", "channel": "google", "cost": "12.50",
    "currency": "NGN", "impressions": "1,000", "clicks": "10",
}  # fmt: skip

PARSERS: Mapping[str, Parser] = {
    "event": Parser(event, _json(LOAN, [LOAN, LOAN], {**LOAN, "type": "logged_in"})),
    "segment": Parser(segment, _json(CALL, IDENTIFY)),
    "postback": Parser(postback, _json(INSTALL, {**INSTALL, "event_value": '{"af_revenue":"1.5"}'})),
    "table": Parser(table, _csv(INSTALL, COST)),
    "csv_rows": Parser(csv_rows, (*_csv({**LOAN, "device": 1, "schedule": 2}), b'a;b\n"1";2\n')),
    "json_rows": Parser(json_rows, _json([LOAN], LOAN)),
    "config": Parser(config, (CONFIG.encode(),)),
    "expression": Parser(
        expression,
        (b'event.type == "disbursed" && event.amount > 10.0 * 2.0', b"user.loans in [1, 2] ? true : false"),
    ),
}
"""Everything that reads what others wrote."""


def finding(parser: Parser, raw: bytes) -> str | None:
    """What is wrong with how these bytes were read; `None` where nothing is."""
    try:
        parser.read(raw)
    except LendsignalError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


ODD = (
    b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b"[" * 3_000, b'{"a":' * 1_500,
    b"9" * 5_000, b"1e999999", b"-0", b"NaN", b"null", b'""', b"\\u0000", b"\\ud800",
    "\N{GRINNING FACE}".encode(), b"\r", b'"', b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59",
    b"253402300799999",
    b",,,,", b"\n\n", b"'''", b"= [",
)  # fmt: skip


def mutations(seeds: Sequence[bytes], chance: random.Random, number: int) -> Iterator[bytes]:
    """So many inputs made of good ones: bent, cut, doubled, with odd parts put in."""
    for _ in range(number):
        raw = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 2, 4))):
            first, last = sorted((chance.randrange(len(raw) + 1), chance.randrange(len(raw) + 1)))
            match chance.randrange(6):
                case 0:
                    raw = raw[:first] + chance.randbytes(chance.randrange(1, 4)) + raw[first + 1 :]
                case 1:
                    raw = raw[:first] + raw[last:]
                case 2:
                    raw = raw[:last] + raw[first:]
                case 3:
                    raw = raw[:first] + chance.choice(ODD) + raw[last:]
                case 4:
                    raw = raw[:first] + chance.choice(ODD) + raw[first:]
                case _:
                    raw = raw[:first]
        yield raw


def thrown(name: str, seed: int, number: int) -> list[tuple[str, bytes]]:
    """What was found with so many mutations of a parser's seeds."""
    parser = PARSERS[name]
    found = []
    for raw in (*parser.seeds, *mutations(parser.seeds, random.Random(f"{seed} {name}"), number)):
        wrong = finding(parser, raw)
        if wrong is not None:
            found.append((wrong, raw))
    return found


def main() -> int:
    """0 where every parser kept to its errors."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz.parsers", description=__doc__)
    words.add_argument("names", nargs="*", help=f"of {', '.join(PARSERS)}; all by default")
    words.add_argument("--number", type=int, default=20_000, help="mutations of each parser")
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    given = words.parse_args()
    names = given.names or list(PARSERS)
    print(f"seed {given.seed}")
    total: dict[str, int] = {}
    for name in names:
        found = thrown(name, given.seed, given.number)
        total[name] = len(found)
        for wrong, raw in found[:3]:
            print(f"BROKEN {name}: {wrong}\n  {base64.b64encode(raw).decode()[:2000]}")
    print(json.dumps({"seed": given.seed, "inputs": given.number * len(names), "findings": total}))
    return 1 if any(total.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
