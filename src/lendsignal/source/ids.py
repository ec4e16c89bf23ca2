"""What is wrong with an id that an app sent: a bad one costs the id, never the event.

Shapes: AppsFlyer's S2S page (13 digits, hyphen, 7 to 19 digits), Adjust's and Google's pages (32 hex digits),
Android's and Apple's (a UUID). Where a vendor publishes no shape, only what is surely none is left out.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, ZERO_ID, IdKind

HEX_32 = "[0-9a-fA-F]{32}"
UUID = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

SHAPES: Mapping[str, tuple[str, str]] = {
    IdKind.APPSFLYER_ID.value: (
        r"[0-9]{13}-[0-9]{7,19}",
        "must be 13 digits, a hyphen and 7 to 19 digits, as getAppsFlyerUID gives it",
    ),
    IdKind.ADJUST_ADID.value: (HEX_32, "must be 32 hex digits, as Adjust's getAdid gives it"),
    IdKind.FIREBASE_APP_INSTANCE_ID.value: (
        HEX_32,
        "must be 32 hex digits, as Firebase's getAppInstanceId gives it",
    ),
    IdKind.GAID.value: (UUID, "must be a UUID with hyphens: Google's advertising id"),
    IdKind.IDFA.value: (UUID, "must be a UUID with hyphens: Apple's advertisingIdentifier"),
    IdKind.IDFV.value: (UUID, "must be a UUID with hyphens: Apple's identifierForVendor"),
    # Huawei's is a UUID, others' have 16 to 64 letters and digits.
    IdKind.OAID.value: ("[0-9A-Za-z-]{16,64}", "must be 16 to 64 letters, digits and hyphens"),
    # The app's own text for the user, whatever it is.
    IdKind.BRANCH_IDENTITY.value: ("(?s:.+)", "must not be empty"),
    # A 64-bit number in hex, which some phones write without leading zeros.
    IdKind.ANDROID_ID.value: ("[0-9a-fA-F]{8,16}", "must be up to 16 hex digits: SSAID"),
}
"""The whole of what an id of that kind looks like, and the rule in words."""

ANY = (r"\S{2,}", "must have no blanks")

NONE = "null|none|nil|undefined|unknown|unavailable|n/a|na|false|true|[0-]+"
"""What apps write for "I have none", in any case of letters."""

PLACEHOLDER_RULE = "is a placeholder: leave the field out where there is no id"
PLATFORM_RULE = "belongs to the other platform than the app's"
ZERO_RULE = "is all zeros: the phone gives out no id while tracking is off"

OTHERS: Mapping[str | None, frozenset[str]] = {
    "android": frozenset((IdKind.IDFA.value, IdKind.IDFV.value)),
    "ios": frozenset((IdKind.GAID.value, IdKind.OAID.value, IdKind.ANDROID_ID.value)),
    None: frozenset(),
}
"""The ids that an app of that platform cannot have."""

KINDS = tuple(kind.value for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED))

Check = Callable[[str], object]


def _check(kind: str, platform: str | None) -> Check:
    """What is true of a good id of that kind. One expression each: every login passes through it."""
    if kind in OTHERS[platform]:
        return lambda value: None
    if kind not in SHAPES:
        return re.compile(rf"(?!(?i:{NONE})\Z){ANY[0]}").fullmatch
    return re.compile(rf"(?![0-]+\Z)(?:{SHAPES[kind][0]})").fullmatch  # of the words, none has a shape


CHECKS: Mapping[str | None, Mapping[str, Check]] = {
    platform: {kind: _check(kind, platform) for kind in KINDS} for platform in OTHERS
}

_placeholder = re.compile(NONE, re.IGNORECASE).fullmatch


class Warned(Struct, frozen=True):
    """One thing about a taken event that its sender should mend: field and rule, without the value."""

    field: str
    rule: str


def odd_ids(device: Mapping[str, Any], platform: str | None) -> dict[str, str]:
    """The ids of a device that name nobody, each with the rule it breaks; `ZERO_RULE` is the phone's own.

    `platform` is the app's: `android`, `ios` or `None`. Empty ones count as not given; what is no text is
    left to whoever reads the event.
    """
    checks = CHECKS[platform]
    odd = [
        kind
        for kind, value in device.items()
        if (good := checks.get(kind)) is not None and value and isinstance(value, str) and not good(value)
    ]
    return {kind: _rule(kind, device[kind], platform) for kind in odd}


def _rule(kind: str, value: str, platform: str | None) -> str:
    if value == ZERO_ID:
        return ZERO_RULE
    if _placeholder(value):
        return PLACEHOLDER_RULE
    return PLATFORM_RULE if kind in OTHERS[platform] else SHAPES.get(kind, ANY)[1]
