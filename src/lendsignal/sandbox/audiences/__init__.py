"""Strict stand-ins of the platforms' lists of people: they refuse, answer, and remember who is a member.

One file a platform; `lists` is what all of them remember.
"""

from lendsignal.sandbox.audiences.lists import Lists

__all__ = ["Lists"]
