"""Slots: the fixed number of parts that a cluster's log, states and deliveries are parted into.

A person's key says which slot, by a hash of our own, so that every engine and every language parts alike.
Nobody ever changes slots, and the number of slots is chosen once, when the tables are made.
"""

from hashlib import blake2b

SLOTS = 256


def slot_of(key: str, slots: int = SLOTS) -> int:
    """The slot of a person's key: BLAKE2b of its UTF-8 bytes, 8 bytes, big-endian, modulo `slots`."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % slots


def sequence_of(place: int, slot: int, slots: int = SLOTS) -> int:
    """The number of the `place`-th event that is decided in a slot, from 1 on: no other slot gives it."""
    return place * slots + slot


def place_in_slot(sequence: int, slots: int = SLOTS) -> tuple[int, int]:
    """Which event of which slot a number stands for: (place, slot)."""
    return divmod(sequence, slots)
