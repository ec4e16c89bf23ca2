"""A report as one HTML page that needs nothing else: tables, pictures and style stand inside it.

No script, no font and no address of anybody's: it can be sent by mail and read on a phone.
"""

from collections.abc import Sequence
from html import escape

from lendsignal.report.chart import NARROW, WIDE, Chart, svg
from lendsignal.report.charts import charts_of
from lendsignal.report.layout import Report, Table

ROWS = 500
"""Rows of a table that the page shows; the rest is in CSV and JSON."""

STYLE = """
:root { color-scheme: light dark; --line: #d9dee5; --quiet: #5b6675; --ground: #ffffff; --ink: #1b2430; }
@media (prefers-color-scheme: dark) {
  :root { --line: #384252; --quiet: #a3afbf; --ground: #141a22; --ink: #e6ebf2; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0.5rem 0 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.5rem; }
.stamp, .note { color: var(--quiet); }
.note { white-space: pre-line; font-size: 0.85rem; max-width: 48rem; }
figure { margin: 1.5rem 0; }
svg { max-width: 100%; height: auto; display: block; }
.narrow { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem; }
th, td { padding: 0.3rem 0.7rem 0.3rem 0; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
.number { text-align: right; }
@media (max-width: 40rem) { .wide { display: none; } .narrow { display: block; } }
"""


def page(report: Report, language: str = "en") -> str:
    """The whole page; `as_of` is UTC."""
    stamp = "No events yet." if report.as_of is None else f"As of {report.as_of:%Y-%m-%d %H:%M:%S} UTC."
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="stamp">{stamp}</p>',
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        *map(_figure, charts_of(report)),
        *map(_table, report.tables().values()),
    ]
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _figure(chart: Chart) -> str:
    wide, narrow = (svg(chart, width, alone=False) for width in (WIDE, NARROW))
    return f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'


def _table(table: Table) -> str:
    head, *rows = table.to_cells()
    left_out = len(rows) - ROWS
    kinds = [' class="number"' if table.is_numeric(place) else "" for place in range(len(table.columns))]
    lines = "".join(f"<tr>{_line(row, kinds)}</tr>" for row in rows[:ROWS])
    heads = "".join(
        f'<th scope="col"{kind}>{escape(name).replace("_", "_<wbr>")}</th>'
        for name, kind in zip(head, kinds, strict=True)
    )
    more = f'<p class="note">{left_out:,} further rows are in CSV and JSON.</p>' if left_out > 0 else ""
    inside = f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    name = escape(table.title, quote=True)
    region = f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">{inside}</div>'
    body = region if rows else "<p>nothing yet</p>"
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f"<section><h2>{escape(table.title)}</h2>{body}{more}{note}</section>"


def _line(cells: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(cells, kinds, strict=True))
