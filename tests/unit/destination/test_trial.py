"""Test events and dry runs: a request differs in its mark and in nothing else, and the page says so."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.destination_exam import delivery_for, example_settings

from lendsignal.destination import registry, snap
from lendsignal.destination.spec import Item, Request, Response, Trial

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "send-a-test-event.md").read_text()
TABLE = PAGE.partition("## What each platform has")[2].partition("\nWhere there is none")[0]
ROWS = [
    [cell.strip() for cell in line.strip("| ").split("|")]
    for line in re.findall(r"^\| .*$", TABLE, re.MULTILINE)[2:]
]
"""Platform, `--test`, where to look, `--validate`."""


def row(kind: str) -> list[str]:
    """What the page says of a platform."""
    label = registry()[kind].SPEC.label
    (found,) = [one for one in ROWS if label.startswith(one[0])]
    return [*found, *[""] * (4 - len(found))]


def with_trial() -> list[str]:
    return [kind for kind, module in registry().items() if hasattr(module, "trial")]


def made(kind: str) -> tuple[Any, Item, Trial]:
    module: Any = registry()[kind]
    chosen = example_settings(module)
    return module, module.encode(delivery_for(module), chosen), module.trial(chosen)


@pytest.mark.parametrize("kind", with_trial())
def test_the_page_says_of_each_platform_what_its_file_says(kind: str) -> None:
    module, _, trial = made(kind)
    _, test, look, validate = row(kind)

    assert test.startswith("none") == (trial.way == "none")
    assert ("dry run" in test) == (trial.way == "dry_run")
    assert ("--code" in test) == (trial.code is not None)
    if trial.way == "marked" and kind != "webhook":  # of a webhook it is the receiver's own log
        assert look == trial.look
    assert (validate != "none") == hasattr(module, "validation_request")


def differences(one: Any, other: Any, at: str = "") -> dict[str, Any]:
    """Where two bodies differ, with what the second one has there."""
    if isinstance(one, dict) and isinstance(other, dict):
        found: dict[str, Any] = {}
        for name in one.keys() | other.keys():
            found |= differences(one.get(name), other.get(name), f"{at}.{name}")
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return {
            key: value
            for place, (a, b) in enumerate(zip(one, other, strict=True))
            for key, value in differences(a, b, f"{at}[{place}]").items()
        }
    return {} if one == other else {at: other}


@pytest.mark.parametrize(
    ("kind", "mark"),
    [
        ("meta", {".json.test_event_code": "TEST7"}),
        ("tiktok", {".json.test_event_code": "TEST7"}),
        ("snap", {".json.test_event_code": "TEST7"}),
        # DebugView shows an event with `debug_mode` where `engagement_time_msec` stands beside it.
        ("ga4", {".json.events[0].params.debug_mode": 1, ".json.events[0].params.engagement_time_msec": 1}),
        ("adjust", {".form.environment": "sandbox"}),
        ("kwai", {".json.trackFlag": True}),
        ("webhook", {".headers.lendsignal-test": "true"}),
        ("google_ads", {".json.validateOnly": True}),
        ("google_data_manager", {".json.validateOnly": True}),
    ],
)
def test_a_test_event_differs_by_its_mark_and_by_nothing_else(kind: str, mark: dict[str, Any]) -> None:
    module, item, _ = made(kind)
    chosen = example_settings(module)
    plain, marked = module.request([item], chosen), module.trial_request([item], chosen, "TEST7")

    assert differences(msgspec.to_builtins(plain), msgspec.to_builtins(marked)) == mark


@pytest.mark.parametrize("kind", ["snap", "ga4"])
def test_a_test_event_goes_to_where_it_is_shown_also_where_the_settings_ask_the_validator(kind: str) -> None:
    module, item, _ = made(kind)
    field = {"snap": "validate", "ga4": "debug"}[kind]
    chosen = msgspec.structs.replace(example_settings(module), **{field: True})
    marked: Request = module.trial_request([item], chosen, "TEST7")

    assert "validate" not in marked.url
    assert "debug/" not in marked.url


def test_kwais_postback_has_no_mark() -> None:
    module: Any = registry()["kwai"]
    chosen = msgspec.structs.replace(example_settings(module), way="postback")

    assert module.trial(chosen).way == "none"


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"status": "VALID", "event_logs": [{"event": 0, "status": "VALID", "errors": []}]}, ()),
        (
            {
                "status": "INVALID",
                "event_logs": [
                    {"event": 0, "status": "VALID", "errors": []},
                    {"event": 1, "status": "INVALID", "errors": [{"code": "X", "error_msg": "no currency"}]},
                ],
            },
            ("data[1]: no currency",),
        ),
        (
            {
                "status": "INVALID",
                "reason": "bad",
                "errors": {"codes": ["A"], "error_msgs": ["no such asset"]},
            },
            ("no such asset",),
        ),
        ({"status": "INVALID", "reason": "bad token"}, ("bad token",)),
        ({"status": "INVALID"}, ("refused without a reason",)),
        ({"status": "SOMETHING"}, None),
        ([], None),
    ],
)
def test_snaps_validator_is_read_row_by_row(body: Any, problems: tuple[str, ...] | None) -> None:
    assert snap.problems_found(Response(status=200, body=msgspec.json.encode(body))) == problems


def test_the_validator_of_snap_is_another_address_and_the_same_body() -> None:
    module, item, _ = made("snap")
    chosen = example_settings(module)
    plain, checked = module.request([item], chosen), module.validation_request([item], chosen)

    assert checked.url == f"{plain.url}/validate"
    assert checked.json == plain.json
