"""How a process is told to end or to read its configuration again, and that it ends with who started it."""

import os
import signal
import sys
import threading
from types import FrameType


def end_with_parent() -> None:
    """Ends this process, orderly, when the other end of its standard input closes."""

    def watch() -> None:
        while os.read(0, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def stop_on_signal() -> threading.Event:
    """Set when the process is told to stop, by SIGTERM or Ctrl-C."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def reload_on_signal() -> threading.Event:
    """Set when the process is told by SIGHUP to read its configuration again.

    Under a terminal SIGHUP says that the terminal is gone, and ends the process as it always did.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    if sys.stdin is None or not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, ask)
    return asked
