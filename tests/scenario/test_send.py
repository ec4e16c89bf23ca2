"""`lendsignal send` against the real sandbox process: what each platform gets, and what a person is told."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests import every_kind
from tests.every_kind import CANARY, CREDENTIALS, HOOK_SECRET, KINDS, SIGNING, Played, name_of

from lendsignal.cli import main
from lendsignal.destination import registry
from lendsignal.destination.spec import Trial

MARKED = {
    "adjust": "environment",
    "ga4": "debug_mode",
    "kwai": "trackFlag",
    "meta": "test_event_code",
    "snap": "test_event_code",
    "tiktok": "test_event_code",
    "webhook": "lendsignal-test",
}
"""The platforms that take marked test events, and what the mark is called on the wire."""

DRY = ("google_ads", "google_data_manager")
NONE = ("appsflyer", "branch", "google_app", "kochava", "relay", "singular")
CHECKED = ("ga4", "google_ads", "google_data_manager", "snap")
WITH_A_CODE = ("meta", "snap", "tiktok")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with every_kind.sandbox(tmp_path_factory.mktemp("sandbox")) as one:
        yield one


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, played: Played) -> Path:
    """A folder with the configuration, where the commands are called; the sandbox has seen nothing."""
    played.reset()
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in every_kind.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "lendsignal.toml").write_text(every_kind.configuration(played.address))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def send(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, ["send", *words])
    assert found.exit_code == code, found.output
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    for secret in (CANARY, HOOK_SECRET, SIGNING, CREDENTIALS):
        assert secret not in found.output
    return found


def as_json(*words: str, code: int = 0) -> Any:
    return json.loads(send(*words, "--json", code=code).stdout)


def code_for(kind: str) -> list[str]:
    return ["--code", "TEST12345"] if kind in WITH_A_CODE else []


def test_every_platform_is_accounted_for() -> None:
    assert {*MARKED, *DRY, *NONE} == set(KINDS)
    assert set(registry()) - set(KINDS) <= {"kafka"}


@pytest.mark.parametrize("kind", MARKED)
def test_a_test_event_arrives_marked_and_says_where_to_look(kind: str, here: Path, played: Played) -> None:
    found = as_json("--to", kind, "--test", *code_for(kind))
    (taken,) = played.taken(kind)

    assert (found["outcome"], found["mode"], found["name"]) == ("accepted", "test", name_of(kind))
    assert MARKED[kind] in json.dumps(found["request"])
    assert taken["name"] == name_of(kind)
    assert taken["conversion_id"] == found["id"]
    assert found["look"]
    assert found["sees"]


@pytest.mark.parametrize("kind", DRY)
def test_where_there_is_no_mark_a_dry_run_is_what_there_is(kind: str, here: Path, played: Played) -> None:
    found = as_json("--to", kind, "--test")

    assert (found["outcome"], found["problems"]) == ("clean", [])
    assert found["request"]["body"]["validateOnly"] is True
    assert played.taken(kind) == []


@pytest.mark.parametrize("kind", NONE)
def test_a_platform_without_a_test_mode_gets_nothing_and_the_person_is_told_what_to_do(
    kind: str, here: Path, played: Played
) -> None:
    said = send("--to", kind, "--test", code=1).stderr
    found = as_json("--to", kind, "--test", code=1)
    trial: Trial = registry()[kind].trial(None)  # type: ignore[attr-defined]

    assert trial.instead in said
    assert found == {"destination": kind, "mode": "test", "outcome": "no_such_mode", "reason": trial.instead}
    assert played.look("received")["items"] == played.look("refused")["items"] == []


@pytest.mark.parametrize("kind", CHECKED)
def test_a_check_finds_nothing_wrong_with_a_good_event_and_leaves_nothing(
    kind: str, here: Path, played: Played
) -> None:
    found = as_json("--to", kind, "--validate")

    assert (found["outcome"], found["problems"], found["mode"]) == ("clean", [], "validate")
    assert found["look"] == ""
    assert played.taken(kind) == []


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(CHECKED)))
def test_a_platform_without_a_check_says_so(kind: str, here: Path, played: Played) -> None:
    said = send("--to", kind, "--validate", code=1).stderr

    assert "has no call that only checks an event" in said
    assert ("`--test` sends a test event there" in said) == (kind not in NONE)
    assert played.look("received")["items"] == []


def recently() -> str:
    """A moment that every platform's window still holds."""
    return (datetime.now(UTC) - timedelta(minutes=5)).isoformat()


def event(**changes: Any) -> dict[str, Any]:
    """A loan of a user whose phone is told with it."""
    known = {
        "type": "disbursed",
        "brand": "acme",
        "user_id": "u1",
        "loan_id": "L1",
        "loan_number": 1,
        "amount": "25000",
        "fee": "1500",
        "currency": "NGN",
        "occurred_at": "2026-11-10T09:14:07Z",
        "app": "acme-ng",
        "device": {"firebase_app_instance_id": "4f2c1a9be07d4c6f8a315d2e9b7c6012", "os_version": "14"},
    }
    return {**known, **changes}


def test_an_event_of_a_file_goes_by_the_rules_in_force_and_its_problems_are_named(
    here: Path, played: Played
) -> None:
    (here / "loan.json").write_text(json.dumps(event()))
    found = as_json("--to", "ga4", "--validate", "--event", "loan.json", code=1)
    (sent,) = found["request"]["body"]["events"]

    assert found["outcome"] == "problems"
    assert ["timestamp_micros VALUE_OUT_OF_BOUNDS" in line for line in found["problems"]] == [True]
    assert sent["params"]["value"] == 1500.0
    assert found["request"]["body"]["app_instance_id"] == "4f2c1a9be07d4c6f8a315d2e9b7c6012"


def test_a_login_in_a_file_tells_the_phone_of_what_follows(here: Path) -> None:
    at = {"brand": "acme", "user_id": "u1"}
    device = {"firebase_app_instance_id": "4f2c1a9be07d4c6f8a315d2e9b7c6012"}
    login = {"type": "logged_in", "occurred_at": "2026-11-10T08:00:00Z", "device": device, **at}
    loan = {
        "type": "disbursed",
        "occurred_at": "2026-11-10T09:14:07Z",
        "loan_id": "L1",
        "loan_number": 1,
        **at,
    }
    (here / "loan.json").write_text(json.dumps([login, loan]))
    found = as_json("--to", "ga4", "--validate", "--event", "loan.json", code=1)

    assert found["request"]["body"]["user_id"] == "u1"
    assert found["request"]["body"]["app_instance_id"] == device["firebase_app_instance_id"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "logged_in"}, "nothing follows from it for ga4"),
        ({"device": {"gaid": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"}}, "no_device_id"),
        ({"test": True}, "it would be skipped for ga4: test_user"),
        ({"amount": "many"}, "amount"),
    ],
)
def test_a_file_that_comes_to_nothing_says_why(
    change: dict[str, Any], said: str, here: Path, played: Played
) -> None:
    (here / "loan.json").write_text(json.dumps(event(**change)))

    assert said in send("--to", "ga4", "--validate", "--event", "loan.json", code=1).stderr


def test_what_is_too_old_to_be_sent_is_not_sent_as_a_test_either(here: Path, played: Played) -> None:
    (here / "loan.json").write_text(json.dumps(event()))
    said = send("--to", "ga4", "--test", "--event", "loan.json", code=1).stderr

    assert "too_old" in said
    assert played.look("received")["items"] == played.look("refused")["items"] == []


def test_a_test_event_has_an_id_of_its_own_each_time(here: Path, played: Played) -> None:
    (here / "loan.json").write_text(json.dumps(event(occurred_at=recently())))
    words = ("--to", "webhook", "--test")
    ids = [as_json(*words)["id"], as_json(*words)["id"]]
    ids += [as_json(*words, "--event", "loan.json")["id"] for _ in range(2)]

    assert len(set(ids)) == 4
    assert all(len(one) == 32 for one in ids)


def test_your_own_phones_ids_take_the_place_of_all_made_up_ones(here: Path, played: Played) -> None:
    phone = "18546f6171f67e29d1cb983322ad1329"
    found = as_json("--to", "adjust", "--test", "--id", f"adjust_adid={phone}")

    assert found["request"]["body"]["adid"] == phone
    assert found["request"]["body"]["environment"] == "sandbox"
    assert "gps_adid" not in found["request"]["body"]


@pytest.mark.parametrize("kind", WITH_A_CODE)
def test_a_code_that_is_missing_is_asked_for_with_where_it_is_found(kind: str, here: Path) -> None:
    said = send("--to", kind, "--test", code=1).stderr

    assert "test_event_code" in said
    assert "--code" in said


def test_nobodys_e_mail_or_phone_is_shown_not_even_as_a_hash(here: Path, played: Played) -> None:
    person = {"email": "ana@example.com", "phone": "+639171234567"}
    (here / "loan.json").write_text(json.dumps(event(occurred_at=recently(), **person)))
    found = as_json("--to", "google_ads", "--validate", "--event", "loan.json")
    (identifiers,) = [one["userIdentifiers"] for one in found["request"]["body"]["conversions"]]

    assert [identifiers[0]["hashedEmail"], identifiers[1]["hashedPhoneNumber"]] == ["(contact)"] * 2


def test_a_wrong_secret_is_told_and_never_shown(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-of-another-account")
    found = as_json("--to", "meta", "--test", "--code", "TEST12345", code=1)

    assert (found["outcome"], found["reason"]) == ("paused", "bad_token")
    assert found["look"] == ""
    assert "canary-of-another-account" not in json.dumps(found)


@pytest.mark.parametrize("kind", MARKED)
def test_an_answer_that_repeats_the_secret_is_shown_without_it(kind: str, here: Path, played: Played) -> None:
    secret = HOOK_SECRET if kind == "webhook" else CANARY
    said = json.dumps({"error": f"no such token: {secret}"})
    played.faults({"kind": "status", "status": 400, "body": said})
    found = as_json("--to", kind, "--test", *code_for(kind), code=1)

    assert "[secret]" in found["answer"]
    assert found["status"] == 400


def test_google_says_no_to_the_credentials_before_anything_is_sent(
    here: Path, monkeypatch: pytest.MonkeyPatch, played: Played
) -> None:
    monkeypatch.setenv("GOOGLE", CREDENTIALS.replace("client-acme", "client-of-nobody"))
    found = as_json("--to", "google_ads", "--validate", code=1)

    assert (found["outcome"], found["reason"], found["status"]) == ("refused", "bad_credentials", 401)
    assert played.look("refused?platform=google_ads")["items"] == []


def test_a_sandbox_of_the_command_line_stands_in_for_the_one_in_the_file(here: Path, played: Played) -> None:
    text = (here / "lendsignal.toml").read_text().replace(played.address, "http://127.0.0.1:9")
    (here / "lendsignal.toml").write_text(text)

    assert as_json("--to", "webhook", "--test", code=1)["outcome"] == "no_answer"
    assert as_json("--to", "webhook", "--test", "--sandbox", played.address)["outcome"] == "accepted"


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "meta"),
        ("--to", "mete", "--test"),
        ("--to", "webhook", "--test", "--id", "phone=1"),
        ("--to", "webhook", "--test", "--conversion", "disbursement"),
        ("--test",),
    ],
)
def test_a_wrong_call_ends_with_2(words: tuple[str, ...], here: Path) -> None:
    send(*words, code=2)


def test_people_read_what_was_sent_what_came_back_and_where_to_look(here: Path, played: Played) -> None:
    lines = send("--to", "meta", "--test", "--code", "TEST12345").stdout.splitlines()

    assert [line.split()[0] for line in lines] == [
        "sent", "id", "request", "answer", "outcome", "look", "see", "note",
    ]  # fmt: skip
    assert lines[0].startswith("sent     ev_fl to meta (Meta), HTTP 200 after ")
    assert "Test events" in lines[5]
    assert lines[7] == (
        f"note     the sandbox at {played.address} stood in for the platform, which saw nothing"
    )
