"""The channel behind a media source: one word for Meta, whatever an MMP calls it."""

from collections.abc import Mapping

CHANNELS: Mapping[str, frozenset[str]] = {
    # AppsFlyer's names stand in its raw data (media_source), Adjust's are names of its first link level.
    "meta": frozenset(
        (
            "facebook ads",
            "facebook",
            "facebook_int",
            "facebook installs",
            "instagram installs",
            "off-facebook installs",
            "facebook messenger installs",
            "facebook audience network installs",
            "meta ads",
            "meta",
        )
    ),
    "google": frozenset(
        (
            "googleadwords_int",
            "google ads",
            "google ads aci",
            "google ads ace",
            "google ads search",
            "google ads",
            "adwords",
            "google",
        )
    ),
    "tiktok": frozenset(
        (
            "bytedanceglobal_int",
            "tiktokglobal_int",
            "tiktok_int",
            "tiktok for business",
            "tiktok san",
            "tiktok",
        )
    ),
    "snap": frozenset(("snapchat_int", "snapchat installs", "snapchat", "snap")),
    "kwai": frozenset(("kwai_int", "kwai for business", "kwaiforbusiness_int", "kwai")),
    "apple": frozenset(("apple search ads", "apple")),
    "organic": frozenset(("organic", "google organic search")),
}
"""Names that are known; any other is its own channel, and a lender may say otherwise (`channels`)."""

_OF = {name: channel for channel, names in CHANNELS.items() for name in names}


def channel_of(media_source: str, own: Mapping[str, str]) -> str:
    """The channel that a media source counts under; `own` are the lender's words for it, and go first.

    Nothing is guessed: an unknown media source is its own channel in lower case, an empty one has none.
    """
    known = {name.lower(): channel for name, channel in own.items()}
    name = media_source.strip().lower()
    return known.get(name) or _OF.get(name) or name
