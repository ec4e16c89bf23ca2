"""Which id is enough for which destination: every row of the reference page, and nothing beside it."""

import re
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.destination_exam import ANDROID, IOS, NEUTRAL_NAMES, SAMPLE_IDS, example_settings

from lendsignal.destination import registry
from lendsignal.destination.spec import Destination
from lendsignal.model import App, Delivery, Device, IdKind, Skip, SkipReason, contact_of, id_of

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "ids.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
OWN_RULE = {"relay", "webhook", "kafka"}
"""Destinations that are told of below the table."""

CLICKS = {
    "gclid": "Cj0KCQiA-click",
    "gbraid": "0AAAAA-crowd",
    "fbc": "fb.1.1773133200000.AbCd",
    "ttclid": "E.C.P.click",
    "sc_click_id": "snap-click",
    "kwai_click_id": "kwai-click",
    "user_agent": "Mozilla/5.0 (Linux; Android 14)",
}
ALONE = {**{kind.value: value for kind, value in SAMPLE_IDS.items()}, **CLICKS}
CONTACT = contact_of("ada@acme.example", "+2348012345678")[0]


def app_of(word: str) -> App:
    return {"Android": ANDROID, "iOS": IOS}[word]


def facts(app: App) -> Device:
    """A phone whose user lets ads track, and of which no id is known."""
    if app.platform == "ios":
        return Device(os="ios", os_version="17.4.1", att_status=3, ip="8.8.8.8")
    return Device(os="android", os_version="14", limit_ad_tracking=False, ip="8.8.8.8")


def is_told(destination: Destination, settings: Any, app: App, **known: Any) -> bool:
    """Whether a conversion is sent of whom this is `known`: by the check of ids and the platform's own."""
    contact = known.pop("contact", None)
    device = msgspec.structs.replace(facts(app), **known)
    wanted = destination.SPEC.any_of_ids
    if wanted and not any(id_of(device, kind) for kind in wanted):
        return False
    delivery = Delivery(
        id="0" * 32,
        name=next(name for name in NEUTRAL_NAMES if destination.problem_with_name(name) is None),
        occurred_at=datetime(2026, 3, 10, 9, tzinfo=UTC),
        user_id="u1",
        app=app,
        device=device,
        contact=contact,
    )
    item = destination.encode(delivery, settings)
    assert not isinstance(item, Skip) or item == Skip(SkipReason.NO_DEVICE_ID)
    return not isinstance(item, Skip)


def destination_of(cell: str) -> tuple[Destination, Any]:
    """The destination that a row is about, with the setting that it names."""
    kind, *setting = re.findall(r"`([^`]+)`", cell)
    destination = registry()[kind]
    settings = example_settings(destination)
    for one in setting:
        key, _, value = one.partition(" = ")
        settings = msgspec.structs.replace(settings, **{key: msgspec.json.decode(value)})
    return destination, settings


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(row[:2]) for row in ROWS])
def test_each_id_of_a_row_is_enough_and_no_other_is(row: list[str]) -> None:
    destination, settings = destination_of(row[0])
    app = app_of(row[1])
    expected = set(chain.from_iterable(re.findall(r"`(\w+)`", cell) for cell in row[2:5]))

    enough = {name for name, value in ALONE.items() if is_told(destination, settings, app, **{name: value})}

    assert enough == expected
    assert is_told(destination, settings, app, contact=CONTACT) == (row[5] == "yes")
    assert not is_told(destination, settings, app)


def test_every_destination_has_its_row_for_both_systems() -> None:
    told = {(re.findall(r"`(\w+)`", row[0])[0], row[1]) for row in ROWS}

    assert told == {(kind, system) for kind in set(registry()) - OWN_RULE for system in ("Android", "iOS")}


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(row[:2]) for row in ROWS])
def test_whatever_else_of_the_row_is_known_goes_along(row: list[str]) -> None:
    """Of an installation, a phone and a contact that are all known, each that is enough alone is told.

    Of clicks one is told, and Singular wants the Android ID only of phones without another.
    """
    destination, settings = destination_of(row[0])
    named = [name for cell in row[2:4] for name in re.findall(r"`(\w+)`", cell)]
    if row[0].startswith("`singular`"):
        named = [name for name in named if name != "android_id"]
    delivery = Delivery(
        id="0" * 32,
        name=next(name for name in NEUTRAL_NAMES if destination.problem_with_name(name) is None),
        occurred_at=datetime(2026, 3, 10, 9, tzinfo=UTC),
        user_id="u1",
        app=app_of(row[1]),
        device=msgspec.structs.replace(facts(app_of(row[1])), **{name: ALONE[name] for name in named}),
    )
    if not named:
        return

    item = msgspec.json.encode(destination.encode(delivery, settings)).decode().lower()

    for name in named:
        value = ALONE[name].lower()
        hashed = destination.SPEC.name == "tiktok" and name in ("gaid", "idfa")
        assert hashed or value in item or value.replace("-", "") in item, name


def test_a_relay_goes_by_the_id_that_it_names_and_a_webhook_by_none() -> None:
    relay, hook = registry()["relay"], registry()["webhook"]
    for kind in (IdKind.ADJUST_ADID, IdKind.META_ANON_ID):
        settings = msgspec.structs.replace(example_settings(relay), installation=kind.value)

        enough = {one for one in IdKind if is_told(relay, settings, ANDROID, **{one.value: SAMPLE_IDS[one]})}

        assert enough == {kind}
    assert is_told(hook, example_settings(hook), ANDROID)


@pytest.mark.parametrize("kind", ["adjust", "kochava", "singular", "tiktok"])
def test_the_advertising_id_of_who_limits_tracking_stays_at_home(kind: str) -> None:
    destination = registry()[kind]
    settings = example_settings(destination)
    if kind == "singular":
        settings = msgspec.structs.replace(settings, api="v1")

    assert not is_told(
        destination,
        settings,
        ANDROID,
        gaid=SAMPLE_IDS[IdKind.GAID],
        limit_ad_tracking=True,
    )
