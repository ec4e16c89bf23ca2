"""`python -m tests.crash`: kills and power cuts under load; the last line of the output is the proof as JSON.

Ends with 1 where a promise was broken, and says which.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.crash.house import HAS_LANES
from tests.crash.shim_at_work import blind_spot
from tests.crash.suite import FOLD_AT, Killings, Proof, Tell
from tests.crash.unsynced import compiled


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    words.add_argument("--kills", type=int, default=200, help="processes that end by kill -9")
    words.add_argument("--cuts", type=int, help="power cuts; a fifth of the kills by default")
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    words.add_argument("--per-second", type=float, default=400, help="events that the back ends send")
    words.add_argument("--order", choices=("auto", "off"), default="auto", help="whether order is asked for")
    words.add_argument("--lying-disk", action="store_true", help="syncs are worth nothing: must be found")
    given = words.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    cuts = max(2, given.kills // 5) if given.cuts is None else given.cuts
    ordered = HAS_LANES and given.order == "auto"
    print(f"seed {seed}: {given.kills} kills, {cuts} power cuts, {given.per_second:.0f} events a second")
    if not ordered:
        print("ORDER IS NOT CHECKED: the destinations are not told to keep it")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-crash-"))
    proofs: list[Proof] = []
    broken: list[str] = []
    try:
        if given.kills:
            killings = Killings(folder / "kills", seed, per_second=given.per_second, ordered=ordered)
            proofs.append(killed(killings, given.kills, tell))
        library = shim(folder) if cuts else None
        if library is not None:
            killings = Killings(
                folder / "cuts", seed + 1, per_second=given.per_second, ordered=ordered, fold_at=FOLD_AT
            )
            proofs.append(cut(killings, cuts, library, tell, lies=given.lying_disk))
    except AssertionError as error:  # a role that ended by itself, a service that does not come to rest
        broken.append(str(error))
    broken += [sentence for proof in proofs for sentence in problems(proof)]
    for sentence in broken:
        print(f"BROKEN: {sentence}")
    if broken:
        print(f"the data folders and what the roles said are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(json.dumps(summed(proofs, seed, ordered=ordered, seconds=time.monotonic() - began)))
    return 1 if broken else 0


def killed(killings: Killings, kills: int, tell: Tell) -> Proof:
    """What so many kills came to."""
    try:
        killings.kill(kills, tell)
        return killings.reckoning()
    finally:
        killings.close()


def shim(folder: Path) -> Path | None:
    """The library that knows what was synced, once it has shown that it does; `None` without a compiler."""
    library = compiled(folder)
    if library is None:
        print("NO POWER CUTS: there is no C compiler on this machine")
    elif wrong := blind_spot(library, folder / "shim"):
        raise SystemExit(f"the shim cannot be trusted on this machine: {wrong}")
    return library


def cut(killings: Killings, cuts: int, library: Path, tell: Tell, *, lies: bool) -> Proof:
    """What so many power cuts came to."""
    try:
        return killings.reckoning(killings.cut(cuts, library, tell, lies=lies))
    finally:
        killings.close()


def problems(proof: Proof) -> list[str]:
    """A sentence for each promise that was broken."""
    found = [] if proof.judgement is None else list(proof.judgement.broken)
    if proof.cuts is not None and proof.cuts.lost:
        found.append(f"{proof.cuts.lost} acknowledged events were gone after a power cut")
    if proof.cuts is not None and proof.cuts.damage is not None:
        found.append(f"after a power cut: {proof.cuts.damage}")
    return found


def summed(proofs: Sequence[Proof], seed: int, *, ordered: bool, seconds: float) -> dict[str, object]:
    """The figures of docs/how-to/prove-it-on-your-machine.md, over kills and power cuts together."""
    verdicts = [proof.judgement for proof in proofs if proof.judgement is not None]
    cuts = [proof.cuts for proof in proofs if proof.cuts is not None]
    points: Counter[str] = Counter()
    for proof in proofs:
        points.update(proof.points)
    return {
        "kills": sum(proof.kills for proof in proofs if proof.cuts is None),
        "lost": sum(one.lost for one in verdicts),
        "doubled_hold": sum(one.doubled["hold"] for one in verdicts),
        "doubled_retry": sum(one.doubled["retry"] for one in verdicts),
        "held": sum(one.held for one in verdicts),
        "in_flight_hold": sum(one.in_flight["hold"] for one in verdicts),
        "in_flight_retry": sum(one.in_flight["retry"] for one in verdicts),
        "in_flight_max": max((one.in_flight_max for one in verdicts), default=0),
        "disordered": sum(one.disordered or 0 for one in verdicts) if ordered else None,
        "order_checked": ordered,
        "power_cuts": sum(one.number for one in cuts) if cuts else None,
        "undone": sum(one.undone for one in cuts) if cuts else None,
        "brought_back": sum(one.brought_back for one in cuts) if cuts else None,
        "unsynced_lost": sum(one.lost for one in cuts) if cuts else None,
        "points": dict(points),
        "events": sum(proof.events for proof in proofs),
        "repeated_requests": sum(proof.repeated for proof in proofs),
        "seed": seed,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
