"""The ready templates of routes on the pages that connect a platform: each loads, and each is explained."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lendsignal import config as configuration
from lendsignal.destination import registry

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = sorted(HOW_TO.glob("connect-*.md"))
PAGE_OF = {
    "ga4": "connect-firebase.md",
    "relay": "connect-the-client-relay.md",
    "webhook": "connect-a-webhook.md",
}
"""Pages that are not called by the destination's kind."""

GOOGLE = '{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}'
SECRET = "whsec_bWFkZS11cC1zZWNyZXQtb2YtMjQtYnl0ZXM="
HEAD = """\
[portfolio]
name = "acme"

[brand.acme]

[source.backend]
key_sha256 = "{digest}"

[tiers]
cut_table = "cuts.csv"

""".format(digest="a1" * 32)


def ready(page: Path) -> str:
    """The page's own destination and routes: the block with both."""
    for text in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        if {"destination", "route"} <= tomllib.loads(text).keys():
            return str(text)
    raise AssertionError(f"{page.name} has no destination with routes")


def routes(page: Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = tomllib.loads(ready(page))["route"]
    return found


@pytest.mark.parametrize("kind", sorted(registry()))
def test_every_platform_has_a_page_with_a_ready_template(kind: str) -> None:
    page = HOW_TO / PAGE_OF.get(kind, f"connect-{kind.replace('_', '-')}.md")

    assert page in PAGES
    assert kind in {each["kind"] for each in tomllib.loads(ready(page))["destination"].values()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_template_of_a_page_loads(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ready(page)
    for name in re.findall(r'\benv\s*=\s*"(\w+)"', text):
        monkeypatch.setenv(name, SECRET)
    for name in re.findall(r'\bfile\s*=\s*"([^"]+)"', text):
        (tmp_path / name).write_text(GOOGLE)
    (tmp_path / "cuts.csv").write_text("share,cut\n20,700\n30,650\n50,600\n70,550\n")
    (tmp_path / "lendsignal.toml").write_text(HEAD + text)

    config = configuration.load(tmp_path / "lendsignal.toml")

    assert config.policy.routes
    assert {route.to for route in config.policy.routes} == set(config.outlets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_template_sends_first_loans_and_explains_every_conversion_it_sends(page: Path) -> None:
    sent = {conversion for route in routes(page) for conversion in route["send"]}
    table = page.read_text().partition("\n| conversion |")[2].partition("\n\n")[0]
    explained = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))

    assert "first_loan" in sent
    assert explained == sent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_template_gives_the_first_loan_a_value_and_never_two_conversions_of_one_loan(page: Path) -> None:
    values = {conversion for route in routes(page) for conversion in route.get("value", {})}

    assert values == {"first_loan"}
