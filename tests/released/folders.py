"""The data folders of released versions, as tests open them."""

import json
import tarfile
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parents[1] / "data" / "released"
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in KEPT.glob("*.tar.xz"))


def unpacked(version: str, to: Path) -> dict[str, Any]:
    """Puts the data folder of a version at `to`; what was true of it when it was made."""
    to.mkdir(parents=True, exist_ok=True)
    with tarfile.open(KEPT / f"{version}.tar.xz") as packed:
        packed.extractall(to, filter="data")
    found: dict[str, Any] = json.loads((to / "known.json").read_text())
    return found
