"""`[[route]]`: which conversion goes where, under which name and with which value."""

from collections.abc import Mapping, Sequence

from lendsignal.advise.preflight import NAMES
from lendsignal.config.destinations import Given
from lendsignal.config.notes import Notes, nearest
from lendsignal.derive import DerivePolicy
from lendsignal.destination.spec import sensitive_word
from lendsignal.plan import RouteSettings, ValueSettings, known_conversions
from lendsignal.settings import key_path


def check_routes(
    routes: Sequence[RouteSettings], outlets: Mapping[str, Given | None], derive: DerivePolicy, notes: Notes
) -> None:
    """What routes name must be there: destinations, conversions, and names that the destination takes."""
    known = known_conversions(derive)
    for number, route in enumerate(routes):
        path = f"route[{number}]"
        if route.to not in outlets and route.send:
            notes.no_table(f"{path}.to", route.to, "destination", outlets)
        for conversion, name in route.send.items():
            if conversion not in known:
                key, allowed = key_path(f"{path}.send", conversion), f"one of {', '.join(known)}"
                notes.wrong(key, "no conversion of that name", allowed, nearest(conversion, known))
            outlet = outlets.get(route.to)
            if outlet is not None:
                _check_name(f"{path}.send.{conversion}", name, outlet, notes)
        _check_values(path, route, notes)


def _check_name(key: str, name: str, outlet: Given, notes: Notes) -> None:
    wrong = outlet.problem_with_name(name)
    if wrong is not None:
        notes.wrong(key, f"{name!r}, which {wrong[0]}", wrong[1])
    elif outlet.module.SPEC.neutral_names and (word := sensitive_word(name)):
        notes.warnings.append(
            f"{key}: {name!r} says {word!r}; neutral codes are safer ({NAMES.source}, read {NAMES.read})"
        )


def _check_values(path: str, route: RouteSettings, notes: Notes) -> None:
    for conversion, rule in route.value.items():
        key = f"{path}.value.{conversion}"
        if conversion not in route.send:
            allowed = f"one that the route sends: {', '.join(route.send)}"
            notes.wrong(key, "a conversion it does not send", allowed)
        if rule == "predicted":
            notes.warnings.append(
                f"{key}: sent without a value where the event has no property predicted_value"
            )
        if rule == "predicted_low":
            notes.warnings.append(f"{key}: sent without a value until a value model is in force")


def any_converts(routes: Sequence[RouteSettings]) -> bool:
    """Whether some route tells values in another currency than the event's."""
    rules = [rule for route in routes for rule in route.value.values()]
    return any(isinstance(rule, ValueSettings) and rule.currency is not None for rule in rules)
