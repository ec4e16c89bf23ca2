"""The scripts and styles of others that the wheel brings: as they were published, and with their licences."""

from hashlib import sha256
from pathlib import Path

from lendsignal import console

VENDORED = Path(console.__file__).parent / "static" / "vendor"

SHA256 = {
    "htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "uplot-1.6.32.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uplot-1.6.32.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
}
"""A newer one is taken by hand: the file, its name and its sum together."""


def test_what_others_wrote_lies_there_unchanged() -> None:
    found = {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in VENDORED.iterdir()
        if not file.name.endswith("LICENSE")
    }

    assert found == SHA256


def test_each_has_its_licence_beside_it() -> None:
    libraries = {name.partition("-")[0] for name in SHA256}

    assert {file.name for file in VENDORED.glob("*-LICENSE")} == {f"{name}-LICENSE" for name in libraries}
