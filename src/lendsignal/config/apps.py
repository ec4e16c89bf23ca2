"""`[portfolio]`, `[brand.NAME]` and `[app.NAME]`: the lender, its products and their store listings."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.config.notes import Notes, tables
from lendsignal.model import App
from lendsignal.settings import key_path, read

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class PortfolioSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lender."""

    name: Annotated[Name, Meta(description="the lender's name; part of every conversion id")]


class BrandSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product with its own accounts; `user_id` is unique within it."""

    label: Annotated[str | None, Meta(description="how reports name it")] = None


class AppSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One store listing of a brand."""

    brand: Annotated[str, Meta(description="the brand it belongs to")]
    platform: Annotated[Literal["android", "ios"], Meta(description="android or ios")]
    bundle: Annotated[
        str, Meta(min_length=1, description="package name, or id + App Store number such as id123456789")
    ]
    bundle_id: Annotated[str | None, Meta(description="iOS bundle identifier, such as com.acme.loans")] = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166 country")]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 currency")]
    timezone: Annotated[str, Meta(description="IANA time zone, such as Africa/Lagos")]
    shortest_term_days: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="days in which its shortest loan must be repaid in full, for the policy pre-flight"),
    ] = None
    apr_percent: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="its highest yearly rate in per cent, costs and fees included, for the same"),
    ] = None


UNREADABLE = App(name="", brand="", platform="android", bundle="", country="", currency="", timezone="UTC")
"""Stands in for an app with mistakes, so that what refers to it is checked all the same."""


def apps_of(
    brands: Mapping[str, BrandSettings], given: Mapping[str, AppSettings], notes: Notes
) -> dict[str, App]:
    """The apps, those with mistakes included."""
    apps: dict[str, App] = {}
    for table, names in (("brand", brands), ("app", given)):
        for name in names:
            notes.name(key_path(table, name), name)
    for name, app in given.items():
        if app.brand not in brands:
            notes.wrong(key_path("app", name, "brand"), repr(app.brand), tables("brand", brands))
        notes.zone(key_path("app", name, "timezone"), app.timezone)
        if app.platform == "ios" and not re.fullmatch(r"id[0-9]+", app.bundle):
            # AppsFlyer answers 200 for a bare number and records nothing.
            allowed = "id + App Store number such as id123456789; the bundle identifier goes to bundle_id"
            notes.wrong(key_path("app", name, "bundle"), repr(app.bundle), allowed)
        facts = {field: getattr(app, field) for field in App.__struct_fields__ if field != "name"}
        apps[name] = App(name=name, **facts)
    return apps


def default_apps(apps: Mapping[str, App]) -> dict[str, str]:
    """Each brand's first app: where conversions belong that no device tells."""
    default: dict[str, str] = {}
    for app in apps.values():
        default.setdefault(app.brand, app.name)
    return default


def mended(app: object, brands: Sequence[str]) -> AppSettings | None:
    """An app with something passable in place of each mistake, so that its other keys are looked at too."""
    if not isinstance(app, dict) or not brands:
        return None
    passable = {
        "brand": brands[0],
        "platform": "android",
        "bundle": "id1",
        "country": "ZZ",
        "currency": "XXX",  # ISO 4217: no currency
        "timezone": "UTC",
    }
    good = {
        key: value
        for key, value in app.items()
        if read(AppSettings, {**passable, key: value}, path="", origin="")[0] is not None
    }
    return read(AppSettings, {**passable, **good}, path="", origin="")[0]
