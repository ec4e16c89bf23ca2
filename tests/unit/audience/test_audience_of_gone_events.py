"""Contacts and consents for lists, where events went out of the log before anybody read them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.acme import consent_of, event, source

from lendsignal.audience.files import Files, quoted
from lendsignal.audience.told import take
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, Log, open_audiences, open_log
from lendsignal.model import Contact


class Noon:
    """A clock that stands."""

    replay = False

    def now_us(self) -> int:
        return 0


def contact(name: str) -> Contact:
    digits = {
        field: f"{name}{place}".encode().hex().ljust(64, "0")
        for place, field in enumerate(Contact.__struct_fields__)
    }
    return Contact(**digits)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def log(folder: DataFolder) -> Iterator[Log]:
    with closing(open_log(folder.log)) as one:
        one.append(
            [
                event("registered", 0, user_id="u1", contact=contact("a")),
                event("registered", 1, user_id="u2", contact=contact("b")),
                consent_of(2, False, user_id="u2"),
                event("registered", 3, user_id="u3"),
                event("registered", 4, user_id="u4", contact=contact("d")),
                consent_of(5, True, user_id="u1"),
            ]
        )
        decider = Decider(one, source(), Noon(), lambda: None)
        while decider.turn():
            pass
        yield one


def told(folder: DataFolder, upto: int) -> set[tuple[object, ...]]:
    """What stands in the files of each user: a contact, and whether it may be told of."""
    files = Files(folder)
    with closing(open_audiences(folder.audiences)) as book:
        take(folder, files, book, upto)
        names = ", ".join(quoted(files.root / name) for name in book.files("told"))
        query = (
            f"select user, max(hex(email)) filter (told), max(allows) filter (asked)"
            f" from read_parquet([{names}]) group by user"
        )
        found = set(files.db.execute(query).fetchall())
    files.close()
    return found


def test_what_is_remembered_of_people_stands_for_events_that_went(
    folder: DataFolder, log: Log, tmp_path: Path
) -> None:
    whole = DataFolder(tmp_path / "whole")
    with closing(open_log(whole.log)) as other:
        other.append([fact.event for fact in log.scan()])
        decider = Decider(other, source(), Noon(), lambda: None)
        while decider.turn():
            pass
    log.cutting.take(5)

    found = told(folder, log.position())
    assert {row[0] for row in found} == {"acme:u1", "acme:u2", "acme:u4"}
    assert found == told(whole, log.position())
    assert told(folder, log.position()) == found
