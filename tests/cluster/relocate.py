"""`python -m tests.cluster.relocate`: the whole store moves to another server while events come in, twice.

First by a standby: the new server follows the old one until it has everything, the old one is ended in good
order, and the new one is promoted. Then by a dump: the old one takes no writes any more, what it has is
loaded into a new server whose transaction numbers are ahead of all that were ever given, both sides are
compared, and the new one is opened.
Nodes know all addresses beforehand, and look for the one that writes; a desk follows before and after.
The last line is the proof as JSON, as of `tests.cluster.failover`.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

from tests.cluster.fleet import PATIENCE, SLOTS, Fleet, as_json, until
from tests.copying import Copy
from tests.servers.daemon import free_port, own_folder, program, run_as_server
from tests.servers.postgresql import BINARIES, PostgreSql

from lendsignal.errors import LogError
from lendsignal.log.deliveries import unpacked

STANDBY = "next"
"""What the new server is called while it follows."""

CLOSED = "default_transaction_read_only"
"""Of a database: on, and nobody who looks for a server that writes stays there."""


class Store(PostgreSql):
    """A server that may be ended in good order, closed to who writes, and asked without a node's limits."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port=str(port))
        self.port = port

    def end(self) -> None:
        """Ends when whoever follows it has everything."""
        os.kill(self.pid, signal.SIGINT)
        assert self._process is not None, "it runs"
        self._process.wait(PATIENCE)
        self._process = None

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a transaction of its own."""
        with self.connect() as one:
            one.autocommit = True
            one.execute(f"set {CLOSED} = off")
            cursor = one.execute(question)
            found: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description is not None else []
        one.close()
        return found

    def close_to_writers(self) -> None:
        """Nobody writes from now on: who is connected is put out, and who comes finds it read-only."""
        self.ask(f"alter database postgres set {CLOSED} = on")
        others = "backend_type = 'client backend' and pid <> pg_backend_pid()"
        self.ask(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}")

    def open_to_writers(self) -> None:
        """Whoever looks for a server that writes finds this one."""
        self.ask(f"alter database postgres reset {CLOSED}")


class Standby(Store):
    """A server that begins as a copy of another one and follows it."""

    def __init__(self, folder: Path, port: int, of: PostgreSql) -> None:
        super().__init__(folder, port)
        shutil.rmtree(folder / "data")
        words = [
            program("pg_basebackup", BINARIES),
            "-D",
            str(folder / "data"),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ]
        run_as_server(
            [*words, "-d", f"host={of.host} port={of.port} user=lender application_name={STANDBY}"], folder
        )


class Ahead(Store):
    """An empty server whose transaction numbers begin behind all that another one ever gave."""

    def __init__(self, folder: Path, port: int, epoch: int) -> None:
        super().__init__(folder, port)
        run_as_server(
            [program("pg_resetwal", BINARIES), "-e", str(epoch), "-D", str(folder / "data")], folder
        )


def by_standby(old: Store, new: Standby, tell: Callable[[str], None]) -> None:
    """The new server follows, has everything, and takes the place of the old one."""
    new.start()
    old.ask(f"alter system set synchronous_standby_names = '{STANDBY}'")
    old.ask("select pg_reload_conf()")
    has_all = "select 1 from pg_stat_replication where sync_state = 'sync'"
    until(lambda: old.ask(has_all), "the new server has everything that is answered")
    tell("the new server follows, and every commit waits for it")
    old.end()
    new.ask("select pg_promote()")


def by_dump(old: Store, new: Ahead, schema: str, tell: Callable[[str], None]) -> None:
    """Nobody writes while it is copied; both sides are compared before the new one is opened."""
    new.ask(f"alter database postgres set {CLOSED} = on")
    old.close_to_writers()
    read = ["-h", old.host, "-p", str(old.port), "-U", "lender", "-d", "postgres"]
    write = ["-h", new.host, "-p", str(new.port), "-U", "lender", "-d", "postgres"]
    with subprocess.Popen(
        [program("pg_dump", BINARIES), *read, "-n", schema], stdout=subprocess.PIPE
    ) as dump:
        loaded = subprocess.run(
            [program("psql", BINARIES), *write, "-q", "-X", "-v", "ON_ERROR_STOP=1"],
            stdin=dump.stdout,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PGOPTIONS": f"-c {CLOSED}=off"},
            timeout=PATIENCE,
            check=False,
        )
    assert (dump.returncode, loaded.returncode) == (0, 0), "what the old one has is in the new one"
    before, after = seen(old, schema), seen(new, schema)
    assert before == after, [name for name in before if before[name] != after.get(name)]
    tell(f"{len(before)} tables hold the same on both sides, {sum(n for n, _ in before.values()):,} rows")
    new.open_to_writers()


def seen(store: Store, schema: str) -> dict[str, tuple[int, str]]:
    """Of every table how many rows it has, and a digest of them in no order."""
    tables = store.ask(
        "select relname::text from pg_class join pg_namespace n on n.oid = relnamespace"
        f" where n.nspname = '{schema}' and relkind in ('r', 'p') and not relispartition order by 1"
    )
    return {
        name: store.ask(
            "select count(*), coalesce(sum(('x' || left(md5(one::text), 12))::bit(48)::bigint), 0)::text"
            f" from {schema}.{name} one"
        )[0]
        for (name,) in tables
    }


def epoch_behind(store: Store) -> int:
    """The first epoch of transaction numbers that a server has not come to."""
    ((xid,),) = store.ask("select pg_current_xact_id()::text")
    return (int(xid) >> 32) + 1


def follow(desk: Copy) -> None:
    """Until all is copied that the store has, whichever server that is on by now."""

    def followed() -> bool:
        try:
            return desk.follow().is_whole
        except LogError:
            return False

    until(followed, "the desk has all")


def copied(desk: Copy) -> tuple[int, int]:
    """How many events and receipts a desk's copy has."""
    return desk.log.end(), sum(len(pack) for _, pack in desk.deliveries.all_receipts())


def stored(fleet: Fleet) -> tuple[int, int]:
    """How many decided events and receipts the store has. A policy is an event of each slot, and one in a
    copy."""
    ((events,),) = fleet.rows("select sum(place)::bigint from cursor")
    return events - (SLOTS - 1), sum(
        len(unpacked(body)) for (body,) in fleet.rows("select body from receipt")
    )


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.cluster.relocate", description=__doc__)
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    given = words.parse_args()
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-relocate-"))
    with ExitStack() as running:
        places = [running.enter_context(own_folder()) for _ in range(3)]
        ports = [free_port() for _ in places]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        url = f"postgresql://lender@{hosts}/postgres?target_session_attrs=read-write"
        first = Store(places[0], ports[0])
        running.callback(first.kill)
        first.start()
        fleet = Fleet(url, folder, seed)
        running.callback(fleet.close)
        fleet.start()
        tell("events come in, and are sent")
        desk = Copy(folder / "desk", url, fleet.schema, SLOTS)
        running.callback(desk.close)
        follow(desk)
        second = Standby(places[1], ports[1], first)
        running.callback(second.kill)
        seconds = fleet.blow("moved by a standby", lambda: by_standby(first, second, tell))
        tell(f"moved by a standby: {seconds:.1f} s until all goes on")
        third = Ahead(places[2], ports[2], epoch_behind(second))
        running.callback(third.kill)
        third.start()
        seconds = fleet.blow("moved by a dump", lambda: by_dump(second, third, fleet.schema, tell))
        tell(f"moved by a dump: {seconds:.1f} s until all goes on")
        follow(desk)
        proof = fleet.reckoning()
        follow(desk)
        is_same = copied(desk) == stored(fleet)
        tell(f"a desk's copy holds {copied(desk)} (events, receipts), the store {stored(fleet)}")
    broken = proof.is_broken or bool(proof.refused) or not is_same
    if broken:
        print(f"BROKEN: what the nodes said is kept in {folder}")
    else:
        with suppress(OSError):
            shutil.rmtree(folder)
    print(as_json(proof))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
