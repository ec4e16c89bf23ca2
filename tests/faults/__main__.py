"""`python -m tests.faults`: the sender in simulated worlds; the last line of the output is the proof as JSON.

Ends with 1 where a promise was broken, with the one command that shows how.
"""

import argparse
import json
import sys
from multiprocessing import get_context
from os import cpu_count

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tests.faults.planted import PLANTED, found_by
from tests.faults.seed import broken_by
from tests.faults.suite import SEEDS_FOR_A_BUG, hunted, parts, tried

SHOWN = 20
"""Failing seeds that are told one by one."""


def main() -> int:
    """0 where every promise was kept and every planted bug was found."""
    words = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    words.add_argument("--seeds", type=int, default=2_000, help="how many worlds")
    words.add_argument("--first", type=int, default=0, help="the first seed")
    words.add_argument("--seed", type=int, help="one seed alone")
    words.add_argument("--trace", action="store_true", help="with all that happened in it")
    words.add_argument("--planted", help="with this bug of tests/faults/planted.py in the product")
    words.add_argument("--processes", type=int, default=cpu_count() or 1)
    given = words.parse_args()
    if given.seed is not None:
        return _one(given.seed, trace=given.trace, bug=given.planted)
    failures: list[tuple[int, str]] = []
    found: dict[str, int | None] = {}
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # The workers are there before the thread that draws the bar: they copy nothing of it.
    with get_context("fork").Pool(given.processes) as pool, Progress(*columns, console=console) as progress:
        bar = progress.add_task("seeds", total=given.seeds)
        for number, broken in pool.imap_unordered(tried, parts(given.first, given.seeds)):
            failures += broken
            progress.advance(bar, number)
        bar = progress.add_task("planted bugs", total=len(PLANTED))
        for name, seed in pool.imap_unordered(hunted, [bug.__name__ for bug in PLANTED]):
            found[name] = seed
            progress.advance(bar)
    for seed, sentence in sorted(failures)[:SHOWN]:
        print(f"BROKEN by seed {seed}: {sentence}")
        print(f"  .venv/bin/python -m tests.faults --seed {seed} --trace")
    missed = sorted(name for name, seed in found.items() if seed is None)
    for name in missed:
        print(f"NOT FOUND within {SEEDS_FOR_A_BUG} seeds: the planted bug {name}")
    for name, seed in sorted(found.items()):
        print(f"planted {name}: found by seed {seed}", file=sys.stderr)
    proof = {
        "seeds": given.seeds,
        "failures": len(failures),
        "planted": len(PLANTED),
        "planted_found": len(PLANTED) - len(missed),
    }
    print(json.dumps(proof))
    return 1 if failures or missed else 0


def _one(seed: int, *, trace: bool, bug: str | None) -> int:
    """One seed, told line by line."""
    tell = print if trace else None
    sentence = broken_by(seed, tell) if bug is None else found_by(bug, seed, tell)
    print(f"seed {seed}: {'kept every promise' if sentence is None else sentence}")
    return 0 if sentence is None else 1


if __name__ == "__main__":
    sys.exit(main())
