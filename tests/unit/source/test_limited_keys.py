"""API keys of some brands or apps alone: what they may tell, what they may ask, and what they are told."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from tests.acme import APPS
from tests.browsing import Browser
from tests.unit.source.test_door import KEY, House
from tests.unit.source.test_relay_door import KEY as RELAY_KEY
from tests.unit.source.test_relay_door import House as RelayHouse
from tests.unit.source.test_segment_door import House as SegmentHouse

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder
from lendsignal.log.erasures import open_erasures
from lendsignal.model import App
from lendsignal.role.erasing import erasing_routes
from lendsignal.source import DoorSettings, Keyring, RelayDoor, SourceSettings, access_of
from lendsignal.source.settings import SegmentSettings

OTHER = App(
    name="zeta-ng",
    brand="zeta",
    platform="android",
    bundle="com.zeta",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
EVERY = {**APPS, OTHER.name: OTHER}


def sent(number: int = 1, brand: str = "acme", **fields: Any) -> dict[str, Any]:
    return {
        "type": "applied",
        "brand": brand,
        "user_id": f"u{number}",
        "application_id": f"A{number}",
        "occurred_at": "2026-03-10T09:00:00Z",
        "event_id": f"e{number}",
        **fields,
    }


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """A door whose one key is limited as the test says."""
    house = House(tmp_path, scopes=("events", "read"), **request.param)
    house.intake.start()
    yield house
    house.intake.stop()
    house.log.close()


def access(**limits: Any) -> Any:
    return access_of("agency", SourceSettings(**limits), "0" * 64)


@pytest.mark.parametrize(
    ("limits", "brand", "app", "field"),
    [
        ({}, "zeta", "zeta-ng", None),
        ({"brands": ("acme",)}, "acme", "acme-ios", None),
        ({"brands": ("acme",)}, "acme", None, None),
        ({"brands": ("acme",)}, "zeta", None, "brand"),
        ({"apps": ("acme-ng",)}, "acme", "acme-ng", None),
        ({"apps": ("acme-ng",)}, "acme", None, None),
        ({"apps": ("acme-ng",)}, "acme", "acme-ios", "app"),
        ({"apps": ("acme-ng",)}, "zeta", None, "brand"),
        ({"apps": ("acme-ng",), "brands": ("zeta",)}, "acme", "acme-ng", "brand"),
    ],
)
def test_a_key_is_for_its_brands_and_apps(
    limits: dict[str, Any], brand: str, app: str | None, field: str | None
) -> None:
    found = access(**limits).beyond(brand, app, EVERY)

    assert (None if found is None else found[0]) == field


def test_the_apps_that_a_key_reaches_are_its_own_or_those_of_its_brands() -> None:
    assert access().reaches(EVERY) == ("acme-ios", "acme-ng", "zeta-ng")
    assert access(brands=("acme",)).reaches(EVERY) == ("acme-ios", "acme-ng")
    assert access(apps=("acme-ng",)).reaches(EVERY) == ("acme-ng",)


@pytest.mark.parametrize("house", [{"apps": ("acme-ng",)}], indirect=True)
def test_what_a_key_is_not_for_is_refused_in_words_and_nothing_of_it_is_kept(house: House) -> None:
    alone = house.ask(sent(1, app="acme-ios"))
    several = house.ask([sent(2, app="acme-ios"), sent(3, app="acme-ios")])
    mixed = house.ask([sent(4), sent(5, app="acme-ios"), sent(6, app="acme-ng")])

    assert (alone.status, alone.body["field"]) == (403, "app")
    assert alone.body["detail"] == "this API key is for the app acme-ng alone"
    assert (several.status, several.body["accepted"], several.body["refused"]) == (403, 0, 2)
    assert (mixed.status, mixed.body["accepted"], mixed.body["refused"]) == (202, 2, 1)
    assert mixed.body["results"][1]["rule"] == "this API key is for the app acme-ng alone"
    assert sorted(event.event_id for event in house.events()) == ["e4", "e6"]
    assert house.log.quarantined() == []


@pytest.mark.parametrize("house", [{}], indirect=True)
def test_an_event_that_a_key_is_not_for_is_as_if_it_were_not_there(house: House) -> None:
    assert house.ask(sent(7, app="acme-ng")).status == 202
    assert house.ask(method="GET", path="/v1/events/e7").status == 200

    digest = sha256(KEY.encode()).hexdigest()
    limited = access(apps=("acme-ios",), scopes=("events", "read"))
    house.door._keys = Keyring({digest: limited}, SystemClock(), lambda: 0.0)

    assert house.ask(method="GET", path="/v1/events/e7").status == 404


CONFIG = """
[portfolio]
name = "acme"
[brand.acme]
[brand.zeta]
[app.acme-ng]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
[app.zeta-ng]
brand = "zeta"
platform = "android"
bundle = "com.zeta.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
[source.crm]
key = {{ env = "ACME_KEY" }}
scopes = ["admin"]
{limit}
"""


def configured(path: Path, limit: str) -> Config:
    file = path / "lendsignal.toml"
    file.write_text(CONFIG.format(limit=limit))
    config = configuration.load(file)
    config.data.mkdir(exist_ok=True)
    return config


@pytest.mark.parametrize(
    ("limit", "path", "status", "says"),
    [
        ('brands = ["acme"]', "/v1/users/acme:u1", 202, "receipt"),
        ('brands = ["acme"]', "/v1/users/zeta:u1", 403, "for the brand acme alone"),
        ('brands = ["acme"]', "/v1/users/-?person=p1", 403, "may have users of others"),
        ('apps = ["acme-ng"]', "/v1/users/acme:u1", 403, "may have been on others"),
    ],
)
def test_a_limited_key_has_nobody_erased_of_whom_it_may_not_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, path: str, status: int, says: str
) -> None:
    monkeypatch.setenv("ACME_KEY", KEY)
    config = configured(tmp_path, limit)
    keys = Keyring(config.keys, SystemClock(), lambda: 0.0)
    app = Starlette(routes=erasing_routes(config, keys, SystemClock()))

    shown = Browser(app)._ask("DELETE", path, b"", {"authorization": f"Bearer {KEY}"})

    assert (shown.status, says in shown.text) == (status, True), shown.text
    book = open_erasures(DataFolder(config.data).erasures)
    assert len(book.open()) == (status == 202)
    book.close()


@pytest.mark.parametrize(("limit", "key"), [('brands = ["acmee"]', "brands"), ('apps = ["acme"]', "apps")])
def test_a_limit_names_brands_and_apps_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, key: str
) -> None:
    monkeypatch.setenv("ACME_KEY", KEY)

    with pytest.raises(ConfigError, match=f"source.crm.{key}"):
        configured(tmp_path, limit)


def test_segment_calls_keep_to_the_limits_of_the_key(tmp_path: Path) -> None:
    limits = {"apps": ("acme-ios",), "segment": SegmentSettings(brand="acme", app="acme-ng")}
    house = SegmentHouse(tmp_path, DoorSettings(), **limits)
    calls = [
        {"type": "track", "event": "applied", "userId": "u1", "properties": {"application_id": "A1"}},
        {"type": "identify", "userId": "u1", "context": {"device": {"id": "d"}}},
    ]

    answers = [house.ask("track", calls[0]), house.ask("batch", {"batch": calls})]
    events = house.events()
    house.close()

    assert [(one.status, one.body["code"]) for one in answers] == [(403, "forbidden")] * 2
    assert "for the app acme-ios alone" in answers[0].body["message"]
    assert events == []


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"brands": ("acme",)}, 200), ({"brands": ("zeta",)}, 403), ({"apps": ("acme-ios",)}, 403)],
)
def test_tokens_for_apps_keep_to_the_limits_of_the_key(
    tmp_path: Path, limits: dict[str, Any], status: int
) -> None:
    house = RelayHouse(tmp_path)
    relay = replace(house.relays["relay-ng"], app="acme-ng")
    digest = sha256(RELAY_KEY.encode()).hexdigest()
    door = RelayDoor(
        {"relay-ng": relay},
        {"relay-ng": "s" * 32},
        house.shelf,
        house,
        keys=Keyring({digest: access_of("crm", SourceSettings(**limits), digest)}, house, lambda: 0.0),
        woken=lambda: None,
        steady=lambda: 0.0,
    )
    house.app = Starlette(routes=door.routes())

    answer = house.ask("POST", "token", {"user_id": "u1", "installation": "af-1", "relay": "relay-ng"})
    house.shelf.close()

    assert answer.status == status
