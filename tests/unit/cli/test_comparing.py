"""`compare` and what `check` says of a cut-over, from the command line over a real data folder."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.acme import event, loan, login, moment, us
from tests.running import CONFIG, ENVIRONMENT

from lendsignal import config as configuration
from lendsignal.cli import giving, main
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_feeds, open_log
from lendsignal.model.attribution import Recorded

NOW = 90
"""The minute after `T0` at which everything here is asked."""

FEED = '\n[feed.appsflyer]\nkind = "appsflyer"\napp = "acme-ng"\ntimezone = "Africa/Lagos"\n'
ROWS = [
    ("2026-03-10 10:10:00", "loan_ok", "C-1", "af-a", "25000"),
    ("2026-03-10 10:20:00", "loan_ok", "C-2", "af-b", "25000"),
    ("2026-03-10 10:30:00", "app_open", "", "af-b", ""),
]
"""The other sender's log, in Lagos time, an hour before UTC: both loans are as we have them."""


class Still:
    """A clock that stands."""

    replay = False

    def now_us(self) -> int:
        return us(NOW)


def written(here: Path, route: str) -> None:
    """The configuration, with these keys in the route to AppsFlyer."""
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    line = 'send = { disbursement = "ev_ln" }\n'
    assert line in text
    (here / "lendsignal.toml").write_text(text.replace(line, line + route) + FEED)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two loans of two users in shadow, and the other sender's log of them."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(giving, "clock_at", lambda path: Still())
    written(tmp_path, 'mode = "shadow"\nvalue = { disbursement = "principal" }\n')
    with closing(open_log(DataFolder(tmp_path / "data").log)) as log:
        log.append(
            [
                login(1, "a", user_id="a", event_id="in-a"),
                login(2, "b", user_id="b", event_id="in-b"),
                loan(10, "C-1", user_id="a"),
                loan(20, "C-2", user_id="b"),
            ]
        )
        rules = configuration.load(tmp_path / "lendsignal.toml").policy
        decider = Decider(log, rules, Still(), lambda: None)
        while decider.turn():
            pass
    told(tmp_path, ROWS)
    return tmp_path


def told(here: Path, rows: Sequence[tuple[str, ...]]) -> None:
    lines = ["sent_at,what,contract,device,money", *(",".join(row) for row in rows)]
    (here / "sent.csv").write_text("\n".join(lines))


MAP = (
    *("--with", "sent.csv", "--timezone", "Africa/Lagos", "--name", "loan_ok=disbursement"),
    *("--map", "at=sent_at", "--map", "event=what", "--map", "loan_id=contract"),
    *("--map", "install=device", "--map", "amount=money"),
)


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found


def compared(*words: str, code: int = 0) -> Any:
    done = call("compare", "--destination", "appsflyer-ng", *words, "--json", code=code)
    found = json.loads(done.stdout)
    (row,) = found["tables"]["conversions"]["rows"]
    return found["agreed"], {name: n for name, n in row.items() if n and name != "conversion"}


def test_an_old_senders_log_that_says_the_same_ends_with_0(here: Path) -> None:
    assert compared(*MAP) == (True, {"ours": 2, "theirs": 2, "same": 2, "same_share": 1})
    assert "1 rows have a name that no route" in call("compare", "--destination", "appsflyer-ng", *MAP).stdout


def test_a_difference_ends_with_3_unless_it_is_accepted(here: Path) -> None:
    told(here, [ROWS[0], (*ROWS[1][:3], "af-old", "25000")])

    agreed, row = compared(*MAP, code=3)

    assert (agreed, row["same"], row["other_device"]) == (False, 1, 1)
    assert compared(*MAP, "--accept", "other_device")[0]


def test_a_row_that_cannot_be_read_is_said_and_counts(here: Path) -> None:
    told(here, [*ROWS, ("yesterday", "loan_ok", "C-3", "af-c", "1")])

    done = call("compare", "--destination", "appsflyer-ng", *MAP, code=3)

    assert "left out: line 5 sent_at must be written ISO 8601" in done.stderr
    assert "1 rows cannot be read" in done.stdout


def test_json_lines_with_epochs_and_our_own_words_need_no_map(here: Path) -> None:
    rows = [
        {"at": us(10) // 1000, "event": "ev_ln", "loan_id": "C-1", "appsflyer_id": "af-a", "value": 25000},
        {
            "at": us(20) / 1e6,
            "event": "disbursement",
            "loan_id": "C-2",
            "gaid": "GAID-b",
            "value": "25000.00",
        },
    ]
    (here / "sent.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    assert compared("--with", "sent.jsonl") == (True, {"ours": 2, "theirs": 2, "same": 2, "same_share": 1})


def test_what_the_platform_recorded_can_stand_for_the_old_senders_log(here: Path) -> None:
    with closing(open_feeds(DataFolder(here / "data").feeds)) as feeds:
        for number, (minutes, name) in enumerate(((10, "a"), (20, "b"))):
            facts = {"feed": "appsflyer", "mmp": "appsflyer", "app": "acme-ng", "name": "loan_ok"}
            feeds.take(
                [
                    Recorded(
                        **facts,  # type: ignore[arg-type]
                        id=f"af-{name}",
                        at_us=us(minutes),
                        amount=Decimal(25000),
                        currency="NGN",
                        detail=str(number),
                    )
                ]
            )

    words = ("--recorded", "appsflyer", "--name", "loan_ok=disbursement")
    assert compared(*words) == (True, {"ours": 2, "theirs": 2, "same": 2, "same_share": 1})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--with", "sent.csv", "--recorded", "appsflyer"), "say what to compare with"),
        ((), "say what to compare with"),
        (("--with", "sent.csv", "--map", "color=what"), "no field 'color'"),
        (("--with", "sent.csv", "--name", "loan_ok=loan"), "there is registration"),
        (("--recorded", "adjust"), "there is appsflyer"),
        (("--with", "sent.csv", "--tolerance", "soon"), "write it like 1m or 30s"),
    ],
)
def test_words_that_mean_nothing_are_refused(here: Path, words: tuple[str, ...], said: str) -> None:
    assert said in call("compare", "--destination", "appsflyer-ng", *words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--map", "at=when"), "has no column 'when'"),
        (("--timezone", "Nowhere/Land", "--map", "at=sent_at"), "timezone must be an IANA name"),
        ((), "has no column for the time"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(here: Path, words: tuple[str, ...], said: str) -> None:
    done = call("compare", "--destination", "appsflyer-ng", "--with", "sent.csv", *words, code=1)

    assert said in done.stderr


# check


def stamp(minutes: float) -> str:
    return moment(minutes).astimezone(UTC).isoformat().replace("+00:00", "Z")


def switched(here: Path, route: str) -> list[str]:
    """What `check` says of the route."""
    written(here, route)
    lines = call("check").stdout.splitlines()
    return [line for line in lines if "appsflyer-ng: disbursement" in line or "live nowhere" in line]


def test_check_says_what_is_in_shadow_and_from_when_it_is_live(here: Path) -> None:
    later = stamp(NOW + 60)

    assert switched(here, 'mode = "shadow"\n') == ["route    appsflyer-ng: disbursement is in shadow"]
    assert switched(here, f"live_from = {{ disbursement = {later} }}\n") == [
        f"route    appsflyer-ng: disbursement is live from {later}"
    ]
    assert switched(here, "") == []


def test_check_warns_of_a_minute_that_passed_while_the_route_was_in_shadow(here: Path) -> None:
    _, warning = switched(here, f"live_from = {{ disbursement = {stamp(30)} }}\n")

    assert warning.startswith("warning: appsflyer-ng: disbursement: live_from has passed")
    assert f"from {stamp(30)} until {stamp(NOW)} was only watched" in warning


def test_check_warns_of_a_roll_back_to_a_minute_that_passed(here: Path) -> None:
    written(here, "")
    with closing(open_log(DataFolder(here / "data").log)) as log:
        rules = configuration.load(here / "lendsignal.toml").policy
        decider = Decider(log, rules, Still(), lambda: None)
        while decider.turn():
            pass

    nowhere, _, warning = switched(here, f"live_until = {{ disbursement = {stamp(30)} }}\n")

    assert "live nowhere from" in nowhere
    assert warning.startswith("warning: appsflyer-ng: disbursement: live_until has passed")


def test_check_refuses_moments_that_contradict_each_other_with_their_key(here: Path) -> None:
    both = f"live_from = {{ disbursement = {stamp(2)} }}\nlive_until = {{ disbursement = {stamp(1)} }}\n"
    written(here, both)

    said = call("check", code=2).stderr

    assert "route[0].live_until.disbursement" in said
    assert "a moment after live_from" in said


def test_a_moment_without_an_offset_is_no_moment(here: Path) -> None:
    naive = datetime(2026, 3, 10, 9) + timedelta(hours=1)  # noqa: DTZ001 - that is what is refused
    written(here, f"live_from = {{ disbursement = {naive.isoformat()} }}\n")

    assert "route[0].live_from.disbursement" in call("check", code=2).stderr


def test_events_of_other_kinds_leave_the_comparison_alone(here: Path) -> None:
    with closing(open_log(DataFolder(here / "data").log)) as log:
        log.append([event("repaid", 30, user_id="a", loan_id="C-1", payment_id="P1", amount=Decimal(5))])

    assert compared(*MAP)[0]
