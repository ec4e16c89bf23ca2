"""A made-up lender, the service and the sandboxes, from one command."""

from lendsignal.demo.lender import lender_of
from lendsignal.demo.show import Result, Show

__all__ = ["Result", "Show", "lender_of"]
