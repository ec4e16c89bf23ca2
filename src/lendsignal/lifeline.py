"""A child process that ends when the process that started it is gone, however that one went."""

import os
import signal
import threading


def end_with_parent() -> None:
    """Ends this process, orderly, when the other end of its standard input closes."""

    def watch() -> None:
        while os.read(0, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
