"""A route changed in the text of a configuration, so that comments and everything else stay as they are.

Only what a form can mean is changed here, key by key; the changed text is read again, and where it does not
say just what was wished, the change is refused and the text has to be changed by hand.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from datetime import date, datetime, time
from typing import Any

from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.settings.lines import toml_positions

BARE = re.compile(r"[A-Za-z0-9_-]+")
BY_HAND = "this route is not written key by key: change the text itself"


class RouteWish(Struct, frozen=True, kw_only=True):
    """What a route is to be. Empty `send`: it is to have none, which `check` refuses."""

    send: Mapping[str, str]
    value: Mapping[str, Any]
    mode: str = "live"


def routes_in(text: str) -> list[dict[str, Any]]:
    """The routes of a text as they are written, patterns and lists unfolded nowhere. Raises `InputError`."""
    found = _read(text).get("route", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def with_route(text: str, number: int, wish: RouteWish) -> str:
    """The text with the route of that number (from 0) as it is wished."""
    wished = _read(text)
    routes = wished.get("route")
    if not isinstance(routes, list) or not 0 <= number < len(routes):
        raise InputError("route", "there is no such route any more")
    route = routes[number] = deepcopy(routes[number])
    before = dict(route)
    route["send"] = dict(wish.send)
    for key, value, plain in (("value", dict(wish.value), {}), ("mode", wish.mode, "live")):
        if value != plain or (key in route and key == "mode"):
            route[key] = value
        else:
            route.pop(key, None)
    for key in ("send", "value", "mode"):
        if route.get(key) != before.get(key):
            text = _with_key(text, number, key, route.get(key))
    return _just(text, wished)


def with_new_route(text: str, to: str, wish: RouteWish) -> str:
    """The text with one more route at its end."""
    wished = _read(text)
    new: dict[str, Any] = {"to": to, "send": dict(wish.send)}
    if wish.value:
        new["value"] = dict(wish.value)
    if wish.mode != "live":
        new["mode"] = wish.mode
    wished.setdefault("route", []).append(new)
    width = max(map(len, new))
    lines = "".join(f"{key:{width}} = {toml(value)}\n" for key, value in new.items())
    return _just(f"{text.rstrip()}\n\n[[route]]\n{lines}", wished)


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return repr(value)
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            inside = ", ".join(f"{_key(key)} = {toml(each)}" for key, each in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            raise InputError("route", BY_HAND)


def _with_key(text: str, number: int, key: str, value: Any) -> str:
    """Writes one key of a route where it stands, takes it out, or puts it below its `send` or `to`."""
    lines = text.splitlines(keepends=True)
    place = f"route[{number}].{key}"
    if place in toml_positions(text):
        first, end, comment = _statement(lines, toml_positions(text)[place] - 1, key)
        head = re.match(rf"\s*{key}\s*=\s*", lines[first])
        if head is None:
            raise InputError("route", BY_HAND)
        anew = [] if value is None else [f"{head[0]}{toml(value)}{comment}\n"]
        return "".join([*lines[:first], *anew, *lines[end:]])
    for above in ("send", "to"):
        if (line := toml_positions(text).get(f"route[{number}].{above}")) is not None:
            _, end, _ = _statement(lines, line - 1, above)
            if not lines[end - 1].endswith("\n"):
                lines[end - 1] += "\n"
            return "".join([*lines[:end], f"{key} = {toml(value)}\n", *lines[end:]])
    raise InputError("route", BY_HAND)


def _statement(lines: list[str], first: int, key: str) -> tuple[int, int, str]:
    """The lines of one `key = value` from `first` on, the line after it, and the comment at its end."""
    for end in range(first + 1, len(lines) + 1):
        told = "".join(lines[first:end])
        try:
            found = tomllib.loads(told)
        except tomllib.TOMLDecodeError:
            continue
        if set(found) != {key}:
            break
        for hash_ in (each.start() for each in re.finditer(r"\s*#", told)):
            if _same(told[:hash_], found):
                return first, end, told[hash_:].rstrip("\n")
        return first, end, ""
    raise InputError("route", BY_HAND)


def _same(told: str, found: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(told) == found
    except tomllib.TOMLDecodeError:
        return False


def _just(text: str, wished: Mapping[str, Any]) -> str:
    if not _same(text, wished):
        raise InputError("route", BY_HAND)
    return text


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError("text", f"not TOML: {error}") from None


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)
