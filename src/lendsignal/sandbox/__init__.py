"""Strict stand-ins of the platforms: they refuse, answer and remember as docs/reference/sandbox.md tables.

This room imports nothing of `destination`: it judges what the destinations send.
"""

from lendsignal.sandbox.app import build, serve
from lendsignal.sandbox.chaos import chaos
from lendsignal.sandbox.fault import Fault, Faults
from lendsignal.sandbox.memory import Memory
from lendsignal.sandbox.settings import GoogleAccount, MetaDataset, SandboxSettings, settings_at
from lendsignal.sandbox.verdict import Answer, Asked, Refused, Taken

__all__ = [
    "Answer",
    "Asked",
    "Fault",
    "Faults",
    "GoogleAccount",
    "Memory",
    "MetaDataset",
    "Refused",
    "SandboxSettings",
    "Taken",
    "build",
    "chaos",
    "serve",
    "settings_at",
]
