"""Plays the made-up lender: weeks of history compressed into seconds, then live at a quickened pace."""

import itertools
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from lendsignal.config import Config
from lendsignal.demo.lender import HISTORY_DAYS, accounts, prepared
from lendsignal.log import DataFolder, open_deliveries, open_feeds, open_log
from lendsignal.plan import Placed, record_of
from lendsignal.replay import Player, Stage, accepted_ids, chunks, received, received_us
from lendsignal.report import Report, all_reports
from lendsignal.role import ROLES
from lendsignal.simulate import World, events, write
from lendsignal.source.feeds import import_attribution, import_spend

STEP_US = 900_000_000
"""History moves in quarters of an hour: every conversion is judged within the one it happened in."""

LIVE_SPEED = 600
"""Live, one second shows ten minutes of the lender's day."""

WHATS = ("planned", "accepted", "dead", "skipped", "cancelled")


class Result(Struct, frozen=True, kw_only=True):
    """What came of it. `balanced`: planned = accepted + dead + waiting + skipped + cancelled, for each
    destination and conversion, and the sandboxes received just what was accepted.
    """

    events: int
    conversions: int
    planned: int
    accepted: int
    dead: int
    waiting: int
    skipped: int
    cancelled: int
    received: int
    balanced: bool


class Show:
    """One run of the demo over a folder; what an earlier run played is not played again."""

    def __init__(self, folder: Path, world: World, *, headless: bool, port: int, web_port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.world = world
        self._list = list(events(world))
        self._arrived = [received_us(event) for event in self._list]
        if not (folder / "lender").exists():
            write(world, folder / "lender")
        listening = {
            "door.port": 0 if headless else _free(port),
            "web.port": 0 if headless else _free(web_port),
            "web.open": True,
        }
        self.stage = Stage(folder, prepared(folder, world), roles=ROLES, overrides=listening)
        self._played = folder / "played"
        self._config: Config | None = None
        self._player: Player | None = None

    def __len__(self) -> int:
        return len(self._list)

    @property
    def history(self) -> int:
        """How many events are history."""
        end = self._arrived[0] + HISTORY_DAYS * 86_400_000_000
        return sum(at <= end for at in self._arrived)

    @property
    def played(self) -> int:
        """How many events were played, in this run and before."""
        return int(self._played.read_text()) if self._played.exists() else 0

    @property
    def over(self) -> bool:
        """Whether the made-up lender's story is told."""
        return self.played >= len(self._list)

    def start(self) -> None:
        """Starts the processes and tells where the installations came from."""
        if not self.played:
            self.stage.clock.set_us(self._arrived[0])
        self._config = self.stage.start()
        key = (self.folder / "secrets" / "backend").read_text()
        self._feed(self._config)
        self._player = Player(self.stage.service, key, self.stage.clock, self.stage.tend)

    def play_history(self, progress: Callable[[int], None]) -> None:
        """Plays history to its end; `progress` is told how many events are played."""
        first = self.played
        for end, batch in chunks(itertools.islice(self._list, first, self.history), STEP_US, received_us):
            self._play(batch, end)
            progress(self.played)

    def play_live(self, seconds: float, progress: Callable[[int, int], None]) -> None:
        """Plays live for so many seconds or to the story's end; told the events played and the clock."""
        begun, clock_begun = time.monotonic(), self.stage.clock.now_us()
        while not self.over and (gone := time.monotonic() - begun) < seconds:
            now = clock_begun + round(gone * LIVE_SPEED * 1_000_000)
            first = self.played
            last = next((i for i in range(first, len(self._list)) if self._arrived[i] > now), len(self._list))
            self._play(self._list[first:last], now)
            progress(last, now)
            self.stage.tend()
            time.sleep(0.1)

    def result(self) -> Result:
        """Waits until nothing is left to do at this moment of the clock, and adds up."""
        assert self._player is not None
        assert self._config is not None
        self._player.settle()
        folder = DataFolder(self._config.data)
        log = open_log(folder.log, read_only=True)
        deliveries = open_deliveries(folder.deliveries, read_only=True)
        try:
            tally = deliveries.tally()
            waiting = deliveries.waiting()
            counted = log.tally()

            def conversion_of(delivery: int) -> str:
                record = log.record(record_of(delivery)[0])
                return record.conversion.id if isinstance(record, Placed) else ""

            ids = accepted_ids(deliveries, conversion_of)
        finally:
            deliveries.close()
            log.close()
        sums = {what: sum(n for (_, _, w, _), n in tally.items() if w == what) for what in WHATS}
        open_rows = sum(n for stages in waiting.values() for n in stages.values())
        compared = received(self.stage.sandbox, ids, accounts())
        return Result(
            events=sum(n for (what, _), n in counted.items() if what == "event"),
            conversions=sum(n for (what, _), n in counted.items() if what == "conversion"),
            waiting=open_rows,
            received=compared.received,
            balanced=compared.equal and _balanced(tally, waiting),
            **sums,
        )

    def reports(self) -> Sequence[Report]:
        """The three reports as they stand."""
        assert self._config is not None
        found = all_reports(DataFolder(self._config.data))
        return found.funnel, found.bindings, found.delivery

    def stop(self) -> None:
        """Ends every process; a later run goes on from here."""
        if self._player is not None:
            self._player.close()
        self.stage.stop()

    def _feed(self, config: Config) -> None:
        """Tells where the installations came from, and what they cost."""
        feeds = open_feeds(DataFolder(config.data).feeds)
        now_us = self.stage.clock.now_us()
        lender = self.folder / "lender"
        try:
            import_attribution(feeds, lender / "attribution.csv", config.feeds["mmp"], now_us)
            import_spend(feeds, lender / "spend.csv", config.spend["ads"])
        finally:
            feeds.close()

    def _play(self, batch: Sequence[Mapping[str, Any]], until_us: int) -> None:
        assert self._player is not None
        before = self.played
        self._player.play(batch, until_us)
        fresh = self._played.with_suffix(".new")
        fresh.write_text(str(before + len(batch)))
        fresh.replace(self._played)


def _balanced(
    tally: Mapping[tuple[str, str, str, str], int], waiting: Mapping[str, Mapping[str, int]]
) -> bool:
    """For each destination: what was planned is accounted for, row by row."""
    for destination in {key[0] for key in tally}:
        mine = dict.fromkeys(WHATS, 0)
        for (name, _, what, _), n in tally.items():
            if name == destination and what in mine:
                mine[what] += n
        still = sum(waiting.get(destination, {}).values())
        if mine["planned"] != still + sum(mine[what] for what in WHATS[1:]):
            return False
    return True


def _free(port: int) -> int:
    """The port where it is free, else one that is."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
