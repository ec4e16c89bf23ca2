"""Expressions in CEL over an event, its user and the device: checked and compiled once, bounded, closed.

An expression sees the tables of `derive.facts` and nothing else: no clock, no chance, no file. Nothing in it
loops, so that it takes at most as many steps as it has parts (`syntax.LARGEST`).

A fact that is not there makes what asks for it unanswered, as in CEL: `false && unanswered` is false,
`true || unanswered` is true, and an expression that stays unanswered does not hold.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

from lendsignal.derive.facts import TABLES, Facts, Kind
from lendsignal.derive.syntax import Node, mistake, parsed

Step: TypeAlias = Callable[[Facts], Any]

NUMBERS = frozenset(("int", "double"))
WORDS: Mapping[Kind, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "double": "a number with a point",
    "string": "text",
    "list": "a list",
    "map": "a table",
    "any": "a value",
}


class Unanswered(Exception):
    """A fact is missing, or a value is of a kind that the question does not fit. Never leaves this file."""


class Expression(Struct, frozen=True):
    """A compiled expression. `types` are the event types it can hold for; `None`: it must be asked of all."""

    text: str
    types: frozenset[str] | None
    asks: frozenset[str]
    _step: Step

    def holds(self, facts: Facts) -> bool:
        """Whether it is true; what cannot be answered is not."""
        try:
            return self._step(facts) is True
        except Unanswered:
            return False

    def value(self, facts: Facts) -> float | int | None:
        """The number it comes to; `None` where that cannot be answered, or is no number one could send."""
        try:
            found = self._step(facts)
        except Unanswered:
            return None
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return found if is_number and math.isfinite(found) else None


def compiled(text: str, *wanted: Kind) -> Expression:
    """The expression, which must come to one of the `wanted` kinds.

    Raises `InputError` whose field is line and column of the mistake, counted from 1.
    """
    tree = parsed(text)
    compiler = _Compiler(text)
    kind, step = compiler.made(tree)
    if kind not in wanted and kind != "any":
        meant = " or ".join(WORDS[one] for one in wanted)
        raise mistake(text, tree.at, f"it comes to {WORDS[kind]}; {meant} is needed")
    return Expression(text, _types(tree), frozenset(compiler.asks), step)


Made: TypeAlias = tuple[Kind, Step]


class _Compiler:
    """One walk up the tree. Each part becomes a function of the facts, and its kind is checked."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.asks: set[str] = set()

    def made(self, node: Node) -> Made:
        match node.op:
            case "literal":
                return _kind_of(node.value), _constant(node.value)
            case "name":
                is_table = node.value in TABLES
                hint = f"write {node.value}.NAME" if is_table else f"known are {', '.join(TABLES)}"
                raise self._wrong(node, f"{node.value!r} cannot stand alone; {hint}")
            case "select":
                return self._selected(node)
            case "index":
                return self._indexed(node)
            case "list":
                return "list", self._listed(node)
            case "call" | "method":
                return self._called(node)
            case "?:":
                return self._chosen(node)
            case "unary !":
                kind, step = self._of(node.parts[0], "bool")
                return "bool", lambda facts: not _true_or_false(step(facts))
            case "unary -":
                kind, step = self._of(node.parts[0], "int", "double")
                return kind, lambda facts: _number(-_any_number(step(facts)))
            case "&&" | "||":
                return self._both(node)
            case "==" | "!=":
                return self._equal(node)
            case "in":
                return self._within(node)
            case "<" | "<=" | ">" | ">=":
                return self._ordered(node)
            case _:
                return self._reckoned(node)

    def _wrong(self, node: Node, rule: str) -> Exception:
        return mistake(self._text, node.at, rule)

    def _of(self, node: Node, *kinds: Kind) -> Made:
        kind, step = self.made(node)
        if kind not in kinds and kind != "any":
            wanted = " or ".join(WORDS[one] for one in kinds)
            raise self._wrong(node, f"{wanted} is needed, not {WORDS[kind]}")
        return kind, step

    def _selected(self, node: Node) -> Made:
        (table,), name = node.parts, str(node.value)
        if table.op == "name" and table.value in TABLES:
            return self._fact(node, str(table.value), name)
        _, step = self._of(table, "map")
        return "any", lambda facts: _looked_up(step(facts), name)

    def _fact(self, node: Node, table: str, name: str) -> Made:
        fact = TABLES[table].get(name)
        if fact is None:
            known = ", ".join(TABLES[table])
            raise self._wrong(node, f"{table}.{name} is not known; known are {known}")
        self.asks.add(table)
        of = fact.of

        def of_event(facts: Facts) -> Any:
            found = of(facts.event)
            if found is None:
                raise Unanswered
            return found

        def of_user(facts: Facts) -> Any:
            return of(facts.user)

        def of_snapshot(facts: Facts) -> Any:
            snapshot = facts.snapshot
            found = None if snapshot is None else of(snapshot)
            if found is None:
                raise Unanswered
            return found

        steps: Mapping[str, Step] = {"event": of_event, "user": of_user, "snapshot": of_snapshot}
        return fact.kind, steps[table]

    def _indexed(self, node: Node) -> Made:
        kind, table = self._of(node.parts[0], "map", "list")
        if kind == "list":
            _, place = self._of(node.parts[1], "int")
            return "any", lambda facts: _at(table(facts), place(facts))
        _, name = self._of(node.parts[1], "string")
        return "any", lambda facts: _looked_up(table(facts), name(facts))

    def _listed(self, node: Node) -> Step:
        made = [self.made(part) for part in node.parts]
        kinds = {kind for kind, _ in made if kind != "any"}
        if len(kinds) > 1 and not kinds <= NUMBERS:
            raise self._wrong(node, "the items of a list are of one kind")
        if all(part.op == "literal" for part in node.parts):
            items = tuple(part.value for part in node.parts)
            return lambda facts: items
        steps = [step for _, step in made]
        return lambda facts: tuple([step(facts) for step in steps])

    def _called(self, node: Node) -> Made:
        name, parts = str(node.value), node.parts
        if node.op == "call" and name == "has":
            return self._has(node)
        if name == "size" and len(parts) == 1:
            _, step = self._of(parts[0], "string", "list", "map")
            return "int", lambda facts: _size(step(facts))
        if node.op == "call" and name in _CONVERSIONS and len(parts) == 1:
            into, takes, convert = _CONVERSIONS[name]
            _, step = self._of(parts[0], *takes)
            return into, lambda facts: convert(step(facts))
        if node.op == "method" and name in _TEXT_METHODS and len(parts) == 2:
            asked = _TEXT_METHODS[name]
            (_, one), (_, other) = self._of(parts[0], "string"), self._of(parts[1], "string")
            return "bool", lambda facts: asked(_text(one(facts)), _text(other(facts)))
        functions = [f"{one}(…)" for one in ("has", "size", *_CONVERSIONS)]
        known = ", ".join(functions + [f"….{one}(…)" for one in _TEXT_METHODS])
        raise self._wrong(node, f"{name}(…) is not known in this form; known are {known}")

    def _has(self, node: Node) -> Made:
        if len(node.parts) != 1 or node.parts[0].op != "select":
            raise self._wrong(node, "has(…) asks for one fact, such as has(event.score)")
        _, step = self.made(node.parts[0])

        def has(facts: Facts) -> bool:
            try:
                step(facts)
            except Unanswered:
                return False
            return True

        return "bool", has

    def _chosen(self, node: Node) -> Made:
        _, asked = self._of(node.parts[0], "bool")
        (kind, yes), (other, no) = self.made(node.parts[1]), self.made(node.parts[2])
        if kind != other and "any" not in (kind, other):
            raise self._wrong(node, f"one side is {WORDS[kind]}, the other {WORDS[other]}")
        return (
            "any" if "any" in (kind, other) else kind,
            lambda facts: yes(facts) if _true_or_false(asked(facts)) else no(facts),
        )

    def _both(self, node: Node) -> Made:
        """Either side alone may settle it, whichever is unanswered."""
        (_, one), (_, other) = self._of(node.parts[0], "bool"), self._of(node.parts[1], "bool")
        settles = node.op == "||"

        def both(facts: Facts) -> bool:
            try:
                if _true_or_false(one(facts)) is settles:
                    return settles
            except Unanswered:
                if _true_or_false(other(facts)) is settles:
                    return settles
                raise
            return _true_or_false(other(facts))

        return "bool", both

    def _equal(self, node: Node) -> Made:
        (kind, one), (other_kind, other) = self.made(node.parts[0]), self.made(node.parts[1])
        if not _comparable(kind, other_kind):
            raise self._wrong(node, f"{WORDS[kind]} is never {WORDS[other_kind]}")
        wanted = node.op == "=="
        if kind == other_kind and kind in ("string", "int", "double", "bool"):
            if node.parts[1].op == "literal":
                constant = node.parts[1].value
                return "bool", lambda facts: (one(facts) == constant) is wanted
            return "bool", lambda facts: (one(facts) == other(facts)) is wanted
        return "bool", lambda facts: _same(one(facts), other(facts)) is wanted

    def _within(self, node: Node) -> Made:
        (kind, one), (_, many) = self.made(node.parts[0]), self._of(node.parts[1], "list", "map")
        if node.parts[1].op == "list":
            for part in node.parts[1].parts:
                other = self.made(part)[0]
                if not _comparable(kind, other):
                    raise self._wrong(part, f"{WORDS[kind]} is never {WORDS[other]}")
            if kind == "string" and all(part.op == "literal" for part in node.parts[1].parts):
                words = frozenset(part.value for part in node.parts[1].parts)
                return "bool", lambda facts: one(facts) in words
        return "bool", lambda facts: _is_in(one(facts), many(facts))

    def _ordered(self, node: Node) -> Made:
        (kind, one), (other_kind, other) = self.made(node.parts[0]), self.made(node.parts[1])
        if not _comparable(kind, other_kind) or {kind, other_kind} & {"bool", "list", "map"}:
            raise self._wrong(node, f"{WORDS[kind]} is neither more nor less than {WORDS[other_kind]}")
        compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[node.op]
        if "any" in (kind, other_kind):
            return "bool", lambda facts: _compared(compare, one(facts), other(facts))
        if node.parts[1].op == "literal":
            constant: Any = node.parts[1].value
            return "bool", lambda facts: compare(one(facts), constant)
        return "bool", lambda facts: compare(one(facts), other(facts))

    def _reckoned(self, node: Node) -> Made:
        allowed: tuple[Kind, ...] = ("int", "double", "string") if node.op == "+" else ("int", "double")
        if node.op == "%":
            allowed = ("int",)
        kind, one = self._of(node.parts[0], *allowed)
        other_kind, other = self._of(node.parts[1], *allowed)
        if kind != other_kind and "any" not in (kind, other_kind):
            hint = "; write 2.0 or double(…)" if {kind, other_kind} == NUMBERS else ""
            raise self._wrong(node, f"{WORDS[kind]} {node.op} {WORDS[other_kind]} is not known{hint}")
        reckon = _ARITHMETIC[node.op]
        known = other_kind if kind == "any" else kind
        return known, lambda facts: reckon(one(facts), other(facts))


def _types(node: Node) -> frozenset[str] | None:
    """The event types for which the tree can be true; `None` where it does not tell."""
    if node.op in ("&&", "||"):
        left, right = _types(node.parts[0]), _types(node.parts[1])
        if node.op == "||":
            return None if left is None or right is None else left | right
        return right if left is None else left if right is None else left & right
    if node.op in ("==", "in") and _is_type(node.parts[0]):
        given = node.parts[1].parts if node.op == "in" and node.parts[1].op == "list" else node.parts[1:]
        if all(part.op == "literal" for part in given):
            return frozenset(str(part.value) for part in given)
    if node.op == "==" and _is_type(node.parts[1]) and node.parts[0].op == "literal":
        return frozenset((str(node.parts[0].value),))
    return None


def _is_type(node: Node) -> bool:
    return node.op == "select" and node.value == "type" and node.parts[0].value == "event"


def _constant(value: object) -> Step:
    return lambda facts: value


def _kind_of(value: object) -> Kind:
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "double"
        case str():
            return "string"
        case _:
            raise Unanswered


def _comparable(one: Kind, other: Kind) -> bool:
    if one in ("list", "map") or other in ("list", "map"):
        return False
    return one == other or "any" in (one, other) or {one, other} <= NUMBERS


def _same(one: Any, other: Any) -> bool:
    """Equal in kind and value; whole numbers and others are compared as numbers."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_in(one: Any, many: Any) -> bool:
    if isinstance(many, Mapping):
        return _text(one) in many
    if not isinstance(many, tuple):
        raise Unanswered
    return any(_same(one, other) for other in many)


def _compared(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return compare(one, other)
    return compare(_any_number(one), _any_number(other))


def _true_or_false(found: Any) -> bool:
    if found is True or found is False:
        return bool(found)
    raise Unanswered


def _text(found: Any) -> str:
    if isinstance(found, str):
        return found
    raise Unanswered


def _any_number(found: Any) -> float | int:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return found
    raise Unanswered


def _number(found: float | int) -> float | int:
    """The number, where 64 bits hold it."""
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise Unanswered
    return found


def _alike(one: Any, other: Any) -> None:
    if type(one) is not type(other) or not isinstance(one, int | float) or isinstance(one, bool):
        raise Unanswered


def _plus(one: Any, other: Any) -> Any:
    if isinstance(one, str) and isinstance(other, str):
        return one + other
    _alike(one, other)
    return _number(one + other)


def _minus(one: Any, other: Any) -> Any:
    _alike(one, other)
    return _number(one - other)


def _times(one: Any, other: Any) -> Any:
    _alike(one, other)
    return _number(one * other)


def _divided(one: Any, other: Any) -> Any:
    """Whole numbers are cut off towards zero and have no answer by 0; by 0.0 there is infinity, as in CEL."""
    _alike(one, other)
    if isinstance(one, float):
        if other != 0:
            return one / other
        return (
            math.nan
            if one == 0 or math.isnan(one)
            else math.copysign(math.inf, one) * math.copysign(1, other)
        )
    if other == 0:
        raise Unanswered
    whole = abs(one) // abs(other)
    return _number(whole if (one < 0) == (other < 0) else -whole)


def _rest(one: Any, other: Any) -> Any:
    """What is left over; it has the sign of what was divided."""
    _alike(one, other)
    if isinstance(one, float) or other == 0:
        raise Unanswered
    return one - other * _divided(one, other)


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _divided,
    "%": _rest,
}


def _size(found: Any) -> int:
    if isinstance(found, str | tuple | Mapping):
        return len(found)
    raise Unanswered


def _looked_up(table: Any, name: Any) -> Any:
    found = table.get(name) if isinstance(table, Mapping) else None
    if found is None:
        raise Unanswered
    return found


def _at(many: Any, place: Any) -> Any:
    if not isinstance(many, tuple) or not isinstance(place, int) or not 0 <= place < len(many):
        raise Unanswered
    return many[place]


def _as_double(found: Any) -> float:
    try:
        return float(found) if isinstance(found, str) else float(_any_number(found))
    except ValueError:
        raise Unanswered from None


def _as_int(found: Any) -> int:
    try:
        return int(_number(int(found) if isinstance(found, str) else int(_any_number(found))))
    except (ValueError, OverflowError):
        raise Unanswered from None


_CONVERSIONS: Mapping[str, tuple[Kind, tuple[Kind, ...], Callable[[Any], Any]]] = {
    "double": ("double", ("int", "double", "string"), _as_double),
    "int": ("int", ("int", "double", "string"), _as_int),
}

_TEXT_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
