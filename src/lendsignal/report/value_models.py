"""Value models on disk: a folder for each, with the model, the users it was made of and the evidence.

A folder is made whole or not at all, and its files are held to their checksums whenever they are read.
"""

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from lendsignal.errors import DataError, LendsignalError
from lendsignal.log import synced
from lendsignal.report.chart import Lines, Series
from lendsignal.value.making import Everybody, Evidence, Made
from lendsignal.value.users import Loans, Users
from lendsignal.value.worth import ValueModel

MODEL, EVIDENCE, MANIFEST = "model.json", "evidence.msgpack", "manifest.json"

READABLE = "evidence.json"
"""The evidence once more, for people: JSON has no word for a number that is none."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a model's folder holds: its version, as of when, and the SHA-256 of every file."""

    version: str
    made_us: int
    as_of_us: int
    files: dict[str, str]


class Kept(Struct, frozen=True):
    """A model as it was kept."""

    manifest: Manifest
    model: ValueModel
    evidence: tuple[Evidence, ...]


def keep(folder: Path, made: Made, everybody: Everybody, as_of_us: int) -> Path:
    """Writes a model with its users, as Parquet, and its evidence; a model that is there already stays."""
    version = made.model.version
    place = folder / version
    if place.exists():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    making = folder / f".{version}.{os.getpid()}"
    making.mkdir(mode=0o700)
    try:
        (making / MODEL).write_bytes(msgspec.json.encode(made.model, order="sorted"))
        (making / EVIDENCE).write_bytes(msgspec.msgpack.encode(made.evidence))
        (making / READABLE).write_bytes(_pretty(made.evidence))
        for moment, by_currency in everybody.items():
            for currency, users in by_currency.items():
                _snapshot(users, making, f"{moment}-{currency}")
        files = {path.name: _checksum(path) for path in sorted(making.iterdir())}
        manifest = Manifest(version=version, made_us=made.model.made_us, as_of_us=as_of_us, files=files)
        (making / MANIFEST).write_bytes(_pretty(manifest))
        for path in making.iterdir():
            synced(path)
        synced(making)
        making.rename(place)
        synced(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return place


def kept(folder: Path, version: str) -> Kept:
    """The model of that version, or whose version begins so.

    Raises `LendsignalError` where there is none or several, `DataError` where a file is not what it was.
    """
    found = [one for one in versions(folder) if one.startswith(version)]
    if len(found) != 1:
        known = ", ".join(versions(folder)) or "none"
        raise LendsignalError(f"{len(found) or 'no'} value models begin with {version!r}; there are: {known}")
    place = folder / found[0]
    manifest = msgspec.json.decode((place / MANIFEST).read_bytes(), type=Manifest)
    for name, checksum in manifest.files.items():
        path = place / name
        if not path.exists() or _checksum(path) != checksum:
            raise DataError(f"{name} of the value model {found[0]} is not what it was: train it anew")
    model = msgspec.json.decode((place / MODEL).read_bytes(), type=ValueModel)
    evidence = msgspec.msgpack.decode((place / EVIDENCE).read_bytes(), type=tuple[Evidence, ...])
    return Kept(manifest, model, evidence)


def versions(folder: Path) -> list[str]:
    """The versions that are kept, oldest first."""
    if not folder.exists():
        return []
    found = [
        path for path in folder.iterdir() if (path / MANIFEST).exists() and not path.name.startswith(".")
    ]
    made = {
        path.name: msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest).made_us
        for path in found
    }
    return sorted(made, key=lambda name: (made[name], name))


def calibration(one: Evidence) -> Lines | None:
    """What was said and what came, tenth by tenth of the users; `None` where the scope was never tried."""
    if one.trial is None:
        return None
    tenths = one.trial.judgement.deciles
    return Lines(
        title=f"Value said and value that came, {one.moment} in {one.currency}",
        at=tuple(float(place) for place in range(1, len(tenths) + 1)),
        series=(
            Series(name="said", values=tuple(each.said for each in tenths)),
            Series(name="came", values=tuple(each.came for each in tenths)),
        ),
        across="tenths of the users by what was said, the lowest first",
        axis=f"mean value, {one.currency}",
    )


def _snapshot(users: Users, place: Path, name: str) -> None:
    """The users and their loans as two Parquet files."""
    columns: dict[str, Any] = {"at": users.at_us.astype("datetime64[us]"), "followed": users.followed}
    columns |= {fact: one.values for fact, one in users.numbers.items()}
    if users.granted is not None:
        columns["granted"] = users.granted
    for fact, word in users.words.items():
        kinds = np.array([*word.kinds, None], dtype=object)
        columns[fact] = kinds[word.places]
    _write(place / f"users-{name}.parquet", columns)
    loans = {field: getattr(users.loans, field) for field in Loans.__struct_fields__}
    _write(place / f"loans-{name}.parquet", loans)


def _write(path: Path, columns: dict[str, Any]) -> None:
    import duckdb

    with duckdb.connect(":memory:") as db:
        db.register("arriving", columns)
        db.execute(f"copy arriving to '{str(path).replace(chr(39), chr(39) * 2)}' (format parquet)")


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def _checksum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
