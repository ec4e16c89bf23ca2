"""The sandbox's pages say what the code does: every setting, field, fault and address, and no others."""

import json
import re
from pathlib import Path

import msgspec

from lendsignal.sandbox import Fault, Memory, MetaDataset, Refused, SandboxSettings, Taken, settings_at
from lendsignal.sandbox.app import Sandbox
from lendsignal.sandbox.fault import KINDS, WORDS, Faults

DOCS = Path(__file__).parents[3] / "docs"
HOW_TO = (DOCS / "how-to" / "use-the-sandbox.md").read_text()
REFERENCE = (DOCS / "reference" / "sandbox.md").read_text()


def section(title: str) -> str:
    return REFERENCE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> set[str]:
    """Every word in backticks in the first column of the section's tables."""
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_the_settings_of_the_how_to_load(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.toml"
    path.write_text(HOW_TO.partition("```toml\n")[2].partition("```")[0])
    settings = settings_at(path)

    assert settings.appsflyer == {"com.acme.loans": "made-up-s2s-key"}
    assert settings.meta["440011223344"].app_secret == "made-up-app-secret"


def test_the_script_of_the_how_to_is_one() -> None:
    script = re.search(r"faults -d '(\[.*?\])'", HOW_TO, re.DOTALL)

    assert script is not None
    assert len(msgspec.json.decode(script[1], type=list[Fault])) == 2
    inline = re.search(r"so `(\[.*?\])`", REFERENCE)
    assert inline is not None
    assert [rule["kind"] for rule in json.loads(inline[1])] == ["accept", "status"]


def test_every_setting_is_in_the_reference() -> None:
    assert first_column(section("Settings")) == set(SandboxSettings.__struct_fields__)
    assert all(f"`{field}`" in section("Settings") for field in MetaDataset.__struct_fields__)


def test_every_fault_and_its_fields_are_in_the_reference() -> None:
    assert first_column(section("Faults")) == {*KINDS, *Fault.__struct_fields__}
    assert all(f"`{word}`" in section("Faults") for word in WORDS)


def test_every_remembered_field_is_in_the_reference() -> None:
    fields = {"kind", *Taken.__struct_fields__, *Refused.__struct_fields__}

    assert first_column(section("What is remembered")) == fields


def test_every_address_is_in_the_reference() -> None:
    memory = Memory()
    sandbox = Sandbox(SandboxSettings(), None, memory, Faults())  # type: ignore[arg-type]
    calls = {
        (method, route.path)  # type: ignore[attr-defined]
        for route in sandbox.inspection.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    listed = {tuple(word.partition("?")[0].split(" ")) for word in first_column(section("Looking in"))}
    memory.close()

    assert listed == calls
    assert set(sandbox.stand_ins) <= first_column(section("Addresses"))
