"""From the file's table to a configuration that can be used: each part of it by its own module."""

from pathlib import Path
from typing import Any

from lendsignal.advise.preflight import Terms
from lendsignal.config.alerts import alerts_of
from lendsignal.config.apps import apps_of, default_apps
from lendsignal.config.audiences import accounts_of, check_lists, holdouts_by_list, holdouts_of
from lendsignal.config.destinations import destinations_in, outlets_of, targets_of
from lendsignal.config.feeds import feeds_of, rates_in, spend_of
from lendsignal.config.notes import Notes, entries
from lendsignal.config.people import people_of
from lendsignal.config.routes import any_converts, check_routes
from lendsignal.config.rules import check_protected, custom_of, likely_of, tiers_of
from lendsignal.config.service import check_traces, metrics_of, not_on_a_cluster, store_of
from lendsignal.config.settings import Settings, readable
from lendsignal.config.sources import check_whom_for, keys_of, pulls_of
from lendsignal.config.usable import Config
from lendsignal.config.web import check_open, web_of
from lendsignal.deliver.allowed import kept_to, not_allowed
from lendsignal.derive import DerivePolicy
from lendsignal.model import App
from lendsignal.plan import PolicySource, double_counting, gaps_in_sending, wrong_moments
from lendsignal.resolve import contradictions
from lendsignal.settings import key_path, read

WITH_KINDS = ("destination", "pull", "audience_account")
"""Tables whose keys depend on their kind: they are read apart."""


def composed(table: dict[str, Any], path: Path, notes: Notes) -> Config | None:
    """The configuration; `None` where there are mistakes, all of which are in the notes then."""
    common = {**table, **{section: {} for section in WITH_KINDS}}
    settings, problems = read(Settings, common, path="", origin=notes.origin)
    notes.problems.extend(problems)
    given = destinations_in(table.get("destination", {}), notes)
    if settings is None:
        settings = readable(common)
    apps = apps_of(settings.brand, settings.app, notes)
    derive = _derive(settings, apps, notes)
    check_open(settings.web, notes)
    people = people_of(settings.people, notes)
    web = web_of(settings.web, settings.security, apps, notes)
    metrics = metrics_of(settings.metrics, notes)
    outlets = outlets_of(given, apps, dict(entries(table.get("app"))), notes)
    targets = targets_of(outlets)
    check_routes(settings.route, given, derive, notes)
    for key, why in double_counting(settings.route, targets):
        notes.wrong(key, why, "one way to each platform, one value for each loan")
    for key, seen, allowed in (*wrong_moments(settings.route), *contradictions(settings.resolve)):
        notes.wrong(key, seen, allowed)
    check_protected(settings.value, notes)
    holdouts = holdouts_of(settings.holdout, settings.audience, derive, given, notes)
    accounts = dict(entries(table.get("audience_account")))
    check_lists(
        settings.audience, apps, accounts, notes, special_category=settings.audiences.special_category
    )
    for app, conversion, platform, when in gaps_in_sending(settings.route, targets):
        notes.warnings.append(
            f"{conversion} of {app} is {when} at {platform}: somebody else must send it then"
        )
    keys = keys_of(settings.source, notes)
    check_whom_for(settings.source, settings.brand, settings.app, notes)
    pulls = pulls_of(table.get("pull", {}), settings.source, notes)
    feeds = feeds_of(settings.feed, apps, notes)
    spend = spend_of(settings.spend, notes)
    rates = rates_in(settings.fx, notes)
    alerts = alerts_of(settings.alert, notes)
    told = accounts_of(table.get("audience_account", {}), notes)
    for names, hosts in not_allowed(settings.security, outlets, alerts, told):
        notes.wrong(key_path(*names), hosts, "a host of security.hosts, or the host added there")
    outlets = kept_to(settings.security, outlets)
    store = store_of(settings.store, notes)
    if store is not None:
        notes.warnings.extend(not_on_a_cluster(outlets))
    if not settings.source and not pulls:
        notes.warnings.append("no [source.NAME]: nobody can send events over HTTP")
    for name in outlets.keys() - {route.to for route in settings.route}:
        notes.warnings.append(f"destination {name} gets nothing: no [[route]] names it")
    if derive.across_brands and derive.history != "whole":
        notes.warnings.append(
            'derive.first = "portfolio" sends no first before derive.history = "whole": an old borrower of '
            "another brand would count as new"
        )
    if settings.deliver.sandbox is not None:
        for name in [name for name, outlet in outlets.items() if outlet.is_topic]:
            notes.warnings.append(
                f"destination {name} is sent to: deliver.sandbox stands in for no Kafka broker"
            )
    if not notes.problems:
        check_traces(settings.traces, notes)
    if notes.problems:
        return None
    clock = settings.service.replay_clock
    return Config(
        path=path,
        data=notes.folder / settings.service.data,
        replay_clock=None if clock is None else notes.folder / clock,
        portfolio=settings.portfolio.name,
        apps=apps,
        policy=PolicySource(
            derive=derive,
            resolve=settings.resolve,
            routes=tuple(settings.route),
            targets=targets,
            consent_default=settings.consent.default,
            people=people,
            # Without a route that converts, a new rate changes nothing and is no new policy.
            rates=rates.listed() if any_converts(settings.route) else (),
            rates_good_for=rates.good_for,
            holdouts=holdouts,
        ),
        traces=settings.traces,
        store=store,
        tiers=settings.tiers,
        proxy=settings.proxy,
        value=settings.value,
        outlets=outlets,
        keys=keys,
        sources=settings.source,
        pulls=pulls,
        feeds=feeds,
        feed_secrets={
            name: notes.placed(one.secret) for name, one in settings.feed.items() if one.secret is not None
        },
        spend=spend,
        rates=rates,
        currency=settings.fx.currency,
        door=settings.door,
        web=web,
        metrics=metrics,
        security=settings.security,
        deliver=settings.deliver,
        archive=settings.archive,
        log=settings.log,
        secrets=notes.secrets,
        health=settings.health,
        alerts=alerts,
        lists=settings.audience,
        audiences=settings.audiences,
        audience_accounts=told,
        list_accounts={name: str(one.get("kind")) for name, one in accounts.items() if isinstance(one, dict)},
        list_holdouts=holdouts_by_list(settings.holdout, settings.audience),
        warnings=tuple(notes.warnings),
        terms={
            name: Terms(shortest_term_days=app.shortest_term_days, apr_percent=app.apr_percent)
            for name, app in settings.app.items()
        },
    )


def _derive(settings: Settings, apps: dict[str, App], notes: Notes) -> DerivePolicy:
    """By which rules conversions come out of events."""
    tiers = tiers_of(settings.tiers, notes)
    return DerivePolicy(
        portfolio=settings.portfolio.name,
        apps=apps,
        default_app=default_apps(apps),
        tiers=tiers,
        default_dpd=settings.derive.default_dpd,
        first=settings.derive.first,
        history=settings.derive.history,
        custom=custom_of(settings.conversion, tiers, notes),
        likely=likely_of(settings.proxy, notes),
    )
