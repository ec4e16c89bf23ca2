"""The members of every list as Parquet files in the data folder, for whoever builds and whoever sends.

    members/<audience>/<build>.parquet         who is intended: key, user_key, value; sorted by key
    confirmed/<audience>/<account>/<n>.parquet the same, of who was confirmed
    ids/<build>.parquet                        by which ids a key is known: they stand nowhere else
    told/<from>-<to>.parquet                   contacts and consents out of the log, by user

A file is written beside its place, put there whole, and counts once the book (`log.audiences`) says so.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lendsignal.audience.difference import Page
from lendsignal.errors import DataError
from lendsignal.log import DataFolder, synced
from lendsignal.model import Contact
from lendsignal.model.audience import AudienceMember

if TYPE_CHECKING:
    import duckdb

NO_IDS = "the ids of some members of a list are in no file: build it anew"

PAGE_ROWS = 65_536
"""Members that are looked at together."""

MEMBERS = "key bigint, user_key bigint, value double"

IDS = (
    "key bigint, user_key bigint, who blob, country varchar, os varchar, gaid varchar, idfa varchar,"
    " oaid varchar, appsflyer_id varchar, email blob, email_google blob, phone_digits blob, phone_e164 blob"
)

TOLD = (
    "seq bigint, user_key bigint, at_us bigint, email blob, email_google blob, phone_digits blob,"
    " phone_e164 blob, told boolean, allows boolean, asked boolean, user varchar"
)


class Files:
    """The folder, and what reads it: a DuckDB of its own, small and with one thread."""

    def __init__(self, folder: DataFolder) -> None:
        self.root = folder.audience_files
        self.root.mkdir(mode=0o700, exist_ok=True)
        self._opened: duckdb.DuckDBPyConnection | None = None
        # A file never changes: what its groups hold is asked once.
        self._spans = lru_cache(maxsize=256)(self._spans_of)

    @property
    def people(self) -> Path:
        """Where everybody's ids stand while lists are built; whoever builds takes the file away again."""
        return self.root / "people.parquet"

    @property
    def db(self) -> "duckdb.DuckDBPyConnection":
        """The DuckDB that reads them."""
        if self._opened is None:
            import duckdb

            self._opened = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "512MB"})
            self._opened.execute(f"set temp_directory = {quoted(self.root / '.spill')}")
            # Every page is read once: what is kept of it would be all of the list in the end.
            self._opened.execute("set enable_external_file_cache = false")
        return self._opened

    def pages(self, name: str, after: int = -1) -> Iterator[Page]:
        """The members of a file behind a key, page by page; nobody where the name is empty."""
        if not name:
            return
        for first, last in self._spans(name):
            if last <= after:
                continue
            found = self.db.execute(
                f"select key, value from read_parquet({quoted(self.root / name)})"
                " where key between $first and $last and key > $after order by key",
                {"first": first, "last": last, "after": after},
            ).fetchnumpy()
            if len(found["key"]):
                values = np.ma.filled(np.ma.asarray(found["value"], dtype=np.float64), np.nan)
                yield Page(np.ma.getdata(found["key"]).astype(np.int64, copy=False), values)

    def members(
        self, ids: Sequence[str], keys: Sequence[int], values: Sequence[float | None]
    ) -> list[AudienceMember]:
        """The members of these keys, which are sorted, by the ids they are known by.

        Raises `DataError` where the ids of one are in no file.
        """
        if not keys:
            return []
        if not ids:
            raise DataError(NO_IDS)
        self.db.register("asked", {"key": np.array(keys, dtype=np.int64)})
        try:
            rows = self.db.execute(
                f"select i.* from read_parquet([{_listed(self.root, ids)}]) i"
                " semi join asked a on a.key = i.key"
                f" where i.key between {keys[0]} and {keys[-1]}"
            ).fetchall()
        finally:
            self.db.unregister("asked")
        known = {row[0]: row for row in rows}
        if len(known) != len(set(keys)):
            raise DataError(NO_IDS)
        return [member_of(known[key], value) for key, value in zip(keys, values, strict=True)]

    def path(self, name: str) -> Path:
        """Where a file of that name stands; its folder is made."""
        path = self.root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def write(self, db: "duckdb.DuckDBPyConnection", query: str, name: str, *, dense: bool = False) -> int:
        """What a query finds as a file, whole or not at all; the number of its rows.

        `dense`: hashes do not get smaller by packing.
        """
        path = self.path(name)
        beside = path.with_suffix(f".{os.getpid()}.new")
        packed = "uncompressed" if dense else "zstd"
        try:
            ((rows,),) = db.execute(
                f"copy ({query}) to {quoted(beside)} (format parquet, compression {packed},"
                f" row_group_size {PAGE_ROWS})"
            ).fetchall()
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(path)
            synced(path.parent)
        finally:
            beside.unlink(missing_ok=True)
        return int(rows)

    def sweep(self, kept: Sequence[str]) -> list[str]:
        """Takes away every file that does not count; the names of those that went."""
        names = set(kept)
        gone = [
            path
            for path in self.root.rglob("*")
            if path.is_file() and str(path.relative_to(self.root)) not in names
        ]
        for path in gone:
            path.unlink(missing_ok=True)
        return sorted(str(path.relative_to(self.root)) for path in gone)

    def close(self) -> None:
        """Lets the memory go."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _spans_of(self, name: str) -> tuple[tuple[int, int], ...]:
        """The first and the last key of each group of rows in a file."""
        found = self.db.execute(
            "select stats_min_value::bigint, stats_max_value::bigint"
            f" from parquet_metadata({quoted(self.root / name)})"
            " where path_in_schema = 'key' and row_group_num_rows > 0 order by row_group_id"
        ).fetchall()
        return tuple((int(first), int(last)) for first, last in found)


def member_of(row: Sequence[object], value: float | None) -> AudienceMember:
    """A row of a file of ids as a member."""
    key, _, who, country, os_, gaid, idfa, oaid, appsflyer_id, *hashes = row
    digests = [one.hex() if isinstance(one, bytes) else None for one in hashes]
    contact = Contact(
        email=digests[0], email_google=digests[1], phone_digits=digests[2], phone_e164=digests[3]
    )
    return AudienceMember(
        key=int(str(key)),
        user=who.hex() if isinstance(who, bytes) else "",
        country=_text(country),
        os=_text(os_),
        gaid=_text(gaid),
        idfa=_text(idfa),
        oaid=_text(oaid),
        appsflyer_id=_text(appsflyer_id),
        contact=contact if any(digests) else None,
        value=value,
    )


def quoted(path: Path | str) -> str:
    """A text or a path as SQL writes it."""
    return "'" + str(path).replace("'", "''") + "'"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _listed(root: Path, names: Sequence[str]) -> str:
    return ", ".join(quoted(root / name) for name in names)
