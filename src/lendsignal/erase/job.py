"""Carries an erasure on, step by step. Each step may be done again, and what has ended is not.

    kept_out    nothing of them comes in any more
    found       their users, installations, and the platforms that know those
    log         events become husks; states, timers and refused events go; what waits to be sent is taken back
    deliveries  kept requests and answers, offers for apps, what was planned
    feeds       what MMPs told of them
    archive     Parquet files, rewritten
    audiences   contacts and ids that lists are made of; the lists follow, here and on the platforms
    spool       events that wait in the Python client's file, where one was named
    files       pages that the databases' write-ahead logs still show

Platforms are asked beside that, each in its own time.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from hashlib import blake2b
from uuid import UUID

import msgspec

from lendsignal.clock import Clock, from_us
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.deliver.sender import Network
from lendsignal.erase import places
from lendsignal.erase.again import erased_again, kept_beside
from lendsignal.erase.asking import apps_of, is_due, users_of
from lendsignal.erase.passing import BY_HAND, Passed, pass_on
from lendsignal.erase.places import Step, waits
from lendsignal.erase.receipt import STEPS
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.log import DataFolder, Log, open_log
from lendsignal.log.erasures import (
    ASKED,
    DONE,
    NOT_POSSIBLE,
    NOT_THERE,
    OPEN,
    WAITS,
    About,
    Asking,
    Erasures,
    Job,
    Stepped,
    open_erasures,
)
from lendsignal.model import INSTALL_SCOPED, Device, Event, EventType, IdKind, id_of

logger = logging.getLogger(__name__)

AGAIN_US = 5_000_000
"""How soon a step is tried again that waits for somebody else."""

YOUNG_US, LATER_US = 60_000_000, 60_000_000
"""For how long so soon, and how soon after that: every try is a process of its own."""

ASK_AGAIN_US = 300_000_000
"""How soon it is looked whether the lists have let go of somebody."""

IDS = frozenset(kind.value for kind in IdKind)


def carried_on(
    config: Config,
    clock: Clock,
    *,
    receipt: str | None = None,
    network: Callable[[], Network] | None = None,
    told: Callable[[str], None] = lambda step: None,
) -> int | None:
    """Does all that can be done now, of one erasure or of every one that goes on.

    When something is to be done next, in microseconds since 1970; `None`: nothing is left. Raises
    `FolderInUse` where another process is at it.
    """
    folder = DataFolder(config.data)
    erased_again(config, clock)
    if not folder.erasures.exists():
        is_due(folder, None)
        return None
    with folder.lock("erase"), closing(open_erasures(folder.erasures)) as book:
        jobs = [
            Erasure(config, folder, book, job, clock, told)
            for job in book.open()
            if receipt in (None, job.receipt)
        ]
        for job in jobs:
            job.turn()
        passed = pass_on(config, book, clock, network)
        for job in jobs:
            job.end()
        if jobs:
            kept_beside(config)
        due_us = _next(book, passed, clock.now_us())
        is_due(folder, due_us)
        if due_us is None and book.open():  # asked for in this very moment
            due_us = clock.now_us()
            is_due(folder, 0)
    return due_us


def _next(book: Erasures, passed: Passed, now_us: int) -> int | None:
    """When something is to be done next: soon while an erasure is young, later for what takes its time."""
    due = [] if passed.due_us is None else [passed.due_us]
    for job in book.open():
        states = {one.state for one in book.steps(job.receipt).values()}
        if WAITS in states:
            due.append(now_us + (AGAIN_US if now_us - job.asked_us < YOUNG_US else LATER_US))
        elif ASKED in states:
            due.append(now_us + ASK_AGAIN_US)
    return min(due, default=None)


class Erasure:
    """One erasure, as far as it can be brought now."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        book: Erasures,
        job: Job,
        clock: Clock,
        told: Callable[[str], None],
    ) -> None:
        assert job.about is not None, "what goes on knows whom it is about"
        self._config = config
        self._folder = folder
        self._book = book
        self._receipt = job.receipt
        self._about: About = job.about
        self._clock = clock
        self._told = told

    def turn(self) -> None:
        """Every step that is not through yet, in order; one that waits lets the later ones go on where they
        do not need it."""
        ways: dict[str, Callable[[], Step]] = {
            "kept_out": self._kept_out,
            "found": self._found,
            "log": self._struck,
            "deliveries": self._deliveries,
            "feeds": self._feeds,
            "archive": self._archive,
            "audiences": self._audiences,
            "spool": self._spool,
            "files": self._files,
        }
        for name in STEPS:
            before = self._book.steps(self._receipt).get(name)
            if before is not None and before.state in (DONE, NOT_THERE):
                continue
            self._told(name)
            try:
                done = ways[name]()
            except FolderInUse as error:
                done = waits(f"{error.role} is at work")
            except NotYet:
                done = Step(NOT_THERE)
            if before is None or (before.state, before.note) != (done.state, done.note):
                self._note(name, done)
            if name in ("kept_out", "found", "log") and done.state != DONE:
                return  # without these nothing behind them is whole

    def end(self) -> None:
        """Forgets whom it is about, once everything here is through and every platform was asked."""
        steps = self._book.steps(self._receipt)
        through = all(name in steps and steps[name].state in (DONE, NOT_THERE) for name in STEPS)
        if through and not any(one.state == OPEN for one in self._book.askings(self._receipt)):
            self._book.end(self._receipt, self._clock.now_us())
            self._book.checkpoint()
            logger.info("erasure %s has ended", self._receipt)

    def _note(self, name: str, done: Step) -> None:
        step = Stepped(name=name, state=done.state, n=done.n, note=done.note, at_us=self._clock.now_us())
        self._book.note(self._receipt, step)

    # the log

    def _kept_out(self) -> Step:
        with self._log() as log:
            users = self._users(log)
            log.erasing.keep_out(users, self._about.person, self._receipt, self._clock.now_us())
        return Step(DONE, len(users))

    def _found(self) -> Step:
        with self._log() as log:
            users = self._users(log)
            trace = log.erasing.trace(users)
            # Between the first look at a person and now another user may have come in.
            log.erasing.keep_out(users, self._about.person, self._receipt, self._clock.now_us())
        devices, installations = traced(trace.devices)
        about = msgspec.structs.replace(
            self._about,
            users=users,
            installations=tuple(sorted({*self._about.installations, *installations})),
        )
        known = {one.request for one in self._book.askings(self._receipt)}
        askings = askings_of(self._config, self._receipt, devices, known, self._clock.now_us())
        self._book.know(self._receipt, about, askings)
        self._about = about
        return Step(DONE, len(installations))

    def _log(self) -> "closing[Log]":
        return closing(open_log(self._folder.log))

    def _users(self, log: Log) -> tuple[tuple[str, str], ...]:
        person = self._about.person
        return users_of(self._about, () if person is None else log.erasing.users_of(person))

    def _struck(self) -> Step:
        now = from_us(self._clock.now_us())
        pattern = Event(
            type=EventType.ERASED,
            brand="lendsignal",
            user_id="lendsignal",
            event_id="",
            occurred_at=now,
            received_at=now,
            actor="system",
        )
        with self._log() as log:
            trace = log.erasing.trace(self._about.users)
            struck = log.erasing.strike(self._receipt, self._about.users, self._about.person, trace, pattern)
            self._decide(log)
        note = f"{struck.states} states, {struck.timers} timers, {struck.refused} refused events"
        return Step(DONE, struck.events, note)

    def _decide(self, log: Log) -> None:
        """Where no service runs, what takes deliveries back is decided here."""
        try:
            lock = self._folder.lock("core")
        except FolderInUse:
            return
        ringer = self._folder.ringer("send")
        with lock, closing(ringer):
            decider = Decider(log, self._config.policy, self._clock, ringer.ring)
            end = log.end()
            while decider.turn() or decider.position < end:
                pass

    # everything else

    def _deliveries(self) -> Step:
        with self._log() as log:
            gone = places.gone_records(self._config, self._folder, log, self._about)
            return places.deliveries(self._folder, log, self._receipt, gone)

    def _feeds(self) -> Step:
        users = [(app, user) for brand, user in self._about.users for app in apps_of(self._config, brand)]
        return places.feeds(self._folder, self._about.installations, users)

    def _archive(self) -> Step:
        return places.archive(self._config, self._folder, self._about, self._clock)

    def _audiences(self) -> Step:
        before = self._book.steps(self._receipt).get("audiences")
        return places.audiences(self._config, self._folder, self._about, self._clock, before)

    def _spool(self) -> Step:
        return places.spools(self._about)

    def _files(self) -> Step:
        steps = self._book.steps(self._receipt)
        if any(name not in steps or steps[name].state not in (DONE, NOT_THERE, ASKED) for name in STEPS[:-1]):
            return waits("other steps go on")
        return places.files(self._folder)


def askings_of(
    config: Config, receipt: str, devices: Sequence[tuple[str, Device]], known: Collection[str], now_us: int
) -> list[Asking]:
    """Whom platforms are to forget: one for each destination and installation (app, ids) it may know, and one
    for each destination that cannot be asked. `known` are the requests that were noted before."""
    number = len(known)
    found: list[Asking] = []
    seen = {app for app, _ in devices}
    for name, outlet in sorted(config.outlets.items()):
        if outlet.app.name not in seen and "" not in seen:
            continue
        ids: dict[tuple[str, str], None] = {}
        erasing = getattr(outlet.module, "ERASING", None)
        if erasing is not None:
            for app, device in devices:
                if app in (outlet.app.name, ""):
                    value = outlet.module.erasure_id(outlet.app, device)  # type: ignore[attr-defined]
                    if value is not None:
                        ids[value] = None
            why = outlet.module.no_erasure(outlet.own) or (  # type: ignore[attr-defined]
                "" if ids else "no id that it would know"
            )
        else:
            why = BY_HAND.get(outlet.common.kind, BY_HAND[""])
        for subject in [None] if why else list(ids):
            request = _request_id(receipt, name, subject)
            if request in known:
                continue
            found.append(
                Asking(
                    number=number,
                    destination=name,
                    platform=outlet.spec.label,
                    request=request,
                    subject=None if subject is None else msgspec.msgpack.encode(subject),
                    state=NOT_POSSIBLE if subject is None else OPEN,
                    note=why,
                    at_us=now_us,
                )
            )
            number += 1
    return found


def _request_id(receipt: str, destination: str, subject: tuple[str, str] | None) -> str:
    """A UUID that is the same whenever it is made: asking once more asks nothing new."""
    said = f"{receipt}\x1f{destination}\x1f{subject}".encode()
    return str(UUID(bytes=blake2b(said, digest_size=16).digest(), version=4))


def traced(devices: Sequence[tuple[str, Device]]) -> tuple[list[tuple[str, Device]], set[tuple[str, str]]]:
    """The installations (app, ids and nothing else of the device), each once, and the ids that MMPs know."""
    bare = list(dict.fromkeys((app, _bare(device)) for app, device in devices))
    installations = {
        (app, value)
        for app, device in bare
        for kind in INSTALL_SCOPED
        if (value := id_of(device, kind)) is not None
    }
    return bare, installations


def _bare(device: Device) -> Device:
    """The ids of a device, and nothing else of it."""
    kept = {name: getattr(device, name) for name in Device.__struct_fields__ if name in IDS}
    return Device(limit_ad_tracking=device.limit_ad_tracking, **kept)
