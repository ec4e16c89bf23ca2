"""The pages as a site: built without a warning, whole, and loading nothing from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches of its own accord when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.found.append(of.get("src") or "")
        elif tag == "link" and of.get("rel") == "stylesheet":
            self.found.append(of.get("href") or "")


def test_every_page_is_on_the_site(site: Path) -> None:
    there = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]

    assert [str(path) for path in there if not (site / path.with_suffix(".html")).exists()] == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    fetched: dict[str, str] = {}
    for path in site.rglob("*.html"):
        page = Loaded()
        page.feed(path.read_text())
        fetched |= {one: path.name for one in page.found if re.match(r"(\w+:)?//", one)}

    assert fetched == {}


def test_no_example_stands_on_the_site_with_its_fences(site: Path) -> None:
    fenced = [
        path.name for path in site.rglob("*.html") if re.search(r"```|<code>(sh|python)\n", path.read_text())
    ]

    assert fenced == []
