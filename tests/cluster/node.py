"""`python -m tests.cluster.node door|worker|sender …`: one process of the cluster, as a node would run it.

A door tells its plan of events batch by batch and prints the number of each batch once it is durable.
"""

import argparse
import logging
import sys
import threading
from datetime import timedelta
from random import Random

from tests.acme import APPS
from tests.cluster.hooks import hooks
from tests.clustered import Clock, happenings
from tests.topical import reaching

from lendsignal.clock import SystemClock
from lendsignal.decide.slots import SlotDecider, work
from lendsignal.deliver import DeliverSettings
from lendsignal.deliver.slots import SlotSender, send_slots
from lendsignal.errors import LogError
from lendsignal.lifeline import end_with_parent, stop_on_signal
from lendsignal.log.kafka import TopicDoor, TopicSlots
from lendsignal.log.postgres import Database, DoorLog, Leases, SlotLog, slots_of, tend_days
from lendsignal.log.slots import slot_of
from lendsignal.log.store import KafkaSettings
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


def open_door(
    database: Database, topic: KafkaSettings | None, seed: int, events: int, door: int, start: int
) -> None:
    """Tells batch after batch, each until it is durable: what was not answered is told again."""
    stopping = stop_on_signal()
    slots = slots_when_there(database, stopping)
    log = DoorLog(database, slots) if topic is None else TopicDoor(database, topic, slots)
    told = batches(seed, events, door)
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


def work_here(database: Database, topic: KafkaSettings | None, name: str) -> None:
    """Decides as a worker does."""
    stopping = stop_on_signal()
    slots = slots_when_there(database, stopping)
    # Made-up events are of another year: by the clock of today every wait of theirs would be over.
    leases = Leases(database, name)
    log = SlotLog(database, leases, slots) if topic is None else TopicSlots(database, leases, topic, slots)
    one = SlotDecider(log, Clock())
    work(one, stopping, housekeeping=lambda: tend_days(database, keep=14))


def send_here(database: Database, name: str, sandbox: str) -> None:
    """Sends as a sender does."""
    stopping = stop_on_signal()
    slots = slots_when_there(database, stopping)
    settings = DeliverSettings(sandbox=sandbox, first_retry=timedelta(milliseconds=50))
    one = SlotSender(database, slots, name, hooks(), APPS, settings, SystemClock())
    send_slots(one, stopping)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("role", choices=("door", "worker", "sender"))
    words.add_argument("url")
    words.add_argument("schema")
    words.add_argument("--name", default="", help="of a worker or a sender, for this one run")
    words.add_argument("--kafka", default="", help="brokers, where a topic is the log")
    words.add_argument("--topic", default="", help="the topic")
    words.add_argument("--sandbox", default="", help="where a sender's requests really go")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--events", type=int, default=0)
    words.add_argument("--door", type=int, default=0)
    words.add_argument("--start", type=int, default=0)
    given = words.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    end_with_parent()
    database = Database(given.url, given.schema)
    topic = reaching(given.kafka, given.topic) if given.kafka else None
    try:
        if given.role == "door":
            open_door(database, topic, given.seed, given.events, given.door, given.start)
        elif given.role == "sender":
            send_here(database, given.name, given.sandbox)
        else:
            work_here(database, topic, given.name)
    finally:
        database.close()


if __name__ == "__main__":
    main()
