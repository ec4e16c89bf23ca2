"""The watcher over a data folder of its own: what it counts, what it keeps, and whom it tells."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.lender_file import ACME
from tests.scripted import Platform, platform, says

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.clock import from_us, to_us
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.log import (
    Changes,
    DataFolder,
    Pause,
    Silence,
    Stop,
    open_alerts,
    open_deliveries,
    open_log,
)
from lendsignal.model import Event, EventType
from lendsignal.role.watcher import Watcher

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)
SENDER = "sender"
"""Nobody sends over these folders, which is an alarm of its own."""

TOML = (
    ACME
    + """
[source.backend]
key_sha256 = "{digest}"

[destination.hook]
kind = "webhook"
app = "acme-ng"
url = "https://hooks.acme.example/in"
secret = {{ env = "MADE_UP_HOOK" }}

[[route]]
to = "hook"
send = {{ disbursement = "ev_ln" }}

[health]
calm = "10m"

[alert.ops]
kind = "wecom"
url = {{ env = "MADE_UP_ALERTS" }}
only = ["silent", "paused", "dead", "quarantine"]
allow_http = true
allow_private = true
{more}
"""
)


class Time:
    """A clock that a test sets."""

    replay = False

    def __init__(self) -> None:
        self.us = to_us(NOON)

    def now_us(self) -> int:
        return self.us

    def go(self, **span: float) -> None:
        self.us += timedelta(**span) // timedelta(microseconds=1)


class House:
    """A folder, its watcher, and the sink that its only target is."""

    def __init__(self, path: Path, sink: Platform, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
        monkeypatch.setenv("MADE_UP_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        monkeypatch.setenv("MADE_UP_ALERTS", f"{sink.url}/cgi-bin/webhook/send?key=made-up")
        self.file = path / "lendsignal.toml"
        self.file.write_text(TOML.format(digest="0" * 64, more=more))
        self.config: Config = configuration.load(self.file)
        self.folder = DataFolder(self.config.data)
        self.time = Time()
        self.sink = sink
        self.log = open_log(self.folder.log)
        self.deliveries = open_deliveries(self.folder.deliveries)
        self.watcher = Watcher(self.config, self.time)

    def came(self, kind: EventType, *, since: datetime, until: datetime, minutes: int = 5) -> None:
        """One event of that type every so many minutes."""
        moments = int((until - since) / timedelta(minutes=minutes))
        times = [since + n * timedelta(minutes=minutes) for n in range(moments)]
        self.log.append(
            [
                Event(
                    type=kind,
                    brand="acme",
                    user_id=f"u{n}",
                    event_id=f"{kind}-{at.timestamp()}-{n}",
                    occurred_at=at - timedelta(seconds=20),
                    received_at=at,
                )
                for n, at in enumerate(times)
            ]
        )

    def look(self) -> list[str]:
        """The keys of what is alarming, but for the sender that is not there."""
        return [one.key for one in self.watcher.turn() if one.key != SENDER]

    def told(self) -> list[str]:
        """The paragraphs of every text so far."""
        texts = [json.loads(came.body)["text"]["content"] for came in self.sink.came]
        return [
            part.splitlines()[0].split(" · ")[0] + ": " + part.splitlines()[1]
            for one in texts
            for part in one.split("\n\n")
        ]

    def run(self, *words: str) -> tuple[int, str]:
        found = CliRunner().invoke(main, ["alerts", *words, "--config", str(self.file)])
        return found.exit_code, found.output


@pytest.fixture
def sink() -> Iterator[Platform]:
    with platform(says(200, b'{"errcode":0}')) as one:
        yield one


@pytest.fixture
def house(tmp_path: Path, sink: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    one = House(tmp_path, sink, monkeypatch)
    yield one
    one.log.close()
    one.deliveries.close()


def pause(house: House, reason: str | None) -> None:
    changes = Changes()
    changes.paused["hook"] = None if reason is None else Pause(house.time.us, Stop.PLATFORM, reason)
    house.deliveries.commit(changes)


def test_a_back_end_that_fell_silent_is_told_once_and_its_return_too(house: House) -> None:
    house.came(EventType.REGISTERED, since=NOON - timedelta(days=30), until=NOON)
    house.came(EventType.LOGGED_IN, since=NOON - timedelta(days=30), until=NOON, minutes=2)
    assert house.look() == []
    house.time.go(minutes=60)
    assert house.look() == ["silent event acme-ng"]
    house.time.go(minutes=1)
    assert house.look() == ["silent event acme-ng"]
    assert house.told() == ["ALARM: no event of acme-ng has come in for 1 h"]

    back = from_us(house.time.us)
    house.came(EventType.LOGGED_IN, since=back - timedelta(minutes=2), until=back, minutes=1)
    house.came(EventType.REGISTERED, since=back - timedelta(minutes=2), until=back, minutes=1)
    house.time.go(minutes=1)
    assert "silent event acme-ng" not in house.look()
    assert len(house.told()) == 1
    house.time.go(minutes=10)
    house.look()
    assert house.told()[-1] == (
        "ALL WELL AGAIN: no event of acme-ng has come in for 1 h: no more, since 2026-05-13 13:12 UTC"
    )


def test_history_and_our_own_events_are_not_counted(house: House) -> None:
    old = Event(
        type=EventType.REGISTERED,
        brand="acme",
        user_id="u1",
        event_id="old",
        occurred_at=NOON,
        received_at=NOON,
        history=True,
    )
    ours = Event(
        type=EventType.TIERS_CUT,
        brand="lendsignal",
        user_id="lendsignal",
        event_id="ours",
        occurred_at=NOON,
        received_at=NOON,
        actor="system",
    )
    house.log.append([old, ours])
    house.look()

    with closing(open_alerts(house.folder.alerts)) as store:
        assert store.counted(0) == {}
        assert store.position("events") == 2


def test_a_pause_is_told_once_and_not_again_after_a_restart(house: House) -> None:
    pause(house, "http_401")
    assert house.look() == ["paused hook"]
    house.watcher = Watcher(house.config, house.time)
    house.time.go(minutes=1)
    house.look()
    assert house.told() == ["ALARM: hook is paused by platform: http_401"]

    house.time.go(hours=4)
    house.look()
    assert house.told()[-1] == "STILL OPEN: hook is paused by platform: http_401"
    pause(house, None)
    house.time.go(minutes=11)
    assert house.look() == []
    assert house.told()[-1] == (
        "ALL WELL AGAIN: hook is paused by platform: http_401: no more, since 2026-05-13 16:12 UTC"
    )
    house.look()
    assert len(house.told()) == 3


def test_what_a_target_did_not_take_is_told_at_the_next_look(
    house: House, sink: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    sink.play(says(503))
    pause(house, "http_401")
    house.look()
    house.look()
    sink.play(says(200, b'{"errcode":0}'))
    house.look()
    house.look()

    assert len(sink.came) == 3
    assert [one.message for one in caplog.records] == ["alert target ops was not told: http_503"]


def test_deaths_are_counted_from_one_look_to_the_next(house: House) -> None:
    house.look()
    changes = Changes()
    changes.add("hook", "disbursement", "accepted", n=100)
    changes.add("hook", "disbursement", "dead", "http_400", n=30)
    house.deliveries.commit(changes)
    house.time.go(minutes=1)
    assert house.look() == ["dead hook"]
    assert house.told() == ["ALARM: 30 of 130 deliveries to hook died within a day"]

    house.time.go(hours=25)
    assert house.look() == []


def test_what_happened_before_the_first_look_has_no_time(house: House) -> None:
    changes = Changes()
    changes.add("hook", "disbursement", "dead", "http_400", n=500)
    house.deliveries.commit(changes)

    assert house.look() == []


def test_a_silenced_alarm_is_listed_and_not_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lendsignal.cli.alerts.clock_of", lambda config: house.time)
    house.watcher._tellers = {}
    pause(house, "http_401")
    house.look()
    code, said = house.run("silence", "paused hook", "--for", "2h")
    assert (code, said.startswith("nobody is told of 'paused hook' until 2026-05-13 14:00")) == (0, True)
    house.watcher = Watcher(house.config, house.time)
    house.look()
    code, said = house.run("list")
    assert code == 1
    assert "key: paused hook, silenced until 2026-05-13 14:00 UTC" in said
    assert house.told() == []

    house.time.go(hours=2, minutes=1)
    house.look()
    assert len(house.told()) == 1


def test_a_silence_is_for_an_alarm_that_is_there(house: House) -> None:
    house.look()
    code, said = house.run("silence", "paused hock", "--for", "2h")

    assert code == 2
    assert "there is no alarm 'paused hock'" in said


def test_a_test_message_arrives_or_says_why_not(house: House, sink: Platform) -> None:
    assert house.run("test", "ops") == (0, "ops (wecom) took the test message\n")
    assert house.told() == ["TEST: this is a test; nothing is wrong"]
    sink.play(says(200, b'{"errcode":93000}'))
    code, said = house.run("test", "ops")
    assert (code, said) == (1, "error: alert target ops was not told: errcode_93000\n")
    assert house.run("test", "opps")[0] == 2


def test_the_health_report_is_that_of_the_last_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lendsignal.cli.alerts.clock_of", lambda config: house.time)
    house.came(EventType.REGISTERED, since=NOON - timedelta(days=30), until=NOON)
    house.look()
    code, said = house.run("health", "--json")
    found = json.loads(said)

    assert code == 0
    (row,) = found["tables"]["volumes"]["rows"]
    assert (row["scope"], row["name"], row["hour"], row["verdict"]) == (
        "acme-ng",
        "registered",
        12,
        "as expected",
    )
    assert row["expected_hour"] == pytest.approx(12)
    (delay,) = found["tables"]["delays"]["rows"]
    # The hours since 13:00 of the day before, of which the last has just begun: 23 of 12 each.
    assert (delay["stage"], delay["name"], delay["n"]) == ("arrival", "acme-ng", 276)


def test_no_text_holds_a_secret_or_an_address(house: House, caplog: pytest.LogCaptureFixture) -> None:
    pause(house, "http_401")
    house.look()
    house.run("list")
    kept = b"".join(path.read_bytes() for path in house.folder.path.glob("alerts.sqlite*"))
    texts = " ".join(came.body.decode() for came in house.sink.came) + caplog.text

    for secret in ("made-up", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert secret.encode() not in kept
        assert secret not in texts


@pytest.mark.parametrize(
    ("more", "key", "found"),
    [
        ('[alert.b]\nkind = "email"', "alert.b", "email needs host and sender and to"),
        ('[alert.b]\nkind = "slack"\nurl = { env = "NOT_THERE" }', "alert.b.url", "NOT_THERE is not set"),
        ('[alert.b]\nkind = "feishu"\nurl = { env = "MADE_UP_ALERTS" }', "alert.b.url", "no https://"),
        ('[alert.b]\nkind = "slak"\nurl = { env = "MADE_UP_ALERTS" }', "alert.b.kind", "slak"),
        ('[alert.B]\nkind = "pagerduty"\nsecret = { env = "MADE_UP_HOOK" }', "alert.B", "the name 'B'"),
        (
            '[alert.b]\nkind = "pagerduty"\nsecret = { env = "MADE_UP_HOOK" }\nonly = ["death"]',
            "alert.b.only",
            "death",
        ),
    ],
)
def test_mistakes_in_targets_are_named(
    tmp_path: Path, sink: Platform, monkeypatch: pytest.MonkeyPatch, more: str, key: str, found: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        House(tmp_path, sink, monkeypatch, more)

    (problem,) = caught.value.problems
    assert problem.key.startswith(key)
    assert found in str(problem)
    assert sink.url not in str(problem)


def test_silences_end(tmp_path: Path) -> None:
    with closing(open_alerts(tmp_path / "alerts.sqlite")) as store:
        store.silence(Silence(key="disk", until_us=100, who="ada"))
        assert set(store.silences(99)) == {"disk"}
        assert store.silences(100) == {}


def test_what_is_older_than_eight_weeks_is_forgotten(tmp_path: Path) -> None:
    with closing(open_alerts(tmp_path / "alerts.sqlite")) as store:
        store.add({("event", "a", "x", 10): 1, ("event", "a", "y", 20): 2}, {("arrival", "a", 1, 3): 4}, {})
        store.add({("event", "a", "y", 20): 5}, {("arrival", "a", 6, 3): 2}, {"events": 9})
        assert store.counted(0) == {("event", "a", "x"): {10: 1}, ("event", "a", "y"): {20: 7}}
        store.forget(15, 5)
        assert store.counted(0) == {("event", "a", "y"): {20: 7}}
        assert store.delays(0) == {("arrival", "a"): {3: 2}}
        assert store.position("events") == 9
