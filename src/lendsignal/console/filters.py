"""How templates write what reports and rooms give them, in one language."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup, escape

from lendsignal.console.words import Words

if TYPE_CHECKING:  # the report room brings its database with it: only pages that show one need that
    from lendsignal.report import Column

SHOWN = 200
"""Rows of a table that a page shows; the rest is in its CSV."""

OUR_WORDS = frozenset(
    "arm basis binding change conversion design event first_repayment kind loans measure objective of outcome"
    " reason remark severity stage step term use verdict what".split()
)
"""Columns whose cells hold words of ours; all others may hold a campaign's name, say."""


def filters(words: Words) -> Mapping[str, Callable[..., Any]]:
    """Every filter, by the name that templates call it."""

    def cell(value: object, unit: str = "", column: str = "") -> str:
        """A value as people read it; – where there is nothing to say. Names that people gave stay as they
        are: only cells of `OUR_WORDS` are translated."""
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
            case str() if column in OUR_WORDS or value.startswith("("):  # (not attributed)
                return words.named(value)
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
        "told": words.told,
        "ago": words.ago,
        "plain": lambda text: words.told(str(text).replace("_", " ")),
        "is_text": lambda table, place: not table.is_numeric(place),
        "bar": bar,
        "spark": spark,
        "indented": indented,
    }


def indented(data: object) -> str:
    """Data as JSON that is read line by line."""
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def bar(value: float | None, longest: float, kind: str = "") -> Markup:
    """A horizontal bar, drawn without a style attribute, which the security policy forbids."""
    percent = min(max(100 * float(value or 0) / longest, 0.0), 100.0) if longest else 0.0
    return Markup(
        '<svg class="bar" aria-hidden="true" focusable="false">'
        '<rect class="{}" width="{}%" height="100%" rx="2"></rect></svg>'
    ).format(escape(kind), f"{percent:.2f}")


def spark(values: Sequence[float]) -> Markup:
    """A trend as a line without axes, from 0; the figures stand elsewhere."""
    top, width = max(values, default=0) or 1, max(len(values) - 1, 1)
    points = " ".join(
        f"{100 * place / width:.1f},{23 - 22 * value / top:.1f}" for place, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true"'
        ' focusable="false"><polyline points="{}"></polyline></svg>'
    ).format(points)
