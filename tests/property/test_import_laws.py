"""Laws of the import: nothing disappears, nothing depends on how files are cut, times survive any zone."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from lendsignal.errors import InputError
from lendsignal.log import open_log
from lendsignal.model import App
from lendsignal.source.files import entry_rules, events_of_row, import_files, inputs_of_files, judged, map_of
from lendsignal.source.files.oddity import Oddity
from lendsignal.source.files.rows import BadRow, Layout, Row, rows
from lendsignal.source.files.sorting import Sorted
from lendsignal.source.reading import reader_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
APP = App(
    name="acme-ph",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="PH",
    currency="PHP",
    timezone="Asia/Manila",
)
READER = reader_of({APP.name: APP}, timedelta(hours=3))

MAP = """\
[constant]
brand = "acme"
currency = "PHP"
[file.loans]
match = "loans*"
[column.at]
kind = "time"
timezone = "Asia/Manila"
[computed]
later = { op = "shift", time = "at", seconds = 5 }
fee = { op = "multiply", of = ["amount", 0.15], places = 2 }
[[event]]
type = "registered"
once_per = "user"
columns = { user_id = "user", occurred_at = "at" }
[[event]]
type = "applied"
columns = { user_id = "user", occurred_at = "at", application_id = "loan", amount = "amount" }
[[event]]
type = "disbursed"
when = [{ column = "amount", above = 10 }]
columns = { user_id = "user", occurred_at = "later", loan_id = "loan", amount = "amount", fee = "fee" }
"""
RULES = map_of(MAP, "map.toml")
COLUMNS = ("user", "loan", "at", "amount")

cells = st.one_of(
    st.sampled_from(
        ["", "u1", "u2", "2026-03-01 08:00:00", "2026-03-01", "2030-01-01 00:00:00", "12.50", "-3", "NaN"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


@given(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cells)))
def test_every_row_becomes_an_event_or_a_reason(row: dict[str, str]) -> None:
    made, odd = events_of_row(Row(1, 2, row), entry_rules(RULES, "loans"))

    types = {one.event["type"] for one in made}
    lost = {kind for one in odd if one.event for kind in one.event.split(", ")}
    assert types | lost >= {"registered", "applied"}
    assert not types & lost
    assert all(one.rule for one in odd)


@given(st.binary(max_size=200), st.sampled_from(["csv", "jsonl"]))
def test_no_bytes_are_too_strange_to_be_answered_for(content: bytes, form: Any) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "loans"
        path.write_bytes(content)
        try:
            found = list(rows(path, Layout(form)))
        except InputError:
            return

        assert [row.number for row in found] == list(range(1, len(found) + 1))
        assert all(isinstance(row, Row | BadRow) for row in found)


zones = st.sampled_from(
    ["Africa/Lagos", "Asia/Manila", "America/Mexico_City", "America/Sao_Paulo", "Asia/Kolkata", "UTC"]
)


@given(st.datetimes(datetime(2006, 1, 1), datetime(2026, 1, 1)), zones)  # noqa: DTZ001 - made aware below
def test_a_moment_written_in_any_zone_is_read_as_that_moment(naive: datetime, zone: str) -> None:
    moment = naive.replace(tzinfo=UTC)
    local = moment.astimezone(ZoneInfo(zone))
    rules = map_of(MAP.replace("Asia/Manila", zone), "map.toml")
    row = Row(1, 2, {"user": "u1", "loan": "L1", "at": local.replace(tzinfo=None).isoformat(), "amount": "5"})

    made, odd = events_of_row(row, entry_rules(rules, "loans"))

    read = made[0].event["occurred_at"]
    if local.fold:  # the second showing of an hour is read as the first, and said to be
        assert moment - read == timedelta(hours=1)
        assert [one.kind for one in odd] == ["doubtful_time"]
    else:
        assert read == moment


loan_rows = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "u3"]),
        st.integers(1, 6).map("L{}".format),
        st.integers(0, 40).map(lambda n: f"2026-03-{1 + n % 28:02d} {n % 24:02d}:00:00"),
        st.sampled_from(["5", "50", "500.5", "much", ""]),
    ),
    max_size=12,
)


def written(folder: Path, parts: Sequence[Sequence[tuple[str, ...]]]) -> list[Path]:
    """Files of rows; a column of its own in each keeps their contents apart."""
    paths = []
    for number, part in enumerate(parts):
        text = io.StringIO()
        out = csv.writer(text)
        out.writerow([*COLUMNS, f"part {number}"])
        out.writerows([(*row, "") for row in part])
        paths.append(folder / f"loans-{number}.csv")
        paths[-1].write_text(text.getvalue())
    return paths


def facts(paths: Sequence[Path]) -> tuple[Counter[Any], Counter[Any]]:
    """What the files say: events without their envelope, and refusals, each with how often."""
    events: Counter[Any] = Counter()
    odd: Counter[Any] = Counter()
    for item in judged(inputs_of_files(paths, RULES), READER, NOW):
        if isinstance(item, Oddity):
            odd[item.kind, item.field, item.rule, item.event] += 1
        elif item[1].type != "registered":  # which row registers a user depends on the order of files
            event = item[1]
            events[event.type, event.user_id, event.loan_id, event.occurred_at, event.amount, event.fee] += 1
    return events, odd


@settings(max_examples=40)
@given(loan_rows, st.integers(0, 12))
def test_cutting_a_file_in_two_changes_no_event_and_no_oddity(found: list[tuple[str, ...]], at: int) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        assert facts(written(Path(one), [found])) == facts(written(Path(two), [found[:at], found[at:]]))


@settings(max_examples=25)
@given(loan_rows)
def test_the_log_after_an_import_is_in_order_and_again_adds_nothing(found: list[tuple[str, ...]]) -> None:
    with TemporaryDirectory() as folder:
        paths = written(Path(folder), [found])
        log = open_log(Path(folder) / "log.sqlite")
        first = import_files(log, paths, RULES, READER, now=NOW)
        times = [fact.event.occurred_at for fact in log.scan()]
        again = import_files(log, paths, RULES, READER, now=NOW + timedelta(days=1))

        assert times == sorted(times)
        assert first.total == len(times) == log.end()
        assert again.total == again.refused == 0
        assert first.refused == len(log.quarantined())
        log.close()


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3)), unique=True), st.integers(1, 8))
def test_sorting_with_little_memory_is_sorting(keys: list[tuple[int, str]], at_hand: int) -> None:
    with Sorted(at_hand) as found:
        for key in keys:
            found.put(key, repr(key).encode())

        assert [key for key, _ in found] == sorted(keys)
