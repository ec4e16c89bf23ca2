"""`lendsignal quarantine`, as a person types it, where no service runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG

from lendsignal.cli import main
from lendsignal.clock import SystemClock
from lendsignal.log import Quarantined, open_deliveries, open_log
from lendsignal.source import kept_of

MINUTE = 60_000_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a data folder that knows three refused events."""
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    (tmp_path / "lendsignal.toml").write_text(text)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("ACME_KEY", "ACME_S2S", "ACME_HOOK"):
        monkeypatch.setenv(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    refuse(sent("1", brand="acmee"), "brand", "is not one of yours", ago=3)
    refuse(sent("2", brand="acmee", phone="+2348031234567"), "brand", "is not one of yours", ago=2)
    refuse(sent("3", loan_id=None, loanId="L-3"), "loan_id", "is needed for disbursed", ago=1, source="los")
    return tmp_path


def sent(name: str, **changes: Any) -> bytes:
    whole = {
        "type": "disbursed",
        "brand": "acme",
        "user_id": f"u{name}",
        "event_id": f"e-{name}",
        "loan_id": f"L-{name}",
        "occurred_at": "2026-03-10T08:00:00Z",
        "amount": 15000,
        "currency": "NGN",
        **changes,
    }
    return json.dumps({field: value for field, value in whole.items() if value is not None}).encode()


def refuse(raw: bytes, field: str, rule: str, *, ago: int, source: str = "backend") -> None:
    log = open_log(Path("data/log.sqlite"))
    at = SystemClock().now_us() - ago * MINUTE
    body = b'{"shown":"%s"}' % field.encode()
    log.refuse(
        [Quarantined(received_us=at, source=source, field=field, rule=rule, body=body, kept=kept_of(raw))]
    )
    log.close()


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, ["quarantine", *words])
    assert found.exit_code == code, found.output
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def as_json(*words: str, code: int = 0) -> Any:
    return json.loads(call(*words, "--json", code=code).stdout)


def listed(*words: str) -> list[int]:
    return [one["id"] for one in as_json("list", *words)["events"]]


def taken() -> list[tuple[str, str | None, tuple[str, ...]]]:
    log = open_log(Path("data/log.sqlite"), read_only=True)
    found = [(fact.event.event_id, fact.event.loan_id, fact.event.flags) for fact in log.read(0, 100)]
    log.close()
    return found


@pytest.mark.usefixtures("here")
class TestQuarantine:
    def test_the_list_is_filtered_by_where_it_came_from_why_and_when(self) -> None:
        assert listed() == [3, 2, 1]
        assert listed("--source", "los") == [3]
        assert listed("--field", "brand") == [2, 1]
        assert listed("--rule", "needed") == [3]
        assert listed("--since", "150s") == [3, 2]
        assert listed("--until", "150s") == [1]
        assert listed("2") == [2]
        assert listed("--limit", "1") == [3]
        counts = as_json("list")["counts"]
        assert [(one["source"], one["field"], one["n"]) for one in counts] == [
            ("backend", "brand", 2),
            ("los", "loan_id", 1),
        ]
        assert "2  backend  brand: is not one of yours" in call().stdout

    def test_one_is_shown_with_its_rule_and_without_what_is_personal(self) -> None:
        text = call("show", "2").stdout
        found = as_json("show", "2")

        assert "brand: is not one of yours" in text
        assert found["can_be_sent"]["contact"] == "[hashed]"
        assert "8031234567" not in text + str(found)
        assert "99" in call("show", "99", code=1).stderr

    def test_a_dry_run_tells_what_would_come_of_it_and_changes_nothing(self) -> None:
        found = as_json("mend", "--field", "brand", "--set", "brand=acme", "--dry-run")

        assert (found["chosen"], found["would_pass"], found["would_be_refused"]) == (2, 2, {})
        wrong = as_json("mend", "3", "--set", "amount=5", "--dry-run")
        assert wrong["would_be_refused"] == {"loan_id: is needed for disbursed": 1}
        assert listed() == [3, 2, 1]
        assert taken() == []

    def test_all_of_a_kind_are_mended_alike_and_come_into_the_log_marked(self) -> None:
        found = as_json("mend", "--rule", "not one of yours", "--set", "brand=acme", "--yes")

        assert (found["taken"], found["refused_again"], found["still_to_do"]) == (2, 0, 0)
        assert taken() == [("e-1", "L-1", ("mended",)), ("e-2", "L-2", ("mended",))]
        assert listed() == [3]
        assert listed("--state", "taken") == [2, 1]
        assert as_json("show", "1")["event_id"] == "e-1"

    def test_a_field_gets_its_right_name(self) -> None:
        call("mend", "3", "--rename", "loanId=loan_id", "--yes")

        assert taken() == [("e-3", "L-3", ("mended",))]

    def test_a_patch_file_sets_fields_and_null_takes_one_out(self, here: Path) -> None:
        (here / "patch.json").write_text('{"brand": "acme", "fee": 1500, "currency": null, "amount": null}')
        call("mend", "1", "--patch", "patch.json", "--yes")

        log = open_log(Path("data/log.sqlite"), read_only=True)
        (fact,) = log.read(0, 10)
        log.close()
        assert (fact.event.amount, fact.event.currency, str(fact.event.fee)) == (None, None, "1500")

    def test_what_is_still_wrong_is_refused_again_with_its_new_rule_and_code_1(self) -> None:
        found = as_json("mend", "1", "--set", "brand=acme", "--set", "loan_id=", "--yes", code=1)

        assert (found["taken"], found["refused_again"]) == (0, 1)
        (one,) = as_json("list", "1")["events"]
        assert (one["field"], one["state"]) == ("loan_id", "open")

    def test_after_the_configuration_is_corrected_they_are_released_as_they_are(self, here: Path) -> None:
        config = here / "lendsignal.toml"
        config.write_text(
            config.read_text().replace("[source.backend]", "[brand.acmee]\n\n[source.backend]", 1)
        )
        app = (
            '[app.acmee-ng]\nbrand = "acmee"\nplatform = "android"\nbundle = "com.acmee"\n'
            'country = "NG"\ncurrency = "NGN"\ntimezone = "Africa/Lagos"\n\n'
        )
        config.write_text(config.read_text().replace("[source.backend]", app + "[source.backend]", 1))

        found = as_json("release", "--field", "brand", "--yes")

        assert found["taken"] == 2

    def test_what_nobody_wants_is_dropped_and_old_ones_are_forgotten(self) -> None:
        assert as_json("drop", "--source", "los", "--yes") == {"chosen": 1, "dropped": 1}
        assert listed() == [2, 1]
        assert as_json("expire", "--older-than", "150s", "--yes") == {"forgotten": 1}
        assert listed() == [2]
        assert as_json("expire", "--yes") == {"forgotten": 0}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("mend", "--set", "brand=acme"), "say which"),
            (("mend", "1"), "say what to change"),
            (("mend", "1", "--set", "brand"), "NAME=VALUE"),
            (("mend", "1", "--set", "brandd=acme"), "Did you mean 'brand'?"),
            (("release", "--yes"), "say which"),
            (("drop",), "say which"),
            (("mend", "1", "--set", "brand=acme", "--json"), "--json cannot ask"),
            (("expire", "--older-than", "soon", "--yes"), "a duration is"),
        ],
    )
    def test_a_wrong_word_is_told(self, words: tuple[str, ...], said: str) -> None:
        assert said in call(*words, code=2).stderr

    def test_what_is_no_whole_event_cannot_be_sent_and_says_so(self) -> None:
        refuse(b"{", "body", "must be JSON", ago=0)

        assert "no whole event" in call("show", "4").stdout
        found = call("release", "4", "--yes", code=1)
        assert "no whole event was kept of it" in found.stdout

    def test_without_a_yes_nothing_changes(self) -> None:
        found = CliRunner().invoke(main, ["quarantine", "drop", "1"], input="n\n")

        assert found.exit_code == 1
        assert listed() == [3, 2, 1]

    def test_the_coverage_of_ids_is_a_report_like_any_other(self) -> None:
        found = CliRunner().invoke(main, ["report", "coverage", "--days", "7", "--json"])

        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["users"] == 0

    def test_the_doctor_tells_of_many(self, here: Path) -> None:
        def doctor() -> list[tuple[str, str]]:
            found = CliRunner().invoke(main, ["doctor", "--skip-files", "--json"])
            findings = json.loads(found.stdout)["findings"]
            return [(one["level"], one["found"]) for one in findings if one["check"] == "quarantine"]

        open_deliveries(here / "data" / "deliveries.sqlite").close()
        assert doctor() == [("look", "3 refused events wait, 3 of them since yesterday")]
        config = here / "lendsignal.toml"
        config.write_text(config.read_text().replace("[door]", "[door]\nquarantine_alert = 3"))
        assert [level for level, _ in doctor()] == ["act"]
