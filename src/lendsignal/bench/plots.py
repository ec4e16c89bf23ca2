"""The pictures of docs/reference/performance.md, from the JSON of runs. Needs matplotlib, which the service
does not: nothing but `bench.publish` imports this.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lendsignal.bench.backlog import Backlog
from lendsignal.bench.cutting import TierFigures
from lendsignal.bench.fan import Fan
from lendsignal.bench.growth import Growth
from lendsignal.bench.isolation import Isolation
from lendsignal.bench.measure import Figures

WIDTH, HEIGHT = 7.2, 3.6
"""Of one picture, in inches."""

COLOURS = ("#20639b", "#d1495b", "#3caea3", "#8a8d91")
LIMIT = {"color": "#8a8d91", "linestyle": "--", "linewidth": 1.0}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "svg.hashsalt": "lendsignal",  # the same figures give the same file
}


def draw(runs: Path, pictures: Path, suffix: str = "svg") -> list[Path]:
    """Draws into a folder what the runs in another one tell; the files it wrote."""
    pictures.mkdir(parents=True, exist_ok=True)
    made = []
    with matplotlib.rc_context(STYLE):
        for name, (kind, drawers) in _DRAWERS.items():
            path = runs / f"{name}.json"
            if not path.exists():
                continue
            run = msgspec.json.decode(path.read_bytes(), type=kind)
            for picture, drawer in drawers.items():
                made.append(pictures / f"{picture}.{suffix}")
                metadata = {"Date": None} if suffix == "svg" else {}
                drawer(run).savefig(made[-1], metadata=metadata, dpi=110)
    return made


def peers(run: Figures) -> Figure:
    """Deliveries a second beside the peer's and the bare sink's, on a scale of tens."""
    shown = {
        "Celery + Redis + requests": run.peers.get("celery_redis_requests_deliveries_per_s"),
        "the same, connections kept": run.peers.get("celery_redis_requests_deliveries_kept_connection_per_s"),
        "lendsignal, end to end": run.deliveries_per_s,
        "load tool to the bare sink": run.peers.get("load_tool_to_bare_sink_requests_per_s"),
    }
    found = {name: value for name, value in shown.items() if isinstance(value, float)}
    figure, axes = _figure("deliveries a second, one request each, same sink, same run")
    colours = [COLOURS[0] if name.startswith("lendsignal") else COLOURS[3] for name in found]
    bars = axes.barh(list(found), list(found.values()), color=colours)
    axes.bar_label(bars, [f"{value:,.0f}" for value in found.values()], padding=3)
    axes.set_xscale("log")
    axes.set_xlim(100, max(found.values()) * 3)
    axes.invert_yaxis()
    return figure


def encoding(run: Figures) -> Figure:
    """Encode and classify for every destination, dearest first."""
    dearest = sorted(run.encode_and_classify_us.items(), key=lambda one: -one[1])
    figure, axes = _figure("encode and classify, µs a delivery", height=4.2)
    bars = axes.barh([name for name, _ in dearest], [value for _, value in dearest], color=COLOURS[0])
    axes.bar_label(bars, [f"{value:.1f}" for _, value in dearest], padding=3)
    _limit(axes.axvline, 15, "to reach")
    _limit(axes.axvline, 8, "to go for", ":")
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    axes.invert_yaxis()
    return figure


def growth(run: Growth) -> Figure:
    """What an event costs, and how many go through a second, against the size of the store."""
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    cost, rate = figure.subplots(2, 1, sharex=True)
    samples = run.samples[1:]
    events = [one.events for one in samples]
    for colour, role in zip(COLOURS, ("core", "send"), strict=False):
        cost.plot(events, [one.cpu_us[role] for one in samples], ".", color=colour, alpha=0.25, markersize=4)
        steps = [(one.events, one.core_us if role == "core" else one.send_us) for one in run.steps]
        cost.plot(*zip(*steps, strict=True), "o-", color=colour, label=role)
    rate.plot(events, [one.per_s for one in samples], ".", color=COLOURS[2], alpha=0.3, markersize=4)
    rate.plot([one.events for one in run.steps], [one.per_s for one in run.steps], "o-", color=COLOURS[2])
    cost.set_title("processor time an event, µs, as one store grows (two deliveries a loan)", loc="left")
    rate.set_title("events a second, decided, sent and recorded", loc="left")
    rate.set_xlabel(f"events in the store; a user for each {round(run.events / run.users)} events")
    for axes in (cost, rate):
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_grouped))
    cost.legend(frameon=False, loc="upper left", ncols=2)
    return figure


def fan(run: Fan) -> Figure:
    """Events and deliveries a second against the number of deliveries an event makes."""
    figure, axes = _figure("throughput against deliveries an event, one request each")
    counts = [one.deliveries_per_event for one in run.runs]
    series: Sequence[tuple[str, Sequence[float]]] = (
        ("events/s", [one.events_per_s for one in run.runs]),
        ("deliveries/s", [one.deliveries_per_s for one in run.runs]),
    )
    for colour, (name, values) in zip(COLOURS, series, strict=False):
        axes.plot(counts, values, "o-", color=colour, label=name)
    axes.set_xticks(counts)
    axes.set_xlabel("deliveries an event")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_grouped))
    axes.legend(frameon=False)
    return figure


def backlog(run: Backlog) -> Figure:
    """Memory by role over a backlog, waiting and while it is sent."""
    millions = f"{run.deliveries / 1e6:.1f} million" if run.deliveries >= 100_000 else f"{run.deliveries:,}"
    figure, axes = _figure(f"resident memory with {millions} deliveries waiting, MiB")
    columns = {"waiting": run.waiting_rss_by_role_mib, "highest while sent": run.peak_rss_by_role_mib}
    below = [0.0] * len(columns)
    for colour, role in zip(COLOURS, run.waiting_rss_by_role_mib, strict=False):
        heights = [roles[role] for roles in columns.values()]
        bars = axes.barh(list(columns), heights, left=below, color=colour, label=role, height=0.5)
        axes.bar_label(bars, [f"{height:.0f}" for height in heights], label_type="center", color="white")
        below = [low + height for low, height in zip(below, heights, strict=True)]
    _limit(axes.axvline, 400, "to reach")
    _limit(axes.axvline, 200, "to go for", ":")
    axes.set_xlim(0, max(430.0, *below) * 1.02)
    figure.legend(frameon=False, loc="outside lower center", ncols=5)
    axes.invert_yaxis()
    return figure


def isolation(run: Isolation) -> Figure:
    """Delays of the healthy destination, beside one that answers and one that hangs."""
    figure, axes = _figure(f"accepted to sent at {run.events_per_s:,.0f} events/s, ms, healthy destination")
    marks = list(run.runs[0].accept_to_sent_ms)
    width = 0.27
    for number, (colour, one) in enumerate(zip(COLOURS, run.runs, strict=False)):
        places = [place + (number - 1) * width for place in range(len(marks))]
        values = [one.accept_to_sent_ms[mark] for mark in marks]
        bars = axes.bar(places, values, width, color=colour, label=f"neighbour {one.neighbour}")
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=2)
    axes.set_xticks(range(len(marks)), marks)
    axes.legend(frameon=False, loc="upper left")
    return figure


def tiers(run: TierFigures) -> Figure:
    """The error of the best 20 % with own cuts and with cuts that never change, for each cell."""
    figure, axes = _figure("error of the best 20 % over seven days, points")
    names = [f"{one.grants_per_day:,}/day\n{one.drift}" for one in run.cells]
    places = range(len(names))
    width = 0.4
    fixed = [one.fixed_rmse_points for one in run.cells]
    found = [one.share_rmse_points for one in run.cells]
    axes.bar(
        [at - width / 2 for at in places], fixed, width, color=COLOURS[3], label="the first cuts for ever"
    )
    bars = axes.bar([at + width / 2 for at in places], found, width, color=COLOURS[0], label="own cuts")
    axes.bar_label(bars, [f"{one.changes:.1f}×" for one in run.cells], padding=2)
    axes.set_xticks(places, names)
    _limit(axes.axhline, 4, "to reach")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def _figure(title: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    return figure, axes


def _limit(line: Callable[..., object], at: float, name: str, style: str = "--") -> None:
    line(at, label=f"{name}: {at:g}", **{**LIMIT, "linestyle": style})


def _grouped(value: float, place: int | None) -> str:
    return f"{value:,.0f}"


_DRAWERS: Mapping[str, tuple[type[Any], Mapping[str, Callable[..., Figure]]]] = {
    "bench": (Figures, {"peers": peers, "encoding": encoding}),
    "growth": (Growth, {"growth": growth}),
    "fan": (Fan, {"fan": fan}),
    "backlog": (Backlog, {"backlog": backlog}),
    "isolation": (Isolation, {"isolation": isolation}),
    "tiers": (TierFigures, {"tiers": tiers}),
}
"""For each run its type, and the pictures that it tells."""
