"""Packages whose names come when somebody asks for them, and folders whose files are kinds."""

import subprocess
import sys
from importlib import import_module

import pytest

from lendsignal.destination import registry
from lendsignal.destination.audiences import audience_platforms
from lendsignal.later import Kinds, in_folder, later
from lendsignal.source import feed_kinds

LATE = (
    "archive",
    "console",
    "deliver",
    "deliver.audiences",
    "log",
    "source",
    "source.feeds",
)


@pytest.mark.parametrize("package", LATE)
def test_every_name_that_a_package_gives_is_found_when_it_is_asked_for(package: str) -> None:
    found = import_module(f"lendsignal.{package}")

    assert [name for name in found.__all__ if not hasattr(found, name)] == []


def test_a_name_that_nobody_gives_is_an_error_as_anywhere() -> None:
    given = later("lendsignal.model", {"money": "Money"})

    assert given("Money") is import_module("lendsignal.model.money").Money
    with pytest.raises(AttributeError, match=r"module 'lendsignal\.model' has no attribute 'Gold'"):
        given("Gold")


def test_kinds_are_known_by_their_words_before_any_is_loaded() -> None:
    kinds = Kinds[object]("lendsignal.no_such_package", {"sql": "sql", "files": "objects"})

    assert (list(kinds), len(kinds), "sql" in kinds) == (["sql", "files"], 2, True)
    assert kinds.get("ftp") is None
    with pytest.raises(ModuleNotFoundError):
        kinds["files"]


def test_a_folder_has_its_files_as_kinds_without_the_one_they_share() -> None:
    path = import_module("lendsignal.destination").__path__

    assert list(in_folder(path, beside="spec")) == sorted(registry())
    assert "spec" not in registry()
    assert "audiences" not in registry()


def test_a_platform_goes_by_the_name_of_its_file() -> None:
    assert {kind: module.SPEC.name for kind, module in registry().items()} == {
        kind: kind for kind in registry()
    }
    lists = audience_platforms()
    assert {kind: module.SPEC.name for kind, module in lists.items()} == {kind: kind for kind in lists}


def test_who_reads_a_configuration_loads_none_of_the_kinds_that_it_does_not_name() -> None:
    words = "import lendsignal.config, sys; print('\\n'.join(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(said.stdout.split())

    # A store's settings and a webhook's are read with the code of these.
    shared = {"lendsignal.destination.kafka", "lendsignal.destination.webhook"}
    kinds = {f"lendsignal.destination.{kind}" for kind in registry()}
    lists = {f"lendsignal.destination.audiences.{kind}" for kind in audience_platforms()}
    pulls = {module.__name__ for module in feed_kinds().values()}
    assert loaded & (kinds | lists | pulls) <= shared
