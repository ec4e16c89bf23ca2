"""Files that litestream follows bring the service back after its machine is lost. Needs `litestream`."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.running import PATIENCE, BackEnd, Ledger, Service, borrowing, service, until

PROGRAM = shutil.which("litestream")

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="NOT RUN: litestream is a program of its own (litestream.io); put it on the path"
)

FILES = ("log", "deliveries", "orders", "keys")


def settings(one: Service, copies: Path) -> Path:
    """As docs/how-to/back-up-and-restore.md has it, with a folder in place of an object store."""
    lines = ["dbs:"]
    for name in FILES:
        lines += [
            f"  - path: {one.data / f'{name}.sqlite'}",
            f"    replicas: [{{type: file, path: {copies / name}}}]",
        ]
    path = copies.with_suffix(".yml")
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def following(path: Path) -> Iterator[None]:
    """Litestream at work; in the end it is killed as the machine goes."""
    assert PROGRAM is not None
    process = subprocess.Popen(
        [PROGRAM, "replicate", "-config", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(PATIENCE)


def follows(copy: Path) -> bool:
    """Whether anything of a file's write-ahead log was kept; its releases give that other names."""
    return any(copy.rglob("*.wal.lz4")) or any(copy.rglob("*.ltx"))


def restored(copies: Path, name: str, to: Path, until_then: datetime | None = None) -> None:
    """One file as it was then, or as it was last."""
    assert PROGRAM is not None
    then = [] if until_then is None else ["-timestamp", until_then.strftime("%Y-%m-%dT%H:%M:%SZ")]
    subprocess.run(
        [PROGRAM, "restore", "-o", str(to), *then, f"file://{copies / name}"],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )


def test_what_litestream_kept_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    """Sources send again what the copy lacks; what had left since is sent once more, with the same ids."""
    copies = tmp_path / "copies"
    copies.mkdir()
    with service(tmp_path) as (one, stand):
        back_end, ended, users = BackEnd(one), threading.Event(), 0

        def borrow() -> None:
            nonlocal users
            while not ended.wait(0.05):
                users += 1
                back_end.send(borrowing(users))

        sending = threading.Thread(target=borrow)
        with following(settings(one, copies)):
            sending.start()
            try:
                until(lambda: users > 15, "events come")
                until(lambda: all(follows(copies / name) for name in FILES[:2]), "it follows")
                then = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
                until(lambda: datetime.now(UTC) > then, "a whole second, as litestream is told one")
                seen = users
                until(lambda: users > seen + 30, "more events come")
            finally:
                ended.set()
                sending.join()
            one.idle()
            for role in ("core", "send", "web"):  # the machine is gone, and its disk
                one.kill(role)
            assert one.process is not None
            os.kill(one.process.pid, signal.SIGKILL)
            one.process.wait()
        until(lambda: not any(one.pid(role) for role in ("core", "send", "web")), "everybody is gone")
        shutil.rmtree(one.data)
        one.data.mkdir(mode=0o700)

        for name in ("log", "orders", "keys"):
            restored(copies, name, one.data / f"{name}.sqlite")
        restored(copies, "deliveries", one.data / "deliveries.sqlite", then)
        one.start()
        for number in range(1, users + 1):
            back_end.send(borrowing(number))
        one.idle()
        received = {name: set(stand.ids(name)) for name in ("appsflyer-ng", "warehouse")}
        assert one.stop() == 0

    books = Ledger(one.data)
    assert books.decided
    assert books.verdicts["taken"] == 2 * users
    for name, ids in received.items():
        assert ids == set(books.planned[name]), "what was planned arrived, and nothing else"
