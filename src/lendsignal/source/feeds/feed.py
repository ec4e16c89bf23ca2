"""One feed: its settings, the apps it speaks of, and the channels its media sources count under."""

from collections.abc import Mapping
from typing import TypeAlias
from zoneinfo import ZoneInfo

from lendsignal.errors import InputError
from lendsignal.model import App
from lendsignal.model.attribution import Attribution, Recorded
from lendsignal.source.feeds.cells import name_of
from lendsignal.source.feeds.channels import channel_of
from lendsignal.source.feeds.settings import FeedSettings

Fact: TypeAlias = Attribution | Recorded


class Feed:
    """One configured feed, as its platform's reader needs it."""

    def __init__(self, name: str, settings: FeedSettings, apps: Mapping[str, App]) -> None:
        self.name = name
        self.settings = settings
        self.mmp = settings.mmp or settings.kind
        self.zone = ZoneInfo(settings.timezone)
        self.columns = {name_of(theirs): name_of(ours) for theirs, ours in settings.columns.items()}
        self._apps = _names_of(apps) | {key.lower(): ours for key, ours in settings.apps.items()}
        self._default = settings.app

    def app(self, said: str, field: str) -> str:
        """Our name of an app, by its bundle, its App Store number, or what the settings say."""
        found = self._apps.get(said.lower()) if said else self._default
        if found is None and said and not self.settings.apps and self._default is not None:
            # A token or a number of the MMP's own, in a feed that is said to be of one app.
            found = self._default
        if found is None:
            raise InputError(
                field,
                "is none of your apps: give it in `apps`, or the feed's `app`" if said else "names no app",
            )
        return found

    def channel(self, media_source: str) -> str:
        """The channel that a media source counts under."""
        return channel_of(media_source, self.settings.channels)


def _names_of(apps: Mapping[str, App]) -> dict[str, str]:
    """Every name that an app may go by, in lower case."""
    found: dict[str, str] = {}
    for app in apps.values():
        number = app.bundle.removeprefix("id") if app.platform == "ios" else app.bundle
        for name in (number, app.identifier, app.bundle, app.name):
            found[name.lower()] = app.name
    return found
