"""The log of a cluster as a Kafka topic, a partition for each slot; all that follows stands in PostgreSQL."""

from lendsignal.log.kafka.door import TopicDoor
from lendsignal.log.kafka.making import check_topic, drop_topic, prepare_topic, topic_problems
from lendsignal.log.kafka.rules import TopicRules
from lendsignal.log.kafka.slots import TopicSlots

__all__ = [
    "TopicDoor",
    "TopicRules",
    "TopicSlots",
    "check_topic",
    "drop_topic",
    "prepare_topic",
    "topic_problems",
]
