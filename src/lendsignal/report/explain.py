"""One event's life through the rooms, and one user's timeline: what happened and why.

Scores, phone numbers and e-mail addresses are never part of an explanation, nor are their hashes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import apsw
import msgspec
from msgspec import Struct

from lendsignal.clock import from_us, to_us
from lendsignal.derive import VALUED, users_of
from lendsignal.destination.spec import Request
from lendsignal.log import EVERY, DataFolder, Deliveries, Fact, Log, Open, Receipt, Stage
from lendsignal.log.sqlite import row
from lendsignal.model import (
    DEVICE_SCOPED,
    INSTALL_SCOPED,
    TOUCH_TYPES,
    Contact,
    Conversion,
    Event,
    IdKind,
    Skip,
    SkipReason,
    id_of,
    person_key,
)
from lendsignal.plan import (
    UNDOES,
    Corrected,
    Entry,
    Placed,
    Planned,
    Rebound,
    Record,
    UserState,
    Verdict,
    Withdrawn,
    delivery_id,
    person_state_key,
    record_id,
)
from lendsignal.plan.records import RECORDS_PER_EVENT
from lendsignal.report.gone import gone
from lendsignal.report.installations import NAMED_BY
from lendsignal.report.life import (
    Arrival,
    Attempt,
    Bound,
    Candidate,
    ConversionLife,
    DeliveryLife,
    Explanation,
    Life,
    Moment,
    Rebinding,
    UserFacts,
    span,
)
from lendsignal.report.tables import reading
from lendsignal.resolve import Binding, Snapshot, same_installation, shows_installation

FACTS = (
    "application_id grant_id loan_id payment_id loan_number product amount limit principal fee currency "
    "term_days due_date outstanding closes_loan dpd amount_estimated"
).split()
"""What is told of an event beside its envelope; a score is not among it."""

CANDIDATES_BEFORE = 5
CANDIDATES_AFTER = 3
"""Logins told around the event, beside the one that was chosen."""

TEXT_KEPT = 2_000
"""Characters of a dead delivery's answer that are told."""

WHY: Mapping[Verdict | None, str] = {
    None: "not decided yet",
    Verdict.TAKEN: "new: it counts",
    Verdict.DUPLICATE: "the same fact was here already: nothing follows from it",
    Verdict.CONFLICT: "the same key was here with another content: nothing follows from it",
    Verdict.OUTDATED: "a higher revision of the same key was here already: nothing follows from it",
    Verdict.FAILED: "it could not be decided: the service's log says why",
}


class Render(Protocol):
    """What makes the request of a delivery again, as its destination would, without its secret."""

    def __call__(
        self,
        delivery: int,
        record: Placed,
        entry: Entry,
        binding: Binding | None,
        stamp_us: int,
        /,
    ) -> Request | Skip | None: ...


def explain(folder: DataFolder, what: str, outlets: Mapping[str, Render] | None = None) -> Explanation:
    """The life of the event with that id, else the timeline of the user (`user_id` or `brand:user_id`).

    `outlets` makes requests again, by destination; without it only those of dead deliveries are told.
    Reads what stands on disk and changes nothing. Raises `LogError` where a file is damaged.
    """
    with reading(folder.deliveries) as sent, reading(folder.log) as logged:
        if logged is None:
            return Explanation(asked=what, kind="nothing", notes=("The log is empty.",))
        log = Log(logged)
        store = None if sent is None else Deliveries(sent)
        found = log.find(what)
        if found:
            users = {person_key(fact.event): fact.event for fact, _ in found}
            told = {
                key: _Story(logged, log, store, outlets or {}, event.brand, event.user_id)
                for key, event in users.items()
            }
            lives = tuple(told[person_key(fact.event)].life(fact) for fact, _ in found)
            facts = next(iter(told.values())).facts() if len(told) == 1 else None
            return Explanation(asked=what, kind="event", lives=lives, user=facts)
        by_user = _people(log, what)
        people = sorted(by_user)
        if not people:
            notes = ("No event has this id and no user is called so; what was refused is in quarantine.",)
            return Explanation(asked=what, kind="nothing", notes=(*notes, *gone(folder, log, what)))
        if len(people) > 1:
            names = ", ".join(f"{brand}:{user}" for brand, user in people)
            return Explanation(asked=what, kind="nothing", notes=(f"Several users are called so: {names}.",))
        story = _Story(logged, log, store, outlets or {}, *people[0], by_user[people[0]])
        told_else = gone(folder, log, ":".join(people[0]))
        return Explanation(
            asked=what, kind="user", user=story.facts(), timeline=story.timeline(), notes=told_else
        )


def _people(log: Log, what: str) -> dict[tuple[str, str], list[Fact]]:
    """The users, as (brand, user_id), that a person may mean by this text, each with every event of theirs.

    The log is read through once: who is called `brand:user` is found among whose bytes hold `user`.
    """
    brand, _, rest = what.partition(":")
    facts: dict[tuple[str, str], list[Fact]] = {}
    found: set[tuple[str, str]] = set()
    for fact in log.scan((rest or what).encode()):
        event = fact.event
        is_named = event.user_id == what
        if is_named or (rest and (event.brand, event.user_id) == (brand, rest)):
            facts.setdefault((event.brand, event.user_id), []).append(fact)
            if not (is_named and event.type.startswith("lendsignal.")):
                found.add((event.brand, event.user_id))
    if not found and log.cutting.first() > 1:  # somebody is remembered longer than events are
        found = {(one, what) for one in _brands(log) if log.state(f"{one}:{what}") is not None}
        if rest and log.state(what) is not None:
            found.add((brand, rest))
    return {user: facts.get(user, []) for user in found}


def _brands(log: Log) -> Iterable[str]:
    version = log.policy()
    source = None if version is None else log.policy_source(version)
    return () if source is None else {app.brand for app in source.derive.apps.values()}


class _Touch(Struct, frozen=True):
    """A login of the user, whatever it was worth."""

    fact: Fact
    snapshot: Snapshot
    verdict: Verdict | None

    @property
    def at_us(self) -> int:
        return to_us(self.fact.event.occurred_at)


class _Story:
    """Everything that stands on disk about one user, and how to tell it."""

    def __init__(
        self,
        db: apsw.Connection,
        log: Log,
        store: Deliveries | None,
        outlets: Mapping[str, Render],
        brand: str,
        user_id: str,
        facts: list[Fact] | None = None,
    ) -> None:
        self._store = store
        self._outlets = outlets
        self._read_by_sender = 0 if store is None else store.position()
        self._paused = {} if store is None else store.paused()
        position = log.position()
        if facts is None:
            facts = [
                fact
                for fact in log.scan(user_id.encode())
                if fact.event.user_id == user_id and fact.event.brand == brand
            ]
        self._facts = facts
        self._verdicts = {fact.seq: _verdict(db, fact.seq, position) for fact in self._facts}
        self._records: dict[int, Record] = {
            number: record
            for fact in self._facts
            for number, record in log.records(record_id(fact.seq, 0) - 1, RECORDS_PER_EVENT)
            if number < record_id(fact.seq + 1, 0)
        }
        version = log.policy()
        policy = None if version is None else log.policy_source(version)
        default_app = "" if policy is None else policy.derive.default_app.get(brand, "")
        self._touches = sorted(
            (
                _Touch(
                    fact,
                    Snapshot(fact.event.app or default_app, fact.event.device),
                    self._verdicts[fact.seq],
                )
                for fact in self._facts
                if fact.event.type in TOUCH_TYPES and fact.event.device is not None
            ),
            key=lambda touch: (touch.at_us, touch.fact.event.event_id),
        )
        self._key = f"{brand}:{user_id}"
        self._state = log.state(self._key) or UserState(self._key)
        person = self._state.person
        self._person = None if person is None else log.state(person_state_key(person))

    def facts(self) -> UserFacts:
        """What is remembered of the user."""
        state = self._state
        known = {_name(snapshot) for snapshot in state.touches.snapshots}
        return UserFacts(
            user=self._key,
            logins=len(state.touches.marks),
            installations=len(known - {None}),
            loans=len(state.ledger.loans),
            seen_from_registration=state.ledger.whole,
            fired_once=tuple(sorted(state.ledger.fired)),
            waiting=len(state.pen),
            may_be_sent_to_ad_platforms=None if state.consent is None else state.consent.ad_user_data,
            test=state.test,
            person=state.person,
            others=tuple(
                user
                for user in ([] if self._person is None else users_of(self._person.ledger))
                if user != self._key
            ),
        )

    def timeline(self) -> tuple[Moment, ...]:
        """The user's events in the order they happened."""
        shown = [fact for fact in self._facts if not fact.event.type.startswith("lendsignal.")]
        shown.sort(key=lambda fact: (fact.event.occurred_at, fact.seq))
        return tuple(
            Moment(
                number=fact.seq,
                occurred_at=fact.event.occurred_at,
                received_at=fact.event.received_at,
                type=fact.event.type,
                event_id=fact.event.event_id,
                verdict=_word(self._verdicts[fact.seq]),
                facts=_facts(fact.event),
                installation=_name(Snapshot("", fact.event.device)) if fact.event.device else None,
                became=tuple(self._became(fact)),
            )
            for fact in shown
        )

    def life(self, fact: Fact) -> Life:
        """One event's life."""
        event, verdict = fact.event, self._verdicts[fact.seq]
        return Life(
            arrival=Arrival(
                number=fact.seq,
                type=event.type,
                event_id=event.event_id,
                user=person_key(event),
                occurred_at=event.occurred_at,
                received_at=event.received_at,
                source=event.source,
                app=event.app,
                actor=event.actor,
                time_precision=event.time_precision,
                revision=event.revision,
                history=event.history,
                test=event.test,
                flags=event.flags,
                facts=_facts(event),
                properties=tuple(sorted(event.properties)),
            ),
            verdict=_word(verdict),
            why=WHY[verdict],
            conversions=tuple(
                self._conversion(number, planned) for number, planned in self._planned_for(fact)
            ),
            waiting={
                penned.conversion.name: from_us(penned.expires_us)
                for penned in self._state.pen
                if penned.conversion.event_id == event.event_id and verdict is Verdict.TAKEN
            },
        )

    def _planned_for(self, fact: Fact) -> Iterator[tuple[int, Planned]]:
        """What was planned for an event, at once or when a login released it."""
        if self._verdicts[fact.seq] is not Verdict.TAKEN:
            return
        for number, record in self._records.items():
            if isinstance(record, Planned) and record.conversion.event_id == fact.event.event_id:
                yield number, record

    def _became(self, fact: Fact) -> Iterator[str]:
        for number, planned in self._planned_for(fact):
            name = planned.conversion.name
            deliveries = self._deliveries(number, planned)
            if not deliveries:
                yield f"{name}: {'imported, never sent' if planned.conversion.history else 'no route'}"
            for one in deliveries:
                yield f"{name} → {one.destination}: {one.what}{f' ({one.reason})' if one.reason else ''}"
        for penned in self._state.pen:
            if penned.conversion.event_id == fact.event.event_id:
                yield f"{penned.conversion.name}: waits for a first login"

    def _conversion(self, number: int, planned: Planned) -> ConversionLife:
        conversion = planned.conversion
        rebound = [
            (later, record)
            for later, record in self._records.items()
            if isinstance(record, Rebound) and record.record == number
        ]
        withdrawn = [
            record
            for record in self._records.values()
            if isinstance(record, Withdrawn) and record.record == number
        ]
        candidates, more = self._candidates(number, conversion, planned.binding)
        return ConversionLife(
            id=conversion.id,
            name=conversion.name,
            occurred_at=conversion.occurred_at,
            binds_at=conversion.binds_at,
            planned_at=from_us(planned.at_us),
            certain=conversion.certain,
            predicted=conversion.predicted,
            history=conversion.history,
            bound=self._bound(number, conversion, planned.binding),
            first_install=self._bound(number, conversion, planned.first_install),
            candidates=candidates,
            more_candidates=more,
            rebound=tuple(
                Rebinding(at=from_us(record.at_us), bound=bound)
                for later, record in rebound
                if (bound := self._bound(later, conversion, record.binding)) is not None
            ),
            withdrawn=withdrawn[0].reason if withdrawn else None,
            deliveries=tuple(self._deliveries(number, planned)),
            valued=conversion.origin.valued if conversion.name in VALUED.values() else None,
        )

    def _bound(self, number: int, conversion: Conversion, binding: Binding | None) -> Bound | None:
        if binding is None:
            return None
        device = binding.snapshot.device
        touch = self._touch_of(number, binding)
        lacked = (
            []
            if touch is None
            else [
                kind
                for kind in INSTALL_SCOPED
                if id_of(device, kind) and not id_of(touch.snapshot.device, kind)
            ]
        )
        return Bound(
            app=binding.snapshot.app,
            installation=_name(binding.snapshot),
            ids={
                kind.value: value
                for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED)
                if (value := id_of(device, kind)) is not None
            },
            seen_at=from_us(binding.at_us),
            before_seconds=(to_us(conversion.binds_at) - binding.at_us) / 1e6,
            touch=None if touch is None else touch.fact.event.event_id,
            completed={kind.value: self._lender(number, binding, kind) for kind in lacked},
        )

    def _touch_of(self, number: int, binding: Binding) -> _Touch | None:
        """The login that a binding stands on: of several in one instant the one with the larger id."""
        fitting = [
            touch
            for touch in self._touches
            if touch.at_us == binding.at_us
            and _counts(touch)
            and touch.fact.seq <= number // RECORDS_PER_EVENT
            and _is_part_of(touch.snapshot, binding.snapshot)
        ]
        return fitting[-1] if fitting else None

    def _lender(self, number: int, binding: Binding, kind: IdKind) -> str:
        """The login that lent an id, as its event id."""
        wanted = id_of(binding.snapshot.device, kind)
        lenders = [
            touch.fact.event.event_id
            for touch in self._touches
            if _counts(touch)
            and touch.fact.seq <= number // RECORDS_PER_EVENT
            and touch.snapshot.app == binding.snapshot.app
            and id_of(touch.snapshot.device, kind) == wanted
        ]
        return lenders[-1] if lenders else "an earlier login"

    def _candidates(
        self, number: int, conversion: Conversion, binding: Binding | None
    ) -> tuple[tuple[Candidate, ...], int]:
        """The logins around the event, youngest first, and how many more there are."""
        chosen = None if binding is None else self._touch_of(number, binding)
        binds_us = to_us(conversion.binds_at)
        after = [touch for touch in self._touches if touch.at_us > binds_us and touch is not chosen]
        before = [touch for touch in self._touches if touch.at_us <= binds_us and touch is not chosen]
        shown = [*before[-CANDIDATES_BEFORE:], *after[:CANDIDATES_AFTER]]
        if chosen is not None:
            shown.append(chosen)
        shown.sort(key=lambda touch: (touch.at_us, touch.fact.event.event_id), reverse=True)
        told = tuple(
            Candidate(
                event_id=touch.fact.event.event_id,
                app=touch.snapshot.app,
                installation=_name(touch.snapshot),
                seen_at=touch.fact.event.occurred_at,
                received_at=touch.fact.event.received_at,
                chosen=touch is chosen,
                why=_why(touch, chosen, number, conversion),
            )
            for touch in shown
        )
        return told, len(self._touches) - len(told)

    def _deliveries(self, number: int, planned: Planned) -> list[DeliveryLife]:
        found = [self._delivery(number, place, planned, entry) for place, entry in enumerate(planned.entries)]
        for later, record in self._records.items():
            if isinstance(record, Rebound) and record.record == number:
                # Of a rebinding's entries only those became deliveries that took the place of no other.
                found += [
                    self._delivery(later, place, record, entry)
                    for place, entry in enumerate(record.entries)
                    if self._is_known(later, place, entry)
                ]
            elif isinstance(record, Corrected) and record.record == number:
                found += [
                    self._delivery(later, place, record, entry) for place, entry in enumerate(record.entries)
                ]
        return found

    def _is_known(self, number: int, place: int, entry: Entry) -> bool:
        if self._store is None:
            return False
        name = delivery_id(number, place)
        return self._store.one(entry.destination, name) is not None or bool(self._store.receipts(name))

    def _delivery(self, number: int, place: int, record: Placed, entry: Entry) -> DeliveryLife:
        name = delivery_id(number, place)
        store = self._store
        receipts = [] if store is None else store.receipts(name)
        row = None if store is None else store.one(entry.destination, name)
        dead = None if store is None else store.dead(name)
        what, reason = self._fate(number, entry, receipts, row)
        paused = self._paused.get(entry.destination) or self._paused.get(EVERY)
        contact = record.contact
        return DeliveryLife(
            id=name,
            destination=entry.destination,
            kind=entry.kind,
            name=entry.name,
            value=None if entry.value is None else str(entry.value),
            settle_seconds=entry.settle_us / 1e6,
            corrects=_correction(record, entry),
            stands=what == "accepted" and self._stands(number, record, entry.destination),
            what=what,
            reason=reason,
            attempts=tuple(_attempt(receipt, contact) for receipt in receipts),
            due_at=from_us(row.due_us)
            if row is not None and row.stage in (Stage.WAITING, Stage.PARKED)
            else None,
            paused=paused.reason if paused is not None and row is not None else None,
            request=self._request(name, record, entry, receipts, row)
            if entry.skip in (None, SkipReason.SHADOW)
            else None,
            dead_request=_readable(dead.request, contact) if dead is not None and dead.request else None,
            dead_answer=_readable(dead.answer, contact)[:TEXT_KEPT]
            if dead is not None and dead.answer
            else None,
        )

    def _stands(self, number: int, record: Placed, destination: str) -> bool:
        """Whether what a destination was told is wrong by a reversal, and nothing corrects it there."""
        if isinstance(record, Corrected):
            return False
        planned, undone = record.record if isinstance(record, Rebound) else number, False
        for one in self._records.values():
            if isinstance(one, (Withdrawn, Corrected)) and one.record == planned and one.reason in UNDOES:
                undone = True
                if isinstance(one, Corrected) and destination in (entry.destination for entry in one.entries):
                    return False
        return undone

    def _fate(
        self, number: int, entry: Entry, receipts: Sequence[Receipt], row: Open | None
    ) -> tuple[str, str]:
        if row is not None:
            return row.stage.name.lower(), row.reason
        ended = [one for one in receipts if one.what in ("accepted", "dead", "skipped", "cancelled")]
        if ended:
            return ended[-1].what, ended[-1].reason
        if entry.skip is not None:
            return "skipped", entry.skip.value
        return "planned", "not yet read by the sender" if number > self._read_by_sender else ""

    def _request(
        self,
        name: int,
        record: Placed,
        entry: Entry,
        receipts: Sequence[Receipt],
        row: Open | None,
    ) -> dict[str, Any] | None:
        """The request as it goes, or went: for the device and at the moment that counted when it left."""
        render = self._outlets.get(entry.destination)
        if render is None:
            return None
        bound = row.bound if row is not None else receipts[-1].bound if receipts else 0
        holding = self._records.get(bound)
        binding = holding.binding if isinstance(holding, Rebound) else record.binding
        stamp_us = row.stamp_us if row is not None else receipts[-1].stamp_us if receipts else 0
        made = render(name, record, entry, binding, stamp_us)
        match made:
            case None:
                return None
            case Skip(reason):
                return {"skip": reason.value}
            case Request():
                text = _without(
                    msgspec.json.encode(
                        {
                            "method": made.method,
                            "url": made.url,
                            "headers": dict(made.headers),
                            "body": made.json if made.json is not None else made.form,
                        }
                    ).decode(),
                    record.contact,
                )
                told: dict[str, Any] = msgspec.json.decode(text)
                return told


def _verdict(db: apsw.Connection, seq: int, position: int) -> Verdict | None:
    if seq > position:
        return None
    found = row(db, "select verdict from verdict where seq = ?", (seq,))
    return Verdict.TAKEN if found is None else Verdict(found[0])


def _correction(record: Placed, entry: Entry) -> str | None:
    """What a correction does to what was told, in words; `None`: it is none."""
    if not isinstance(record, Corrected):
        return None
    what = "takes it back" if entry.value is None else "restates its value"
    return f"{what}, after {record.reason}"


def _word(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.value


def _facts(event: Event) -> dict[str, str]:
    """The business facts that are set, as text."""
    return {
        name: str(value)
        for name in FACTS
        if (value := getattr(event, name)) is not None and value is not False
    }


def _name(snapshot: Snapshot) -> str | None:
    """What reports call the installation; `None` where the snapshot shows none."""
    return next((value for kind in NAMED_BY if (value := id_of(snapshot.device, kind))), None)


def _counts(touch: _Touch) -> bool:
    return touch.verdict is Verdict.TAKEN and touch.fact.event.actor == "user"


def _is_part_of(touch: Snapshot, bound: Snapshot) -> bool:
    """Whether the bound snapshot is the login's own, perhaps completed."""
    return touch.app == bound.app and all(
        id_of(bound.device, kind) == value
        for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED)
        if (value := id_of(touch.device, kind)) is not None
    )


def _why(touch: _Touch, chosen: _Touch | None, number: int, conversion: Conversion) -> str:
    """Why a login was chosen, or was not."""
    binds_us, at_us = to_us(conversion.binds_at), touch.at_us
    if touch is chosen:
        if at_us > binds_us:
            return (
                f"the first login, {span(at_us - binds_us)} after the event, and soon enough to answer for it"
            )
        return f"the latest login by then, {span(binds_us - at_us)} before the event"
    if touch.fact.event.actor != "user":
        return f"by the {touch.fact.event.actor}, so it is not the user's own phone"
    if touch.verdict is None:
        return "not decided yet"
    if touch.verdict is not Verdict.TAKEN:
        return f"{touch.verdict.value}: it changed nothing"
    if at_us > binds_us:
        return f"{span(at_us - binds_us)} after the event"
    if touch.fact.seq > number // RECORDS_PER_EVENT:
        return "arrived after the device was decided"
    if not shows_installation(touch.snapshot.device):
        return "shows no installation, so it does not rebind"
    if chosen is None:
        return "arrived after the device was decided"
    if at_us == chosen.at_us:
        return "the same instant, and the smaller event id"
    same = same_installation(touch.snapshot, chosen.snapshot)
    return f"{span(chosen.at_us - at_us)} older, {'the same' if same else 'another'} installation"


def _attempt(receipt: Receipt, contact: Contact | None) -> Attempt:
    return Attempt(
        number=receipt.attempt,
        what=receipt.what,
        reason=receipt.reason,
        sent_at=from_us(receipt.sent_us) if receipt.sent_us else None,
        answered_at=from_us(receipt.answered_us) if receipt.answered_us else None,
        status=receipt.status,
        answer=_readable(receipt.answer, contact),
    )


def _readable(body: bytes, contact: Contact | None) -> str:
    """What a platform said, on one line and without anything that could move a terminal's cursor."""
    text = _without(body.decode("utf-8", "replace"), contact)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _without(text: str, contact: Contact | None) -> str:
    """The text without the hashes of a phone number or an e-mail address."""
    if contact is None:
        return text
    for field in contact.__struct_fields__:
        digest = getattr(contact, field)
        if digest:
            text = text.replace(digest, "(contact)")
    return text
