"""Loan events → conversions."""

from lendsignal.derive.conversions import (
    BUILT_IN,
    DerivePolicy,
    Rules,
    binds_at,
    derive,
    origin_of,
    rules_of,
)
from lendsignal.derive.custom import CustomSettings, custom_rule
from lendsignal.derive.expression import Expression, compiled
from lendsignal.derive.facts import Facts
from lendsignal.derive.ledger import Ledger, Loan, Undecided
from lendsignal.derive.likely import (
    LIKELY_CREDIT,
    OF_LIKELY,
    LikelyPolicy,
    begun,
    decided,
    fallen_due,
)
from lendsignal.derive.person import (
    Others,
    made_certain,
    others_of,
    users_of,
    with_user,
    within_person,
    without_user,
)
from lendsignal.derive.settings import DeriveSettings, ProxySettings, TierSettings
from lendsignal.derive.tiers import (
    TIER_OF,
    Basis,
    Cut,
    CutSet,
    CutTable,
    Ladders,
    Tiers,
    cuts_of,
    is_tier,
    measure_of,
    seed_of,
    sign_of,
    with_table,
)
from lendsignal.derive.worth import VALUED

__all__ = [
    "BUILT_IN",
    "LIKELY_CREDIT",
    "OF_LIKELY",
    "TIER_OF",
    "VALUED",
    "Basis",
    "CustomSettings",
    "Cut",
    "CutSet",
    "CutTable",
    "DerivePolicy",
    "DeriveSettings",
    "Expression",
    "Facts",
    "Ladders",
    "Ledger",
    "LikelyPolicy",
    "Loan",
    "Others",
    "ProxySettings",
    "Rules",
    "TierSettings",
    "Tiers",
    "Undecided",
    "begun",
    "binds_at",
    "compiled",
    "custom_rule",
    "cuts_of",
    "decided",
    "derive",
    "fallen_due",
    "is_tier",
    "made_certain",
    "measure_of",
    "origin_of",
    "others_of",
    "rules_of",
    "seed_of",
    "sign_of",
    "users_of",
    "with_table",
    "with_user",
    "within_person",
    "without_user",
]
