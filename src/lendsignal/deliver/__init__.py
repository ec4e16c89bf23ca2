"""The sending loop: claim, pace, sign, send, record, retry, pause."""

from lendsignal.deliver.line import Line, Outlet
from lendsignal.deliver.sender import Body, Sender, rendered
from lendsignal.deliver.settings import DeliverSettings, DestinationSettings, Unknown
from lendsignal.deliver.transport import Done, NoAnswer, Transport
from lendsignal.deliver.wire import (
    MissingSecret,
    Wire,
    kept,
    problem_with_secrets,
    secrets_of,
    wire,
    without_secrets,
)

__all__ = [
    "Body",
    "DeliverSettings",
    "DestinationSettings",
    "Done",
    "Line",
    "MissingSecret",
    "NoAnswer",
    "Outlet",
    "Sender",
    "Transport",
    "Unknown",
    "Wire",
    "kept",
    "problem_with_secrets",
    "rendered",
    "secrets_of",
    "wire",
    "without_secrets",
]
