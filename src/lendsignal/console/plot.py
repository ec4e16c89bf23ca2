"""A chart over time as data: the browser draws it, and the same figures stand beside it as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:  # the report room brings its database with it
    from lendsignal.report import Table


class Line(Struct, frozen=True):
    """One line: a value for each time, `None` where there is none. `dashed`: expected or predicted.

    `edge`: the end of a band, which is drawn without a line of its own.
    """

    name: str
    values: Sequence[float | None]
    dashed: bool = False
    edge: bool = False


class Plot(Struct, frozen=True, kw_only=True):
    """Lines over `times`, in seconds since 1970, UTC. `unit` is share, s or empty; `bands` are pairs of
    lines, upper and lower, with the space between them filled.
    """

    title: str
    axis: str
    times: Sequence[int]
    series: Sequence[Line]
    unit: str = ""
    bands: Sequence[tuple[int, int]] = ()

    def to_json(self) -> str:
        """What console.js draws."""
        return msgspec.json.encode(self).decode()

    def table(self) -> "Table":
        """The same figures, a row a time, the latest first."""
        from lendsignal.report import Column, Table

        spans = {later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)}
        form = "%Y-%m-%d" if all(span % 86_400 == 0 for span in spans) else "%Y-%m-%d %H:%M"
        rows = [
            (datetime.fromtimestamp(at, UTC).strftime(form), *(line.values[place] for line in self.series))
            for place, at in enumerate(self.times)
        ]
        heads = (Column("time"), *(Column(line.name, self.unit) for line in self.series))
        return Table(title=self.title, columns=heads, rows=tuple(reversed(rows)))
