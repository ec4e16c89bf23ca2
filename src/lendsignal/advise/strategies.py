"""What a lender may do about ads: the words of a strategy, for who plays it and for who asks for it."""

from typing import Literal, TypeAlias

Event: TypeAlias = Literal[
    "registration",
    "application",
    "likely_credit",
    "first_credit",
    "credit_top70",
    "credit_top50",
    "credit_top30",
    "credit_top20",
    "first_loan",
    "disbursement",
    "repayment",
    "none",
]
"""What a platform may be told of, in the order of a loan; `none`: nothing, so it buys whoever is cheap."""

Value: TypeAlias = Literal["none", "predicted", "fees"]
"""What goes with the event: nothing, the worth predicted by score, or fees alone."""

Binding: TypeAlias = Literal["last_login", "first_install"]
"""Which installation's origin counts."""
