"""What is remembered of one user's loans: what decides whether something is a first, a close or a default."""

from collections.abc import Mapping
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.model import Conversion, Valued


class Loan(Struct, frozen=True, array_like=True, gc=False):
    """What later events of a loan need to know of it. `last_due` is a local date."""

    number: int | None = None
    last_due: date | None = None
    late: bool = False
    closed: bool = False
    reversed: bool = False


UNHEARD_OF = Loan()


class Undecided(Struct, frozen=True, array_like=True, gc=False):
    """An application that waits for its decision, and the conversion it is where none came by `due_us`."""

    application_id: str
    due_us: int
    conversion: Conversion


class Ledger(Struct, frozen=True, array_like=True, gc=False):
    """One user's loans and the once-only conversions that have fired.

    `whole` is true where we have seen the user from registration on, so that our own count is a proof.
    `undecided` are likely applications that wait; `worth` is what the user's first loan is to be told as,
    by what was known at the grant.
    """

    whole: bool = False
    fired: frozenset[str] = frozenset()
    loans: Mapping[str, Loan] = {}
    undecided: tuple[Undecided, ...] = ()
    worth: Valued | None = None


def once(ledger: Ledger, mark: str) -> tuple[Ledger, bool]:
    """The ledger with the mark, and whether it is new."""
    return (ledger, False) if mark in ledger.fired else (fire(ledger, mark), True)


def fire(ledger: Ledger, mark: str) -> Ledger:
    """The ledger with the mark."""
    return ledger if mark in ledger.fired else replace(ledger, fired=ledger.fired | {mark})
