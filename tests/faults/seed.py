"""One seed from beginning to end: a world is made, lives through its faults, comes to rest, and is judged."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from unittest.mock import patch

from tests.acme import APPS
from tests.desk import TOKEN
from tests.faults.disk import FaultyDeliveries, log_in_memory, orders_in_memory
from tests.faults.judge import Judge
from tests.faults.lender import Lender, Operator
from tests.faults.network import SimulatedNetwork
from tests.faults.platform import Platform, outlet_of
from tests.faults.setting import Setting, chosen
from tests.faults.world import Broken, Killed, World

from lendsignal.deliver.sender import Sender

REST_SECONDS = 4 * 3_600.0
"""A calm world that has not come to rest within this never does."""

TURNS_LOOKED_AT = 1_000
"""So many turns of the loop must take some time, or it never rests."""


class House:
    """The sender, its stores, and all that is around it."""

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.world = world = World(seed, tell)
        self.setting = setting = chosen(world.chance("setting"))
        self.log, self.orders = log_in_memory(), orders_in_memory()
        self.judge = Judge(world, setting, self.log, self.orders)
        self.store = self.judge.store = FaultyDeliveries(world, self.judge, setting.faults)
        self.platforms = {place.name: Platform(place, world) for place in setting.places}
        self.outlets = {place.name: outlet_of(place) for place in setting.places}
        self.network = self._network()
        self.lender = Lender(world, self.log, setting, self._ring)
        self.operator = Operator(world, self.log, self.store, self.orders, self.outlets, self._ring)
        self._chance = world.chance("house")
        self._turns = 0
        self._looked_at = -1.0
        world.say(f"seed {seed}: {setting}")

    def lives(self) -> None:
        """All of it. Raises `Broken` at the first promise that is not kept."""
        world, setting = self.world, self.setting
        self._misfortunes()
        self.sender = self._started()
        while world.steady() < setting.span * 1.5 + 30:
            self._turn(30.0)
        self._calms_down()
        calm_us, until = world.now_us(), world.steady() + REST_SECONDS
        while world.steady() < until and not self.judge.is_at_rest:
            if self.judge.needs_a_person and self.judge.order >= self.orders.last():
                self.operator.let_go()
            self._turn(30.0)
        self.sender.drain()
        self.judge.ends_well(self.platforms, calm_us)

    def close(self) -> None:
        """Gives memory back."""
        self.store.close()
        self.log.close()
        self.orders.close()

    def _misfortunes(self) -> None:
        """Spells of weather, a full disk, a clock that is set, orders: when each happens."""
        world, faults, chance, span = self.world, self.setting.faults, self._chance, self.setting.span
        world.deaths_left, world.death_share = faults.deaths, faults.death_share
        for platform in self.platforms.values():
            for weather in faults.weather:
                begins = chance.uniform(0, span)
                world.after(begins, lambda p=platform, w=weather: self._weather(p, w))  # type: ignore[misc]
                ends = begins + chance.choice((1.0, 10.0, 90.0))
                world.after(ends, lambda p=platform: self._weather(p, "fair"))  # type: ignore[misc]
        if faults.full_disk:
            begins = chance.uniform(0, span)
            world.after(begins, lambda: self._disk(True))
            world.after(begins + chance.choice((0.1, 3.0, 30.0)), lambda: self._disk(False))
        for _ in range(faults.deaths // 2):
            world.after(chance.uniform(0, span * 1.2), lambda: world.dies("at this moment"))
        for _ in range(faults.jumps):
            by = chance.choice((-1, 1)) * chance.choice((10.0, 120.0, 2_000.0))
            world.after(chance.uniform(0, span), lambda s=by: world.set_clock(s))  # type: ignore[misc]
        self.operator.plans(faults.orders, span)

    def _weather(self, platform: Platform, weather: str) -> None:
        if not self.world.calm:
            self.world.say(f"weather at {platform.place.name}: {weather}")
            platform.weather = weather

    def _disk(self, is_full: bool) -> None:
        self.store.is_full = is_full

    def _calms_down(self) -> None:
        self.world.say("calm: nothing goes wrong from now on")
        self.world.calm = True
        for platform in self.platforms.values():
            platform.weather = "fair"
        self.operator.let_go()

    # the process

    def _turn(self, longest: float) -> None:
        """One turn of the loop, which may be its last."""
        if self.sender.book.trouble is not None or self.orders.last() > self.judge.order:
            longest = 0.25
        try:
            self.sender.turn(longest)
        except Killed:
            self._died()
            self.sender = self._started()
        self._turns += 1
        if self._turns % TURNS_LOOKED_AT == 0:
            self.judge.check(self.world.steady() - self._looked_at > 0.5, "the loop never rests")
            self._looked_at = self.world.steady()

    def _started(self) -> Sender:
        for _ in count():
            self.judge.starts_anew()
            self.network = self._network()
            self.world.is_alive = True
            try:
                return Sender(
                    self.log,
                    self.store,
                    self.outlets,
                    APPS,
                    self.setting.deliver(),
                    self.world,
                    orders=self.orders,
                    network=self.network,
                    steady=self.world.steady,
                    chance=self.world.chance(f"sender {self.world.steady()}"),
                )
            except Killed:
                self._died()
        raise AssertionError("deaths are counted")

    def _died(self) -> None:
        self.network.close()
        self.store.reopened()
        self.judge.dies()
        self.world.pass_time(self._chance.choice((0.01, 1.0, 40.0)))

    def _network(self) -> SimulatedNetwork:
        return SimulatedNetwork(self.world, self.platforms, self.judge, self.setting.faults)

    def _ring(self) -> None:
        self.network.rung = True


def broken_by(seed: int, tell: Callable[[str], None] | None = None) -> str | None:
    """The promise that a seed breaks, in a sentence; `None` where all were kept."""
    house = House(seed, tell)
    try:
        with _small_pages(house.setting):
            house.lives()
    except Broken as broken:
        return str(broken)
    except Exception as error:
        if tell is not None:
            raise
        return f"the sender ended: {type(error).__name__}: {error}"
    finally:
        house.close()
    return None


@contextmanager
def _small_pages(setting: Setting) -> Iterator[None]:
    """What the sender reads at once is small enough to be met by few deliveries; and nothing is logged."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    deliver = "lendsignal.deliver"
    try:
        with (
            patch.dict(os.environ, {"ACME_TOKEN": TOKEN}),
            patch(f"{deliver}.book.ROWS_AT_ONCE", setting.rows),
            patch(f"{deliver}.sender.ROWS_AT_ONCE", setting.rows),
            patch(f"{deliver}.reader.RECORDS_AT_ONCE", setting.rows),
            patch(f"{deliver}.book.BODIES_AT_HAND", setting.bodies),
            patch(f"{deliver}.book.PARK_US", int(setting.park * 1_000_000)),
        ):
            yield
    finally:
        logging.disable(before)
