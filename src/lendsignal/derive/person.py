"""One human behind several users: what they share is whether a first really is the first.

A person's ledger holds a mark for each user and each first that the user has had, `user TAB what`, and one
more for a user whose history we do not hold from the beginning. Loans, touches and consent stay each user's.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive.ledger import Ledger
from lendsignal.derive.tiers import is_tier
from lendsignal.model import Conversion, conversion_id

FIRSTS = ("first_application", "first_credit", "first_loan")
"""The conversions that a person has once."""

IN_PART = "in part"
"""The mark of a user whose earlier history we may not know."""


class Others(Struct, frozen=True):
    """The person's other users within the scope: the firsts they had, and whether we know all of them."""

    had: frozenset[str] = frozenset()
    whole: bool = True


def with_user(person: Ledger, user: str, ledger: Ledger) -> Ledger:
    """The person's ledger with what one of its users' tells; itself where that is nothing new."""
    kept = without_user(person, user)
    marks = kept.fired | {f"{user}\t{mark}" for mark in _marks(ledger)}
    return person if marks == person.fired else replace(person, fired=marks)


def without_user(person: Ledger, user: str) -> Ledger:
    """The person's ledger once a user turned out to be somebody else."""
    kept = frozenset(mark for mark in person.fired if not mark.startswith(f"{user}\t"))
    return person if kept == person.fired else replace(person, fired=kept)


def users_of(person: Ledger) -> list[str]:
    """The users of a person as far as they matter to firsts, as `brand:user_id`."""
    return sorted({mark.partition("\t")[0] for mark in person.fired})


def others_of(person: Ledger, user: str, *, across: bool) -> Others:
    """What the person's other users tell of firsts: those of the user's own brand, or `across` brands.

    `user` is `brand:user_id`.
    """
    brand = user.partition(":")[0]
    marks = {
        mark
        for other, _, mark in (known.partition("\t") for known in person.fired)
        if other != user and (across or other.partition(":")[0] == brand)
    }
    return Others(frozenset(marks - {IN_PART}), IN_PART not in marks)


def within_person(
    conversions: Sequence[Conversion], others: Others, portfolio: str, *, per_grant: bool
) -> list[Conversion]:
    """A user's conversions as those of the person: what another of its users had first is no first.

    A first loan is then a repeat loan. A first stays uncertain, or becomes it, where the history of another
    of the person's users may lack its beginning. Tiers that fire with the first grant go with it.
    """
    found: list[Conversion] = []
    for conversion in conversions:
        name = conversion.name
        first = "first_credit" if is_tier(name) and not per_grant else name
        if first not in FIRSTS:
            found.append(conversion)
        elif first not in others.had:
            certain = conversion.certain and others.whole
            found.append(
                conversion if certain == conversion.certain else replace(conversion, certain=certain)
            )
        elif name == "first_loan":
            origin = conversion.origin
            user, about = f"{origin.brand}:{origin.user_id}", origin.loan_id or ""
            number = conversion_id(portfolio, user, about, "repeat_loan")
            found.append(replace(conversion, id=number, name="repeat_loan", certain=True))
    return found


def made_certain(conversions: Iterable[Conversion]) -> list[Conversion]:
    """The same, where the lender vouches for it that no earlier history is missing."""
    return [one if one.certain else replace(one, certain=True) for one in conversions]


def _marks(ledger: Ledger) -> set[str]:
    """The firsts that a user has had: fired, told for analytics, or shown by a later one's number."""
    marks = {
        first
        for first in FIRSTS
        if first in ledger.fired
        or f"later:{first}" in ledger.fired
        or any(mark.startswith(f"told:{first}:") for mark in ledger.fired)
    }
    return marks if ledger.whole else marks | {IN_PART}
