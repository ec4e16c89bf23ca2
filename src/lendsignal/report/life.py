"""An explanation: what it holds, and how it reads. Text names the rooms in their order; times are UTC."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from lendsignal.model import Valued


class Arrival(Struct, frozen=True, kw_only=True):
    """How an event came in. `facts` are its business facts; of its own properties only names are told."""

    number: int
    type: str
    event_id: str
    user: str
    occurred_at: datetime
    received_at: datetime
    source: str
    app: str | None
    actor: str
    time_precision: str
    revision: int
    history: bool
    test: bool
    flags: tuple[str, ...]
    facts: dict[str, str]
    properties: tuple[str, ...]


class Candidate(Struct, frozen=True, kw_only=True):
    """One login that might have answered for an event, and why it did or did not."""

    event_id: str
    app: str
    installation: str | None
    seen_at: datetime
    received_at: datetime
    chosen: bool
    why: str


class Bound(Struct, frozen=True, kw_only=True):
    """The installation a conversion is bound to: `before_seconds` is negative where the login came after.

    `completed` names the ids that the login itself lacked, with the login they were taken from.
    """

    app: str
    installation: str | None
    ids: dict[str, str]
    seen_at: datetime
    before_seconds: float
    touch: str | None = None
    completed: dict[str, str] = {}


class Rebinding(Struct, frozen=True, kw_only=True):
    """A login that arrived late and moved the conversion; deliveries already claimed stayed."""

    at: datetime
    bound: Bound


class Attempt(Struct, frozen=True, kw_only=True):
    """What came of one try, or of none: `status` is the HTTP status, 0 without an answer."""

    number: int
    what: str
    reason: str
    sent_at: datetime | None
    answered_at: datetime | None
    status: int
    answer: str


class DeliveryLife(Struct, frozen=True, kw_only=True):
    """One delivery. `what` is planned, waiting, claimed, held, accepted, dead, skipped or cancelled.

    `corrects` says what it changes about what was told before, where it is a correction. `stands`: the
    platform has it, it turned out not to be so, and the platform does not let us say that.
    """

    id: int
    destination: str
    kind: str
    name: str
    value: str | None
    settle_seconds: float
    what: str
    reason: str
    attempts: tuple[Attempt, ...]
    corrects: str | None = None
    stands: bool = False
    due_at: datetime | None = None
    paused: str | None = None
    request: dict[str, Any] | None = None
    dead_request: str | None = None
    dead_answer: str | None = None


class ConversionLife(Struct, frozen=True, kw_only=True):
    """One conversion derived from an event: where it was bound, why, and what was sent."""

    id: str
    name: str
    occurred_at: datetime
    binds_at: datetime
    planned_at: datetime
    certain: bool
    predicted: bool
    history: bool
    bound: Bound | None
    first_install: Bound | None
    candidates: tuple[Candidate, ...]
    more_candidates: int
    rebound: tuple[Rebinding, ...]
    withdrawn: str | None
    deliveries: tuple[DeliveryLife, ...]
    valued: Valued | None = None


class Life(Struct, frozen=True, kw_only=True):
    """One event from its arrival to the answers. `waiting` names conversions that wait for a first login."""

    arrival: Arrival
    verdict: str | None
    why: str
    conversions: tuple[ConversionLife, ...]
    waiting: dict[str, datetime]


class UserFacts(Struct, frozen=True, kw_only=True):
    """What is remembered of a user now. `others` are the person's other users that matter to firsts."""

    user: str
    logins: int
    installations: int
    loans: int
    seen_from_registration: bool
    fired_once: tuple[str, ...]
    waiting: int
    may_be_sent_to_ad_platforms: bool | None
    test: bool
    person: str | None = None
    others: tuple[str, ...] = ()


class Moment(Struct, frozen=True, kw_only=True):
    """One line of a user's timeline. `became` tells conversions and what became of their deliveries."""

    number: int
    occurred_at: datetime
    received_at: datetime
    type: str
    event_id: str
    verdict: str | None
    facts: dict[str, str]
    installation: str | None
    became: tuple[str, ...]


class Explanation(Struct, frozen=True, kw_only=True):
    """The answer: `lives` for an event's id, `timeline` for a user, neither where nothing was found."""

    asked: str
    kind: Literal["event", "user", "nothing"]
    lives: tuple[Life, ...] = ()
    user: UserFacts | None = None
    timeline: tuple[Moment, ...] = ()
    notes: tuple[str, ...] = ()

    def to_text(self) -> str:
        """The explanation for people; times are UTC."""
        lines = list(_told(self))
        return "\n".join((*lines, *self.notes)) + "\n"

    def to_data(self) -> Any:
        """The explanation as JSON's own kinds."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """`to_data` as JSON text."""
        return msgspec.json.encode(self).decode()


def span(us: int) -> str:
    """A span of time in words of at most two units: `4 min 10 s`, `3 d 2 h`."""
    seconds = us / 1e6
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _told(explanation: Explanation) -> Iterator[str]:
    for life in explanation.lives:
        yield from _life(life)
        yield ""
    if explanation.user is not None:
        yield from _user(explanation.user)
    if explanation.timeline:
        yield ""
        for moment in explanation.timeline:
            yield from _moment(moment)


def _life(life: Life) -> Iterator[str]:
    arrival = life.arrival
    yield f"event {arrival.event_id}: {arrival.type} of {arrival.user}"
    took = span(int((arrival.received_at - arrival.occurred_at).total_seconds() * 1e6))
    yield _line("source", f"happened {_when(arrival.occurred_at)}, arrived {took} later")
    envelope = {
        "from": arrival.source,
        "app": arrival.app,
        "revision": arrival.revision or None,
        "by": None if arrival.actor == "user" else arrival.actor,
        "known to the": None if arrival.time_precision == "instant" else arrival.time_precision,
    }
    marks = [
        *(f"{name} {value}" for name, value in envelope.items() if value),
        *(word for word, is_set in (("history", arrival.history), ("test", arrival.test)) if is_set),
        *arrival.flags,
    ]
    if marks:
        yield _line("", ", ".join(marks))
    if arrival.facts:
        yield _line("", _listed(arrival.facts))
    if arrival.properties:
        yield _line("", f"with its own properties {', '.join(arrival.properties)}")
    yield _line("log", f"number {arrival.number}, {life.verdict or 'waiting'}: {life.why}")
    for name, until in life.waiting.items():
        yield _line("resolve", f"{name} waits for a first login until {_when(until)}")
    if life.verdict == "taken" and not life.conversions and not life.waiting:
        yield _line("derive", "no conversion follows from it")
    for conversion in life.conversions:
        yield from _conversion(conversion)


def _conversion(one: ConversionLife) -> Iterator[str]:
    words = [
        f"conversion {one.id}",
        *(["predicted"] if one.predicted else []),
        *([] if one.certain else ["not certain to be the first"]),
        *(["imported history, never sent"] if one.history else []),
    ]
    yield ""
    yield f"  {one.name}"
    yield _line("derive", ", ".join(words))
    if one.valued is not None:
        told = one.valued
        worth = f"{told.told:,.2f} {told.currency}, bin {told.place + 1}" if told.place >= 0 else "no value"
        worth += f", cautiously {told.low:,.2f}" if told.low else ""
        said = f"worth {told.estimate:,.2f} {told.currency} by model {told.model}, facts {told.facts}"
        yield _line("", f"{said}; told as {worth}, scale {told.scale:.3f}")
    if one.bound is None:
        yield _line("resolve", "no login: bound to no device")
    else:
        yield from _bound(one.bound)
    for candidate in one.candidates:
        mark = "*" if candidate.chosen else " "
        shown = candidate.installation or "no installation"
        seen = f"{_when(candidate.seen_at)} login {candidate.event_id}, {candidate.app}, {shown}"
        yield _line("", f"{mark} {seen}: {candidate.why}")
    if one.more_candidates:
        yield _line("", f"  and {one.more_candidates} more logins, further away")
    for rebinding in one.rebound:
        yield _line("", f"{_when(rebinding.at)} a login that came late moved it:")
        yield from _bound(rebinding.bound, head="")
    if one.first_install is not None and one.bound is not None:
        is_same = one.first_install.installation == one.bound.installation
        words = ["the same" if is_same else f"{one.first_install.installation} of {one.first_install.app}"]
        yield _line("", f"first install: {words[0]}, seen {_when(one.first_install.seen_at)}")
    if one.withdrawn:
        yield _line("plan", f"withdrawn by {one.withdrawn}: what was not claimed yet is not sent")
    if not one.deliveries and not one.history:
        yield _line("plan", "no route takes it")
    for delivery in one.deliveries:
        yield from _delivery(delivery)


def _bound(bound: Bound, head: str = "resolve") -> Iterator[str]:
    shown = bound.installation or "a phone that showed no installation"
    far = span(int(abs(bound.before_seconds) * 1e6))
    side = "before" if bound.before_seconds >= 0 else "after"
    by = f" by login {bound.touch}" if bound.touch else ""
    yield _line(
        head, f"{bound.app}, installation {shown}, seen {_when(bound.seen_at)}{by}, {far} {side} the event"
    )
    if bound.ids:
        yield _line("", _listed(bound.ids))
    for kind, lender in bound.completed.items():
        yield _line("", f"{kind} was missing and is taken from login {lender} of the same installation")


def _delivery(one: DeliveryLife) -> Iterator[str]:
    value = f", value {one.value}" if one.value else ""
    settle = f", bound for good after {one.settle_seconds:g} s" if one.settle_seconds else ""
    corrects = f", {one.corrects}" if one.corrects is not None else ""
    yield _line("plan", f"{one.destination} ({one.kind}) as {one.name}{value}{settle}{corrects}")
    due = f", due {_when(one.due_at)}" if one.due_at is not None else ""
    reason = f": {one.reason}" if one.reason else ""
    yield _line("deliver", f"{one.what}{reason}{due}")
    if one.stands:
        yield _line("", "it was sent before that was known, and cannot be taken back there")
    if one.paused is not None:
        yield _line("", f"the destination is paused: {one.paused}")
    for attempt in one.attempts:
        if attempt.sent_at is None or attempt.answered_at is None:
            continue
        took = span(int((attempt.answered_at - attempt.sent_at).total_seconds() * 1e6))
        status = f"HTTP {attempt.status}" if attempt.status else "no answer"
        tried = f"try {attempt.number} left {_when(attempt.sent_at)}: {status} after {took}"
        yield _line("", f"{tried}, {attempt.what}{f' ({attempt.reason})' if attempt.reason else ''}")
        if attempt.answer:
            yield _line("", f"answer {attempt.answer}")
    if one.request is not None:
        yield _line("", f"request {msgspec.json.encode(one.request).decode()}")
    if one.dead_request is not None:
        yield _line("", f"request kept {one.dead_request}")
    if one.dead_answer is not None:
        yield _line("", f"answer kept {one.dead_answer}")


def _user(user: UserFacts) -> Iterator[str]:
    consent = {None: "not asked", True: "given", False: "refused"}[user.may_be_sent_to_ad_platforms]
    yield f"user {user.user}{', marked as test' if user.test else ''}"
    yield _line("known", f"{user.logins} logins on {user.installations} installations, {user.loans} loans")
    if not user.seen_from_registration:
        yield _line("", "not seen from registration on: a first is certain only by its loan_number")
    if user.person is not None:
        also = f", who is {', '.join(user.others)} too" if user.others else ""
        yield _line("", f"person {user.person}{also}")
    if user.waiting:
        yield _line("", f"{user.waiting} conversions wait for a first login")
    yield _line("", f"consent to ad platforms: {consent}")


def _moment(moment: Moment) -> Iterator[str]:
    verdict = "" if moment.verdict == "taken" else f" [{moment.verdict or 'not decided yet'}]"
    shown = f" on {moment.installation}" if moment.installation else ""
    facts = f" {_listed(moment.facts)}" if moment.facts else ""
    yield f"  {_when(moment.occurred_at)}  {moment.type}{verdict} {moment.event_id}{shown}{facts}"
    for line in moment.became:
        yield f"      {line}"


def _line(head: str, text: str) -> str:
    return f"    {head:<8} {text}"


def _listed(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _when(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    text = f"{utc:%Y-%m-%d %H:%M:%S}"
    return f"{text}.{utc.microsecond // 1000:03d}" if utc.microsecond else text
