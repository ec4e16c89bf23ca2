"""The map of examples/superlender against the judge: its counts, its names, and its times to the millisecond.

Needs the data and the judge's program, which are no part of the repository: a folder `shared` beside it, or
where LENDSIGNAL_SHARED says.
"""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lendsignal.log import open_log
from lendsignal.model import App, Event
from lendsignal.source.files import Survey, import_files, inputs_of_files, judged, read_map, survey
from lendsignal.source.files.oddity import Oddity
from lendsignal.source.reading import reader_of

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared"))
DATA = SHARED / "data" / "superlender"
TOOL = SHARED / "tools" / "superlender_world.py"
FILES = [DATA / name for name in ("trainprevloans.csv.gz", "trainperf.csv.gz", "scores.csv.gz")]
MAP = ROOT / "examples" / "superlender" / "map.toml"

pytestmark = pytest.mark.skipif(
    not (TOOL.exists() and all(path.exists() for path in FILES)),
    reason="the SuperLender data is not here: set LENDSIGNAL_SHARED to the folder that has data/ and tools/",
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
APP = App(
    name="acme-android",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
READER = reader_of({APP.name: APP}, timedelta(hours=3))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    found = list(judged(inputs_of_files(FILES, read_map(MAP)), READER, NOW))
    refused = [item for item in found if isinstance(item, Oddity) and item.kind.startswith(("un", "ref"))]
    assert refused == []
    return [item[1] for item in found if not isinstance(item, Oddity)]


@pytest.fixture(scope="module")
def surveyed() -> Survey:
    return survey(FILES, read_map(MAP), READER, now=NOW)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
    return found


def judged_name(event: Event) -> str:
    """The judge's word for the event."""
    if event.type == "repaid":
        return "repaid_full" if event.closes_loan else "repaid_first"
    return event.type


def answers(folder: Path, customers: int) -> Iterator[dict[str, str]]:
    subprocess.run(
        [sys.executable, TOOL, "--data", DATA, "--out", folder, "--customers", str(customers)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with gzip.open(folder / "answers.csv.gz", "rt", newline="") as file:
        yield from csv.DictReader(file)


def test_every_event_of_100_customers_is_the_judges_to_the_millisecond(
    tmp_path: Path, events: list[Event]
) -> None:
    judge = {
        (row["event"], row["loan_id"], row["user_id"], row["occurred_at"]) for row in answers(tmp_path, 100)
    }
    users = {user for _, _, user, _ in judge}

    ours = {
        (
            judged_name(event),
            event.loan_id,
            event.user_id,
            event.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        for event in events
        if event.user_id in users and event.type not in ("registered", "overdue")
    }

    assert len(users) == 100
    assert ours == judge


def test_the_counts_are_those_expected(events: list[Event], expected: dict[str, Any]) -> None:
    n = Counter(map(judged_name, events))
    disbursed = [event for event in events if event.type == "disbursed"]
    applied = [event.occurred_at for event in events if event.type == "applied"]
    registered = [event for event in events if event.type == "registered"]
    overdue = Counter(event.dpd for event in events if event.type == "overdue")

    assert len({event.user_id for event in events}) == expected["customers"]
    assert len({event.loan_id for event in disbursed}) == expected["loans"]
    assert {
        "registered": n["registered"],
        "applied": n["applied"],
        "granted": n["credit_granted"],
        "repaid_first": n["repaid_first"],
        "repaid_full": n["repaid_full"],
        "first_loans": sum(event.loan_number == 1 for event in disbursed),
        "repeat_loans": sum((event.loan_number or 0) > 1 for event in disbursed),
        "principal_total": float(_total(disbursed, "amount")),
        "fee_total": float(_total(disbursed, "fee")),
        "prev_repaid_total": float(_total(events, "amount", "repaid")),
        "referred_customers": sum("referred_by" in event.properties for event in registered),
        "first_created_utc": f"{min(applied):%Y-%m-%d %H:%M:%S}",
        "last_created_utc": f"{max(applied):%Y-%m-%d %H:%M:%S}",
        "min_registered_utc": f"{min(event.occurred_at for event in registered):%Y-%m-%d %H:%M:%S.%f}",
        "peak_applied_day": dict(Counter(f"{at:%Y-%m-%d}" for at in applied).most_common(1)),
    }.items() <= expected.items()
    for days in (3, 7, 15, 30):
        assert overdue[days] == expected["overdue_first_repayment"][str(days)]


def test_every_grant_has_its_score(events: list[Event]) -> None:
    granted = [event for event in events if event.type == "credit_granted"]

    assert all(event.score is not None and event.score_version == "lr1" for event in granted)


def test_the_dry_run_names_the_overlapping_loans_and_the_missing_numbers(
    surveyed: Survey, expected: dict[str, Any]
) -> None:
    overlapping = [int(one.about) for one in surveyed.of_kind("overlapping_loan")]
    holes = surveyed.of_kind("missing_loan_number")

    assert sorted(overlapping) == sorted(expected["overlapping_loans"])
    assert len({one.about for one in holes}) == len(holes) == expected["missing_loan_numbers"]
    # CONVERSION.md 1.6: 24 customers do not start at loan 1; 312 repayments are known by their day.
    assert surveyed.odd["not_from_first_loan"] == 24
    assert surveyed.odd["date_only"] == 312
    assert surveyed.odd.keys() == {
        "overlapping_loan",
        "missing_loan_number",
        "not_from_first_loan",
        "date_only",
        "reported",
    }


def test_the_dry_run_counts_what_the_data_is_known_for(surveyed: Survey, expected: dict[str, Any]) -> None:
    late = expected["overdue_first_repayment"]

    # The other figures are of CONVERSION.md 1.6.
    assert surveyed.reported["loan without a fee"] == 2
    assert surveyed.reported["first due date before the term is over"] == 14
    assert surveyed.reported["first repayment late"] == late["0"]
    assert surveyed.reported["first repayment more than 60 days late"] == late["60"]
    assert surveyed.reported["first repayment more than 100 days late"] == 12
    assert surveyed.reported["repaid within 10 minutes of the approval"] == 24
    themselves = {one.about for one in surveyed.of_kind("reported") if one.rule.startswith("user who")}
    assert len(themselves) == 1


def test_a_wrong_time_zone_shows_in_the_dry_run(tmp_path: Path) -> None:
    wrong = tmp_path / "map.toml"
    wrong.write_text(MAP.read_text().replace("Africa/Lagos", "UTC"))

    found = survey(FILES, read_map(wrong), READER, now=NOW)

    # CONVERSION.md 1.3: read naively, 3,793 applications more come before the repayment before them.
    assert found.odd["overlapping_loan"] == 3_793 + 4


CHILD = """
import sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from lendsignal.log import open_log
from lendsignal.model import App
from lendsignal.source.files import import_files, importing, read_map
from lendsignal.source.reading import reader_of
importing.AT_ONCE = 500
app = App(name="acme-android", brand="acme", platform="android", bundle="com.acme.loans", country="NG",
          currency="NGN", timezone="Africa/Lagos")
def progress(done, total):
    if done > 0.55 * total:
        print("writing", flush=True)
import_files(open_log(Path(sys.argv[1])), [Path(one) for one in sys.argv[3:]], read_map(Path(sys.argv[2])),
             reader_of({app.name: app}, timedelta(hours=3)), now=datetime(2026, 11, 22, tzinfo=UTC),
             progress=progress)
"""


def test_an_import_killed_while_it_writes_goes_on_and_loses_and_doubles_nothing(
    tmp_path: Path, events: list[Event]
) -> None:
    path = tmp_path / "log.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, path, MAP, *FILES], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    log = open_log(path)
    durable = log.end()

    found = import_files(log, FILES, read_map(MAP), READER, now=datetime(2026, 11, 23, tzinfo=UTC))

    ids = [fact.event.event_id for fact in log.scan()]
    assert 0 < durable < len(events)
    assert (found.before, found.before + found.total) == (durable, len(events))
    assert len(ids) == len(events)
    assert set(ids) == {event.event_id for event in events}
    assert import_files(log, FILES, read_map(MAP), READER, now=NOW).total == 0
    log.close()


def _total(events: list[Event], field: str, kind: str | None = None) -> Decimal:
    return sum(
        (getattr(one, field) for one in events if kind in (None, one.type) and getattr(one, field)), Decimal()
    )
