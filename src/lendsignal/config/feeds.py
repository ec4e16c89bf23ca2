"""`[feed.NAME]`, `[spend.NAME]` and `[fx]`: attribution, what advertising cost, and rates of exchange."""

import re
from collections.abc import Mapping

from lendsignal.config.notes import Notes
from lendsignal.errors import InputError
from lendsignal.model import App, Secret, reveal
from lendsignal.model.rates import Rates
from lendsignal.settings import key_path
from lendsignal.source.feeds import Feed, FeedSettings, FxSettings, SpendFeed, SpendSettings, rates_of

SHORTEST_FEED_SECRET = 16
"""Characters of a secret that stands in an address: fewer could be guessed."""


def feeds_of(given: Mapping[str, FeedSettings], apps: Mapping[str, App], notes: Notes) -> dict[str, Feed]:
    """The feeds whose settings can be used."""
    feeds: dict[str, Feed] = {}
    for name, one in given.items():
        path = key_path("feed", name)
        before = len(notes.problems)
        notes.name(path, name)
        named = {key_path(path, "apps", key): app for key, app in one.apps.items()}
        for key, app in (named | ({f"{path}.app": one.app} if one.app is not None else {})).items():
            if app not in apps:
                notes.no_table(key, app, "app", apps)
        notes.zone(f"{path}.timezone", one.timezone)
        if one.secret is not None:
            _check_secret(f"{path}.secret", notes.placed(one.secret), notes)
        if len(notes.problems) == before:
            feeds[name] = Feed(name, one, apps)
    return feeds


def _check_secret(key: str, secret: Secret, notes: Notes) -> None:
    notes.secret(key, secret)
    value = reveal(secret)
    if value is not None and not re.fullmatch(rf"[A-Za-z0-9_-]{{{SHORTEST_FEED_SECRET},}}", value):
        allowed = f"{SHORTEST_FEED_SECRET} letters, digits, - and _ or more: it stands in an address"
        notes.wrong(key, "a secret that is short or has signs", allowed)


def spend_of(given: Mapping[str, SpendSettings], notes: Notes) -> dict[str, SpendFeed]:
    """The accounts of cost whose settings can be used."""
    costs: dict[str, SpendFeed] = {}
    for name, one in given.items():
        path = key_path("spend", name)
        before = len(notes.problems)
        notes.name(path, name)
        notes.zone(f"{path}.timezone", one.timezone)
        if one.hours_in is not None:
            notes.zone(f"{path}.hours_in", one.hours_in)
        if len(notes.problems) == before:
            costs[name] = SpendFeed(name, one)
    return costs


def rates_in(settings: FxSettings, notes: Notes) -> Rates:
    """The rates of exchange; none where their table cannot be read."""
    try:
        return rates_of(settings, notes.folder)
    except InputError as error:
        notes.wrong("fx", f"{error.field}: {error.rule}", "a table of rates")
    except OSError:
        notes.wrong("fx.file", "no file that can be read", "a CSV file of rates")
    return Rates()
