"""`[tiers]`, `[proxy]`, `[value]` and `[conversion.NAME]`: by which rules conversions come out of events."""

import re
from collections.abc import Mapping
from hashlib import sha256

import msgspec

from lendsignal.config.notes import Notes
from lendsignal.derive import (
    BUILT_IN,
    LIKELY_CREDIT,
    CustomSettings,
    LikelyPolicy,
    ProxySettings,
    Tiers,
    TierSettings,
    custom_rule,
    cuts_of,
    is_tier,
)
from lendsignal.errors import InputError
from lendsignal.settings import key_path
from lendsignal.value import LikelyModel
from lendsignal.value.facts import PROTECTED
from lendsignal.value.settings import WorthSettings

EXPRESSION = "CEL over event, user and snapshot: docs/reference/expressions.md"
"""What an expression may be."""


def tiers_of(settings: TierSettings, notes: Notes) -> Tiers:
    """The tiers: rolling ones, or those whose cuts a table names."""
    if settings.cut_table is None:
        return Tiers(
            higher_is_better=settings.higher_is_better,
            per_grant=settings.per == "grant",
            rolling=tuple(sorted(set(settings.basis))),
            shares=tuple(sorted(set(settings.shares))) if settings.basis else (),
        )
    if settings.basis:
        allowed = "one of the two: tiers.cut_table or tiers.basis"
        notes.wrong("tiers.basis", "a cut_table and own cuts", allowed)
    try:
        text = (notes.folder / settings.cut_table).read_text()
        cuts = tuple(cut for cut in cuts_of(text) if cut.share in settings.shares)
    except InputError as error:
        notes.wrong("tiers.cut_table", f"{error.field}: {error.rule}", "a table of cuts")
        return Tiers()
    except (OSError, UnicodeDecodeError):
        notes.wrong("tiers.cut_table", "no file that can be read", "a CSV file of cuts")
        return Tiers()
    return Tiers(
        cuts=cuts,
        version=sha256(text.encode()).hexdigest()[:12],
        higher_is_better=settings.higher_is_better,
        per_grant=settings.per == "grant",
    )


def likely_of(settings: ProxySettings, notes: Notes) -> LikelyPolicy | None:
    """The early proxy; `None` without a table of weights, or where no threshold reached its precision."""
    if settings.model is None:
        return None
    try:
        model = msgspec.json.decode((notes.folder / settings.model).read_bytes(), type=LikelyModel)
    except (OSError, msgspec.DecodeError):
        notes.wrong("proxy.model", "no file that can be read", "a file that `lendsignal proxy fit` wrote")
        return None
    return LikelyPolicy(settings.after, model)


def custom_of(
    settings: Mapping[str, CustomSettings], tiers: Tiers, notes: Notes
) -> dict[str, CustomSettings]:
    """The lender's own conversions, those with mistakes included so that routes may name them."""
    for name, one in settings.items():
        key = key_path("conversion", name)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or is_tier(name):
            allowed = "lower-case letters, digits and _, not the beginning of a tier's name"
            notes.wrong(key, f"the name {name!r}", allowed)
        elif name in (*BUILT_IN, LIKELY_CREDIT, *tiers.names()):
            notes.wrong(key, f"{name}, which is derived anyway", "another name")
        try:
            custom_rule(name, one)
        except InputError as error:
            part, _, place = error.field.partition(": ")
            notes.wrong(f"{key}.{part}", f"{place}: {error.rule}", EXPRESSION)
    return dict(settings)


def check_protected(settings: WorthSettings, notes: Notes) -> None:
    """What a person is born with or believes enters no predicted value unless the lender says that it may."""
    protected = sorted(PROTECTED.intersection(one.lower() for one in settings.properties))
    if protected and not settings.protected:
        allowed = "what a lender may go by; value.protected = true where the law lets you"
        notes.wrong("value.properties", ", ".join(protected), allowed)
