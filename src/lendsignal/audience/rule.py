"""A rule over the facts of a user as SQL, so that millions are asked at once.

Its language is that of the lender's own conversions (`derive.expression`), and so is its meaning: what a
missing fact leaves unanswered is SQL's null, and who is not surely in is out. Of the facts, those of `user`
and `snapshot` can be asked; there is no event. Pure.
"""

from collections.abc import Mapping

from lendsignal.derive import compiled
from lendsignal.derive.facts import USER
from lendsignal.derive.syntax import Node, mistake, parsed
from lendsignal.errors import InputError

COLUMN: Mapping[str, str] = {
    **{f"user.{name}": name for name in USER},
    "snapshot.app": "app",
    "snapshot.os": "os",
    "snapshot.os_version": "os_version",
    "snapshot.model": "model",
    "snapshot.locale": "locale",
    "snapshot.timezone": "timezone",
    "snapshot.carrier": "carrier",
    "snapshot.app_version": "app_version",
    "snapshot.att_status": "att_status",
    "snapshot.limit_ad_tracking": "limit_ad_tracking",
    "snapshot.emulator": "emulator",
}
"""What a rule asks, and the column of `customer` that answers."""

BINARY = {"&&": "and", "||": "or", "==": "=", "!=": "<>"} | {sign: sign for sign in ("<", "<=", ">", ">=")}
ARITHMETIC = {"+": "+", "-": "-", "*": "*"}
TEXT = {"startsWith": "starts_with", "endsWith": "ends_with", "contains": "contains"}


def rule_sql(text: str) -> str:
    """The condition over `customer` that a rule is.

    Raises `InputError` with line and column where it is no rule, or asks what a list cannot know.
    """
    asked = compiled(text, "bool")
    if "event" in asked.asks:
        raise InputError("line 1, column 1", "a list has users and no event: ask user.… and snapshot.…")
    return _Writer(text).written(parsed(text))


class _Writer:
    """One walk down the tree; `compiled` has checked it before."""

    def __init__(self, text: str) -> None:
        self._text = text

    def written(self, node: Node) -> str:
        parts = [self.written(part) for part in node.parts] if node.op not in ("select", "call") else []
        match node.op:
            case "literal":
                return _literal(node.value)
            case "select":
                return self._column(node)
            case "unary !":
                return f"(not {parts[0]})"
            case "unary -":
                return f"(-{parts[0]})"
            case "?:":
                # An unanswered question leaves the whole unanswered.
                return f"(case when {parts[0]} then {parts[1]} when not {parts[0]} then {parts[2]} end)"
            case "in" if node.parts[1].op == "list" and node.parts[1].parts:
                return f"({parts[0]} in {parts[1]})"
            case "list":
                return f"({', '.join(parts)})"
            case "call" if node.value == "has" and node.parts[0].op == "select":
                return f"({self._column(node.parts[0])} is not null)"
            case "method" if node.value in TEXT:
                return f"{TEXT[str(node.value)]}({parts[0]}, {parts[1]})"
            case op if op in BINARY:
                return f"({parts[0]} {BINARY[op]} {parts[1]})"
            case op if op in ARITHMETIC and not _is_text(node):
                return f"({parts[0]} {ARITHMETIC[op]} {parts[1]})"
        raise mistake(self._text, node.at, "this cannot be asked of a whole list; sql = … can")

    def _column(self, node: Node) -> str:
        name = f"{node.parts[0].value}.{node.value}"
        if name not in COLUMN:
            raise mistake(self._text, node.at, f"{name} is not kept for lists; known are {', '.join(COLUMN)}")
        return f'"{COLUMN[name]}"'


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return repr(value)


def _is_text(node: Node) -> bool:
    return any(part.op == "literal" and isinstance(part.value, str) for part in node.parts)
