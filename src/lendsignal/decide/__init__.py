"""The loop that takes events from the log through resolve, derive and plan, and keeps what comes of it."""

from lendsignal.decide.decider import Decider
from lendsignal.decide.meters import DecideMeters

__all__ = ["DecideMeters", "Decider"]
