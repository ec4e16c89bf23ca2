"""`[destination.NAME]`: whom conversions are sent to, with the platform's own keys beside ours."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from lendsignal.config.apps import UNREADABLE
from lendsignal.config.notes import Notes
from lendsignal.config.twice import read_twice
from lendsignal.deliver import (
    DestinationSettings,
    Outlet,
    problem_with_google,
    problem_with_secrets,
    secrets_of,
)
from lendsignal.destination import registry
from lendsignal.destination.spec import Corrections, Destination, hosts_of
from lendsignal.model import App, Secret
from lendsignal.plan import Corrects, Target
from lendsignal.settings import key_path, read


class Given(Struct, frozen=True):
    """One destination as it was written; `common` and `own` are `None` where they hold mistakes."""

    module: Destination
    table: Mapping[str, Any]
    common: DestinationSettings | None
    own: Any

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """The references to secrets that can be read, also beside other mistakes."""
        for field in self.module.Settings.__struct_fields__:
            given = self.table.get(field)
            if isinstance(given, dict) and given.keys() <= {"env", "file"}:
                secret, problems = read(Secret, given, path="", origin="")
                if secret is not None and not problems:
                    yield field, secret

    def problem_with_name(self, name: str) -> tuple[str, str] | None:
        """What is wrong with an event's name at the destination, and what would be right."""
        wrong = self.module.problem_with_name(name)
        if wrong is not None:
            label = self.module.SPEC.label
            return wrong, f"a name that {label} takes; neutral codes such as ev_a1 are best"
        unmapped = getattr(self.module, "unmapped", None)
        missing = unmapped(name, self.own) if unmapped is not None and self.own is not None else None
        return None if missing is None else (missing, "a name that the destination's own settings map")


def destinations_in(given: object, notes: Notes) -> dict[str, Given | None]:
    """Every destination's table, read twice: our keys, and the platform's own. `None`: of no known kind."""
    if not isinstance(given, dict):
        notes.wrong("destination", "no table", "[destination.NAME] tables")
        return {}
    read_ones: dict[str, Given | None] = {}
    for name, table in given.items():
        read_ones[name] = None
        path = key_path("destination", name)
        if not isinstance(table, dict):
            notes.wrong(path, "no table", "[destination.NAME]")
            continue
        of_kind = read_twice(table, registry(), DestinationSettings, path, notes)
        if of_kind is not None:
            module, common, own = of_kind
            read_ones[name] = Given(module, table, common, own)
    return read_ones


def outlets_of(
    given: Mapping[str, Given | None], apps: Mapping[str, App], named: Mapping[str, Any], notes: Notes
) -> dict[str, Outlet]:
    """The destinations without mistakes; `named` are all apps of the file, those with mistakes included."""
    outlets: dict[str, Outlet] = {}
    for name, one in given.items():
        if one is None:
            continue
        for field, secret in one.secrets():
            notes.secret(key_path("destination", name, field), notes.placed(secret))
        if one.common is None or one.own is None:
            continue
        if one.common.app not in apps and one.common.app not in named:
            notes.one_of(key_path("destination", name, "app"), one.common.app, named)
        app = apps.get(one.common.app, UNREADABLE)
        own = notes.all_placed(one.own)
        spec = one.module.SPEC
        wrong = problem_with_secrets(spec.auth, secrets_of(own)) or problem_with_google(
            spec.auth, secrets_of(own)
        )
        if wrong is not None:
            key = key_path("destination", name, wrong[0])
            notes.wrong(key, wrong[1], "the secret as the platform shows it")
        hosts = hosts_of(spec, own)
        outlets[name] = Outlet(name=name, module=one.module, common=one.common, own=own, app=app, hosts=hosts)
    return outlets


def targets_of(outlets: Mapping[str, Outlet]) -> dict[str, Target]:
    """The destinations as the plan sees them."""
    return {
        name: Target(
            name=name,
            kind=outlet.common.kind,
            app=outlet.common.app,
            account=outlet.common.account or name,
            forwards=outlet.common.forwards,
            send_test=outlet.common.send_test,
            corrects=_corrects(outlet.spec.corrections),
        )
        for name, outlet in outlets.items()
    }


def _corrects(corrections: Corrections | None) -> Corrects:
    """What a platform lets be changed later, in the words of the plan."""
    if corrections is None:
        return "nothing"
    return "everything" if corrections.retracts else "value"
