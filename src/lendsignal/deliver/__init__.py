"""The sending loop: claim, pace, sign, send, record, retry, pause.

`sender.Sender` and `transport.Transport` are imported by their modules' names: they bring libcurl, which only
the process that sends is to load.
"""

from typing import TYPE_CHECKING

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
from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.deliver.body import Body, rendered
    from lendsignal.deliver.choose import Choice, Chooser, Chosen, Count, LeftOut
    from lendsignal.deliver.expiry import TokenEnd, token_ends
    from lendsignal.deliver.line import Line
    from lendsignal.deliver.meters import DeliverMeters
    from lendsignal.deliver.outlet import Outlet
    from lendsignal.deliver.pace import Pace
    from lendsignal.deliver.settings import Brakes, DeliverSettings, DestinationSettings, Unknown
    from lendsignal.deliver.standing import First, Standing, Stopped, standings, stopped
    from lendsignal.deliver.tokens import is_refresh_token, problem_with_google

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
    "First",
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

__getattr__ = later(
    __name__,
    {
        "body": "Body rendered",
        "choose": "Choice Chooser Chosen Count LeftOut",
        "expiry": "TokenEnd token_ends",
        "line": "Line",
        "meters": "DeliverMeters",
        "outlet": "Outlet",
        "pace": "Pace",
        "settings": "Brakes DeliverSettings DestinationSettings Unknown",
        "standing": "First Standing Stopped standings stopped",
        "tokens": "is_refresh_token problem_with_google",
    },
)
