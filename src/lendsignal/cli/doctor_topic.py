"""The doctor's look at the topic that is a cluster's log: the one of the store, safe, and read."""

from collections.abc import Iterator
from contextlib import closing

from lendsignal.cli.findings import Finding, act, ok
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log.cluster import standing_still, waiting_in_topic
from lendsignal.log.kafka import check_topic, topic_problems
from lendsignal.log.postgres import database_of, slots_of
from lendsignal.role.cluster import store_of

PAGE = "docs/how-to/use-kafka-as-the-log.md"


def topic(config: Config) -> Iterator[Finding]:
    """Whether the topic is there, is the one of the store, keeps what is durable, and is read."""
    store = store_of(config)
    if store.kafka is None:
        return
    with closing(database_of(store)) as database:
        try:
            check_topic(database, store.kafka)
            wrong = topic_problems(store.kafka, slots_of(database))
            waiting, still = waiting_in_topic(store, database), standing_still(store.kafka, database)
        except LogError as error:
            yield act("topic", str(error), f"the brokers, or `lendsignal store prepare`: {PAGE}")
            return
    for problem in wrong:
        yield act("topic", problem, PAGE)
    if not wrong:
        yield ok("topic", f"{store.kafka.topic} is there, and as it should be")
    if still:
        said = f"slots that stand still, for their next event is not in the topic any more: {still[:5]}"
        yield act("topic", said, PAGE)
    yield ok("lag", f"events that wait in the topic: {waiting:,}")
