"""What a new user is worth, by the model in force: worked out at the grant, and told with the first loan too;
and at the application, where the model speaks of applicants.

A grant knows the score and a disbursement does not, so that what is to be told with the first loan is kept in
the ledger from the grant on. A loan without a grant before it goes by what it says itself.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from lendsignal.derive.ledger import Ledger
from lendsignal.derive.tiers import PREDICTED_VALUE
from lendsignal.model import App, Event, EventType, Valued, to_us
from lendsignal.resolve import Touches, device_at
from lendsignal.value import Valuer, worth_facts
from lendsignal.value.worth import APPLICATION

APPLIED, GRANTED, DISBURSED = (
    EventType.APPLIED.value,
    EventType.CREDIT_GRANTED.value,
    EventType.DISBURSED.value,
)

VALUED: Mapping[str, str] = {
    APPLIED: "first_application",
    GRANTED: "first_credit",
    DISBURSED: "first_loan",
}
"""The events at which a user is valued, and the conversion that tells of it: once in a user's life."""


def with_worth(
    ledger: Ledger,
    event: Event,
    valuer: Valuer,
    apps: Mapping[str, App],
    default_app: Mapping[str, str],
    touches: Touches,
) -> tuple[Ledger, Event, Valued | None]:
    """The ledger, the event with the estimate among its properties, and what the model says.

    The estimate stands where a lender's own would, so that tiers and expressions find it. `None`, and the
    event as it was, where the model knows nothing of users in that currency.
    """
    if event.type == APPLIED and not valuer.knows(APPLICATION):
        return ledger, event, None
    if event.type == DISBURSED and ledger.worth is not None:
        valued: Valued | None = ledger.worth
    else:
        app = apps.get(event.app or default_app.get(event.brand, ""))
        currency = event.currency or (None if app is None else app.currency)
        binding = device_at(touches, to_us(event.occurred_at))
        system = None if binding is None else (binding.snapshot.device.os or "").lower()
        facts = worth_facts(event, app, system, valuer.properties)
        valued = valuer.value(event.type, currency, facts)
        if event.type == GRANTED:
            ledger = replace(ledger, worth=valuer.value(DISBURSED, currency, facts))
    if valued is None:
        return ledger, event, None
    return ledger, replace(event, properties={**event.properties, PREDICTED_VALUE: valued.estimate}), valued
