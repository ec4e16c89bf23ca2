"""`python -m tests.cluster.draw URL SCHEMA`: takes all that the pace of an account gives one sender.

Says `ready`, waits for a line, and prints the steady second of each of its takes: that is the same clock for
all processes of a machine.
"""

import sys
import threading
from time import monotonic

from lendsignal.clock import SystemClock
from lendsignal.deliver.common_pace import CommonPace
from lendsignal.lifeline import end_with_parent
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.together import Together

RATE, BURST = 120.0, 40.0
SENDERS = 4
TAKES = 90
"""Of each: in all they take so many that it is a matter of seconds."""


def main() -> None:
    url, schema = sys.argv[1:]
    database, breath = Database(url, schema), threading.Event()
    purse = Together(database, 1, [0], SENDERS).purse(("acme", "x"))
    pace = CommonPace(purse, RATE, BURST, monotonic(), SystemClock())
    print("ready", flush=True)
    sys.stdin.readline()
    end_with_parent()
    taken: list[float] = []
    while len(taken) < TAKES:
        now = monotonic()
        if pace.take(now, 1_000):
            taken.append(now)
        else:
            breath.wait(min(0.02, pace.ready_in(now)))
    print(*taken, flush=True)
    database.close()


if __name__ == "__main__":
    main()
