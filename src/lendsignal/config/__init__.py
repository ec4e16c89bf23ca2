"""One typed TOML file, composed from each room's own settings; every mistake in it is named at once.

`settings` is the file as a lender writes it, `usable` what the service works with, and `composing` the way
from one to the other: a module for each part of the file looks it through with the same `Notes`.
"""

from lendsignal.config.apps import AppSettings, BrandSettings, Name, PortfolioSettings
from lendsignal.config.feeds import SHORTEST_FEED_SECRET
from lendsignal.config.jsonschema import config_schema
from lendsignal.config.loading import load, overrides, parsed
from lendsignal.config.people import ConsentSettings, PeopleSettings
from lendsignal.config.rules import EXPRESSION
from lendsignal.config.service import MetricsSettings, ServiceSettings, TraceSettings
from lendsignal.config.settings import Settings
from lendsignal.config.usable import Config
from lendsignal.config.web import WebSettings, is_this_host

__all__ = [
    "EXPRESSION",
    "SHORTEST_FEED_SECRET",
    "AppSettings",
    "BrandSettings",
    "Config",
    "ConsentSettings",
    "MetricsSettings",
    "Name",
    "PeopleSettings",
    "PortfolioSettings",
    "ServiceSettings",
    "Settings",
    "TraceSettings",
    "WebSettings",
    "config_schema",
    "is_this_host",
    "load",
    "overrides",
    "parsed",
]
