"""The dry run and the import over small made-up files: counts, oddities, order, once-only, and going on."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lendsignal.errors import ConfigError, InputError
from lendsignal.log import Log, Quarantined, open_log
from lendsignal.model import App, Event
from lendsignal.source.files import Imported, Oddity, Survey, import_files, importing, map_of, survey
from lendsignal.source.reading import Reader, reader_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)

APP = App(
    name="acme-ng",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
READER = reader_of({APP.name: APP}, timedelta(hours=3))

MAP = """\
[constant]
brand = "acme"
currency = "NGN"

[file.loans]
match = "loans*.csv*"

[file.scores]
match = "scores.csv"
lookup = "loan"

[column.applied]
kind = "time"
timezone = "UTC"

[column.paid]
kind = "time"
timezone = "Africa/Lagos"
midnight = "date"

[computed]
score   = { op = "lookup", file = "scores", key = "loan", column = "score" }
payment = { op = "template", text = "{loan}-full" }
joined  = { op = "shift", time = "applied", seconds = -60 }

[[event]]
type = "registered"
once_per = "user"
columns = { user_id = "user", occurred_at = "joined" }

[[event]]
type = "applied"
[event.columns]
user_id = "user"
occurred_at = "applied"
application_id = "loan"
loan_id = "loan"
loan_number = "number"
amount = "amount"

[[event]]
type = "credit_granted"
columns = { user_id = "user", occurred_at = "applied", grant_id = "loan", loan_id = "loan", score = "score" }

[[event]]
type = "repaid"
when = [{ column = "paid", present = true }]
constants = { closes_loan = true }
[event.columns]
user_id = "user"
occurred_at = "paid"
payment_id = "payment"
loan_id = "loan"
amount = "amount"

[[report]]
name = "small loan"
when = [{ column = "amount", below = 100 }]
about = "loan"
"""

HEADER = "user,loan,number,applied,amount,paid\n"

SOUND = {
    "loans-a.csv": HEADER
    + "u1,L1,1,2026-01-10 08:00:00,1000,2026-01-20 10:00:00\n"
    + "u2,L2,1,2026-01-05 08:00:00,50,2026-02-01 00:00:00\n",
    "loans-b.csv": HEADER + "u1,L3,2,2026-01-20 09:00:01,2000,\n",
    "scores.csv": "loan,score\nL1,601\nL2,602\nL3,603\n",
}

ODD = {
    "loans-a.csv": HEADER
    + "u1,L1,1,2026-01-10 08:00:00,1000,2026-01-20 10:00:00\n"
    + "u1,L3,4,2026-01-20 08:59:59,2000,\n"  # a second before L1 was closed; numbers 2 and 3 missing
    + "u2,L2,1,yesterday,50,\n"
    + "u3,L4,1,2026-01-10 08:00:00\n"
    + "u4,L5,1,2026-07-01 08:00:00,700,\n"  # lies after NOW
    + "u5,L6,1,2026-01-11 08:00:00,-5,\n",
    "scores.csv": "loan,score\nL1,601\nL1,999\nL2,602\nL3,603\nL5,605\n",
}


def files(folder: Path, contents: dict[str, str]) -> list[Path]:
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def surveyed(folder: Path, contents: dict[str, str]) -> Survey:
    return survey(files(folder, contents), map_of(MAP, "map.toml"), READER, now=NOW)


def imported(
    log: Log, paths: Sequence[Path], *, reader: Reader = READER, text: str = MAP, now: datetime = NOW
) -> Imported:
    return import_files(log, paths, map_of(text, "map.toml"), reader, now=now)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = open_log(tmp_path / "log.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 2)
    monkeypatch.setattr(importing, "REFUSED_AT_ONCE", 2)


def in_log(log: Log) -> list[Event]:
    return [fact.event for fact in log.scan()]


def told(log: Log) -> list[tuple[str, str]]:
    return sorted((event.type, event.loan_id or event.user_id) for event in in_log(log))


def kinds(found: Sequence[Oddity]) -> list[tuple[str, int, str]]:
    return [(one.kind, one.row, one.field) for one in found]


# The dry run


def test_the_dry_run_counts_users_types_and_files(tmp_path: Path) -> None:
    found = surveyed(tmp_path, SOUND)

    assert found.files == (("loans-a.csv", "loans"), ("loans-b.csv", "loans"), ("scores.csv", "scores"))
    assert found.users == 2
    assert found.events == {"applied": 3, "credit_granted": 3, "registered": 2, "repaid": 2}
    assert found.first == datetime(2026, 1, 5, 7, 59, tzinfo=UTC)
    assert found.last == datetime(2026, 2, 1, 11, tzinfo=UTC)
    assert found.odd == {"date_only": 1, "reported": 1}
    assert found.reported == {"small loan": 1}
    assert [one.about for one in found.of_kind("reported")] == ["L2"]
    assert found.samples["credit_granted"][0] == {
        "type": "credit_granted",
        "brand": "acme",
        "user_id": "u1",
        "occurred_at": "2026-01-10T08:00:00.000+00:00",
        "grant_id": "L1",
        "loan_id": "L1",
        "currency": "NGN",
        "score": 601.0,
        "history": True,
    }


def test_the_dry_run_names_everything_odd_with_its_row(tmp_path: Path) -> None:
    found = surveyed(tmp_path, ODD)

    assert kinds(found.oddities) == [
        ("repeated_lookup_key", 2, ""),
        ("unreadable_cell", 3, "applied"),
        ("reported", 3, ""),
        ("unreadable_row", 4, ""),
        ("future_time", 5, "occurred_at"),
        ("future_time", 5, "occurred_at"),
        ("future_time", 5, "occurred_at"),
        ("reported", 6, ""),
        ("missing_lookup", 6, "loan"),
        ("refused_event", 6, "amount"),
        ("overlapping_loan", 0, ""),
        ("missing_loan_number", 0, ""),
    ]
    assert found.of_kind("unreadable_cell")[0].event == "registered, applied, credit_granted"
    assert [one.about for one in found.of_kind("overlapping_loan")] == ["L3"]
    assert found.of_kind("missing_loan_number")[0].rule == "numbers 2 to 3 missing before it"
    assert "yesterday" not in str(found)


def test_a_damaged_file_is_an_oddity_of_the_dry_run_and_stops_an_import(tmp_path: Path, log: Log) -> None:
    body = HEADER + "".join(f"u{n},L{n},1,2026-01-10 08:00:00,{n},\n" for n in range(9_000))
    cut = tmp_path / "loans-c.csv.gz"
    cut.write_bytes(gzip.compress(body.encode())[:-4_000])
    paths = [*files(tmp_path, SOUND), cut]

    found = survey(paths, map_of(MAP, "map.toml"), READER, now=NOW)
    with pytest.raises(InputError, match=r"loans-c\.csv\.gz: its gzip data is cut off"):
        imported(log, paths)

    assert [one.file for one in found.of_kind("unreadable_file")] == ["loans-c.csv.gz"]
    assert in_log(log) == []


def test_a_column_no_file_has_and_a_lookup_without_its_file_are_mistakes(tmp_path: Path) -> None:
    text = MAP.replace('amount = "amount"', 'amount = "amuont"')
    (loans,) = files(tmp_path, {"loans-a.csv": SOUND["loans-a.csv"]})

    with pytest.raises(ConfigError) as refusal:
        survey([loans], map_of(text, "map.toml"), READER, now=NOW)

    assert [(one.key, one.nearest) for one in refusal.value.problems] == [
        ("event[1]", "amount"),
        ("event[3]", "amount"),
        ("computed.score.file", None),
    ]


def test_a_content_given_twice_counts_once_and_is_said(tmp_path: Path) -> None:
    once = surveyed(tmp_path, SOUND)
    twice = surveyed(tmp_path, SOUND | {"loans-z.csv": SOUND["loans-a.csv"]})

    assert twice.events == once.events
    assert [str(one) for one in twice.of_kind("repeated_file")] == [
        "loans-z.csv: has the content of loans-a.csv"
    ]


# The import


def test_events_enter_the_log_in_the_order_of_time_across_files_as_history(tmp_path: Path, log: Log) -> None:
    found = imported(log, files(tmp_path, SOUND))

    assert [(event.type, event.loan_id) for event in in_log(log)] == [
        ("registered", None),
        ("applied", "L2"),
        ("credit_granted", "L2"),
        ("registered", None),
        ("applied", "L1"),
        ("credit_granted", "L1"),
        ("repaid", "L1"),
        ("applied", "L3"),
        ("credit_granted", "L3"),
        ("repaid", "L2"),
    ]
    assert all(event.history and event.source == "import" for event in in_log(log))
    assert {event.received_at for event in in_log(log)} == {NOW}
    assert found == Imported(
        files=("loans-a.csv", "loans-b.csv"),
        known=(),
        appended={"applied": 3, "credit_granted": 3, "registered": 2, "repaid": 2},
        before=0,
        refused=0,
        odd={"date_only": 1, "reported": 1},
    )


def test_the_order_in_which_files_are_named_changes_nothing(tmp_path: Path, log: Log) -> None:
    paths = files(tmp_path, SOUND)
    imported(log, paths)
    once = in_log(log)

    again = imported(log, paths[::-1])

    assert again.total == 0
    assert in_log(log) == once


def test_events_since_the_given_moment_are_no_history(tmp_path: Path, log: Log) -> None:
    since = datetime(2026, 1, 20, 9, tzinfo=UTC)

    import_files(log, files(tmp_path, SOUND), map_of(MAP, "map.toml"), READER, now=NOW, send_since=since)

    assert [(event.type, event.loan_id) for event in in_log(log) if not event.history] == [
        ("repaid", "L1"),  # at the moment itself
        ("applied", "L3"),
        ("credit_granted", "L3"),
        ("repaid", "L2"),
    ]


def test_importing_the_same_files_again_adds_nothing_and_says_so(tmp_path: Path, log: Log) -> None:
    paths = files(tmp_path, SOUND)
    imported(log, paths)
    once = in_log(log)

    again = imported(log, paths, now=NOW + timedelta(days=1))

    assert in_log(log) == once
    assert again.known == ("loans-a.csv", "loans-b.csv")
    assert again.total == 0


def test_a_file_imported_before_stays_out_when_others_are_given_beside_it(tmp_path: Path, log: Log) -> None:
    paths = files(tmp_path, SOUND)
    first, second, scores = paths
    imported(log, [first, scores])

    found = imported(log, paths)

    assert found.known == ("loans-a.csv",)
    assert found.appended == {"applied": 1, "credit_granted": 1}
    assert len(in_log(log)) == 10
    assert imported(log, [second, scores]).total == 0


def test_refused_rows_are_kept_in_quarantine_once_and_without_what_they_held(
    tmp_path: Path, log: Log
) -> None:
    paths = files(tmp_path, ODD)

    found = imported(log, paths)
    again = imported(log, paths)

    kept = sorted((one.field, one.rule, one.body.decode()) for one in log.quarantined())
    assert found.refused == len(kept) == 6
    assert again.refused == 0
    assert kept[0] == (
        "amount",
        "must be a number from 0 to 10^15; undo with a reversal, not a minus",
        '{"event":"applied","file":"loans-a.csv","line":7,"row":6}',
    )
    assert ("row", "has 4 cells where the header has 6", '{"file":"loans-a.csv","line":5,"row":4}') in kept
    assert told(log) == [
        ("applied", "L1"),
        ("applied", "L3"),
        ("credit_granted", "L1"),
        ("credit_granted", "L3"),
        ("credit_granted", "L6"),
        ("registered", "u1"),
        ("registered", "u5"),
        ("repaid", "L1"),
    ]


def test_what_was_refused_for_an_app_we_did_not_know_comes_in_once_we_know_it(
    tmp_path: Path, log: Log
) -> None:
    paths = files(tmp_path, SOUND)

    before = imported(log, paths, reader=reader_of({}, timedelta(hours=3)))
    after = imported(log, paths)

    assert (before.total, before.refused) == (0, 10)
    assert (after.total, after.refused) == (10, 0)


def test_the_arrival_of_an_import_that_goes_on_is_that_of_its_beginning(
    tmp_path: Path, log: Log, small_chunks: None
) -> None:
    paths = files(tmp_path, ODD)
    broken = Breaking(log, after=4)
    with pytest.raises(Killed):
        imported(broken, paths)

    # A month later L5 would lie in the past; it would come in and move all others in the order.
    found = imported(log, paths, now=NOW + timedelta(days=60))

    assert {event.received_at for event in in_log(log)} == {NOW}
    assert "L5" not in [event.loan_id for event in in_log(log)]
    assert found.total + found.before == len(in_log(log)) == 8


class Killed(Exception):
    """The process ended here."""


class Breaking(Log):
    """A log whose process is killed before or after one of its transactions."""

    def __init__(self, log: Log, after: int, *, durable: bool = False) -> None:
        self._log = log
        self._left = after
        self._durable = durable

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        return self._transaction(lambda: self._log.append(events, imported=imported))

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        def keep() -> int:
            self._log.refuse(refused)
            return 0

        self._transaction(keep)

    def imported(self, file: str) -> tuple[int, bool]:
        return self._log.imported(file)

    def refusals(self) -> dict[tuple[str, str], int]:
        return self._log.refusals()

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        return self._log.quarantined(limit)

    def _transaction(self, act: Callable[[], int]) -> int:
        self._left -= 1
        if self._left < 0 and not self._durable:
            raise Killed
        found = act()
        if self._left < 0:
            raise Killed
        return found


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("contents", [SOUND, ODD])
def test_an_import_killed_at_any_transaction_goes_on_and_ends_like_one_that_was_not(
    tmp_path: Path, small_chunks: None, contents: dict[str, str], durable: bool
) -> None:
    paths = files(tmp_path, contents)
    whole = open_log(tmp_path / "whole.sqlite")
    imported(whole, paths)
    expected, refused = in_log(whole), [one.body for one in whole.quarantined()]
    killed = 0 if durable else 1  # before the first transaction nothing has begun
    while True:
        log = open_log(tmp_path / f"killed-{killed}.sqlite")
        try:
            imported(Breaking(log, after=killed, durable=durable), paths)
        except Killed:
            killed += 1
        else:
            break
        imported(log, paths, now=NOW + timedelta(hours=5))

        assert in_log(log) == expected
        assert [one.body for one in log.quarantined()] == refused
        log.close()
    assert killed > 5
    whole.close()
    log.close()


def test_progress_rises_to_its_end(tmp_path: Path, log: Log) -> None:
    seen: list[tuple[int, int]] = []

    import_files(
        log,
        files(tmp_path, SOUND),
        map_of(MAP, "map.toml"),
        READER,
        now=NOW,
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_json_lines_that_are_events_already_come_in_as_they_are(tmp_path: Path, log: Log) -> None:
    text = """
[file.touches]
match = "touches.jsonl"
[constant]
brand = "acme"
[[event]]
as_is = true
"""
    path = tmp_path / "touches.jsonl"
    gaid = "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"
    path.write_text(
        '{"type":"logged_in","user_id":"u1","occurred_at":"2026-03-01T08:00:00+01:00",'
        f'"device":{{"gaid":"{gaid}"}}}}\n'
        '{"type":"logged_in","user_id":"u1","occurred_at":"2026-03-01T08:00:00"}\n'
    )

    found = imported(log, [path], text=text)

    (event,) = in_log(log)
    assert event.occurred_at == datetime(2026, 3, 1, 7, tzinfo=UTC)
    assert event.device is not None
    assert event.device.gaid == gaid
    assert event.app == "acme-ng"
    assert found.refused == 1
    assert log.refusals() == {("occurred_at", "has no offset: write Z or +07:00 behind it"): 1}
