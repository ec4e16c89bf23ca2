"""A chart as plain data, laid out in pixels, and written as SVG or PNG.

Every chart has a title, axis titles with units, and readable numbers. SVG needs nothing but this module: text
stays text, in the reader's own sans-serif, and takes the colour of what surrounds it. PNG is drawn by
matplotlib, which the extra `charts` installs.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from io import BytesIO
from math import ceil, floor, log10
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import LendsignalError
from lendsignal.report.layout import MONEY, SECONDS, SHARE

COLOURS = ("#20639b", "#d1495b", "#3caea3", "#c98a1b", "#7d5ba6", "#6b7280")
"""Of series, in their order; told apart also by people who see fewer colours, and on white and on black."""

INK = "currentColor"
WIDE, NARROW = 760, 360
"""Widths in pixels: of a page, and of a phone."""

MARGIN = 10
"""Around every chart, in pixels."""

SIZE = 13
"""Of text, in pixels."""

TIMES = ((86_400.0, "days", 2 * 86_400.0), (3_600.0, "hours", 2 * 3_600.0), (60.0, "minutes", 120.0))
"""Units of time, and from which number of seconds on each is used."""


class Series(Struct, frozen=True, kw_only=True):
    """One value for each place of the chart; `None`: nothing to say. `low` and `high` are its interval."""

    name: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


class Bars(Struct, frozen=True, kw_only=True):
    """Horizontal bars, one group for each label; `stacked` puts the series of a group end to end.

    `unit` is one of `layout`'s, or a word for what is counted.
    """

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    axis: str
    unit: str = ""
    stacked: bool = False


class Lines(Struct, frozen=True, kw_only=True):
    """Lines over numbers `at`."""

    title: str
    at: tuple[float, ...]
    series: tuple[Series, ...]
    across: str
    axis: str
    unit: str = ""


Chart: TypeAlias = Bars | Lines


class Box(Struct, frozen=True):
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


class Stroke(Struct, frozen=True):
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str = INK
    width: float = 1.0
    opacity: float = 1.0


class Words(Struct, frozen=True):
    """A line of text; `y` is its foot."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    colour: str = INK
    size: float = SIZE


Shape: TypeAlias = Box | Stroke | Words


class Drawing(Struct, frozen=True):
    """Shapes on a surface of so many pixels, from the upper left corner."""

    title: str
    width: float
    height: float
    shapes: tuple[Shape, ...]


def svg(chart: Chart, width: int = WIDE, *, alone: bool = True, words: Callable[[str], str] = str) -> str:
    """The chart as one SVG element; `alone` makes it a file of its own, on white. `words` translates the
    few words that are not the chart's own: its units."""
    drawing = drawn(chart, width, words)
    name = escape(drawing.title, quote=True)
    across, down = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    head = (
        f'<svg viewBox="{-MARGIN} {-MARGIN} {_n(across)} {_n(down)}" width="{_n(across)}"'
        f' role="img" aria-label="{name}" font-family="system-ui, sans-serif"'
    )
    if alone:
        head = f'{head} height="{_n(down)}" xmlns="http://www.w3.org/2000/svg" color="#1b2430"'
    ground = f'<rect x="{-MARGIN}" y="{-MARGIN}" width="100%" height="100%" fill="#ffffff"/>' if alone else ""
    return f"{head}>{ground}{''.join(map(_element, drawing.shapes))}</svg>"


def png(chart: Chart, width: int = WIDE) -> bytes:
    """The chart as a PNG, two dots a pixel. Raises `LendsignalError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise LendsignalError(
            "PNG needs the extra `charts` (pip install 'lendsignal[charts]'); SVG needs nothing"
        ) from None
    drawing = drawn(chart, width)
    dots = 100
    across, down = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    figure = Figure(figsize=(across / dots, down / dots), dpi=2 * dots)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, drawing.width + MARGIN)
    axes.set_ylim(drawing.height + MARGIN, -MARGIN)
    axes.set_axis_off()
    for place, shape in enumerate(drawing.shapes):
        match shape:
            case Box():
                size = shape.width, shape.height
                axes.add_patch(Rectangle((shape.x, shape.y), *size, color=shape.colour, lw=0, zorder=place))
            case Stroke():
                axes.plot(
                    *zip(*shape.points, strict=True),
                    color=_ink(shape.colour),
                    lw=shape.width * 72 / dots,
                    alpha=shape.opacity,
                    zorder=place,
                )
            case Words():
                axes.text(
                    shape.x,
                    shape.y,
                    shape.text.replace("$", r"\$"),
                    ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
                    va="baseline",
                    color=_ink(shape.colour),
                    fontsize=shape.size * 72 / dots,
                    fontweight="bold" if shape.bold else "normal",
                    zorder=place,
                )
    out = BytesIO()
    figure.savefig(out, format="png", facecolor="white")
    return out.getvalue()


def drawn(chart: Chart, width: int = WIDE, words: Callable[[str], str] = str) -> Drawing:
    """The chart's shapes for a surface of that width; its height follows from what there is to show."""
    scale = _scale(chart.unit, _values(chart))
    scale = replace(scale, word=words(scale.word))
    shapes: list[Shape] = []
    y = 0.0
    for line in _wrapped(chart.title, width, SIZE * 1.3):  # bold letters are wider
        y += SIZE * 1.5
        shapes.append(Words(0, y, line, bold=True, size=SIZE * 1.15))
    legend, y = _legend(chart, width, y + 8)
    shapes += legend
    if not any(value is not None for series in chart.series for value in series.values):
        shapes.append(Words(0, y + 24, words("nothing yet")))
        return Drawing(chart.title, width, y + 40, tuple(shapes))
    match chart:
        case Bars():
            body, y = _bars(chart, scale, width, y + 6)
        case Lines():
            body, y = _lines(chart, scale, width, y + 10)
    return Drawing(chart.title, width, y, (*shapes, *body))


class _Scale(Struct, frozen=True):
    """How numbers of a unit are shown: each is divided by `by`, and `word` says what it then is."""

    by: float
    word: str
    written: Callable[[float], str]


def _scale(unit: str, values: Sequence[float]) -> _Scale:
    top = max((abs(value) for value in values), default=0.0)
    if unit == SHARE:
        return _Scale(0.01, "per cent", lambda value: f"{_short(value)} %")
    if unit == SECONDS:
        for seconds, word, least in TIMES:
            if top >= least:
                return _Scale(seconds, word, _short)
        return _Scale(1.0, "seconds", _short)
    return _Scale(1.0, "" if unit == MONEY else unit, _short)


def _short(value: float) -> str:
    """A number in three figures: 0.25, 12.5, 1,234, 1.2 M."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:,.1f} M"
    if size >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 1 else f"{value:.2g}"


def _values(chart: Chart) -> list[float]:
    """Everything that must find room along the axis of values."""
    found = [
        value
        for series in chart.series
        for values in (series.values, series.low, series.high)
        for value in values
        if value is not None
    ]
    if isinstance(chart, Bars) and chart.stacked:
        found += [sum(parts) for parts in _stacks(chart)]
    return found


def _stacks(chart: Bars) -> list[list[float]]:
    return [[series.values[place] or 0.0 for series in chart.series] for place in range(len(chart.labels))]


def _ticks(low: float, high: float, room: float) -> list[float]:
    """Round numbers from 0 or below to `high` or beyond, about one each 80 pixels."""
    high = high if high > low else low + 1.0
    rough = (high - low) / max(2, floor(room / 80))
    tens = 10.0 ** floor(log10(rough))
    step = next(tens * one for one in (1, 2, 5, 10) if tens * one >= rough * 0.999)
    return [step * n for n in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def _legend(chart: Chart, width: int, y: float) -> tuple[list[Shape], float]:
    if len(chart.series) < 2:
        return [], y
    shapes: list[Shape] = []
    x, y = 0.0, y + SIZE
    for colour, series in zip(_colours(chart), chart.series, strict=True):
        needed = 16 + _length(series.name) + 16
        if x and x + needed > width:
            x, y = 0.0, y + SIZE * 1.5
        shapes += [Box(x, y - 10, 11, 11, colour), Words(x + 16, y, series.name)]
        x += needed
    return shapes, y + 6


def _colours(chart: Chart) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(len(chart.series))]


def _bars(chart: Bars, scale: _Scale, width: int, top: float) -> tuple[list[Shape], float]:
    above = width < 500  # on a phone labels stand above their bars, which need the width
    room = 0.0 if above else min(max(map(_length, chart.labels)) + 10, width * 0.42)
    values = [value / scale.by for value in _values(chart)]
    left, right = room, width - 62.0  # the longest number stands behind the longest bar
    ticks = _ticks(min(0.0, *values), max(values, default=1.0), right - left)

    def place(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    body: list[Shape] = []
    y = top + 8
    thick = 18.0 if chart.stacked or len(chart.series) == 1 else 13.0
    for number, label in enumerate(chart.labels):
        deep = thick if chart.stacked else thick * len(chart.series)
        if above:
            y += SIZE + 4
            body.append(Words(0, y - 4, _cut(label, width)))
        else:
            body.append(Words(room - 8, y + deep / 2 + SIZE * 0.35, _cut(label, room - 10), "end"))
        row = _stack(chart, number, y, thick, scale, place) if chart.stacked else None
        body += row if row is not None else _group(chart, number, y, thick, scale, place)
        y += deep + 9
    axis = list(_below(chart.axis, scale, ticks, place, top, y, (left + right) / 2))
    return [*axis, *body], y + 44


def _group(
    chart: Bars, number: int, y: float, thick: float, scale: _Scale, place: Callable[[float], float]
) -> list[Shape]:
    shapes: list[Shape] = []
    for row, (colour, series) in enumerate(zip(_colours(chart), chart.series, strict=True)):
        value = series.values[number]
        if value is None:
            continue
        start, end = sorted((place(0.0), place(value / scale.by)))
        foot = y + row * thick
        shapes.append(Box(start, foot + 1, max(end - start, 1.0), thick - 2, colour))
        low = series.low[number] if series.low else None
        high = series.high[number] if series.high else None
        if low is not None and high is not None:
            middle = foot + thick / 2
            ends = place(low / scale.by), place(high / scale.by)
            shapes.append(Stroke(((ends[0], middle), (ends[1], middle)), width=1.6))
            shapes += [Stroke(((x, middle - 4), (x, middle + 4)), width=1.6) for x in ends]
            end = max(end, ends[1])
        shapes.append(Words(end + 6, foot + thick / 2 + SIZE * 0.35, scale.written(value / scale.by)))
    return shapes


def _stack(
    chart: Bars, number: int, y: float, thick: float, scale: _Scale, place: Callable[[float], float]
) -> list[Shape]:
    shapes: list[Shape] = []
    reached = 0.0
    several = sum(bool(series.values[number]) for series in chart.series) > 1
    for colour, series in zip(_colours(chart), chart.series, strict=True):
        value = (series.values[number] or 0.0) / scale.by
        if not value:
            continue
        start, end = place(reached), place(reached + value)
        shapes.append(Box(start, y, max(end - start, 1.0), thick, colour))
        text = scale.written(value)
        # A bar of one part alone is told by the number behind it.
        if several and _length(text) + 8 < end - start:
            shapes.append(
                Words((start + end) / 2, y + thick / 2 + 4, text, "middle", colour="#ffffff", size=12)
            )
        reached += value
    shapes.append(Words(place(reached) + 6, y + thick / 2 + SIZE * 0.35, scale.written(reached)))
    return shapes


def _below(
    title: str,
    scale: _Scale,
    ticks: Sequence[float],
    place: Callable[[float], float],
    top: float,
    foot: float,
    middle: float,
) -> Iterator[Shape]:
    """The axis of values below bars: lines behind them, numbers, and what they are."""
    for tick in ticks:
        yield Stroke(((place(tick), top), (place(tick), foot)), opacity=0.35 if tick == 0 else 0.13)
        yield Words(place(tick), foot + 16, _short(tick), "middle", size=12)
    yield Words(middle, foot + 34, _titled(title, scale), "middle", size=12)


def _lines(chart: Lines, scale: _Scale, width: int, top: float) -> tuple[list[Shape], float]:
    values = [value / scale.by for value in _values(chart)]
    height = 230.0
    up = _ticks(min(0.0, *values), max(values, default=1.0), height * 1.4)
    left = max(_length(_short(tick)) for tick in up) + 10
    right = width - 14.0
    shapes: list[Shape] = [Words(0, top + 12, _titled(chart.axis, scale), size=12)]
    top += 26

    def down(value: float) -> float:
        return top + height - (value - up[0]) / (up[-1] - up[0]) * height

    first, last = min(chart.at), max(chart.at)

    def across(at: float) -> float:
        return left + (at - first) / ((last - first) or 1.0) * (right - left)

    for tick in up:
        shapes.append(Stroke(((left, down(tick)), (right, down(tick))), opacity=0.35 if tick == 0 else 0.13))
        shapes.append(Words(left - 6, down(tick) + 4, _short(tick), "end", size=12))
    taken = -1e9
    for at in chart.at:
        if across(at) - taken >= _length(_short(at)) + 10:
            shapes.append(Words(across(at), top + height + 17, _short(at), "middle", size=12))
            taken = across(at)
    shapes.append(Words((left + right) / 2, top + height + 36, chart.across, "middle", size=12))
    for colour, series in zip(_colours(chart), chart.series, strict=True):
        points = [
            (across(at), down(value / scale.by))
            for at, value in zip(chart.at, series.values, strict=True)
            if value is not None
        ]
        if len(points) > 1:
            shapes.append(Stroke(tuple(points), colour, 2.2))
        shapes += [Box(x - 2.5, y - 2.5, 5, 5, colour) for x, y in points]
    return shapes, top + height + 46


def _titled(title: str, scale: _Scale) -> str:
    return f"{title}, {scale.word}" if scale.word else title


def _length(text: str, size: float = SIZE) -> float:
    """About how wide a text is, in pixels: letters of a sans-serif are half as wide as they are high."""
    return sum(1.0 if ord(letter) > 0x2E80 else 0.56 for letter in text) * size


def _cut(text: str, room: float) -> str:
    while len(text) > 2 and _length(text) > room + 0.01:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def _wrapped(text: str, room: float, size: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _length(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _element(shape: Shape) -> str:
    match shape:
        case Box(x, y, width, height, colour):
            return (
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{colour}"/>'
            )
        case Stroke(points, colour, width, opacity):
            through = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
            faint = f' stroke-opacity="{_n(opacity)}"' if opacity < 1 else ""
            look = f'stroke="{colour}" stroke-width="{_n(width)}"{faint}'
            return f'<polyline points="{through}" fill="none" {look}/>'
        case Words(x, y, text, anchor, bold, colour, size):
            weight = ' font-weight="600"' if bold else ""
            side = "" if anchor == "start" else f' text-anchor="{anchor}"'
            return (
                f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{colour}"{side}{weight}>'
                f"{escape(text)}</text>"
            )


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _ink(colour: str) -> str:
    return "#1b2430" if colour == INK else colour
