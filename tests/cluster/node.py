"""`python -m tests.cluster.node door|worker …`: one process of the cluster, as a node would run it.

A door tells its plan of events batch by batch and prints the number of each batch once it is durable.
"""

import argparse
import logging
import sys
import threading
from random import Random

from tests.clustered import Clock, happenings

from lendsignal.decide.slots import SlotDecider, work
from lendsignal.errors import LogError
from lendsignal.lifeline import end_with_parent, stop_on_signal
from lendsignal.log.postgres import Database, DoorLog, Leases, SlotLog, slots_of, tend_days
from lendsignal.log.slots import slot_of
from lendsignal.model import Event, person_key

DOORS = 2
USERS = 300
PAUSE_SECONDS = 0.05


def batches(seed: int, events: int, door: int) -> list[list[Event]]:
    """A door's part of the plan: all events of its users, in their order, in batches of any size.

    Two requests of one user that are under way at the same time have no order, so each user has one door.
    """
    mine = [one for one in happenings(Random(seed), events, USERS) if slot_of(person_key(one), DOORS) == door]
    chance, found = Random(seed + door + 1), []
    while mine:
        size = chance.randrange(1, 17)
        found.append(mine[:size])
        mine = mine[size:]
    return found


def slots_when_there(database: Database, stopping: threading.Event) -> int:
    """The number of slots, once the database answers: it may just be coming up."""
    while True:
        try:
            return slots_of(database)
        except LogError:
            if stopping.wait(PAUSE_SECONDS):
                raise


def open_door(database: Database, seed: int, events: int, door: int, start: int) -> None:
    """Tells batch after batch, each until it is durable: what was not answered is told again."""
    stopping = stop_on_signal()
    slots = slots_when_there(database, stopping)
    log, told = DoorLog(database, slots), batches(seed, events, door)
    for number in range(start, len(told)):
        while not stopping.wait(PAUSE_SECONDS):
            try:
                log.append(told[number])
                break
            except LogError as error:
                print(error, file=sys.stderr, flush=True)
        if stopping.is_set():
            return
        print(number + 1, flush=True)
    print("done", flush=True)


def work_here(database: Database, name: str) -> None:
    """Decides as a worker does."""
    stopping = stop_on_signal()
    slots = slots_when_there(database, stopping)
    # Made-up events are of another year: by the clock of today every wait of theirs would be over.
    one = SlotDecider(SlotLog(database, Leases(database, name), slots), Clock())
    work(one, stopping, housekeeping=lambda: tend_days(database, keep=14))


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("role", choices=("door", "worker"))
    words.add_argument("url")
    words.add_argument("schema")
    words.add_argument("--name", default="", help="of a worker, for this one run")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--events", type=int, default=0)
    words.add_argument("--door", type=int, default=0)
    words.add_argument("--start", type=int, default=0)
    given = words.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    end_with_parent()
    database = Database(given.url, given.schema)
    try:
        if given.role == "door":
            open_door(database, given.seed, given.events, given.door, given.start)
        else:
            work_here(database, given.name)
    finally:
        database.close()


if __name__ == "__main__":
    main()
