"""Watches the service from the web role: counts, judges, keeps what is open, and has people told.

It reads what the other roles write and writes a file of its own, so that no event and no delivery waits for
it. A turn reads the events that came since the last, the sender's own counts, and a sample of its receipts.
"""

import logging
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from datetime import timedelta

import apsw

from lendsignal.clock import Clock, from_us, to_us
from lendsignal.config import Config
from lendsignal.deliver import token_ends
from lendsignal.deliver.alerts.saying import due
from lendsignal.deliver.alerts.telling import Teller, Unheard
from lendsignal.errors import LendsignalError, NotYet
from lendsignal.log import (
    Alerts,
    DataFolder,
    Deliveries,
    Log,
    Raised,
    Told,
    open_alerts,
    open_deliveries,
    open_feeds,
    open_log,
)
from lendsignal.plan import Planned, Rebound, record_of
from lendsignal.report.band import MOST_DAYS, Band
from lendsignal.report.health import (
    DAY_SLOTS,
    DELAY_BOUNDS,
    SILENT_FEED_US,
    SLOT_US,
    Alarm,
    DelayOf,
    Ended,
    Ending,
    Facts,
    Fetched,
    Halted,
    Series,
    Volume,
    alarms,
    bin_of,
    learnt,
    volume,
)
from lendsignal.role.leading import leads, marks_of
from lendsignal.role.standing import sending
from lendsignal.source import position_at, quarantine_standing

logger = logging.getLogger(__name__)

AT_ONCE = 5_000
A_TURN = 100_000
"""Events read in one turn at most: a second or two of work. Until it has caught up, no volume is judged."""

SAMPLE = 200
"""Accepted deliveries of a turn whose waiting is looked up."""

PACKS = 2_000
HOUR_US = 3_600_000_000
KEPT_DAYS = MOST_DAYS + 1
LATELY_DAYS = 8
"""Of the counts, what a look needs beside what was learnt: silence is followed for a week."""

GAP_US = 30 * 60_000_000
"""After a longer pause of ours, what is new came at times that nobody knows."""

TROUBLE_US = 15 * 60_000_000
"""A pull in trouble for less is trying again."""


class Bands:
    """What is expected of each series, learnt anew every hour."""

    def __init__(self) -> None:
        self._hour = -1
        self._known: dict[tuple[str, str, str], Band | None] = {}

    def are_of(self, hour: int) -> bool:
        """Whether they were learnt within that hour since 1970."""
        return hour == self._hour

    def learn(self, series: Mapping[tuple[str, str, str], Series], now_us: int) -> None:
        """Learns from everything that is known."""
        self._known = {key: learnt(one, now_us) for key, one in series.items()}
        self._hour = now_us // HOUR_US

    def __getitem__(self, key: tuple[str, str, str]) -> Band | None:
        return self._known.get(key)


class Watcher:
    """Looks from time to time, in a thread of its own, until it is stopped."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._folder = DataFolder(config.data)
        self._bands = Bands()
        self._tellers = {
            name: Teller(name, one, config.portfolio) for name, one in config.alerts.items() if one.enabled
        }
        self._unheard: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def __enter__(self) -> "Watcher":
        # History that is replayed runs at another speed than the band was learnt at.
        if not self._clock.replay:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        every = self._config.health.every.total_seconds()
        while not self._stopping.wait(every):
            try:
                self.turn()
            except (LendsignalError, apsw.Error) as error:
                logger.warning("health was not looked at: %s", error)

    def turn(self) -> list[Alarm]:
        """Looks once, keeps what is open, tells whoever is to be told, and gives the alarms found."""
        now_us = self._clock.now_us()
        with ExitStack() as opened:
            store = opened.enter_context(closing(open_alerts(self._folder.alerts)))
            log = opened.enter_context(closing(open_log(self._folder.log, read_only=True)))
            try:
                deliveries: Deliveries | None = opened.enter_context(
                    closing(open_deliveries(self._folder.deliveries, read_only=True))
                )
            except NotYet:
                deliveries = None
            caught_up = read(self._config, store, log, deliveries, now_us)
            facts = facts_of(self._config, store, log, deliveries, now_us, self._bands, counted=caught_up)
            found = alarms(facts, self._config.health.delay)
            calm_us = self._config.health.calm // timedelta(microseconds=1)
            store.stand(kept(found, store.raised(), now_us, calm_us, steady=caught_up))
            if leads(self._config):  # of several desks one tells
                self._tell(store, now_us)
        return found

    def _tell(self, store: Alerts, now_us: int) -> None:
        raised, silenced = store.raised(), store.silences(now_us)
        told: dict[str, list[Told]] = defaultdict(list)
        for one in store.told():
            told[one.target].append(one)
        for name, teller in self._tellers.items():
            messages = due(raised, told[name], teller.settings, silenced, now_us)
            if not messages:
                continue
            try:
                teller.tell(messages, now_us)
            except Unheard as error:
                # Said once; what was not told is told at the next turn.
                if self._unheard.get(name) != error.reason:
                    logger.error("%s", error)
                self._unheard[name] = error.reason
                continue
            self._unheard.pop(name, None)
            store.tell(
                Told(
                    target=name,
                    key=one.key,
                    kind=one.kind,
                    severity=one.severity,
                    said=one.said,
                    do=one.do,
                    since_us=one.since_us,
                    at_us=now_us,
                )
                for one in messages
                if one.state != "well"
            )
            store.untell(name, [one.key for one in messages if one.state == "well"])


def kept(
    found: Iterable[Alarm], before: Iterable[Raised], now_us: int, calm_us: int, *, steady: bool
) -> list[Raised]:
    """The alarms that are open now: those found, and those that have not been away for long enough.

    Not `steady`: not everything could be judged, so that nothing ends.
    """
    earlier = {one.key: one for one in before}
    now = {
        one.key: Raised(
            key=one.key,
            kind=one.kind,
            severity=one.severity,
            said=one.said,
            do=one.do,
            since_us=earlier[one.key].since_us if one.key in earlier else now_us,
            seen_us=now_us,
        )
        for one in found
    }
    for key, one in earlier.items():
        if key not in now and (not steady or now_us - one.seen_us < calm_us):
            now[key] = one
    return sorted(now.values(), key=lambda one: (one.since_us, one.key))


def read(config: Config, store: Alerts, log: Log, deliveries: Deliveries | None, now_us: int) -> bool:
    """Counts what came since the last time: events, what ended, and how long a sample of it waited.

    Gives whether all of it was read.
    """
    counts: Counter[tuple[str, str, str, int]] = Counter()
    delays: Counter[tuple[str, str, int, int]] = Counter()
    position = store.position("events")
    if not position:
        position = position_at(log, now_us - KEPT_DAYS * 24 * HOUR_US)
    caught_up, position = _events(config, log, position, counts, delays)
    positions = {"events": position, "looked_us": now_us}
    if now_us - store.position("looked_us") > GAP_US:
        positions["steady_us"] = now_us
    seen = None
    if deliveries is not None:
        seen = _ended(store, deliveries, now_us // SLOT_US, counts)
        # At the first look what stands there is of the past: it is not read through.
        first = store.position("packs") if store.position("looked_us") else deliveries.last_pack()
        positions["packs"] = _waited(log, deliveries, first, delays)
    store.add(counts, delays, positions, seen)
    if now_us // HOUR_US % 24 == 0:
        lately = now_us // HOUR_US
        store.forget(now_us // SLOT_US - KEPT_DAYS * DAY_SLOTS, lately - KEPT_DAYS * 24)
    return caught_up


def _events(
    config: Config,
    log: Log,
    position: int,
    counts: Counter[tuple[str, str, str, int]],
    delays: Counter[tuple[str, str, int, int]],
) -> tuple[bool, int]:
    """Whether everything was read, and up to where."""
    for _ in range(A_TURN // AT_ONCE):
        facts = log.read(position, AT_ONCE)
        for fact in facts:
            event = fact.event
            position = fact.seq
            app = event.app or config.policy.derive.default_app.get(event.brand)
            if app is None or event.history or event.actor == "system":
                continue
            received_us = to_us(event.received_at)
            counts["event", app, event.type, received_us // SLOT_US] += 1
            if event.time_precision == "instant":
                seconds = (received_us - to_us(event.occurred_at)) / 1e6
                delays["arrival", app, received_us // HOUR_US, bin_of(seconds)] += 1
        if len(facts) < AT_ONCE:
            return True, position
    return False, position


def _ended(
    store: Alerts, deliveries: Deliveries, slot: int, counts: Counter[tuple[str, str, str, int]]
) -> dict[tuple[str, str, str], int]:
    """Counts what ended since the last look by the sender's own counts, and gives these."""
    now: Counter[tuple[str, str, str]] = Counter()
    for (destination, conversion, what, _), n in deliveries.tally().items():
        if what in ("accepted", "dead"):
            now[destination, conversion, what] += n
    before = store.seen()
    if store.position("looked_us"):  # at the first look, what stood there came at times that nobody knows
        for (destination, conversion, what), n in now.items():
            more = n - before.get((destination, conversion, what), 0)
            if more > 0:
                counts[what, destination, conversion, slot] += more
    return dict(now)


def _waited(log: Log, deliveries: Deliveries, pack: int, delays: Counter[tuple[str, str, int, int]]) -> int:
    """Looks up how long a sample of what was accepted had waited; gives the last pack that was read."""
    last = deliveries.last_pack()
    pack = max(pack, last - PACKS)
    accepted = []
    for number, receipts in deliveries.all_receipts(pack):
        pack = number
        accepted += [one for one in receipts if one.what == "accepted" and one.sent_us]
    step = -(-len(accepted) // SAMPLE) or 1
    for one in accepted[::step]:
        number, entry = record_of(one.id)
        planned = log.record(one.bound or number)
        if isinstance(planned, Planned | Rebound) and entry < len(planned.entries):
            ready_us = planned.at_us + planned.entries[entry].settle_us
            seconds = max(0, one.sent_us - ready_us) / 1e6
            delays["queue", one.destination, one.answered_us // HOUR_US, bin_of(seconds)] += 1
    return pack


def facts_of(
    config: Config,
    store: Alerts,
    log: Log,
    deliveries: Deliveries | None,
    now_us: int,
    bands: Bands | None = None,
    *,
    counted: bool = True,
) -> Facts:
    """Everything that health is judged by. Without `counted`, counts are not up to date, and not judged."""
    folder = DataFolder(config.data)
    found = quarantine_standing(log, now_us, config.door.quarantine_alert)
    paused = {} if deliveries is None else deliveries.paused()
    ends = token_ends(config.outlets, config.deliver.token_warning, from_us(now_us))
    return Facts(
        now_us=now_us,
        volumes=_volumes(config, store, now_us, bands or Bands()) if counted else (),
        delays=_delays(config, store, now_us),
        ended=_lately_ended(config, store, now_us),
        halted=[
            Halted(destination=name, by=one.kind.value, reason=one.reason, since_us=one.since_us)
            for name, one in paused.items()
            if name in config.outlets or name == "*"
        ],
        endings=[
            Ending(destination=one.destination, said=one.told(), has_ended=one.state == "ended")
            for one in ends
            if one.state != "fine"
        ],
        quarantined=found.lately,
        quarantine_alarming=found.is_alarming,
        pulls=_silent_pulls(config, folder, now_us),
        feeds=_silent_feeds(config, folder, now_us),
        sender=_unsent(config, folder),
        disk_free=shutil.disk_usage(folder.path).free,
        reconciled=store.noted("reconcile"),
    )


def _unsent(config: Config, folder: DataFolder) -> str | None:
    """Why nothing is sent, whatever destinations do; `None`: it is."""
    if config.store is None:
        return sending(folder)
    from lendsignal.role.watch import unsent  # with the store's client

    return unsent(config)


def _series(config: Config, store: Alerts, now_us: int, days: int) -> dict[tuple[str, str, str], Series]:
    found: dict[tuple[str, str, str], Series] = {}
    steady_us = store.position("steady_us")
    for (what, scope, name), slots in store.counted(now_us // SLOT_US - days * DAY_SLOTS).items():
        key = (what, scope, name)
        if what == "event" and scope in config.apps:
            zone = config.apps[scope].timezone
            found[key] = Series(what="event", name=name, scope=scope, timezone=zone, slots=slots)
        elif what == "accepted" and scope in config.outlets:
            outlet = config.outlets[scope]
            found[key] = Series(
                what="accepted",
                name=name,
                scope=scope,
                timezone=outlet.app.timezone,
                slots=slots,
                steady_from_us=steady_us,
                pause=outlet.period or timedelta(0),
            )
    return found


def _volumes(config: Config, store: Alerts, now_us: int, bands: Bands) -> list[Volume]:
    if not bands.are_of(now_us // HOUR_US):
        bands.learn(_series(config, store, now_us, KEPT_DAYS), now_us)
    lately = _series(config, store, now_us, LATELY_DAYS)
    return [volume(one, bands[key], now_us) for key, one in lately.items()]


def _delays(config: Config, store: Alerts, now_us: int) -> list[DelayOf]:
    found = []
    for (stage, name), bins in store.delays(now_us // HOUR_US - 23).items():
        counts = [bins.get(place, 0) for place in range(len(DELAY_BOUNDS) + 1)]
        if stage == "arrival" and name in config.apps:
            found.append(DelayOf(stage="arrival", name=name, bins=counts))
        elif stage == "queue" and name in config.outlets:
            found.append(DelayOf(stage="queue", name=name, bins=counts))
    return found


def _lately_ended(config: Config, store: Alerts, now_us: int) -> list[Ended]:
    ended: Counter[tuple[str, str]] = Counter()
    for (what, scope, _), slots in store.counted(now_us // SLOT_US - DAY_SLOTS).items():
        ended[scope, what] += sum(slots.values())
    return [
        Ended(destination=name, accepted=ended[name, "accepted"], dead=ended[name, "dead"])
        for name in config.outlets
    ]


def _silent_pulls(config: Config, folder: DataFolder, now_us: int) -> list[Fetched]:
    wanted = {name for name, plan in config.pulls.items() if plan.common.enabled}
    if not wanted or (config.store is None and not folder.pulls.exists()):
        return []
    with closing(marks_of(config, read_only=True)) as store:
        standing = store.standing()
    return [
        Fetched(name=one.name, since_us=one.read_us or one.since_us, trouble=one.reason)
        for one in standing
        if one.name in wanted and one.state == "trouble" and now_us - one.since_us > TROUBLE_US
    ]


def _silent_feeds(config: Config, folder: DataFolder, now_us: int) -> list[Fetched]:
    if not config.feed_secrets or not folder.feeds.exists():
        return []
    with closing(open_feeds(folder.feeds, read_only=True)) as store:
        latest = store.latest()
    return [
        Fetched(name=name, since_us=latest[name])
        for name in config.feed_secrets
        if name in latest and now_us - latest[name] > SILENT_FEED_US
    ]
