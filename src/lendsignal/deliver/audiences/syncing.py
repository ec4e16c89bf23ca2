"""Brings every list in step with its platform: what is open first, then removals, then additions.

No removal names an id of anybody who is to be on the list (`Ledger.next`), so that additions need not wait
for the verdict on removals. What was claimed and not confirmed before a crash is sent again; lists are sets,
so that twice is as once.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import Clock
from lendsignal.deliver.audiences.calls import Calls, MustAct, Network, NotNow
from lendsignal.deliver.audiences.ledger import Ledger
from lendsignal.deliver.audiences.settings import AccountPlan
from lendsignal.deliver.audiences.writing import write_file
from lendsignal.destination.audiences.shape import (
    Batch,
    FileAuth,
    LookAlike,
    Row,
    Seen,
    problem_with_code,
)
from lendsignal.destination.spec import Request, Response
from lendsignal.errors import LendsignalError, TransportError
from lendsignal.model import Accepted, Outcome, Paused, Pending, Rejected, Retry, Split
from lendsignal.model.audience import Action, AudienceMember, Chunk, Sync

logger = logging.getLogger(__name__)

AT_ONCE = 8
"""Accounts that are worked on at the same time."""

SLOWEST_ASKING_US = 6 * 3_600_000_000
"""The longest time between two questions for a verdict."""

MOST_REQUESTS = 300
"""Requests that one chunk may take in halves: a platform that refuses everything is no row's fault."""

NO_IDENTIFIER = "no_identifier"


class Synced(Struct, frozen=True, kw_only=True):
    """What a run did for one list.

    `outcome`: `in_step`, `waiting` (a verdict comes later, or the platform wants to be left alone),
    `paused` (a person must act), `error`. `again_in`: seconds after which another run can do more.
    """

    audience: str
    account: str
    outcome: str
    reason: str = ""
    added: int = 0
    removed: int = 0
    refused: int = 0
    replaced: bool = False
    again_in: float | None = None


class _Part(Struct, kw_only=True):
    """A request whose verdict comes later; `keys`: its members where a chunk took several requests."""

    handle: str
    count: int
    keys: list[int] | None = None


class _Waiting(Struct, kw_only=True):
    """A chunk, or a replace, whose verdicts come later."""

    parts: list[_Part]
    since_us: int
    next_us: int
    tries: int = 0
    refused: dict[int, str] = {}


class _Replace(Struct, kw_only=True):
    """How far a list that is sent anew has come: durable after each part.

    `done`: every part was sent. `finished`: the platform has the list, and the ledger may not know yet.
    """

    session: int
    began_us: int
    begun: bool = False
    number: int = 0
    after: int | None = None
    done: bool = False
    finished: bool = False
    parts: list[_Part] = []
    places: list[str] = []
    next_us: int = 0
    tries: int = 0


def sync(
    ledger: Ledger,
    accounts: Mapping[str, AccountPlan],
    clock: Clock,
    *,
    sandbox: str | None = None,
    stopping: Event | None = None,
    network: Callable[[], Network] | None = None,
) -> list[Synced]:
    """Does for every list what there is to do now, and says what came of each; it blocks until then.

    Accounts are worked on side by side, each by a thread with connections of its own, so that a slow platform
    keeps no other waiting. `sandbox` stands in for every host. What cannot be done now is left for the next
    call: `again_in` says when that can do more. Setting `stopping` ends it after the request in flight.
    """
    told = Event() if stopping is None else stopping
    by_account: dict[str, list[Sync]] = {}
    for one in ledger.syncs():
        by_account.setdefault(one.account, []).append(one)
    known = [(accounts[name], lists) for name, lists in by_account.items() if name in accounts]
    if not known:
        return []

    def work(each: tuple[AccountPlan, list[Sync]]) -> list[Synced]:
        return _account(ledger, *each, clock, sandbox, told, network)

    # Imported here: whoever only reads the configuration starts no threads.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(known))) as threads:
        return [one for found in threads.map(work, known) for one in found]


def make_look_alike(
    sync: Sync,
    made: LookAlike,
    plan: AccountPlan,
    clock: Clock,
    *,
    sandbox: str | None = None,
    network: Callable[[], Network] | None = None,
) -> str:
    """Has the platform make an audience like a seed; its id there.

    Raises `TransportError` where the platform has no such call, the seed is not there yet, or it refuses.
    """
    asked = getattr(plan.module, "look_alike", None)
    label = plan.module.SPEC.label
    if asked is None:
        raise TransportError(f"{label} makes look-alikes in its own pages only")
    if sync.remote is None:
        raise TransportError(f"the seed {sync.audience} is not there yet: sync it first")
    wrong = problem_with_code(made.code)
    if wrong is not None:
        raise TransportError(f"the name {made.code!r} {wrong}")
    opened = _transport() if network is None else network()
    try:
        calls = Calls(plan, clock, opened, sandbox, Event())
        response, outcomes = calls.tell(
            asked(made, sync, plan.own), lambda said: _as_outcomes(plan.module.created(said))
        )
    except (MustAct, NotNow) as error:
        raise TransportError(f"{label} makes no look-alike now: {error.reason}") from None
    finally:
        opened.close()
    given = plan.module.created(response)
    if not isinstance(given, str):
        reason = getattr(outcomes[0], "reason", "refused")
        raise TransportError(f"{label} refuses the look-alike: {reason}")
    return given


def _transport() -> Network:
    from lendsignal.deliver.transport import Transport

    return Transport()


def _account(
    ledger: Ledger,
    plan: AccountPlan,
    lists: Sequence[Sync],
    clock: Clock,
    sandbox: str | None,
    stopping: Event,
    network: Callable[[], Network] | None,
) -> list[Synced]:
    """All lists of one account, one after the other: they share its pace."""
    if isinstance(plan.module.SPEC.auth, FileAuth):
        return [_written(ledger, plan, one, clock) for one in lists]
    opened = _transport() if network is None else network()
    found: list[Synced] = []
    try:
        calls = Calls(plan, clock, opened, sandbox, stopping)
        for one in lists:
            found.append(_List(ledger, plan, calls, clock, one).step())
            if stopping.is_set():
                break
    finally:
        opened.close()
    return found


def _written(ledger: Ledger, plan: AccountPlan, one: Sync, clock: Clock) -> Synced:
    """A list that is a file."""
    made = Synced(audience=one.audience, account=one.account, outcome="in_step")
    if one.state == "paused":
        return replace(made, outcome="paused", reason=one.reason)
    try:
        rows = write_file(ledger, plan, one)
    except LendsignalError as error:
        logger.warning("list %s cannot be written for %s: %s", one.audience, one.account, error)
        return replace(made, outcome="error", reason="not_written")
    return made if rows is None else replace(made, added=rows, replaced=True)


class _List:
    """One list in one account, through one run."""

    def __init__(self, ledger: Ledger, plan: AccountPlan, calls: Calls, clock: Clock, one: Sync) -> None:
        self._ledger = ledger
        self._plan = plan
        self._module: Any = plan.module
        self._calls = calls
        self._clock = clock
        self._sync = one
        self._did = Synced(audience=one.audience, account=one.account, outcome="in_step")
        self._rate: float | None = None

    def step(self) -> Synced:
        """Does what there is to do now."""
        ledger, one = self._ledger, self._sync
        if one.state == "paused" and not self._may_probe():
            return replace(self._did, outcome="paused", reason=one.reason)
        try:
            self._work()
            if one.state == "paused":
                self._resume()
        except NotNow as error:
            return replace(self._did, outcome="waiting", reason=error.reason, again_in=error.seconds)
        except MustAct as error:
            logger.error("list %s waits at %s: %s", one.audience, one.account, error.reason)
            ledger.note(one, "paused_us", str(self._clock.now_us()).encode())
            ledger.pause(one, error.reason)
            return replace(self._did, outcome="paused", reason=error.reason)
        except LendsignalError as error:
            logger.error("list %s cannot be told to %s: %s", one.audience, one.account, error)
            return replace(self._did, outcome="error", reason=type(error).__name__)
        return self._did

    def _may_probe(self) -> bool:
        """Whether it was paused by a platform, long enough ago. What a person paused, a person resumes."""
        since = self._ledger.noted(self._sync, "paused_us")
        if since is None:
            return False
        return bool(self._clock.now_us() - int(since) >= self._plan.common.probe_after.total_seconds() * 1e6)

    def _resume(self) -> None:
        self._ledger.note(self._sync, "paused_us", None)
        self._ledger.resume(self._sync)

    def _work(self) -> None:
        wrong = problem_with_code(self._sync.code)
        if wrong is not None:
            raise MustAct("name_not_neutral")
        self._ensure_remote()
        progress = self._progress()
        if progress is not None or self._sync.replace_asked:
            if self._replace(progress):
                self._look()
            return
        if not self._end_open():
            return
        if self._change("remove"):
            self._change("add")
            self._change("remove")  # who waited for somebody to come who has the same id
        if self._sync.remote is not None:
            self._look()

    # the list itself

    def _ensure_remote(self) -> None:
        """The list's id there: given, found by its name, or made. By its first members where it must be."""
        if self._sync.remote is not None or self._sync.retired:
            return
        given = self._plan.common.lists.get(self._sync.audience)
        if given is None:
            asked = self._module.find(self._sync, self._plan.own)
            if asked is not None:
                response, outcomes = self._calls.tell(
                    asked, lambda said: _as_outcomes(self._module.found(said, self._sync))
                )
                _whole(outcomes)
                found = self._module.found(response, self._sync)
                given = found if isinstance(found, str) else None
        if given is None:
            made = self._module.create(self._sync, self._plan.own)
            if made is None:
                if getattr(self._module, "then", None) is None:
                    raise MustAct("list_not_found")
                return
            given = self._made(made)
        self._keep_remote(given)

    def _made(self, request: Request) -> str:
        response, outcomes = self._calls.tell(request, lambda said: _as_outcomes(self._module.created(said)))
        _whole(outcomes)
        return str(self._module.created(response))

    def _keep_remote(self, remote: str) -> None:
        self._ledger.set_remote(self._sync, remote)
        self._sync = replace(self._sync, remote=remote)

    # differences

    def _end_open(self) -> bool:
        """Sends again what was claimed, and asks for verdicts; whether all of it was told by now."""
        for chunk in self._ledger.open(self._sync):
            if chunk.action == "remove" and not chunk.handle and self._too_small():
                return self._otherwise()
            if chunk.handle:
                self._verdict(chunk)
            else:
                self._send(chunk)
        return True

    def _change(self, action: Action) -> bool:
        """Sends all that is to be added, or removed; whether it went by differences."""
        while (chunk := self._ledger.next(self._sync, action, self._plan.chunk)) is not None:
            if action == "remove" and self._too_small():
                self._otherwise()
                return False
            self._send(chunk)
        return True

    def _too_small(self) -> bool:
        """Whether the platform would refuse a removal: the list is below its floor."""
        least = self._module.SPEC.removes_from
        if not least or self._sync.intended >= least or not hasattr(self._module, "replace"):
            return False
        return bool(self._ledger.counts(self._sync).confirmed < least)

    def _otherwise(self) -> bool:
        """Sends a list anew that nobody can be removed from; an empty one cannot be sent, and is dropped
        where it is retired. Whether the platform has what is intended."""
        if self._sync.intended:
            return self._replace(None)
        drop = getattr(self._module, "drop", None)
        ours = self._sync.remote not in self._plan.common.lists.values()
        if not self._sync.retired or drop is None or not ours:
            raise MustAct("too_small_to_empty")
        _, outcomes = self._calls.tell(
            drop(self._sync, self._plan.own), lambda said: self._module.dropped(said)
        )
        _whole(outcomes)
        removed = self._ledger.counts(self._sync).confirmed
        self._ledger.freeze(self._sync)
        self._ledger.replaced(self._sync)
        self._ledger.set_remote(self._sync, None)
        self._sync = replace(self._sync, remote=None)
        self._did = replace(self._did, removed=self._did.removed + removed)
        return True

    def _send(self, chunk: Chunk) -> bool:
        """One chunk, in halves where it is refused whole; whether it ended."""
        rows, unknown = self._rows(chunk.members)
        # Nobody can be removed who could never be added.
        refused = unknown if chunk.action == "add" else {}
        parts: list[_Part] = []
        todo = [rows] if rows else []
        requests = 0
        while todo:
            part, requests = todo.pop(), requests + 1
            if requests > MOST_REQUESTS:
                raise MustAct("too_many_refused")
            outcomes = self._tell(chunk.action, part)
            if isinstance(outcomes[0], Pending):
                keys = [key for key, _ in part]
                parts.append(_Part(handle=outcomes[0].handle, count=len(part), keys=keys))
                continue
            again = [pair for pair, one in zip(part, outcomes, strict=True) if isinstance(one, Split)]
            for (key, _), one in zip(part, outcomes, strict=True):
                match one:
                    case Rejected(reason):
                        refused[key] = reason
                    case Split(reason) if len(part) == 1:
                        refused[key] = reason
            if len(part) == 1:
                continue
            if len(again) == len(part):
                half = len(part) // 2
                todo += [part[half:], part[:half]]
            elif again:
                todo.append(again)
        if not parts:
            self._ended(chunk, refused)
            return True
        if len(parts) == 1:
            parts[0].keys = None
        now_us = self._clock.now_us()
        waiting = _Waiting(parts=parts, since_us=now_us, next_us=self._asked_from(now_us, 0), refused=refused)
        self._ledger.note(self._sync, f"chunk:{chunk.number}", msgspec.json.encode(waiting))
        self._ledger.pending(self._sync, chunk.number, parts[0].handle)
        self._wait_until(waiting.next_us)
        return False

    def _tell(self, action: Action, part: Sequence[tuple[int, Row]]) -> Sequence[Outcome]:
        """One request and what follows on it; one outcome for each row."""
        count = len(part)
        request = self._module.request(action, [row for _, row in part], self._sync, self._plan.own)
        response, outcomes = self._calls.tell(request, lambda said: self._module.classify(said, count))
        then = getattr(self._module, "then", None)
        if then is None or not isinstance(outcomes[0], Accepted):
            return outcomes
        following = then(response, action, self._sync, self._plan.own)
        if following is None:
            return outcomes
        if self._sync.remote is None:
            self._keep_remote(self._made(following))
            return outcomes
        return self._calls.tell(following, lambda said: self._module.classify(said, count))[1]

    def _rows(self, members: Sequence[AudienceMember]) -> tuple[list[tuple[int, Row]], dict[int, str]]:
        """What is told of each member, and who cannot be told."""
        rows: list[tuple[int, Row]] = []
        unknown: dict[int, str] = {}
        for member in members:
            row = self._module.row(member, self._sync, self._plan.own)
            if row is None:
                unknown[member.key] = NO_IDENTIFIER
            else:
                rows.append((member.key, row))
        return rows, unknown

    def _ended(self, chunk: Chunk, refused: Mapping[int, str]) -> None:
        self._ledger.confirm(self._sync, chunk.number, refused)
        self._ledger.note(self._sync, f"chunk:{chunk.number}", None)
        taken, did = len(chunk.members) - len(refused), self._did
        if chunk.action == "add":
            self._did = replace(did, added=did.added + taken, refused=did.refused + len(refused))
        else:
            self._did = replace(did, removed=did.removed + taken, refused=did.refused + len(refused))

    # verdicts that come later

    def _verdict(self, chunk: Chunk) -> bool:
        """Asks what became of a chunk, where it is time to; whether it ended."""
        name = f"chunk:{chunk.number}"
        noted = self._ledger.noted(self._sync, name)
        if noted is None:  # claimed, and its note went: as after a crash
            return self._send(chunk)
        waiting = msgspec.json.decode(noted, type=_Waiting)
        now_us = self._clock.now_us()
        if now_us < waiting.next_us:
            self._wait_until(waiting.next_us)
            return False
        everyone = [member.key for member in chunk.members]
        left: list[_Part] = []
        for part in waiting.parts:
            outcome = self._asked(part)
            match outcome:
                case Pending():
                    left.append(part)
                case Rejected(reason):
                    for key in everyone if part.keys is None else part.keys:
                        waiting.refused.setdefault(key, reason)
                case Retry():
                    self._ledger.note(self._sync, name, None)
                    self._ledger.pending(self._sync, chunk.number, "")
                    return self._send(chunk)
                case _:
                    pass
        given_up = now_us - waiting.since_us > self._module.SPEC.verdict_within.total_seconds() * 1e6
        if not left or given_up:
            if left:
                logger.warning("no verdict on %s at %s: taken as a yes", *self._sync.name)
            self._ended(chunk, waiting.refused)
            return True
        waiting.parts, waiting.tries = left, waiting.tries + 1
        waiting.next_us = self._asked_from(now_us, waiting.tries)
        self._ledger.note(self._sync, name, msgspec.json.encode(waiting))
        self._wait_until(waiting.next_us)
        return False

    def _asked(self, part: _Part) -> Outcome:
        """What the platform says by now of a request; a `Retry` says that it is to be sent again."""
        failed: list[Outcome] = []

        def read(said: Response) -> Sequence[Outcome]:
            outcomes: Sequence[Outcome] = self._module.verdict(said, part.count)
            failed[:] = [one for one in outcomes if isinstance(one, Retry)][:1]
            return [Accepted()] if failed else outcomes

        response, outcomes = self._calls.tell(self._module.ask(part.handle, self._plan.own), read)
        found = getattr(self._module, "match_rate", None)
        if found is not None:
            self._rate = found(response) or self._rate
        return failed[0] if failed else outcomes[0]

    def _asked_from(self, now_us: int, tries: int) -> int:
        """When a verdict is asked for: later every time."""
        first_us = int(self._plan.verdict_after.total_seconds() * 1e6)
        return int(now_us + min(first_us * 4**tries, max(first_us, SLOWEST_ASKING_US)))

    def _wait_until(self, next_us: int) -> None:
        seconds = max(0.0, (next_us - self._clock.now_us()) / 1e6)
        soonest = seconds if self._did.again_in is None else min(seconds, self._did.again_in)
        self._did = replace(self._did, outcome="waiting", reason="verdict_later", again_in=soonest)

    # the whole list anew

    def _progress(self) -> _Replace | None:
        noted = self._ledger.noted(self._sync, "replace")
        return None if noted is None else msgspec.json.decode(noted, type=_Replace)

    def _keep(self, progress: _Replace) -> None:
        self._ledger.note(self._sync, "replace", msgspec.json.encode(progress))

    def _fresh(self) -> _Replace:
        """A session of its own: the clock's microseconds are unique in an account of ours."""
        now_us = self._clock.now_us()
        progress = _Replace(session=now_us, began_us=now_us)
        self._keep(progress)
        return progress

    def _replace(self, progress: _Replace | None) -> bool:
        """Goes on with sending the whole list; whether the platform has it."""
        if not hasattr(self._module, "replace"):
            raise MustAct("no_replace")
        if progress is None:
            progress = self._fresh()
        if progress.finished:
            return self._is_replaced()
        self._ledger.freeze(self._sync)  # again after a crash between the note and this
        within = self._module.SPEC.session_within
        old_us = self._clock.now_us() - progress.began_us
        if within is not None and not progress.done and old_us > within.total_seconds() * 1e6:
            progress = self._fresh()
        begin = getattr(self._module, "begin", None)
        if begin is not None and not progress.begun:
            self._decided(begin(self._sync, self._plan.own))
            progress.begun = True
            self._keep(progress)
        if not progress.done:
            self._send_everyone(progress)
        if not self._all_parts_judged(progress):
            return False
        finish = getattr(self._module, "finish", None)
        if finish is not None:
            for request in finish(
                progress.places, self._batch(progress, last=True), self._sync, self._plan.own
            ):
                self._decided(request)
        # A later build must not count as told: what follows is the same however often it is done.
        progress.finished = True
        self._keep(progress)
        return self._is_replaced()

    def _is_replaced(self) -> bool:
        refused = self._unknown_of_all()
        self._ledger.replaced(self._sync, refused)
        self._ledger.note(self._sync, "replace", None)
        did = replace(self._did, outcome="in_step", reason="", again_in=None, replaced=True)
        taken = self._sync.intended - len(refused)
        self._did = replace(did, added=taken, refused=len(refused))
        return True

    def _send_everyone(self, progress: _Replace) -> None:
        for members, last in self._pages(progress.after):
            rows, _ = self._rows(members)
            if rows or last:
                if not rows and progress.number == 0:
                    break  # nobody at all can be told
                progress.number += 1
                batch = self._batch(progress, last=last)
                self._send_part(progress, batch, [row for _, row in rows])
            progress.after = members[-1].key
            progress.done = last
            self._keep(progress)
        progress.done = True
        self._keep(progress)

    def _send_part(self, progress: _Replace, batch: Batch, rows: Sequence[Row]) -> None:
        """A part that is refused whole is a set-up's fault: every row of it was looked at before."""
        request = self._module.replace(rows, batch, self._sync, self._plan.own)
        response, outcomes = self._calls.tell(
            request, lambda said: self._module.classify(said, max(1, len(rows)))
        )
        match outcomes[0]:
            case Pending(handle):
                progress.parts.append(_Part(handle=handle, count=len(rows)))
                progress.next_us = self._asked_from(self._clock.now_us(), 0)
            case Rejected(reason) | Split(reason) if reason != "invalid_entry":
                raise MustAct(reason)
            case _:
                pass
        place = getattr(self._module, "place", None)
        if place is not None and (path := place(response)):
            progress.places.append(path)

    def _pages(self, after: int | None) -> Iterator[tuple[Sequence[AudienceMember], bool]]:
        """The members behind a key, in parts, each with whether it is the last."""
        limit = self._plan.chunk
        members = self._ledger.everyone(self._sync, after, limit)
        while members:
            following: Sequence[AudienceMember] = ()
            if len(members) == limit:
                following = self._ledger.everyone(self._sync, members[-1].key, limit)
            yield members, not following
            members = following

    def _all_parts_judged(self, progress: _Replace) -> bool:
        """Whether every part has its verdict; asks for those it is time to ask for."""
        if not progress.parts:
            return True
        now_us = self._clock.now_us()
        if now_us < progress.next_us:
            self._wait_until(progress.next_us)
            return False
        left = [part for part in progress.parts if isinstance(self._asked(part), Pending)]
        given_up = now_us - progress.began_us > self._module.SPEC.verdict_within.total_seconds() * 1e6
        if not left or given_up:
            return True
        progress.parts, progress.tries = left, progress.tries + 1
        progress.next_us = self._asked_from(now_us, progress.tries)
        self._keep(progress)
        self._wait_until(progress.next_us)
        return False

    def _batch(self, progress: _Replace, *, last: bool) -> Batch:
        return Batch(
            session=progress.session,
            number=progress.number,
            last=last,
            total=self._sync.intended,
            began_us=progress.began_us,
        )

    def _unknown_of_all(self) -> dict[int, str]:
        """Who of the list cannot be told to this platform."""
        return {key: why for members, _ in self._pages(None) for key, why in self._rows(members)[1].items()}

    def _decided(self, request: Request) -> None:
        """A call about the list itself: it is taken, or a person must act."""
        _, outcomes = self._calls.tell(request, lambda said: self._module.classify(said, 1))
        _whole(outcomes)

    # what the platform tells

    def _look(self) -> None:
        """Asks for size and match rate now and then; a list that the platform flagged waits for a person."""
        look = getattr(self._module, "look", None)
        if look is None or self._sync.remote is None:
            return
        now_us = self._clock.now_us()
        last = self._ledger.noted(self._sync, "looked_us")
        every_us = self._plan.common.look_every.total_seconds() * 1e6
        if last is not None and now_us - int(last) < every_us and self._rate is None:
            return
        response, _ = self._calls.tell(
            look(self._sync, self._plan.own),
            lambda said: [Accepted()] if said.status == 200 else [Pending("")],
        )
        self._ledger.note(self._sync, "looked_us", str(now_us).encode())
        seen: Seen | None = self._module.seen(response, self._sync)
        if seen is None:
            return
        rate = seen.rate if self._rate is None else self._rate
        self._ledger.matched(self._sync, seen.size, rate, now_us)
        if seen.problem is not None:
            raise MustAct(seen.problem)


def _as_outcomes(said: str | Outcome | None) -> Sequence[Outcome]:
    """What a call about a list found, as outcomes: an id, or none, is a yes."""
    return [Accepted()] if said is None or isinstance(said, str) else [said]


def _whole(outcomes: Sequence[Outcome]) -> None:
    """Raises `MustAct` where a call about a list itself was refused."""
    match outcomes[0]:
        case Rejected(reason) | Split(reason) | Paused(reason):
            raise MustAct(reason)
        case _:
            pass
