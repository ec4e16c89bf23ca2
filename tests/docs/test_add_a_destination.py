"""The page that tells how to add a destination: its example is a destination that passes the shared exam."""

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import msgspec
import pytest
from tests.contract import destination_exam

import lendsignal.destination as folder
from lendsignal.deliver import DestinationSettings
from lendsignal.destination.spec import Destination
from lendsignal.settings import read

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HOW_TO / "add-a-destination.md").read_text()
HOOK_PAGE = (HOW_TO / "connect-a-webhook.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced examples in that language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's first example, found in the folder of destinations as a newcomer's file would be."""
    (tmp_path / "acme.py").write_text(blocks(PAGE, "python")[0])
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield importlib.import_module("lendsignal.destination.acme")
    del sys.modules["lendsignal.destination.acme"]
    monkeypatch.delattr(folder, "acme", raising=False)


@pytest.mark.parametrize("question", destination_exam.EXAMS, ids=lambda question: question.__name__)
def test_the_example_of_the_page_passes_the_exam(
    acme: ModuleType, question: Callable[[Destination], None]
) -> None:
    question(cast(Destination, acme))


def test_a_file_in_the_folder_is_registered_without_further_ado(acme: ModuleType) -> None:
    assert folder.registry.__wrapped__()["acme"] is acme


def test_the_tests_of_the_page_pass(acme: ModuleType) -> None:
    names: dict[str, Callable[[], None]] = {}
    exec(compile(blocks(PAGE, "python")[1], "add-a-destination.md", "exec"), names)

    tests = [test for name, test in names.items() if name.startswith("test_")]

    assert tests
    for test in tests:
        test()


def test_the_settings_of_the_page_are_those_of_the_example(acme: ModuleType) -> None:
    table = tomllib.loads(blocks(PAGE, "toml")[0])["destination"]["acme-ng"]

    own = {name: value for name, value in table.items() if name not in ("kind", "app")}

    assert table["kind"] == acme.SPEC.name
    assert msgspec.convert(own, acme.Settings).app_id == "4711"


@pytest.mark.parametrize("page", sorted(path.stem for path in HOW_TO.glob("connect-*.md")))
def test_the_settings_on_each_page_are_taken_and_its_names_are_fine(page: str) -> None:
    document = tomllib.loads(blocks((HOW_TO / f"{page}.md").read_text(), "toml")[0])
    ((name, table),) = document["destination"].items()
    destination = folder.registry()[table["kind"]]

    own = {key: value for key, value in table.items() if key not in DestinationSettings.__struct_fields__}

    assert read(destination.Settings, own, path="", origin="")[1] == []
    assert table["app"] in document["app"]
    for route in document["route"]:
        assert route["to"] == name
        assert [destination.problem_with_name(sent) for sent in route["send"].values()] == [None] * len(
            route["send"]
        )


def test_the_body_on_the_webhook_page_holds_every_field_and_no_other() -> None:
    page_body = msgspec.json.decode(blocks(HOOK_PAGE, "json")[0])
    webhook = folder.registry()["webhook"]

    sent = webhook.encode(destination_exam.delivery_for(webhook), destination_exam.example_settings(webhook))

    assert set(page_body) == set(cast(dict[str, object], sent))


def test_the_signature_check_on_the_webhook_page_takes_the_standards_own_example() -> None:
    names: dict[str, Callable[..., bool]] = {}
    exec(compile(blocks(HOOK_PAGE, "python")[0], "connect-a-webhook.md", "exec"), names)
    # The vector of the Standard Webhooks reference libraries (test file of the Python one).
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'

    assert names["is_genuine"](headers, body, secret, 1614265330 + 299)
    assert not names["is_genuine"](headers, body, secret, 1614265330 + 301)
    assert not names["is_genuine"](headers, body + b" ", secret, 1614265330)
