"""The log decided anew under two sets of rules: what a changed configuration would have sent otherwise.

Nothing is written and nothing leaves. `lendsignal plan` and the console ask the same.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from msgspec import Struct

from lendsignal.clock import from_us, to_us
from lendsignal.decide.difference import Line, Picture, Rule, Volume, differences, volumes
from lendsignal.decide.rehearsal import OURS, Rehearsal
from lendsignal.derive import CutTable
from lendsignal.errors import DataError, LendsignalError, NotYet
from lendsignal.log import DataFolder, Fact, Log, open_feeds, open_log
from lendsignal.model import INSTALL_SCOPED, App, id_of
from lendsignal.plan import Policy, PolicySource, compile_policy, with_cuts
from lendsignal.resolve import Binding
from lendsignal.value import Valuer

NOT_ATTRIBUTED = "(not attributed)"

READ_AT_ONCE = 5_000

DAY_US = 86_400_000_000


class Plan(Struct, frozen=True, kw_only=True):
    """What a changed configuration would have sent otherwise. `since` and `until` bound the events' times."""

    since: str
    until: str
    events: int
    undecidable: int
    deliveries_before: int
    deliveries_after: int
    unchanged: int
    changes: Sequence[Line]
    weekly: Sequence[Volume]


class Side(Struct, frozen=True):
    """One set of rules, and the past that is decided by it."""

    data: Path
    source: PolicySource
    apps: Mapping[str, App]
    since_us: int
    rule: Rule
    live: bool


class Rehearsed(Struct, frozen=True):
    """What came of one side; `failed` events could not be decided."""

    picture: Picture
    failed: int


def rehearsed(side: Side, tell: Callable[[int], None] = lambda done: None) -> Rehearsed:
    """Decides the whole log by one set of rules; `tell` is told how many events are done."""
    gc.set_threshold(200_000, 50, 100)  # states are trees without cycles: the collector would only walk them
    log = open_log(DataFolder(side.data).log, read_only=True)

    rules = _Rules(log, side.source)
    rehearsal = Rehearsal(
        compile_policy(side.source), live=side.live, with_cuts=rules.cut_by, with_value=rules.valued_by
    )
    told = _campaigns(DataFolder(side.data))
    picture = Picture(side.apps, since_us=side.since_us, rule=side.rule, campaign_of=told)
    for facts in _facts(log):
        for fact in facts:
            for number, record in rehearsal.tell(fact):
                picture.add(number, record)
        tell(facts[-1].seq)
    log.close()
    return Rehearsed(picture.closed(), rehearsal.failed)


def rehearsed_apart(side: Side, seconds: float) -> Rehearsed:
    """The same in a modest process of its own, whose memory goes with it; raises `LendsignalError` where it
    takes longer.

    That process waits for nobody: where we end before it does, it ends at its last word.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_told_through, args=(side, theirs), name="rehearsal", daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise LendsignalError(f"the rehearsal took longer than {seconds:.0f} s: use lendsignal plan")
        found = ours.recv()
    except EOFError:
        raise LendsignalError("the rehearsal ended before it was done: use lendsignal plan") from None
    finally:
        ours.close()
        child.kill()
        child.join()
        child.close()
    if isinstance(found, LendsignalError):
        raise found
    assert isinstance(found, Rehearsed)
    return found


def _told_through(side: Side, connection: Connection) -> None:
    os.nice(10)
    try:
        connection.send(rehearsed(side))
    except LendsignalError as error:
        connection.send(LendsignalError(str(error)))


def plan_of(before: Rehearsed, after: Rehearsed, log: Log, since_us: int, until_us: int) -> Plan:
    """How two rehearsals of the same log differ, among events from `since_us` to `until_us`."""
    was, now = before.picture.would, after.picture.would
    return Plan(
        since=_moment(since_us),
        until=_moment(until_us),
        events=log.end() - max(0, log.cutting.first() - 1),
        undecidable=max(before.failed, after.failed),
        deliveries_before=len(was),
        deliveries_after=len(now),
        unchanged=sum(1 for key, one in was.items() if now.get(key) == one),
        changes=differences(before.picture, after.picture),
        weekly=volumes(before.picture, after.picture, (until_us - since_us) / DAY_US),
    )


def in_force(log: Log) -> PolicySource:
    """What the log is decided by now. Raises `DataError` where nothing was decided yet."""
    version = log.policy()
    source = None if version is None else log.policy_source(version)
    if source is None:
        raise DataError("nothing was decided in this data folder yet: compare with another file by --against")
    return source


def youngest(log: Log) -> int:
    """When the last of the lender's events occurred, as far as the last thousand tell."""
    last = log.read(max(0, log.end() - 1_000), 1_000)
    events = (fact.event for fact in last if not fact.event.type.startswith(OURS))
    return max((to_us(event.occurred_at) for event in events), default=0)


class _Rules:
    """A policy with the cuts and the value model that were in force last, as the log tells of them."""

    def __init__(self, log: Log, source: PolicySource) -> None:
        self._log = log
        self._source = source
        self._cuts: CutTable | None = None
        self._valuer: Valuer | None = None

    def cut_by(self, version: str) -> Policy:
        self._cuts = self._log.cut_table(version)
        return self._policy()

    def valued_by(self, version: str) -> Policy:
        promotion = self._log.promotion(version)
        self._valuer = None if promotion is None else Valuer(promotion)
        return self._policy()

    def _policy(self) -> Policy:
        return compile_policy(with_cuts(self._source, self._cuts), self._valuer)


def _campaigns(folder: DataFolder) -> Callable[[Binding], str] | None:
    """What names the campaign that an installation came from, as feeds say last; `None` without any feed."""
    try:
        feeds = open_feeds(folder.feeds, read_only=True)
    except NotYet:
        return None
    known = {(one.app, one.id): one.ad.campaign or one.ad.channel for one in feeds.attributions()}
    feeds.close()

    def of(binding: Binding) -> str:
        app, device = binding.snapshot.app, binding.snapshot.device
        found = (known.get((app, word)) for kind in INSTALL_SCOPED if (word := id_of(device, kind)))
        return next(filter(None, found), NOT_ATTRIBUTED)

    return of


def _facts(log: Log) -> Iterator[Sequence[Fact]]:
    after = 0
    while facts := log.read(after, READ_AT_ONCE):
        yield facts
        after = facts[-1].seq


def _moment(us: int) -> str:
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%SZ")
