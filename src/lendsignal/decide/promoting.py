"""Puts a value model into force: an event in the log, from whose place on users are valued by it."""

from lendsignal.clock import from_us
from lendsignal.log import Log
from lendsignal.model import Event, EventType
from lendsignal.value import Promotion


def put_in_force(log: Log, promotion: Promotion) -> None:
    """Keeps the promotion and appends its event, together. What was decided before it stays as it is."""
    now = from_us(promotion.made_us)
    event = Event(
        type=EventType.VALUE_PROMOTED,
        brand="lendsignal",
        user_id="lendsignal",
        event_id=f"value-{promotion.version}",
        occurred_at=now,
        received_at=now,
        actor="system",
        properties={"version": promotion.version},
    )
    log.keep_promotion(promotion, [event])
