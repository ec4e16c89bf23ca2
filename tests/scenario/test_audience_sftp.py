"""A list as a file on a genuine SFTP server: whole or not at all, whatever happens while it is sent."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import msgspec
import pytest
from tests.servers.sftp import Sftp, sftp
from tests.telling import data_folder

from lendsignal.audience.files import Files
from lendsignal.audience.membership import Membership, Planned
from lendsignal.clock import SystemClock
from lendsignal.config import Config, load
from lendsignal.deliver.audiences import Synced, sync
from lendsignal.log import Build, DataFolder, open_audiences
from lendsignal.model.audience import Counts

MANY = 40_000
"""Members of a list that takes long enough to be caught on its way."""

CONFIG = """\
[portfolio]
name = "acme"

[brand.acme]

[app.acme-ph]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "PH"
currency = "PHP"
timezone = "Asia/Manila"

[audience_account.there]
kind            = "file"
to              = "{to}"
columns         = ["user_sha256", "mobile_id"]
key_file        = "{key}"
host_key_sha256 = "{host_key}"
"""

PLAN = [Planned(audience="good", account="there", code="ls-0a1b", use="retargeting")]


@pytest.fixture(scope="module")
def server() -> Iterator[Sftp]:
    with sftp() as made:
        yield made


class Sender:
    """A lender that sends one list there."""

    def __init__(self, home: Path, server: Sftp, host_key: str | None = None) -> None:
        self.server = server
        self.path = home / "lendsignal.toml"
        key = host_key or server.host_key_sha256
        self.path.write_text(CONFIG.format(to=server.url, key=server.key, host_key=key))
        self.config: Config = load(self.path)
        self.data: DataFolder = data_folder(self.config.data)

    def intend(self, first: int, last: int) -> None:
        """The list is to have the users of these numbers."""
        files, book = Files(self.data), open_audiences(self.data.audiences)
        number = book.next_build()
        with duckdb.connect(":memory:") as db:
            users = f"from range({first}, {last + 1}) r(key) order by key"
            name = f"members/good/{number:012d}.parquet"
            rows = files.write(db, f"select key, key as user_key, null::double as value {users}", name)
            ids = f"ids/{number:012d}.parquet"
            files.write(
                db,
                "select key, key as user_key, unhex(sha256(key::varchar)) as who, 'PH' as country,"
                " 'android' as os, format('a1000000-0000-4000-8000-{:012x}', key) as gaid,"
                " null::varchar as idfa, null::varchar as oaid, null::varchar as appsflyer_id,"
                " null::blob as email, null::blob as email_google, null::blob as phone_digits,"
                f" null::blob as phone_e164 {users}",
                ids,
            )
        book.keep_file(ids, "ids", rows)
        book.keep_build(
            Build(
                audience="good", number=number, file=name, at_us=number, position=number, whole=True,
                definition="d", members=rows, joined=0, gone=0,
            )
        )  # fmt: skip
        book.close()
        files.close()

    def tell(self) -> Synced:
        with closing(Membership(self.data, PLAN, SystemClock())) as membership:
            (found,) = sync(membership, self.config.audience_accounts, SystemClock())
        return found

    def counts(self) -> Counts:
        with closing(Membership(self.data, PLAN, SystemClock())) as membership:
            return membership.counts(membership.syncs()[0])

    def there(self) -> set[int]:
        """The numbers of the users in the file, by the ids of their phones."""
        lines = (self.server.there / "ls-0a1b.csv").read_text().splitlines()
        assert lines[0] == "user_sha256,mobile_id"
        return {int(line.rpartition("-")[2], 16) for line in lines[1:]}


def expected(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


def test_a_sender_that_is_killed_on_the_way_leaves_the_whole_list_of_before(
    tmp_path: Path, server: Sftp
) -> None:
    lender = Sender(tmp_path, server)
    lender.intend(1, 200)
    first = lender.tell()
    assert (first.outcome, first.added) == ("in_step", 200)
    assert lender.there() == expected(1, 200)

    lender.intend(101, MANY)
    words = [str(lender.path), msgspec.json.encode(PLAN).decode()]
    process = subprocess.Popen([sys.executable, "-m", "tests.list_sender", *words])
    part = server.there / "ls-0a1b.csv.part"
    end = time.monotonic() + 60
    while not part.exists():
        assert process.poll() is None, "it ended before it began"
        assert time.monotonic() < end, "it is on its way"
    with server.standing_still():
        sent = part.stat().st_size
        process.kill()
        process.wait(30)
    assert sent < MANY * 102, "it was killed in the middle: a line has 102 characters"
    assert lender.there() == expected(1, 200)
    assert lender.counts().confirmed == 200

    again = lender.tell()
    assert (again.outcome, again.added) == ("in_step", MANY - 100)
    assert lender.there() == expected(101, MANY)
    assert lender.counts() == Counts(intended=MANY - 100, confirmed=MANY - 100, adds=0, removes=0, refused=0)
    assert not part.exists()


def test_a_server_with_another_key_gets_nothing(tmp_path: Path, server: Sftp) -> None:
    lender = Sender(tmp_path, server, host_key="uNiVztksCsDhcc0u9e8BrNXVXkj6oIzMsTXOeIHAQvY")
    before = set(server.there.iterdir())
    lender.intend(1, 5)

    assert (lender.tell().outcome, lender.tell().reason) == ("error", "not_written")
    assert set(server.there.iterdir()) == before
    assert lender.counts().confirmed == 0
