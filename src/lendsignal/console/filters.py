"""How templates write what reports and rooms give them, in one language."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from lendsignal.console.words import Words

if TYPE_CHECKING:  # the report room brings its database with it: only pages that show one need that
    from lendsignal.report import Column

SHOWN = 200
"""Rows of a table that a page shows; the rest is in its CSV."""


def filters(words: Words) -> Mapping[str, Callable[..., Any]]:
    """Every filter, by the name that templates call it."""

    def cell(value: object, unit: str = "") -> str:
        """A value as people read it; – where there is nothing to say."""
        match value:
            case None:
                return "–"
            case bool():
                return words("yes") if value else words("no")
            case float() | int() | Decimal() if unit == "share":
                return words.share(float(value), 1)
            case float() | int() if unit == "s":
                return words.span(float(value))
            case int() | float() | Decimal():
                return words.number(value)
            case _:
                return str(value)

    def heading(column: "Column") -> str:
        """A column's name as a title."""
        return words(column.name.replace("_", " "))

    def fate(word: object) -> Markup:
        """What became of something, as a coloured word."""
        kind = {"accepted": "good", "dead": "bad", "held": "wait", "waiting": "wait", "skipped": "idle"}
        shape = kind.get(str(word), "idle")
        return Markup('<span class="word {}">{}</span>').format(shape, words(str(word)))

    return {
        "cell": cell,
        "heading": heading,
        "fate": fate,
        "number": words.number,
        "short": words.short,
        "share": words.share,
        "money": words.money,
        "moment": words.moment,
        "day": words.day,
        "span": words.span,
        "ago": words.ago,
        "plain": lambda text: words(str(text).replace("_", " ")),
        "is_text": lambda table, place: not table.is_numeric(place),
        "bar": bar,
    }


def bar(value: float | None, longest: float, kind: str = "") -> Markup:
    """A horizontal bar, drawn without a style attribute, which the security policy forbids."""
    percent = min(max(100 * float(value or 0) / longest, 0.0), 100.0) if longest else 0.0
    return Markup(
        '<svg class="bar" aria-hidden="true" focusable="false">'
        '<rect class="{}" width="{}%" height="100%" rx="2"></rect></svg>'
    ).format(escape(kind), f"{percent:.2f}")
