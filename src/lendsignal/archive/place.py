"""Where the archive lies: a folder of this machine, or any address that fsspec knows, such as s3://bucket/loans."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lendsignal.errors import ConfigError, LogError, Problem
from lendsignal.log import synced


class Place(Protocol):
    """Files under names with slashes. What is put is there whole or not at all."""

    def put(self, name: str, made: Path) -> None:
        """Takes over a finished file of this machine; one of that name is replaced."""

    def move(self, name: str, to: str) -> None:
        """Gives a file another name; nothing happens where that was done before."""

    def drop(self, name: str) -> None:
        """Takes a file away, if it is there."""

    def names(self) -> Iterator[str]:
        """Every file there is."""

    def local(self, name: str, scratch: Path) -> Path:
        """The file on this machine: itself, or a copy in the folder `scratch`."""

    def address(self, name: str) -> str:
        """What DuckDB reads the file by."""


def place_at(address: str, beside: Path) -> Place:
    """The place that an address names; a path is seen from `beside`.

    Raises `ConfigError` with what is missing.
    """
    if "://" not in address:
        return Folder(beside / address)
    try:
        import fsspec

        files, root = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            [Problem("archive.to", address, f"an address that fsspec can reach ({error})")]
        ) from None
    return Bucket(files, root)


class Folder:
    """A folder of this machine: a file is on disk under its name, or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, made: Path) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partly = path.with_name(path.name + ".part")
            if made.stat().st_dev == path.parent.stat().st_dev:
                made.replace(partly)
            else:
                shutil.move(made, partly)
            synced(partly)
            partly.replace(path)
            synced(path.parent)
        except OSError as error:
            raise LogError(f"the archive {self._root} does not take {name}: {error.strerror}") from error

    def move(self, name: str, to: str) -> None:
        path = self._root / name
        if path.exists():
            path.replace(self._root / to)
            synced(path.parent)

    def drop(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        for path in sorted(self._root.rglob("*")):
            if path.is_file():
                yield path.relative_to(self._root).as_posix()

    def local(self, name: str, scratch: Path) -> Path:
        return self._root / name

    def address(self, name: str) -> str:
        path = self._root / name
        # One that was put while its days were merged, and whose keeper was killed before it named it.
        return str(path if path.exists() else path.with_name(path.name + ".new"))


class Bucket:
    """Object storage by fsspec: an upload is there whole when it is done."""

    def __init__(self, files: Any, root: str) -> None:
        self.files = files
        self._files = files
        self._root = root.rstrip("/")

    def put(self, name: str, made: Path) -> None:
        with self._reaching(name):
            self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(made), f"{self._root}/{name}")
        made.unlink()

    def move(self, name: str, to: str) -> None:
        with self._reaching(name):
            if self._files.exists(f"{self._root}/{name}"):
                self._files.mv(f"{self._root}/{name}", f"{self._root}/{to}")

    def drop(self, name: str) -> None:
        with self._reaching(name):
            if self._files.exists(f"{self._root}/{name}"):
                self._files.rm_file(f"{self._root}/{name}")

    def names(self) -> Iterator[str]:
        for path in sorted(self.learn()):
            yield path.removeprefix(self._root + "/")

    def learn(self) -> list[str]:
        """Asks the store for every file that there is: what is asked about one soon after is known then."""
        with self._reaching("its list of files"):
            self._files.invalidate_cache()
            return list(self._files.find(self._root)) if self._files.exists(self._root) else []

    def local(self, name: str, scratch: Path) -> Path:
        copy = scratch / name.replace("/", "-")
        with self._reaching(name):
            self._files.get_file(f"{self._root}/{name}", str(copy))
        return copy

    def address(self, name: str) -> str:
        return str(self._files.unstrip_protocol(f"{self._root}/{name}"))

    @contextmanager
    def _reaching(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogError(f"the archive {self._root} cannot be used for {name}: {error}") from error
