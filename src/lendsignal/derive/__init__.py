"""Loan events → conversions."""

from lendsignal.derive.conversions import BUILT_IN, DerivePolicy, Rules, binds_at, derive, rules_of
from lendsignal.derive.custom import CustomSettings, custom_rule
from lendsignal.derive.expression import Expression, compiled
from lendsignal.derive.facts import Facts
from lendsignal.derive.ledger import Ledger, Loan
from lendsignal.derive.person import Others, made_certain, others_of, with_user, within_person, without_user
from lendsignal.derive.settings import DeriveSettings, TierSettings
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

__all__ = [
    "BUILT_IN",
    "TIER_OF",
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
    "Loan",
    "Others",
    "Rules",
    "TierSettings",
    "Tiers",
    "binds_at",
    "compiled",
    "custom_rule",
    "cuts_of",
    "derive",
    "is_tier",
    "made_certain",
    "measure_of",
    "others_of",
    "rules_of",
    "seed_of",
    "sign_of",
    "with_table",
    "with_user",
    "within_person",
    "without_user",
]
