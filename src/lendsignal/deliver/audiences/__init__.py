"""Lists of people brought in step with the platforms: what changed is sent, and noted once they said yes.

role/audience → sync → one account after the other's thread → chunks → calls → the platform
"""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.deliver.audiences.ledger import Ledger
    from lendsignal.deliver.audiences.settings import AccountPlan, AccountSettings, problem_with_account
    from lendsignal.deliver.audiences.syncing import Synced, make_look_alike, sync

__all__ = [
    "AccountPlan",
    "AccountSettings",
    "Ledger",
    "Synced",
    "make_look_alike",
    "problem_with_account",
    "sync",
]

__getattr__ = later(
    __name__,
    {
        "ledger": "Ledger",
        "settings": "AccountPlan AccountSettings problem_with_account",
        "syncing": "Synced make_look_alike sync",
    },
)
