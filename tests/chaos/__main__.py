"""`python -m tests.chaos`: platforms that fail in every way; the last line printed is the proof as JSON.

Ends with 1 where a promise was broken, and says which.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.storm import storm


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    words.add_argument("--seconds", type=float, default=60, help="how long the storm lasts")
    words.add_argument("--seed", type=int, help="of the mix of faults")
    given = words.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}: a storm of {given.seconds:.0f} s")
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-chaos-"))
    after = storm(folder, seed, given.seconds)
    for name, books in after.books.items():
        print(
            f"{name:<14} planned {len(books.planned)}, accepted {len(books.accepted)},"
            f" held {len(books.held)}, ended unknown {sum(books.ambiguous.values())}, doubled {books.doubled}"
        )
    for sentence in after.broken():
        print(f"BROKEN: {sentence}")
    if after.broken():
        print(f"the data folder and what the roles said are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(json.dumps({"seed": seed, "seconds": given.seconds, **after.summary()}))
    return 1 if after.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
