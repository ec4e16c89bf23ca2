"""`python -m lendsignal.sandbox --settings FILE --port N [--folder DIR] [--clock FILE] [--chaos SEED]`."""

import argparse
import signal
import sys
from pathlib import Path

from lendsignal.clock import clock_at
from lendsignal.errors import LendsignalError
from lendsignal.lifeline import end_with_parent
from lendsignal.sandbox.app import DEFAULT_PORT, serve
from lendsignal.sandbox.settings import settings_at


def main(words: list[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C; 0 then, 2 where settings or folder cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m lendsignal.sandbox", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="accounts, as .toml or .json")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, help="where to remember what was received")
    parser.add_argument("--clock", type=Path, help="a replay clock's file, shared with the service")
    parser.add_argument("--chaos", type=int, metavar="SEED", help="fail in every way, by this seed")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input closes: for who starts it"
    )
    given = parser.parse_args(words)
    # Uvicorn stops cleanly on SIGTERM and then raises it once more: this makes that a plain exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if given.with_parent:
        end_with_parent()
    try:
        serve(
            settings_at(given.settings, chaos=given.chaos),
            host=given.host,
            port=given.port,
            folder=given.folder,
            clock=clock_at(given.clock),
            announce=lambda address: print(f"sandbox listening on {address}", flush=True),
        )
    except (LendsignalError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
