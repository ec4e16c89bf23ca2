"""The page of keys: a key is shown once, counts at once, and stands in no audit."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.browsing import Browser, Shown

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.log import DataFolder, open_keys
from lendsignal.log.people import open_people
from lendsignal.source.keychain import Keychain

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    return configuration.load(path)


@pytest.fixture
def admin(config: Config) -> Iterator[Browser]:
    app = console(config)
    yield Browser(app)
    app.state.room.close()


def did(admin: Browser, act: str, **fields: str) -> Shown:
    """The page after an act."""
    form = admin.get("/keys").form
    assert admin.post(f"/keys/act/{act}", {**fields, "form": form}).status == 303
    return admin.get("/keys")


def good(config: Config) -> list[str]:
    with closing(open_keys(DataFolder(config.data).keys)) as store:
        listed = Keychain(config.keys, config.sources, store).listed(SystemClock().now_us())
        return [one.id for one in listed if one.good]


def test_a_new_key_is_shown_once_and_stands_in_no_audit(config: Config, admin: Browser) -> None:
    shown = did(admin, "make", source="backend", expires="90d")

    (key,) = re.findall(r"ls_[\w-]{43}", shown.text)
    assert key not in admin.get("/keys").text
    with closing(open_people(DataFolder(config.data).people)) as people:
        (noted,) = people.done()
    assert (noted.what, noted.about, [noted.note]) == ("made a key", "backend", good(config))
    assert key not in noted.note


def test_a_rotation_makes_one_and_ends_the_others(config: Config, admin: Browser) -> None:
    did(admin, "make", source="backend")
    (old,) = good(config)

    assert "1 older ones end by" in did(admin, "rotate", source="backend", overlap="0s").text

    (new,) = good(config)
    assert new != old


def test_a_key_that_is_ended_is_good_for_nothing(config: Config, admin: Browser) -> None:
    did(admin, "make", source="backend")
    (one,) = good(config)

    assert f"{one} of backend has ended" in did(admin, "revoke", id=one).text
    assert good(config) == []


def test_a_key_for_nobody_is_refused(config: Config, admin: Browser) -> None:
    assert "one of backend" in did(admin, "make", source="stranger").text
    assert good(config) == []
