"""`python -m tests.fuzz`: requests made from the API's own description; the last line is the result as JSON.

Ends with 1 where one was answered with a 5xx or not at all, or a secret was told.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.hail import hail


def main() -> int:
    """0 where everything was answered."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("--requests", type=int, default=100_000, help="how many")
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    given = words.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}: {given.requests:,} requests", flush=True)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-fuzz-"))
    weather = hail(folder, seed, given.requests)
    for sentence in weather.broken:
        print(f"BROKEN: {sentence}")
    if weather.broken:
        print(f"the data folder and what the roles said are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(json.dumps({**weather.told(), "seconds": round(time.monotonic() - began, 1)}))
    return 1 if weather.broken else 0


if __name__ == "__main__":
    sys.exit(main())
