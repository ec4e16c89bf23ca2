"""What is predicted of users before it is known.

Only what reads a model is here. What makes one (`training`, `gates`, `shaping`, `fitting`, …) is imported by
its own name: it brings libraries that only who makes a model is to load.
"""

from lendsignal.value.facts import worth_facts
from lendsignal.value.likely import Facts, LikelyModel, Number, Word, facts_of, probability
from lendsignal.value.worth import Moment, Promotion, Valuer

__all__ = [
    "Facts",
    "LikelyModel",
    "Moment",
    "Number",
    "Promotion",
    "Valuer",
    "Word",
    "facts_of",
    "probability",
    "worth_facts",
]
