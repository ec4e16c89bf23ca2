"""What was erased stays erased where an older copy is put in place of a data folder.

A copy knows nothing of what was erased after it was made. So the erasures themselves are kept beside it: the
salted hashes of who is kept out, and the receipts. Before a restore they are put into a file that no copy
replaces; after it they are merged, and whoever of them is in the copy is erased once more.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.erase.asking import ask, is_due
from lendsignal.errors import InputError, LogError
from lendsignal.log import DataFolder, open_log
from lendsignal.log.erasing import KeptOutRows
from lendsignal.log.erasures import About, Told, open_erasures

BY = "a restore"


class Remembered(Struct, frozen=True, kw_only=True):
    """The erasures of a data folder. It names nobody whose erasure has ended."""

    portfolio: str
    kept_out: KeptOutRows
    told: tuple[Told, ...]


def remembered(config: Config) -> Remembered | None:
    """The erasures of the data folder as it stands; `None`: nobody was ever erased."""
    folder = DataFolder(config.data)
    if not folder.log.exists():
        return None
    with closing(open_log(folder.log, read_only=True)) as log:
        kept_out = log.erasing.told()
    told: tuple[Told, ...] = ()
    if folder.erasures.exists():
        with closing(open_erasures(folder.erasures)) as book:
            told = book.told()
    if not kept_out.rows and not told:
        return None
    return Remembered(portfolio=config.portfolio, kept_out=kept_out, told=told)


def nameless(found: Remembered) -> Remembered:
    """The same without erasures that go on, which name whom they are about: who that is, the hashes of who is
    kept out say as well, and the erasure begins anew under another receipt."""
    return structs.replace(found, told=tuple(one for one in found.told if one.job.about is None))


def written(path: Path, found: Remembered) -> None:
    """Writes erasures into a file, whole or not at all, that nobody but its owner reads."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(found))
    fresh.replace(path)


def read_from(path: Path, config: Config) -> Remembered:
    """The erasures in a file. Raises `InputError` where it holds none of this lender's."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Remembered)
    except (OSError, msgspec.DecodeError):
        raise InputError(path.name, "is no file of `lendsignal erase --export`") from None
    if found.portfolio != config.portfolio:
        raise InputError(path.name, f"holds the erasures of portfolio {found.portfolio!r}")
    return found


def merged(one: Remembered | None, other: Remembered | None) -> Remembered | None:
    """The erasures of both. Raises `InputError` where they are of two logs that were never one."""
    if one is None or other is None:
        return one or other
    salts = {found.kept_out.salt for found in (one, other) if found.kept_out.rows}
    if len(salts) > 1:
        raise InputError("erasures", "are of two logs that were never one: their hashes cannot be compared")
    rows = {row[0]: row for found in (other, one) for row in found.kept_out.rows}
    told = {each.job.receipt: each for found in (other, one) for each in found.told}
    salt = next(iter(salts), one.kept_out.salt or other.kept_out.salt)
    return Remembered(
        portfolio=one.portfolio,
        kept_out=KeptOutRows(salt, tuple(rows[who] for who in sorted(rows))),
        told=tuple(told[receipt] for receipt in sorted(told)),
    )


def kept_beside(config: Config) -> None:
    """Writes the erasures beside the databases, as they stand."""
    found = remembered(config)
    if found is not None:
        written(DataFolder(config.data).erased, nameless(found))


def set_aside(config: Config, files: Sequence[Path]) -> LogError | None:
    """Before a restore: puts the folder's own erasures, and those of files, where no copy replaces them.

    The error by which the folder's own could not be read, if so: then those count that were written beside
    the databases when somebody was erased last.
    """
    folder, unread, found = DataFolder(config.data), None, None
    try:
        found = remembered(config)
    except LogError as error:
        unread = error
    own = [path for path in (folder.erased, folder.erased_again) if path.exists()]
    for path in [*files, *own]:
        found = merged(found, read_from(path, config))
    if found is not None:
        folder.path.mkdir(parents=True, exist_ok=True)
        written(folder.erased_again, found)
        is_due(folder, 0)
    return unread


def erased_again(config: Config, clock: Clock) -> int:
    """After a restore: keeps them out of what was put in place, and has erased whoever of them is in it.

    How many users are to be erased once more. What is broken off is done again from the start. Raises
    `FolderInUse` while the archive is written, `LogError` where the copy is of another form: migrate it.
    """
    folder = DataFolder(config.data)
    if not folder.erased_again.exists():
        return 0
    if not folder.log.exists():
        raise LogError(f"{folder.path} holds no log yet: the erasures wait in {folder.erased_again.name}")
    from lendsignal.archive.keeper import everyone  # here: it brings DuckDB

    found = read_from(folder.erased_again, config)
    with closing(open_log(folder.log)) as log:
        # Asked for before it is taken: what was broken off in between would know of nobody to erase.
        newer = log.erasing.newer(found.kept_out)
        named = log.erasing.everyone() | everyone(folder, config.archive)
        brands = {app.brand for app in config.apps.values()}
        again = sorted(
            {
                (brand, user)
                for brand, user, person in named
                if brand in brands and newer.holds(brand, user, person, 0)
            }
        )
        for user in again:
            ask(config, About(users=(user,)), BY, clock)
        log.erasing.take(found.kept_out)
    with closing(open_erasures(folder.erasures)) as book:
        book.take(found.told)
    kept_beside(config)
    folder.erased_again.unlink()
    is_due(folder, 0)
    return len(again)
