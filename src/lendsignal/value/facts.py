"""What is known of a user when a grant or a first loan is decided: the facts that a value model may use.

`report.training` gathers the same of the past, for training; a test holds the two to each other.
"""

from collections.abc import Collection
from decimal import Decimal
from math import log1p
from zoneinfo import ZoneInfo

from lendsignal.model import App, Event
from lendsignal.value.worth import SCORE

ALWAYS = ("channel", "campaign")
"""Properties of an event that are facts wherever they are told: where the lender says the user came from."""

PROTECTED = frozenset(
    "age birth birthday birth_date date_of_birth gender sex religion ethnicity race nationality"
    " marital_status postcode postal_code zip zip_code disability pregnancy".split()
)
"""What lending must not go by in most countries; no model is trained on such a property unless it is asked
to in so many words."""


def worth_facts(
    event: Event, app: App | None, system: str | None, properties: Collection[str] = ()
) -> dict[str, str | float]:
    """What is known of the user by this event: of the loan, the score, the hour, the app and the phone.

    `system` is the operating system of the last login in small letters, `properties` names more of the
    event's own properties. What is not known is missing.
    """
    amount = event.amount if event.amount is not None else event.limit
    facts: dict[str, str | float] = {}
    if event.score is not None:
        # Another version of the score is another scale.
        facts[f"{SCORE} {event.score_version or ''}".strip()] = event.score
    if amount is not None and amount > 0:
        facts["amount"] = log1p(float(amount))
        if event.fee is not None:
            facts["fee_rate"] = float(event.fee / Decimal(amount))
    if event.term_days is not None:
        facts["term_days"] = float(event.term_days)
    if event.time_precision == "instant" and app is not None:
        facts["hour"] = float(event.occurred_at.astimezone(ZoneInfo(app.timezone)).hour)
    if event.product is not None:
        facts["product"] = event.product
    if app is not None:
        facts["app"], facts["country"] = app.name, app.country
    if system or app is not None:
        facts["os"] = system or (app.platform if app is not None else "")
    for name in (*ALWAYS, *properties):
        said = event.properties.get(name)
        if isinstance(said, str) and said:
            facts[name] = said
        elif isinstance(said, int | float) and not isinstance(said, bool):
            facts[name] = float(said)
    return facts
