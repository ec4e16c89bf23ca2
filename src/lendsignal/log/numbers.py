"""Numbers that stand for people and events where their names would take too much room."""

from hashlib import blake2b
from zlib import crc32


def number_of_user(key: str) -> int:
    """63 bits that stand for a person. Two people may share them: their states tell who is who."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def number_of_event(event_id: str) -> int:
    """A number that stands for an event id. Several may share it: the events tell which is which.

    Ids that begin with their milliseconds in hexadecimal (ours, and UUIDs of version 7) are numbered in the
    order of time, so that the index grows at its end.
    """
    low = crc32(event_id.encode())
    try:
        milliseconds = int(event_id.replace("-", "", 1)[:12], 16)
    except ValueError:
        return low
    return (milliseconds & 0x1FF_FFFF_FFFF) << 22 | low & 0x3F_FFFF
