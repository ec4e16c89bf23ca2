"""Pictures and tables of runs for the documentation: `python -m lendsignal.bench.publish RUNS REFERENCE`.

RUNS is a folder with what `lendsignal bench … --json` printed: `bench.json`, `growth.json`, `fan.json`,
`backlog.json`, `isolation.json`, `tiers.json`. REFERENCE is docs/reference: pictures go to its `pictures`,
with the runs beside them, and the tables below the mark of `performance.md`. Runs that are missing are
left out.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lendsignal.bench.backlog import Backlog
from lendsignal.bench.fan import Fan
from lendsignal.bench.growth import Growth
from lendsignal.bench.isolation import Isolation
from lendsignal.bench.machine import Machine
from lendsignal.bench.measure import Figures
from lendsignal.bench.plots import draw
from lendsignal.bench.targets import Target

MARK = "<!-- From here on the page is written by `python -m lendsignal.bench.publish`. -->"
"""What stands above it in the page is written by hand and stays."""


def main() -> None:
    """Draws the pictures and writes the tables."""
    words = argparse.ArgumentParser(prog="python -m lendsignal.bench.publish", description=__doc__)
    words.add_argument("runs", type=Path, help="folder with the runs' JSON")
    words.add_argument("reference", type=Path, help="docs/reference")
    given = words.parse_args()
    for path in publish(given.runs, given.reference):
        print(path)


def publish(runs: Path, reference: Path) -> list[Path]:
    """Pictures and tables from the runs in a folder; the files it wrote."""
    pictures = reference / "pictures"
    drawn = draw(runs, pictures)
    for name in (*_SECTIONS, "tiers"):  # whose table stands on its own page
        if (runs / f"{name}.json").exists() and runs.resolve() != pictures.resolve():
            shutil.copyfile(runs / f"{name}.json", pictures / f"{name}.json")
    page = reference / "performance.md"
    head = page.read_text().partition(MARK)[0]
    page.write_text(f"{head}{MARK}\n\n" + "\n".join(_sections(runs)))
    return [*drawn, page]


def _sections(runs: Path) -> Iterator[str]:
    for name, (kind, title, written) in _SECTIONS.items():
        path = runs / f"{name}.json"
        if path.exists():
            run = msgspec.json.decode(path.read_bytes(), type=kind)
            yield f"## {title}\n"
            yield _on(run.machine)
            yield from written(run)


def _on(machine: Machine) -> str:
    return (
        f"Machine: {machine.cores} cores, load before {machine.load_before:.1f},"
        f" fsync {machine.fsync_ms:.2f} ms.\n"
    )


def _bench(run: Figures) -> Iterator[str]:
    yield _targets(run.targets)
    yield "![Deliveries a second beside the peer's](pictures/peers.svg)\n"
    rows = [(_words(name), _number(value)) for name, value in run.peers.items()]
    rows += [(f"ours: {_words(name)}", f"{value:.2f}") for name, value in run.ratios.items()]
    yield _table(("in the same run", "found"), rows)
    yield "![Encode and classify for every destination](pictures/encoding.svg)\n"


def _growth(run: Growth) -> Iterator[str]:
    yield (
        f"One data folder, filled to {run.events:,} events of {run.users:,} users."
        f" An event costs {run.cost_ratio:.2f} times as much at the last step as at the first.\n"
    )
    yield "![What an event costs as the store grows](pictures/growth.svg)\n"
    yield _table(
        ("events", "users", "events/s", "core, µs an event", "send, µs an event"),
        [
            (
                f"{one.events:,}",
                f"{one.users:,}",
                _number(one.per_s),
                _number(one.core_us),
                _number(one.send_us),
            )
            for one in run.steps
        ],
    )


def _fan(run: Fan) -> Iterator[str]:
    yield f"{run.events:,} events in each run.\n"
    yield "![Throughput against deliveries an event](pictures/fan.svg)\n"
    yield _table(
        ("deliveries an event", "events/s", "deliveries/s", "µs an event", "µs a delivery"),
        [
            (
                str(one.deliveries_per_event),
                _number(one.events_per_s),
                _number(one.deliveries_per_s),
                _number(one.cpu_us_per_event),
                _number(one.cpu_us_per_delivery),
            )
            for one in run.runs
        ],
    )


def _backlog(run: Backlog) -> Iterator[str]:
    yield f"{run.deliveries:,} deliveries waited.\n"
    yield _targets(run.targets)
    yield "![Memory over a backlog](pictures/backlog.svg)\n"
    yield _table(
        ("figure", "found"),
        [
            ("read by the sender and kept", f"{run.read_per_s:,.0f} deliveries/s"),
            ("the sender's memory while it read them, highest", f"{run.reading_peak_rss_mib:,.0f} MiB"),
            ("start-up over the backlog", f"{run.start_up_seconds:.1f} s"),
            ("the service's own status", f"{run.status_seconds * 1000:,.0f} ms"),
            ("from the order to go on to the first at the sink", f"{run.first_sent_seconds:.2f} s"),
            ("sent afterwards", f"{run.sent_per_s:,.0f} deliveries/s"),
            ("on disk", f"{run.disk_bytes_per_delivery:,.0f} bytes a delivery, its event included"),
        ],
    )


def _isolation(run: Isolation) -> Iterator[str]:
    yield (
        f"{run.events_per_s:,.0f} events a second, one a request, for {run.seconds} s each;"
        f" two destinations that answer reach {run.most_events_per_s:,.0f} here."
        f" Beside a neighbour that hangs, the 99th percentile is {run.p99_to_missing:.2f} times that without"
        f" it, and {run.p99_to_answering:.2f} times that beside one that answers.\n"
    )
    yield "![Delays beside a hanging neighbour](pictures/isolation.svg)\n"
    yield _table(
        ("neighbour", "p50, ms", "p90, ms", "p99, ms"),
        [
            (one.neighbour, *(f"{one.accept_to_sent_ms[mark]:.1f}" for mark in ("p50", "p90", "p99")))
            for one in run.runs
        ],
    )


def _targets(targets: Sequence[Target]) -> str:
    said: Mapping[bool | None, str] = {True: "yes", False: "no", None: "not measured"}
    return _table(
        ("what", "found", "to reach", "reached", "to go for", "reached"),
        [
            (
                one.what,
                "–" if one.found is None else f"{_number(one.found)} {one.unit}",
                f"{'≤' if one.less_is_better else '≥'} {one.reach:,.0f}",
                said[one.reached],
                f"{'≤' if one.less_is_better else '≥'} {one.go_for:,.0f}",
                said[one.went],
            )
            for one in targets
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.1f}" if abs(value) < 1_000 else f"{value:,.0f}"


def _words(name: str) -> str:
    return name.replace("_per_s", " a second").replace("_us_", " µs ").replace("_", " ")


_SECTIONS: Mapping[str, tuple[type[Any], str, Callable[[Any], Iterator[str]]]] = {
    "bench": (Figures, "The whole service, and its peer in the same run", _bench),
    "fan": (Fan, "Throughput against deliveries an event", _fan),
    "growth": (Growth, "Cost as the store grows", _growth),
    "backlog": (Backlog, "Millions waiting", _backlog),
    "isolation": (Isolation, "One destination hangs", _isolation),
}
"""For each run its type, its title on the page, and what is written of it."""

if __name__ == "__main__":
    main()
