"""Destinations and routes written once for many apps, and what they stand for.

A `[destination.NAME]` with `apps` in place of `app` stands for one destination an app, `NAME-APP`; a route's
`to` may name them all. Everything behind this knows single destinations alone: the file's table is unfolded
before it is read, and problems find back to the place where they were written.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any

from msgspec import Meta, Struct

from lendsignal.errors import Problem
from lendsignal.settings.notation import key_path
from lendsignal.settings.reading import read

NOT_FILLED = "template"
"""The key whose braces are not ours: a webhook's body has placeholders of its own."""


class Template(Struct, frozen=True, kw_only=True):
    """What a destination of several apps has in place of `app`."""

    apps: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(
            min_length=1,
            description='in place of `app`: one destination an app, by names and patterns such as "acme-*"',
        ),
    ]
    per_app: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="beside `apps`: app = the keys that differ for it, such as { app_id = … }"),
    ] = {}


class Unfolded(Struct, frozen=True):
    """A file's table without templates. `made`: template → the destinations it stands for.

    `written` maps the beginnings of keys to the keys they were written under; the longest that fits counts.
    """

    table: dict[str, Any]
    problems: list[Problem]
    made: Mapping[str, tuple[str, ...]]
    written: Mapping[str, str]

    def as_written(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems by the keys of the file, each once: one mistake in a template is one problem."""
        found = [replace(problem, key=self.key_of(problem.key)) for problem in problems]
        return list(dict.fromkeys(found))

    def told(self, warnings: Iterable[str]) -> list[str]:
        """Warnings, which begin with a key, in the same way."""
        parts = [warning.partition(": ") for warning in warnings]
        return list(dict.fromkeys(self.key_of(key) + colon + rest for key, colon, rest in parts))

    def key_of(self, key: str) -> str:
        """The key under which it was written; most are their own."""
        end = len(key)
        while end > 0:
            if (found := self.written.get(key[:end])) is not None:
                return found + key[end:]
            end = max(key.rfind(".", 0, end), key.rfind("[", 0, end))
        return key


def unfolded(table: Mapping[str, Any], origin: str) -> Unfolded:
    """The table with a destination for each app of a template, and a route for each destination it names.

    What is no table, or has neither `apps` nor several destinations, stays as it is for `read` to judge.
    """
    problems: list[Problem] = []
    written: dict[str, str] = {}
    made: dict[str, tuple[str, ...]] = {}
    given = table.get("destination")
    destinations = dict(given) if isinstance(given, dict) else {}
    apps = list(found) if isinstance(found := table.get("app"), dict) else []
    for name, one in list(destinations.items()):
        if isinstance(one, dict) and "apps" in one:
            del destinations[name]
            members = _members(name, one, apps, origin, problems, written)
            for taken in sorted(members.keys() & destinations.keys()):
                allowed = "a name that no other destination has"
                key = key_path("destination", name)
                problems.append(Problem(key, f"the name {taken!r}", allowed, origin))
            destinations.update(members)
            made[name] = tuple(members)
    routes = table.get("route")
    whole = dict(table)
    if isinstance(given, dict):
        whole["destination"] = destinations
    if isinstance(routes, list):
        whole["route"] = _routes(routes, list(destinations), made, origin, problems, written)
    return Unfolded(whole, problems, made, written)


def _members(
    name: str,
    one: Mapping[str, Any],
    apps: Sequence[str],
    origin: str,
    problems: list[Problem],
    written: dict[str, str],
) -> dict[str, Any]:
    """The destinations that a template stands for, by their names."""
    path = key_path("destination", name)
    common = {key: value for key, value in one.items() if key not in ("apps", "per_app")}
    template, found = read(Template, one, path=path, origin=origin, also=common)
    problems += found
    if "app" in one:
        problems.append(Problem(path, "both app and apps", "app for one app, apps for several", origin))
    if template is None:
        return {}
    chosen: list[str] = []
    for number, pattern in enumerate(template.apps):
        matching = [app for app in apps if fnmatchcase(app, pattern)]
        if not matching:
            near = next(iter(get_close_matches(pattern, apps, n=1)), None)
            allowed = f"apps or patterns of them: {', '.join(apps) or 'none is there'}"
            problems.append(Problem(f"{path}.apps[{number}]", repr(pattern), allowed, origin, near))
        chosen += [app for app in matching if app not in chosen]
    for app in template.per_app:
        if app not in chosen:
            near = next(iter(get_close_matches(app, chosen, n=1)), None)
            key, allowed = key_path(path, "per_app", app), f"one of its apps: {', '.join(chosen)}"
            problems.append(Problem(key, "an app that is none of its own", allowed, origin, near))
    members: dict[str, Any] = {}
    for app in chosen:
        member = f"{name}-{app}"
        own = template.per_app.get(app, {})
        filled = {
            key: value if key == NOT_FILLED else _filled(value, app)
            for key, value in {**common, **own}.items()
        }
        members[member] = {**filled, "app": app}
        below = key_path("destination", member)
        written[below] = path
        written.update({key_path(below, key): key_path(path, "per_app", app, key) for key in own})
        written[key_path(below, "app")] = f"{path}.apps"
    return members


def _filled(value: Any, app: str) -> Any:
    """A value with the app's name for `{app}`, and for `{APP}` the name as environment variables write it."""
    match value:
        case str():
            return value.replace("{app}", app).replace("{APP}", re.sub(r"\W", "_", app).upper())
        case dict():
            return {key: _filled(inner, app) for key, inner in value.items()}
        case list():
            return [_filled(inner, app) for inner in value]
        case _:
            return value


def _routes(
    routes: Sequence[Any],
    names: Sequence[str],
    made: Mapping[str, tuple[str, ...]],
    origin: str,
    problems: list[Problem],
    written: dict[str, str],
) -> list[Any]:
    """One route for each destination that each route names."""
    single: list[Any] = []
    for number, route in enumerate(routes):
        to = route.get("to") if isinstance(route, dict) else None
        listed = isinstance(to, list) and bool(to) and all(isinstance(each, str) for each in to)
        wanted: Sequence[Any] = to if isinstance(to, list) and listed else [to]
        ends: list[Any] = []
        for place, each in enumerate(wanted):
            found = _named(each, names, made)
            if not found:
                key = f"route[{number}].to[{place}]" if listed else f"route[{number}].to"
                allowed = f"destinations or patterns of them: {', '.join([*made, *names]) or 'none is there'}"
                problems.append(Problem(key, repr(each), allowed, origin))
            ends += [end for end in found if end not in ends]
        for end in ends:
            written[f"route[{len(single)}]"] = f"route[{number}]"
            single.append({**route, "to": end} if isinstance(route, dict) else route)
    return single


def _named(to: Any, names: Sequence[str], made: Mapping[str, tuple[str, ...]]) -> list[Any]:
    """The destinations that one word of a route means: a template's, those of a pattern, or just the word.

    Empty where a template or pattern stands for none.
    """
    if not isinstance(to, str):
        return [to]
    if to in made:
        return list(made[to])
    if "*" in to or "?" in to:
        return [name for name in names if fnmatchcase(name, to)]
    return [to]
