"""A role of the service that kills itself at a named point: `… [--die-at POINT:N] [--fold-at PAGES] ROLE …`.

The product knows nothing of this. Its functions are wrapped from outside, and at the N-th passage of the
point the process sends itself `kill -9`. What follows the options is told to `lendsignal.role` as it is.

| point      | killed                                                                              |
| ---------- | ----------------------------------------------------------------------------------- |
| `accepted` | events are in the append's transaction, which is about to be committed              |
| `appended` | the append is committed, its sender has no answer                                   |
| `decided`  | a batch is decided, nothing of it is committed                                      |
| `keeping`  | what the sender has read, claimed or heard is about to be committed                 |
| `claimed`  | the claim is committed, the first of its requests is about to leave                 |
| `sent`     | a request has left, its answer is not there                                         |
| `answered` | an answer is there, its outcome is not committed                                    |
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from lendsignal.deliver import Done, NoAnswer
from lendsignal.deliver.transport import Transport
from lendsignal.log import Decided, Deliveries, Log, sqlite
from lendsignal.role.__main__ import main as role_main

CORE_POINTS = ("accepted", "appended", "decided")
SEND_POINTS = ("keeping", "claimed", "sent", "answered")


class Fuse:
    """Counts passages, and ends the process at the last of them."""

    def __init__(self, passages: int) -> None:
        self._left = passages

    def burn(self) -> None:
        """One passage."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def replace(owner: type, name: str, by: Callable[..., Any]) -> None:
    """Puts a function of ours in the place of the product's."""
    setattr(owner, name, by)


def accepted(fuse: Fuse) -> None:
    """SQLite asks before each commit; only those of `append` are meant."""
    here = threading.local()
    append = Log.append

    def watched(log: Log, *values: Any, **named: Any) -> int:
        here.appends = True
        try:
            return append(log, *values, **named)
        finally:
            here.appends = False

    def before_commit() -> bool:
        if getattr(here, "appends", False):
            fuse.burn()
        return False

    def watch(connection: apsw.Connection) -> None:
        connection.set_commit_hook(before_commit)

    replace(Log, "append", watched)
    apsw.connection_hooks.append(watch)


def appended(fuse: Fuse) -> None:
    append = Log.append

    def watched(log: Log, *values: Any, **named: Any) -> int:
        first = append(log, *values, **named)
        fuse.burn()
        return first

    replace(Log, "append", watched)


def decided(fuse: Fuse) -> None:
    commit = Log.commit

    def watched(log: Log, made: Decided) -> None:
        fuse.burn()
        commit(log, made)

    replace(Log, "commit", watched)


def keeping(fuse: Fuse) -> None:
    commit = Deliveries.commit

    def watched(deliveries: Deliveries, *values: Any, **named: Any) -> None:
        fuse.burn()
        commit(deliveries, *values, **named)

    replace(Deliveries, "commit", watched)


def claimed(fuse: Fuse) -> None:
    """A request that starts behind a commit is the first of what that commit claimed."""
    start, commit = Transport.start, Deliveries.commit
    committed = False

    def keep(deliveries: Deliveries, *values: Any, **named: Any) -> None:
        nonlocal committed
        commit(deliveries, *values, **named)
        committed = True

    def watched(transport: Transport, *values: Any, **named: Any) -> None:
        nonlocal committed
        if committed:
            fuse.burn()
        committed = False
        start(transport, *values, **named)

    replace(Deliveries, "commit", keep)
    replace(Transport, "start", watched)


def sent(fuse: Fuse) -> None:
    """Requests leave while the transport waits: one wait without an answer has let them go."""
    start, wait = Transport.start, Transport.wait
    started = False

    def begin(transport: Transport, *values: Any, **named: Any) -> None:
        nonlocal started
        start(transport, *values, **named)
        started = True

    def watched(transport: Transport, seconds: float) -> list[Done]:
        nonlocal started
        done = wait(transport, seconds)
        if started and not done:
            started = False
            fuse.burn()
        return done

    replace(Transport, "start", begin)
    replace(Transport, "wait", watched)


def answered(fuse: Fuse) -> None:
    wait = Transport.wait

    def watched(transport: Transport, seconds: float) -> list[Done]:
        done = wait(transport, seconds)
        if any(not isinstance(one.result, NoAnswer) for one in done):
            fuse.burn()
        return done

    replace(Transport, "wait", watched)


POINTS: dict[str, Callable[[Fuse], None]] = {
    "accepted": accepted,
    "appended": appended,
    "decided": decided,
    "keeping": keeping,
    "claimed": claimed,
    "sent": sent,
    "answered": answered,
}


def main(words: Sequence[str]) -> int:
    """Sets the fuse and does the role."""
    rest = list(words)
    while rest and rest[0] in ("--die-at", "--fold-at"):
        option, value, *rest = rest
        if option == "--die-at":
            point, _, passages = value.partition(":")
            POINTS[point](Fuse(int(passages)))
        else:
            sqlite.CHECKPOINT_PAGES = int(value)
    sys.argv = [sys.argv[0], *rest]
    return role_main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
