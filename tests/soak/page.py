"""A run as a page of the documentation, with its pictures. Needs matplotlib, which the service does not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.soak.course import DAY, HOLDS
from tests.soak.figures import Run, Sample

from lendsignal.bench.plots import COLOURS, HEIGHT, STYLE, WIDTH

MARK = "<!-- From here on the page is written by `make soak`. -->"
"""What stands above it in the page is written by hand and stays."""


def publish(run: Run, reference: Path) -> list[Path]:
    """Writes the run below the mark of the page in a folder, pictures and figures beside it; the files."""
    pictures = reference / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    kept = pictures / "soak.json"
    kept.write_bytes(msgspec.json.encode(run))
    made = [kept]
    with matplotlib.rc_context(STYLE):
        for name, figure in (("memory", _memory(run)), ("delays", _delays(run)), ("growth", _growth(run))):
            path = pictures / f"soak-{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            made.append(path)
    page = reference / "soak.md"
    head = page.read_text().partition(MARK)[0]
    page.write_text(f"{head}{MARK}\n\n" + "\n".join(_told(run)))
    return [*made, page]


def _told(run: Run) -> Iterator[str]:
    first, last = run.memory_days
    day = run.last_day
    yield f"## The run of {run.day}\n"
    yield (
        f"{run.days:g} days in {run.hours_of_the_machine * 60:.0f} minutes:"
        f" the lender's clock went {run.faster:,.0f} times as fast as the machine's."
    )
    if run.most_events_per_s is not None:
        yield (
            f"The stage took {run.most_events_per_s:,.0f} events a second at most in the minute before;"
            f" {run.events_per_s:,.0f} a second, half of that, were told all along."
        )
    else:
        yield f"{run.events_per_s:,.0f} events a second were told all along."
    yield (
        f"Machine: {run.machine.cores} cores, load before {run.machine.load_before:.1f},"
        f" load at the end {run.load_after:.1f}, fsync {run.machine.fsync_ms:.2f} ms."
    )
    if run.load_after > run.machine.cores + 0.5:
        yield (
            "Other work ran on the same cores all the while: delays and processor time have its share in"
            " them, and only what is much larger than that says something."
        )
    killed = " and ".join(f"{n} of {role}" for role, n in sorted(run.kills.items()))
    yield f"Kills: {killed}; faults that fired: {sum(run.faults.values()):,}.\n"
    yield _table(
        ("what", "found"),
        [
            ("events", f"{run.events:,}"),
            ("deliveries planned", f"{run.planned:,}"),
            ("arrived, each counted once", f"{run.arrived:,}"),
            ("lost", f"{run.lost:,}"),
            ("came twice where an unknown end holds", f"{run.doubled:,}"),
            ("came twice where it is tried again, and the platform drops repeats", f"{run.repeated:,}"),
            ("held for a person after an unknown end", f"{run.held:,}"),
            ("thrown away by the platform that said yes", f"{run.lied:,}"),
            ("dead", f"{run.dead:,}"),
            ("skipped as too old", f"{run.skipped:,}"),
            ("planned sets that differ from arithmetic", str(len(run.unlike))),
        ],
    )
    yield _table(
        ("what stays as it is", "first", "last"),
        [
            (
                "50th percentile of a quiet hour, day 1 and the last, ms",
                _said(run.quiet_p50_ms(0)),
                _said(run.quiet_p50_ms(day)),
            ),
            ("99th percentile of it, ms", _said(run.quiet_p99_ms(0)), _said(run.quiet_p99_ms(day))),
            (
                "processor time an event, first and last sixth, µs",
                _said(run.cpu_us(0, run.days / 6)),
                _said(run.cpu_us(run.days * 5 / 6, run.days)),
            ),
            *(
                (
                    f"memory of {role}, day {first:.1f} and {last:.1f}, MiB",
                    _said(_at(run.samples, first).pss_mib[role]),
                    _said(_at(run.samples, last).pss_mib[role]),
                )
                for role in sorted(run.samples[0].pss_mib)
            ),
            *(
                (
                    f"bytes an event in {name}, day 1 and the last",
                    _said(_bytes(run.samples, name, 0, 1)),
                    _said(_bytes(run.samples, name, run.days - 1, run.days)),
                )
                for name in run.samples[0].files_mib
            ),
        ],
    )
    yield (
        f"Memory of all roles rises by {run.memory_slope_mib_per_day:+.1f} MiB in a day of the lender,"
        f" {run.events / run.days:,.0f} events, over days {first:.1f} to {last:.1f}.\n"
    )
    yield "![What the roles hold, day by day](pictures/soak-memory.svg)\n"
    yield "![From 202 to arrival, hour by hour](pictures/soak-delays.svg)\n"
    yield "![What the files take on disk](pictures/soak-growth.svg)\n"
    yield "## The weather of each day\n"
    yield _table(
        ("hour", "destination", "what fails", "after an unknown end"),
        [(str(one.hours[0]), one.to, one.name, "holds" if one.to in HOLDS else "tries again") for one in DAY],
    )


def _memory(run: Run) -> Figure:
    figure, axes = _figure("MiB, shared pages in equal parts")
    for role, colour in zip(sorted(run.samples[0].pss_mib), COLOURS, strict=False):
        axes.plot(
            [one.day for one in run.samples],
            [one.pss_mib[role] for one in run.samples],
            color=colour,
            label=role,
        )
    axes.axvspan(*run.memory_days, color="#f3f4f6", label="no kill")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("day")
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    return figure


def _delays(run: Run) -> Figure:
    figure, axes = _figure("from 202 to arrival, ms of the machine")
    hours = [one for one in run.hours if one.hour < run.days * 24]
    per_day = 24 if run.days >= 1 else 24 / run.days
    days = [one.hour / per_day for one in hours]
    axes.plot(days, [one.p99_ms for one in hours], color=COLOURS[1], label="99th percentile")
    axes.plot(days, [one.p50_ms for one in hours], color=COLOURS[0], label="50th")
    quiet = [(day, one.p99_ms) for day, one in zip(days, hours, strict=True) if not one.weather]
    axes.plot(
        *zip(*quiet, strict=True), "o", markersize=3, color=COLOURS[1], label="nothing fails on purpose"
    )
    axes.set_yscale("log")
    axes.set_xlabel("day")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def _growth(run: Run) -> Figure:
    figure, axes = _figure("MiB on disk")
    for name, colour in zip(run.samples[0].files_mib, COLOURS, strict=False):
        axes.plot(
            [one.events for one in run.samples],
            [one.files_mib[name] for one in run.samples],
            color=colour,
            label=name,
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("events")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def _figure(of: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel(of)
    return figure, axes


def _at(samples: Sequence[Sample], day: float) -> Sample:
    """The look nearest to a moment."""
    return min(samples, key=lambda one: abs(one.day - day))


def _bytes(samples: Sequence[Sample], name: str, first: float, last: float) -> float | None:
    """What an event of that time takes in a file."""
    before, after = _at(samples, first), _at(samples, last)
    if after.events == before.events:
        return None
    return (after.files_mib[name] - before.files_mib[name]) * 1024**2 / (after.events - before.events)


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: list[Sequence[str]] = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
