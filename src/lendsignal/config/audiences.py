"""`[audience.NAME]`, `[audience_account.NAME]`, `[holdout.NAME]`: lists, who gets them, who is left out."""

from collections.abc import Collection, Mapping
from typing import Any

from lendsignal.audience import AudienceSettings
from lendsignal.audience.definitions import definition_of
from lendsignal.audience.policy import hidden, problems
from lendsignal.config.notes import Notes
from lendsignal.config.twice import read_twice
from lendsignal.deliver.audiences import AccountPlan, AccountSettings, problem_with_account
from lendsignal.derive import DerivePolicy
from lendsignal.destination.audiences import audience_platforms
from lendsignal.model import App
from lendsignal.plan import Holdout, HoldoutSettings, holdout_of, known_conversions, wrong_holdouts
from lendsignal.settings import key_path


def check_lists(
    lists: Mapping[str, AudienceSettings],
    apps: Mapping[str, App],
    accounts: Mapping[str, Any],
    notes: Notes,
    *,
    special_category: Collection[str],
) -> None:
    """What is wrong with the lists, and which of them a platform does not let a lender use.

    `special_category`: countries where ads for credit are one.
    """
    for name, one in lists.items():
        path = key_path("audience", name)
        notes.name(path, name)
        before = len(notes.problems)
        for key, seen, allowed in problems(name, one):
            notes.wrong(f"{path}.{key}" if key else path, seen, allowed)
        for app in one.apps:
            if app not in apps:
                notes.no_table(f"{path}.apps", app, "app", apps)
        for account in one.to:
            if account not in accounts:
                notes.no_table(f"{path}.to", account, "audience_account", accounts)
        if len(notes.problems) > before:
            continue
        definition = definition_of(name, one)
        countries = {app.country for app in apps.values() if not one.apps or app.name in one.apps}
        for account in one.to:
            given = accounts[account]
            kind = str(given.get("kind")) if isinstance(given, dict) else ""
            why = hidden(definition, kind, set(one.countries) or countries, special_category)
            if why is not None:
                notes.warnings.append(f"{path}: not sent to {account}: {why}")


def accounts_of(given: object, notes: Notes) -> dict[str, AccountPlan]:
    """Every account that lists are told to: its table is read twice, our keys and the platform's own."""
    if not isinstance(given, dict):
        notes.wrong("audience_account", "no table", "[audience_account.NAME] tables")
        return {}
    accounts: dict[str, AccountPlan] = {}
    kinds = audience_platforms()
    for name, table in given.items():
        path = key_path("audience_account", name)
        notes.name(path, name)
        if not isinstance(table, dict):
            notes.wrong(path, "no table", "[audience_account.NAME]")
            continue
        of_kind = read_twice(table, kinds, AccountSettings, path, notes)
        if of_kind is None:
            continue
        module, common, own = of_kind
        if common is None or own is None:
            continue
        own = notes.all_placed(own)
        notes.secrets_of(path, own)
        plan = AccountPlan(name=name, module=module, common=common, own=own, folder=notes.folder)
        wrong = problem_with_account(plan)
        if wrong is not None:
            notes.wrong(f"{path}.{wrong[0]}", wrong[1], "the secret as the platform shows it")
        accounts[name] = plan
    return accounts


def holdouts_of(
    settings: Mapping[str, HoldoutSettings],
    lists: Mapping[str, AudienceSettings],
    derive: DerivePolicy,
    outlets: Mapping[str, object],
    notes: Notes,
) -> tuple[Holdout, ...]:
    """The holdouts; one of lists that are not sent from here is a warning."""
    for name, one in settings.items():
        notes.name(key_path("holdout", name), name)
        others = [word for word in one.audiences if word not in lists]
        if others:
            notes.warnings.append(
                f"holdout.{name}.audiences: {', '.join(others)}: no [audience.NAME], so not sent from here;"
                f" `lendsignal advise holdout users {name}` writes who must be left out"
            )
    for key, seen, allowed, near in wrong_holdouts(settings, known_conversions(derive), outlets):
        notes.wrong(f"holdout.{key}", seen, allowed, near)
    return tuple(holdout_of(name, one) for name, one in settings.items())


def holdouts_by_list(
    settings: Mapping[str, HoldoutSettings], lists: Mapping[str, AudienceSettings]
) -> dict[str, tuple[Holdout, ...]]:
    """Each list with the holdouts whose users it leaves out."""
    return {
        name: tuple(holdout_of(word, one) for word, one in settings.items() if name in one.audiences)
        for name in lists
    }
