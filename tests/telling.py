"""Lists of people with every id there is, put into a data folder as a build puts them, and by what each
platform knows them (the platforms' pages; docs/how-to/sync-audiences.md)."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np

from lendsignal.audience.files import Files
from lendsignal.log import Build, DataFolder, open_audiences


def gaid(key: int) -> str:
    """The advertising id of a made-up phone."""
    return str(UUID(int=(0xA1 << 120) | (4 << 76) | (8 << 60) | key))


def email(key: int) -> str:
    """The digest of a made-up address."""
    return sha256(f"user{key}@example.com".encode()).hexdigest()


def email_google(key: int) -> str:
    return sha256(f"google{key}@example.com".encode()).hexdigest()


def digits(key: int) -> str:
    """The digest of a made-up number's digits."""
    return sha256(f"63917{key:07d}".encode()).hexdigest()


def e164(key: int) -> str:
    """The digest of the same number with its +."""
    return sha256(f"+63917{key:07d}".encode()).hexdigest()


def hashed(key: int) -> str:
    """The digest of an advertising id in lower case, which TikTok and Snap take."""
    return sha256(gaid(key).encode()).hexdigest()


def build(
    folder: DataFolder,
    audience: str,
    members: Mapping[int, float],
    *,
    contact_of: Mapping[int, int] | None = None,
    phone_of: Mapping[int, int] | None = None,
    at_us: int | None = None,
) -> None:
    """The list is to have these members: key = value. All their phones are Android phones.

    `contact_of`, `phone_of`: who has another's number and address, or another's phone.
    """
    contacts, phones = contact_of or {}, phone_of or {}
    files, book = Files(folder), open_audiences(folder.audiences)
    number = book.next_build()
    keys = sorted(members)
    with duckdb.connect(":memory:") as db:
        values = np.array([members[key] for key in keys], dtype=np.float64)
        db.register("arriving", {"key": np.array(keys, dtype=np.int64), "value": values})
        name = f"members/{audience}/{number:012d}.parquet"
        rows = files.write(db, "select key, key as user_key, value from arriving order by key", name)
        db.execute(
            "create table known (key bigint, user_key bigint, who blob, country varchar, os varchar,"
            " gaid varchar, idfa varchar, oaid varchar, appsflyer_id varchar, email blob, email_google blob,"
            " phone_digits blob, phone_e164 blob)"
        )
        digests = [
            [bytes.fromhex(kind(contacts.get(key, key))) for kind in (email, email_google, digits, e164)]
            for key in keys
        ]
        ids_of = {key: phones.get(key, key) for key in keys}
        known = [
            [key, key, key.to_bytes(32), "PH", "android", gaid(one), None, None, f"af-{one}", *more]
            for (key, one), more in zip(ids_of.items(), digests, strict=True)
        ]
        if known:
            db.executemany("insert into known values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", known)
            ids = f"ids/{number:012d}.parquet"
            files.write(db, "select * from known order by key", ids)
            book.keep_file(ids, "ids", rows)
    book.keep_build(
        Build(
            audience=audience,
            number=number,
            file=name,
            at_us=number if at_us is None else at_us,
            position=number,
            whole=True,
            definition="d",
            members=rows,
            joined=0,
            gone=0,
        )
    )
    book.close()
    files.close()


def data_folder(path: Path) -> DataFolder:
    """A data folder, made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    return DataFolder(path)
