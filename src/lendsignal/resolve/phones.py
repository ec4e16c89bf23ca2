"""Which phone a snapshot shows, in numbers, so that the users of one phone can be counted.

A phone is known by the ids that stay with it and by those of the installations on it. Two users share a phone
where they showed one id in common, whichever: an advertising id is missing once tracking is switched off.
"""

from functools import lru_cache
from hashlib import blake2b

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, id_of
from lendsignal.resolve.touches import Snapshot

KINDS = (*DEVICE_SCOPED, *INSTALL_SCOPED)

KEYS_AT_HAND = 16_384
"""Snapshots whose keys are remembered: a user's are asked for with each event."""


@lru_cache(KEYS_AT_HAND)
def phone_keys(brand: str, snapshot: Snapshot) -> tuple[int, ...]:
    """64 bits for each id of the phone that names somebody; none where the snapshot shows no id.

    They are a brand's own: who has apps of two brands on one phone is a user of each.
    """
    return tuple(
        [
            _hash64(f"{brand}\x1f{kind.value}\x1f{value}")
            for kind in KINDS
            if (value := id_of(snapshot.device, kind)) is not None
        ]
    )


def _hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
