"""Changes of the configuration that nobody goes by yet: drafted, checked, rehearsed, taken over.

Drafts are kept in memory, the latest few of them: a console that is started again has none. To rehearse one,
the log is decided anew in a process of its own, one at a time.
"""

import difflib
import os
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from threading import Lock

from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.decide.previewing import DAY_US, Plan, Side, in_force, plan_of, rehearsed_apart, youngest
from lendsignal.errors import ConfigError, InputError, LendsignalError, Problem
from lendsignal.log import DataFolder, open_log, synced

MOST_DRAFTS = 20
DAYS = 7.0
"""Days of the past that a draft is compared over."""

MOST_EVENTS = 1_000_000
"""A longer log is rehearsed by `lendsignal plan`: this many take a minute of each of two processors and up
to 3 GiB (docs/how-to/preview-a-change.md), and here they stand beside a service that is at work."""

PATIENCE = timedelta(minutes=5)


class Draft(Struct, frozen=True, kw_only=True):
    """A changed text. `base` is the SHA-256 of the file that it was drafted from."""

    id: str
    text: str
    base: str
    by: str
    at_us: int


class Judged(Struct, frozen=True, kw_only=True):
    """What `check` says of a draft: every mistake, or the configuration that it would be."""

    problems: Sequence[Problem]
    config: Config | None = None


class Drafts:
    """The drafts for one configuration file; safe to be used from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_as = _sum(_text(path)) if path.is_file() else ""
        """The file as it was when this console was started: what the service goes by."""
        self._drafts: OrderedDict[str, Draft] = OrderedDict()
        self._plans: dict[str, Plan] = {}
        self._lock = Lock()
        self._rehearsing = Lock()

    def text(self) -> str:
        """The file as it is now."""
        return _text(self.path)

    def differs(self) -> bool:
        """Whether the file says something else now than when the service was started."""
        return self.path.is_file() and _sum(self.text()) != self.read_as

    def can_be_taken_over(self) -> bool:
        """Whether the file can be replaced where it lies."""
        return os.access(self.path, os.W_OK) and os.access(self.path.resolve().parent, os.W_OK)

    def keep(self, text: str, by: str, now_us: int, base: str | None = None) -> Draft:
        """A new draft; `base` where it goes on from another one. The oldest of too many is forgotten."""
        text = text.replace("\r\n", "\n").rstrip() + "\n"
        draft = Draft(id=secrets.token_hex(6), text=text, base=base or _sum(self.text()), by=by, at_us=now_us)
        with self._lock:
            self._drafts[draft.id] = draft
            while len(self._drafts) > MOST_DRAFTS:
                gone, _ = self._drafts.popitem(last=False)
                self._plans.pop(gone, None)
        return draft

    def of(self, id_: str) -> Draft | None:
        """The draft of that id; `None`: it was forgotten."""
        with self._lock:
            return self._drafts.get(id_)

    def judged(self, draft: Draft) -> Judged:
        """What `lendsignal check` says of it, with the secrets that this process is given."""
        try:
            return Judged(problems=(), config=configuration.parsed(draft.text, self.path))
        except ConfigError as error:
            return Judged(problems=error.problems)

    def lines(self, draft: Draft) -> Sequence[str]:
        """How its text differs from the file, as a unified diff."""
        before, after = self.text().splitlines(), draft.text.splitlines()
        name = self.path.name
        return list(difflib.unified_diff(before, after, name, f"{name}, changed", lineterm="", n=2))

    def plan(self, draft: Draft, config: Config, folder: DataFolder) -> Plan:
        """What it would have sent otherwise in the last days: the same as `lendsignal plan --config` says.

        Raises `LendsignalError` where the log is too long for that, or nothing was decided yet.
        """
        with self._rehearsing:
            if draft.id not in self._plans:
                found = _rehearsed(config, folder)
                with self._lock:
                    if draft.id in self._drafts:
                        self._plans[draft.id] = found
                return found
            return self._plans[draft.id]

    def take_over(self, draft: Draft, now_us: int) -> Path:
        """Replaces the file by the draft, whole or not at all, and gives where the old one is kept.

        Raises `InputError` where the draft has mistakes or the file was changed since it was drafted, and
        `LendsignalError` where the file cannot be replaced.
        """
        if self.judged(draft).problems:
            raise InputError("draft", "it has mistakes: mend them first")
        with self._lock:
            text = self.text()
            if _sum(text) != draft.base:
                raise InputError("draft", "the file was changed since: draft the change anew")
            path = self.path.resolve()
            kept = path.with_name(f"{path.name}.{from_us(now_us):%Y%m%dT%H%M%SZ}.bak")
            try:
                _write(kept, text, path)
                _write(path, draft.text, path)
            except OSError as error:
                raise LendsignalError(f"{path.name} cannot be replaced: {error.strerror}") from error
        return kept


def _rehearsed(config: Config, folder: DataFolder) -> Plan:
    with closing(open_log(folder.log, read_only=True)) as log:
        if log.end() > MOST_EVENTS:
            raise LendsignalError(
                f"the log has more than {MOST_EVENTS:,} events: rehearse it with lendsignal plan"
            )
        before, until_us = in_force(log), youngest(log)
        since_us = until_us - int(DAYS * DAY_US)
        seconds = PATIENCE.total_seconds()
        # One after the other: both pictures stand beside a service that is at work.
        was, now = (
            rehearsed_apart(Side(folder.path, source, config.apps, since_us, "last_login", False), seconds)
            for source in (before, config.policy)
        )
        return plan_of(was, now, log, since_us, until_us)


def counted(plan: Plan) -> Sequence[tuple[tuple[str, str], Mapping[str, int]]]:
    """The differences by conversion and destination: of each kind of change how many."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for line in plan.changes:
        of = found.setdefault((line.conversion, line.destination), {})
        of[line.change.value] = of.get(line.change.value, 0) + line.deliveries
    return list(found.items())


def _write(path: Path, text: str, like: Path) -> None:
    """Writes a file beside another and puts it in its place at once; with the rights of `like`."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    about = like.stat()
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), about.st_mode & 0o777)
            with suppress(PermissionError):  # only root can give a file away
                os.fchown(file.fileno(), about.st_uid, about.st_gid)
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    synced(path.parent)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LendsignalError(f"{path.name} cannot be read: {type(error).__name__}") from error


def _sum(text: str) -> str:
    return sha256(text.encode()).hexdigest()
