"""Lists in a data folder, written as a build writes them, and a platform that only remembers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
from tests.acme import us

from lendsignal.audience.files import Files
from lendsignal.audience.membership import Membership, Planned
from lendsignal.log import Build, DataFolder, open_audiences
from lendsignal.model.audience import Action, AudienceMember, Sync

PLAN = Planned(audience="good", account="meta-ng", code="ls-good", use="seed", with_value=True)


class Still:
    """A clock that stands."""

    replay = True

    def now_us(self) -> int:
        return us(0)


def built(folder: DataFolder, members: Mapping[int, float], audience: str = "good") -> None:
    """The list is to have these members: key = value."""
    files, book = Files(folder), open_audiences(folder.audiences)
    number = book.next_build()
    with duckdb.connect(":memory:") as db:
        _arrive(db, sorted(members), [members[key] for key in sorted(members)])
        name = f"members/{audience}/{number:012d}.parquet"
        rows = files.write(db, "select key, key as user_key, value from arriving order by key", name)
        ids = f"ids/{number:012d}.parquet"
        files.write(
            db,
            "select key, key as user_key, null::blob as who, 'NG' as country, 'android' as os,"
            " 'gaid-' || key as gaid, null::varchar as idfa, null::varchar as oaid,"
            " null::varchar as appsflyer_id, null::blob as email, null::blob as email_google,"
            " null::blob as phone_digits, null::blob as phone_e164 from arriving order by key",
            ids,
        )
    if members:
        book.keep_file(ids, "ids", rows)
    book.keep_build(
        Build(
            audience=audience,
            number=number,
            file=name,
            at_us=us(0),
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


def _arrive(db: duckdb.DuckDBPyConnection, keys: Sequence[int], values: Sequence[float]) -> None:
    db.register(
        "arriving",
        {"key": np.array(keys, dtype=np.int64), "value": np.array(values, dtype=np.float64)},
    )


def membership(path: Path) -> tuple[Membership, Sync]:
    """The lists of a folder, as a process that has just started sees them."""
    found = Membership(DataFolder(path), [PLAN], Still())
    return found, found.syncs()[0]


class Memory:
    """A platform: whom it has, and what each is worth."""

    def __init__(self) -> None:
        self.members: dict[str, float | None] = {}

    def take(self, action: Action, members: Sequence[AudienceMember]) -> None:
        for one in members:
            assert one.gaid is not None
            if action == "add":
                self.members[one.gaid] = one.value
            else:
                self.members.pop(one.gaid, None)
