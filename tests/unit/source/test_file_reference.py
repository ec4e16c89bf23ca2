"""The pages on importing say everything a map can say, and their examples are maps."""

import re
from pathlib import Path

import pytest

from lendsignal.settings import describe
from lendsignal.source.files import MEANING, ImportMap, map_of

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs" / "reference" / "import-map.md").read_text()
HOW_TO = (ROOT / "docs" / "how-to" / "import-files.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)


def test_every_key_of_a_map_and_every_word_it_takes_is_in_the_reference() -> None:
    fields = describe(ImportMap)
    keys = {field.key.rpartition(".")[2].removesuffix("[]").removesuffix("<name>") for field in fields} - {""}
    words = {field.allowed.strip('"') for field in fields if field.key.endswith((".kind", ".op"))}

    assert {name for name in keys | words if not re.search(rf'`"?{name}\b', REFERENCE)} == set()


def test_every_kind_of_oddity_is_in_the_reference_with_its_meaning() -> None:
    rows = [f"| `{kind}` | {meaning} |" for kind, meaning in MEANING.items()]

    assert [row for row in rows if row not in REFERENCE] == []


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_maps_of_the_how_to_page_are_maps(text: str) -> None:
    assert map_of(text, "map.toml").event


def test_the_map_of_the_superlender_example_is_a_map() -> None:
    path = ROOT / "examples" / "superlender" / "map.toml"

    assert len(map_of(path.read_text(), path.name).event) == 11
