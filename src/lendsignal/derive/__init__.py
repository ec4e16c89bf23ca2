"""Loan events → conversions."""

from lendsignal.derive.conversions import BUILT_IN, DerivePolicy, Ledger, Loan, binds_at, derive
from lendsignal.derive.settings import DeriveSettings, TierSettings
from lendsignal.derive.tiers import Cut, Tiers, cuts_of, tiers_of

__all__ = [
    "BUILT_IN",
    "Cut",
    "DerivePolicy",
    "DeriveSettings",
    "Ledger",
    "Loan",
    "TierSettings",
    "Tiers",
    "binds_at",
    "cuts_of",
    "derive",
    "tiers_of",
]
