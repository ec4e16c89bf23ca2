"""`python -m tests.cluster.poisoned work --config FILE`: a worker whose decisions fail on a poison event.

It is the role as a node runs it, but for this: deciding about a loan of that name raises, on any node.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lendsignal.decide import decider
from lendsignal.model import Event
from lendsignal.plan import decide as honest
from lendsignal.role.__main__ import main

POISON = "poison-"
"""Loans whose names begin so cannot be decided."""


def decide(state: Any, sequence: int, event: Event, *rest: Any) -> Any:
    """As it is, but for a poisoned loan."""
    if event.loan_id is not None and event.loan_id.startswith(POISON):
        raise ZeroDivisionError("poison")
    return honest(state, sequence, event, *rest)


@contextmanager
def poisoned() -> Iterator[None]:
    """Whoever decides within fails on these events."""
    with patch.object(decider, "decide", decide):
        yield


if __name__ == "__main__":
    with poisoned():
        sys.exit(main())
