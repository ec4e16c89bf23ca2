"""How a process ends: when it is told to, and when the one that started it is gone, however that one went."""

import os
import signal
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
