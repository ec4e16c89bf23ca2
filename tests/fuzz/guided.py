"""`python -m tests.fuzz.guided NAME SECONDS`: bytes at one parser, guided by coverage (atheris, libFuzzer).

What is reached goes on in `build/fuzz/NAME`, so that the next run begins where this one ended. Ends with
another code than 0 where something was found; its bytes are kept beside that folder.
"""

import base64
import sys
from pathlib import Path

import atheris

# Only what is loaded within is seen by coverage, and everything else is as fast as ever.
READERS = [
    "lendsignal.source",
    "lendsignal.settings",
    "lendsignal.derive.syntax",
    "lendsignal.derive.expression",
]
with atheris.instrument_imports(include=READERS):
    from tests.fuzz.parsers import PARSERS, finding


def main(name: str, seconds: int) -> None:
    """Does not return: libFuzzer ends the process."""
    parser = PARSERS[name]
    corpus = Path("build/fuzz") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def once(raw: bytes) -> None:
        wrong = finding(parser, raw)
        if wrong is not None:
            raise AssertionError(f"{wrong}: {base64.b64encode(raw).decode()}")

    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix=build/fuzz/{name}-", str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
