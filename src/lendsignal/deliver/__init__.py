"""The sending loop: claim, pace, sign, send, record, retry, pause.

`sender.Sender` and `transport.Transport` are imported by their modules' names: they bring libcurl, which only
the process that sends is to load.
"""

from lendsignal.deliver.body import Body, rendered
from lendsignal.deliver.choose import Choice, Chooser, Chosen, Count, LeftOut
from lendsignal.deliver.expiry import TokenEnd, token_ends
from lendsignal.deliver.line import Line
from lendsignal.deliver.meters import DeliverMeters
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.pace import Pace
from lendsignal.deliver.settings import Brakes, DeliverSettings, DestinationSettings, Unknown
from lendsignal.deliver.standing import Standing, Stopped, standings, stopped
from lendsignal.deliver.tokens import is_refresh_token, problem_with_google
from lendsignal.deliver.wire import (
    Done,
    MissingSecret,
    NoAnswer,
    Wire,
    kept,
    problem_with_secrets,
    secrets_of,
    wire,
    without_secrets,
)

__all__ = [
    "Body",
    "Brakes",
    "Choice",
    "Chooser",
    "Chosen",
    "Count",
    "DeliverMeters",
    "DeliverSettings",
    "DestinationSettings",
    "Done",
    "LeftOut",
    "Line",
    "MissingSecret",
    "NoAnswer",
    "Outlet",
    "Pace",
    "Standing",
    "Stopped",
    "TokenEnd",
    "Unknown",
    "Wire",
    "is_refresh_token",
    "kept",
    "problem_with_google",
    "problem_with_secrets",
    "rendered",
    "secrets_of",
    "standings",
    "stopped",
    "token_ends",
    "wire",
    "without_secrets",
]
