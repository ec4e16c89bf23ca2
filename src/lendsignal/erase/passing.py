"""Passes an erasure on to platforms that have a call for it, and asks them later whether it is done."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import Clock, from_us
from lendsignal.config import Config
from lendsignal.deliver import secrets_of
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.sender import Network
from lendsignal.deliver.wire import NoAnswer, wire
from lendsignal.destination.spec import Erasing, Request, Response, Subject
from lendsignal.errors import TransportError
from lendsignal.log.erasures import ASKED, CONFIRMED, NOT_POSSIBLE, OPEN, Asking
from lendsignal.model import Accepted, Outcome, Paused, Pending, Rejected, Retry

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
MINUTE_US = 60_000_000
LONGEST_US = 3_600_000_000
"""The longest wait between two tries."""

LET_GO = "lists are emptied of them by the ordinary difference; what else it has goes by its own retention"

BY_HAND: Mapping[str, str] = {
    "branch": "by hand: Branch's Data Subject Request API, which its support switches on",
    "singular": "by hand: Singular's OpenDSR, in its own console or with its own key",
    "kochava": "by hand: through Kochava's support; its public pages show no call",
    "ga4": "by hand: the User Deletion API with the app instance id, or the property's user explorer",
    "google_app": f"by hand: {LET_GO}",
    "google_ads": f"by hand: {LET_GO}",
    "google_data_manager": f"by hand: {LET_GO}",
    "meta": f"by hand: {LET_GO}",
    "tiktok": f"by hand: {LET_GO}",
    "snap": f"by hand: {LET_GO}",
    "kwai": f"by hand: {LET_GO}",
    "webhook": "by hand: whoever receives the webhook",
    "kafka": "by hand: whoever reads the topic, and the topic's own retention",
    "relay": "nothing to ask: what waited for the app was taken back",
    "": "by hand: lendsignal knows no call of this platform",
}
"""What a receipt says of a platform that cannot be asked; docs/how-to/erase-a-person.md has the steps."""

_subject = msgspec.msgpack.Decoder(tuple[str, str]).decode


class AskingBook(Protocol):
    """Where it is kept how far the askings are: in a data folder, or in the store of a cluster."""

    def to_ask(self) -> list[tuple[str, Asking]]: ...

    def keep(self, receipt: str, asking: Asking) -> None: ...


class Passed(Struct, frozen=True):
    """When a platform is to be asked next, in microseconds since 1970; `None`: none is."""

    due_us: int | None


def pass_on(
    config: Config, book: AskingBook, clock: Clock, network: Callable[[], Network] | None = None
) -> Passed:
    """Asks whom it is time to ask, no faster than each platform takes it."""
    asked: Counter[str] = Counter()
    due: list[int] = []
    for receipt, one in book.to_ask():
        now_us = clock.now_us()
        outlet = config.outlets.get(one.destination)
        if outlet is None:
            book.keep(receipt, replace(one, note="not in the configuration", due_us=now_us + LONGEST_US))
            due.append(now_us + LONGEST_US)
            continue
        erasing: Erasing = outlet.module.ERASING  # type: ignore[attr-defined]
        if one.due_us > now_us:
            due.append(one.due_us)
            continue
        if asked[outlet.common.kind] >= erasing.per_minute:
            due.append(now_us + MINUTE_US)
            continue
        asked[outlet.common.kind] += 1
        after = _asked(config, outlet, erasing, one, clock, network)
        book.keep(receipt, after)
        if after.state in (OPEN, ASKED):
            due.append(after.due_us)
    return Passed(min(due, default=None))


def _asked(
    config: Config,
    outlet: Outlet,
    erasing: Erasing,
    one: Asking,
    clock: Clock,
    network: Callable[[], Network] | None,
) -> Asking:
    """What stands of an asking after one more request."""
    module, now_us = outlet.module, clock.now_us()
    if one.state == ASKED:
        request: Request = module.erasure_ask(one.request, outlet.own)  # type: ignore[attr-defined]
        read: Callable[[Response], Outcome] = module.erasure_verdict  # type: ignore[attr-defined]
    else:
        assert one.subject is not None, "what is to be asked for is known until it was"
        kind, value = _subject(one.subject)
        subject = Subject(
            app=outlet.app, kind=kind, value=value, request=one.request, asked_at=from_us(one.at_us)
        )
        request = module.erasure(subject, outlet.own)  # type: ignore[attr-defined]
        read = module.erased  # type: ignore[attr-defined]
    try:
        answer = _exchanged(config, outlet, erasing, request, now_us, network)
    except TransportError as error:
        return _later(one, str(error), now_us, None)
    if isinstance(answer, NoAnswer):
        return _later(one, answer.reason, now_us, None)
    match read(answer):
        case Accepted(reason=reason):
            return replace(one, state=CONFIRMED, subject=None, note=reason, at_us=now_us, due_us=0)
        case Pending(handle):
            after = erasing.verdict_after or timedelta(hours=1)
            due_us = now_us + _us(after)
            return replace(
                one, state=ASKED, subject=None, handle=handle, tries=0, note="", due_us=due_us, at_us=now_us
            )
        case Retry(reason, after, _):
            return _later(one, reason, now_us, after)
        case Paused(reason):
            logger.error("%s cannot be asked to forget somebody: %s; a person must act", outlet.name, reason)
            return _later(one, reason, now_us, timedelta(hours=1))
        case Rejected(reason):
            return replace(one, state=NOT_POSSIBLE, subject=None, note=reason, at_us=now_us, due_us=0)
        case other:
            return _later(one, type(other).__name__.lower(), now_us, None)


def _later(one: Asking, reason: str, now_us: int, after: timedelta | None) -> Asking:
    """Once more, later each time: asking again asks nothing new."""
    wait = min(LONGEST_US, MINUTE_US << min(one.tries, 10)) if after is None else _us(after)
    return replace(one, tries=one.tries + 1, note=reason, due_us=now_us + wait)


def _exchanged(
    config: Config,
    outlet: Outlet,
    erasing: Erasing,
    request: Request,
    now_us: int,
    network: Callable[[], Network] | None,
) -> Response | NoAnswer:
    from lendsignal.deliver.transport import Transport  # here: only who has something to ask needs it

    secrets = secrets_of(outlet.own)
    sandbox = config.deliver.sandbox
    made = wire(request, erasing.auth, secrets, hosts=erasing.hosts, sandbox=sandbox, now_us=now_us)
    through: Network = Transport() if network is None else network()
    try:
        through.start(made, None, outlet.common.timeout.total_seconds(), private=sandbox is not None)
        while len(through):
            for done in through.wait(LOOK_SECONDS):
                return done.result
    finally:
        through.close()
    return NoAnswer("connection_failed", left=False)


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
