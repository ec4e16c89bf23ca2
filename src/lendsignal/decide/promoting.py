"""Puts a value model into force: an event in the log, from whose place on users are valued by it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lendsignal.clock import from_us
from lendsignal.model import Event, EventType
from lendsignal.value import Promotion

if TYPE_CHECKING:  # the reports' library is for who promotes
    from lendsignal.report.training import Training
    from lendsignal.report.value_models import Kept


class Promoting(Protocol):
    """Where promotions are kept and put in force: a log, or the rules of a cluster."""

    def promotions(self) -> list[Promotion]: ...

    def keep_promotion(self, promotion: Promotion, events: Sequence[Event]) -> None: ...


def put_in_force(log: Promoting, promotion: Promotion) -> None:
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


def promoted(
    log: Promoting,
    one: "Kept",
    training: "Training",
    now_us: int,
    *,
    unproven: bool = False,
    dry_run: bool = False,
) -> Promotion:
    """The model as it is told of from now on: its scopes that passed, laid over what was told before.

    With `unproven` scopes too that could not be tried yet; with `dry_run` it is not put into force. Raises
    `NothingToPromote` where no scope is left.
    """
    from lendsignal.value.making import allowed_of, promotion_of

    promotions = log.promotions()
    before = promotions[-1] if promotions else None
    allowed = allowed_of(one.evidence, unproven=unproven)
    made = promotion_of(one.model, allowed, training.users, now_us, before)
    if not dry_run:
        put_in_force(log, made)
    return made
