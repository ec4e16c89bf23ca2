"""The loop that takes events from the log through resolve, derive and plan, and keeps what comes of it."""

from lendsignal.decide.decider import Decider

__all__ = ["Decider"]
