"""An erasure on a cluster, as far as the store goes: kept out at every door, struck from the shared tables,
platforms asked. Each desk takes the same people out of its own files (`erase.desk`).

Whoever begins it at the command line carries it out at once; else a worker does, and the leading desk asks
the platforms. Each step may be done again, by two at the same time too: what went is gone, and a platform
that is asked again is asked nothing new.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

from msgspec.structs import replace

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver.sender import Network
from lendsignal.erase.asking import Counts, apps_of, users_of
from lendsignal.erase.job import ASK_AGAIN_US, askings_of, traced
from lendsignal.erase.passing import Passed, pass_on
from lendsignal.errors import LogError
from lendsignal.log.cluster import undecided_in_topic
from lendsignal.log.erasures import DONE, OPEN, WAITS, About, Job, Stepped
from lendsignal.log.postgres import Database, database_of, slots_of
from lendsignal.log.postgres.erasing import SlotErasing, Struck
from lendsignal.log.postgres.erasures import THROUGH, ErasureRows
from lendsignal.log.postgres.told import ToldRows

logger = logging.getLogger(__name__)

STORE_STEPS = ("kept_out", "found", "log", "deliveries", "feeds", "topic")
"""The steps in the store, in order; the last only where a topic is the log."""

DESK_STEPS = ("log", "feeds", "archive", "audiences", "files")
"""The steps at each desk that a receipt tells of."""


class Shared:
    """The store as an erasure needs it."""

    def __init__(self, config: Config, database: Database, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.database = database
        self.book = ErasureRows(database)
        self.erasing = SlotErasing(database, slots_of(database))
        self.told = ToldRows(database, clock.now_us)


@contextmanager
def shared(config: Config, clock: Clock) -> Iterator[Shared]:
    """The store while the block runs. Raises `LogError` where it does not answer."""
    if config.store is None:
        raise LogError("there is no [store] in the configuration")
    with closing(database_of(config.store)) as database:
        yield Shared(config, database, clock)


def ask(config: Config, about: About, by: str, clock: Clock) -> Job:
    """Notes durably that they are to be erased, and keeps them out at every door from this moment on."""
    with shared(config, clock) as at:
        job = at.book.ask(about, by, clock.now_us())
        _keep_out(at, job.receipt, about)
        return job


def counted(config: Config, about: About, clock: Clock) -> tuple[Counts, Struck]:
    """What an erasure would reach in the store now; changes nothing."""
    with shared(config, clock) as at:
        users = _users(at, about)
        each = [at.erasing.counted(*user) for user in users]
        devices = [one for user in users for one in at.erasing.devices_of(*user)]
    struck = Struck(
        events=sum(one.events for one in each),
        states=sum(one.states for one in each),
        timers=sum(one.timers for one in each),
        refused=sum(one.refused for one in each),
        records=sum(one.records for one in each),
    )
    counts = Counts(
        users=len(users),
        events=struck.events,
        installations=len(dict.fromkeys(devices)),
        refused=struck.refused,
        apps=tuple(sorted({app for app, _ in devices if app})),
    )
    return counts, struck


def allow_again(config: Config, about: About, clock: Clock) -> int:
    """What these users do from now on is taken again, as a new user's; how many of them were kept out."""
    with shared(config, clock) as at:
        users, now_us = _users(at, about), clock.now_us()
        named = [*users, *([("", about.person)] if about.person is not None else [])]
        n = sum(at.erasing.allow_again(*one, now_us) for one in named)
        at.told.allow_again([(app, user) for brand, user in users for app in apps_of(config, brand)])
    return n


def carried_on(
    config: Config,
    clock: Clock,
    *,
    receipt: str | None = None,
    asks: bool = True,
    network: Callable[[], Network] | None = None,
    told: Callable[[str], None] = lambda step: None,
) -> int | None:
    """Does all that can be done in the store now, of one erasure or of every one that goes on, and where it
    `asks`, platforms too. When something is to be done next, in microseconds since 1970; `None`: nothing.

    Raises `LogError` where the store or, for a person, the topic does not answer; what could be done is done.
    """
    with shared(config, clock) as at:
        jobs = [job for job in at.book.open() if receipt in (None, job.receipt)]
        trouble: LogError | None = None
        for job in jobs:
            try:
                _turn(at, job, told)
            except LogError as error:  # brokers that one of them needs; the others go on
                trouble = error
        passed = pass_on(config, at.book, clock, network) if asks else Passed(None)
        for job in jobs:
            _end(at, job.receipt)
        due = [] if passed.due_us is None else [passed.due_us]
        if at.book.open():
            due.append(clock.now_us() + ASK_AGAIN_US)
        if trouble is not None:
            raise trouble
    return min(due, default=None)


def _turn(at: Shared, job: Job, told: Callable[[str], None]) -> None:
    (everywhere,) = at.book.everywhere(job.receipt)
    done = everywhere.steps.get("", {})
    about = job.about
    assert about is not None, "what goes on knows whom it is about"

    def note(name: str, n: int, why: str = "", state: str = DONE) -> None:
        at.book.note(job.receipt, Stepped(name=name, state=state, n=n, note=why, at_us=at.clock.now_us()))

    def is_open(name: str) -> bool:
        if name in done and done[name].state == DONE:
            return False
        told(name)
        return True

    if is_open("kept_out"):
        note("kept_out", _keep_out(at, job.receipt, about))
    if is_open("found"):
        about = _found(at, job.receipt, about)
        note("found", len(about.installations))
    if is_open("log"):
        # Between the first look at a person and now another user may have come in.
        about = replace(about, users=_everybody(at, about))
        _keep_out(at, job.receipt, about)
        each = [at.erasing.strike(*user) for user in about.users]
        note("log", sum(one.events for one in each), _struck(each))
        requests, gone = sum(one.requests for one in each), sum(one.deliveries for one in each)
        records, offers = sum(one.records for one in each), sum(one.offers for one in each)
        why = f"{gone} open deliveries ended, {requests} kept requests and answers, {offers} offers for apps"
        note("deliveries", records, why)
    if is_open("feeds"):
        users = [(app, user) for brand, user in about.users for app in apps_of(at.config, brand)]
        note("feeds", at.told.erase(about.installations, users))
    if at.config.store is not None and at.config.store.kafka is not None and is_open("topic"):
        days = at.config.store.kafka.keep_for / timedelta(days=1)
        note("topic", 0, f"nobody reads them any more; they go by its retention, {days:g} days")


def _struck(each: list[Struck]) -> str:
    states, timers = sum(one.states for one in each), sum(one.timers for one in each)
    return f"{states} states, {timers} timers, {sum(one.refused for one in each)} refused events"


def _users(at: Shared, about: About) -> tuple[tuple[str, str], ...]:
    return users_of(about, () if about.person is None else at.erasing.users_of(about.person))


def _everybody(at: Shared, about: About) -> tuple[tuple[str, str], ...]:
    """The users, also those whom an event makes one with a person that still waits in a topic."""
    users, store = _users(at, about), at.config.store
    if about.person is None or store is None:
        return users
    waiting = undecided_in_topic(store, at.database)
    told = {(one.brand, one.user_id) for one in waiting if one.person_id == about.person}
    return users_of(about, {*users, *told})


def _keep_out(at: Shared, receipt: str, about: About) -> int:
    users = _users(at, about)
    for one in [*users, *([("", about.person)] if about.person is not None else [])]:
        at.erasing.keep_out(*one, receipt, at.clock.now_us())
    return len(users)


def _found(at: Shared, receipt: str, about: About) -> About:
    users = _everybody(at, about)
    devices, installations = traced([one for user in users for one in at.erasing.devices_of(*user)])
    found = replace(
        about, users=users, installations=tuple(sorted({*about.installations, *installations})), spools=()
    )
    at.book.know(receipt, found, askings_of(at.config, receipt, devices, (), at.clock.now_us()))
    return found


def _end(at: Shared, receipt: str) -> None:
    """Forgets whom it is about, once the store is through, every desk is, and every platform was asked."""
    (found,) = at.book.everywhere(receipt)
    store, desks = found.steps.get("", {}), at.book.desks()
    needed = [name for name in STORE_STEPS if name != "topic"]
    if any(name not in store or store[name].state == WAITS for name in needed):
        return
    if any(THROUGH not in found.steps.get(desk, {}) for desk in desks):
        return
    if not any(one.state == OPEN for one in found.askings):
        at.book.end(receipt, at.clock.now_us())
        logger.info("erasure %s has ended", receipt)
