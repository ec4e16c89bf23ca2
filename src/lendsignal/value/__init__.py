"""What is predicted of users before it is known."""

from lendsignal.value.likely import (
    Applied,
    Facts,
    Fitted,
    LikelyModel,
    Unfit,
    facts_of,
    fit,
    probability,
)

__all__ = ["Applied", "Facts", "Fitted", "LikelyModel", "Unfit", "facts_of", "fit", "probability"]
