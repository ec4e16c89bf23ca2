"""`likely_credit`: an application that will very likely be granted, told of while its review still lasts.

At the application it is known how likely it is. Where that is enough it waits, `after` so long, for a grant
or a denial; when neither has come by then, it is a conversion, and a predicted one.
"""

from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive.ledger import Ledger, Undecided, fire
from lendsignal.model import Conversion, Event, EventType, Origin, conversion_id, person_key
from lendsignal.value import LikelyModel, facts_of

LIKELY_CREDIT = "likely_credit"

APPLIED, GRANTED, DENIED = (
    EventType.APPLIED.value,
    EventType.CREDIT_GRANTED.value,
    EventType.CREDIT_DENIED.value,
)
DECISION_DUE = EventType.DECISION_DUE.value
OF_LIKELY = frozenset((APPLIED, GRANTED, DENIED, DECISION_DUE))
"""The types that begin, end or settle a wait."""

WAITING = 8
"""Applications of one user that may wait at a time."""


class LikelyPolicy(Struct, frozen=True):
    """The frozen table of weights, and how long an application may wait for its decision."""

    after: timedelta
    model: LikelyModel


def begun(
    ledger: Ledger, event: Event, policy: LikelyPolicy, portfolio: str, origin: Origin
) -> tuple[Ledger, Undecided | None]:
    """The ledger after an application, and the wait that begins with it.

    None begins for what is not likely enough, is decided already, was told before, or is only history.
    """
    about = event.application_id or ""
    mark = f"likely:{about}"
    if event.history or event.purpose != "optimisation" or mark in ledger.fired:
        return ledger, None
    loans = sum(not loan.reversed for loan in ledger.loans.values())
    if not policy.model.likely(facts_of(event, loans)) or len(ledger.undecided) >= WAITING:
        return ledger, None
    number = conversion_id(portfolio, person_key(event), about, LIKELY_CREDIT)
    waits = Undecided(
        about,
        origin.occurred_us + policy.after // timedelta(microseconds=1),
        Conversion(number, LIKELY_CREDIT, origin, predicted=True),
    )
    return replace(fire(ledger, mark), undecided=(*ledger.undecided, waits)), waits


def decided(ledger: Ledger, event: Event) -> Ledger:
    """The ledger after a grant or a denial: nothing waits for it any more, also where it came in first."""
    about = event.application_id
    if about is None:
        # Which of them it decides is not said: one that is decided must not be told of as waiting.
        return replace(ledger, undecided=()) if ledger.undecided else ledger
    return fire(
        replace(ledger, undecided=tuple(one for one in ledger.undecided if one.application_id != about)),
        f"likely:{about}",
    )


def fallen_due(ledger: Ledger, at_us: int) -> tuple[Ledger, list[Conversion]]:
    """The ledger at that moment, and the applications that still had no decision when theirs came.

    They bind to the device of the application; they are told of, and reach us as it were, at that moment.
    """
    due = [one for one in ledger.undecided if one.due_us <= at_us]
    if not due:
        return ledger, []
    kept = tuple(one for one in ledger.undecided if one.due_us > at_us)
    return replace(ledger, undecided=kept), [
        replace(one.conversion, origin=replace(one.conversion.origin, received_us=at_us)) for one in due
    ]
