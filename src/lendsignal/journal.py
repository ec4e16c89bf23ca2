"""What a process says of itself on standard error: a line for people, or one JSON object for programs.

The level tells the consequence: ERROR: something is lost or a person must act; WARNING: unexpected, and
recovered; INFO: started, stopped, reloaded; DEBUG: one line per delivery. No line holds a person's data or a
secret.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime

VARIABLE = "LENDSIGNAL_LOG_FORMAT"
FORMATS = ("text", "json")

CONSEQUENCES = {
    "CRITICAL": "a person must act",
    "ERROR": "a person must act",
    "WARNING": "recovered",
    "INFO": "for the record",
    "DEBUG": "detail",
}
"""What a level wants of whoever reads it."""


class JsonLines(logging.Formatter):
    """One JSON object a line: when (UTC), level, consequence, role, room and what is said.

    `role` is the process (`run`, `core`, `send`, …), `room` the part of the program that says it. A traceback
    stands in `trace`, where there is one.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        parts = record.name.split(".")
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "consequence": CONSEQUENCES.get(record.levelname, "detail"),
            "role": self._role or ("run" if record.name == "lendsignal.run" else "cli"),
            "room": parts[1] if parts[0] == "lendsignal" and len(parts) > 1 else parts[0],
            "said": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def begin(role: str, *, verbose: bool = False) -> None:
    """From here on this process says things in the format that $LENDSIGNAL_LOG_FORMAT names.

    `role` is empty for the command line, whose lines for people name the module instead.
    """
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get(VARIABLE) == "json":
        handler.setFormatter(JsonLines(role))
    else:
        who = role or "%(name)s"
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {who}: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])


def stopped(why: str) -> None:
    """Says why this process ends: a person must act."""
    _say(logging.ERROR, "error", why)


def warned(what: str) -> None:
    """Says what is worth knowing before anything starts."""
    _say(logging.WARNING, "warning", what)


def _say(level: int, word: str, what: str) -> None:
    if os.environ.get(VARIABLE) == "json":
        logging.getLogger("lendsignal.cli").log(level, "%s", what)
    else:
        print(f"{word}: {what}", file=sys.stderr)
