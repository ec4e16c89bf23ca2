"""A network that delays, drops, cuts, repeats and reorders, as the seed says. It carries nothing."""

import json
from collections.abc import Callable, Mapping

from tests.faults.judge import Judge
from tests.faults.platform import Answer, Platform
from tests.faults.setting import Faults
from tests.faults.world import World

from lendsignal.deliver import Done, NoAnswer
from lendsignal.deliver.wire import Wire

AT_LEAST = 0.0002
"""Seconds that every turn of the loop takes, so that a loop which never rests shows as such."""


class SimulatedNetwork:
    """What `deliver.Transport` is to the sender. A new one for each process; requests that left stay out
    there when it dies."""

    def __init__(self, world: World, platforms: Mapping[str, Platform], judge: Judge, faults: Faults) -> None:
        self._world = world
        self._platforms = platforms
        self._judge = judge
        self._faults = faults
        self._chance = world.chance(f"network {world.steady()}")
        self._busy: set[int] = set()
        self._ended: list[tuple[int, Done, Answer | NoAnswer]] = []
        self.rung = False

    def __len__(self) -> int:
        return len(self._busy)

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None:
        """A request leaves, and how it ends is settled by chance."""
        world, chance = self._world, self._chance
        world.may_die("as a request is about to leave")
        name, what, *rest = wire.url.split("/")[3:]
        platform = self._platforms[name]
        if what == "verdicts":
            number, rows = self._judge.asks(name, token)

            def process() -> Answer | None:
                return platform.asked(rest[0], rows)
        else:
            items = json.loads(wire.body)["events"]
            number = self._judge.sends(name, token, items)

            def process() -> Answer | None:
                return platform.takes(number, items)

        self._busy.add(number)
        there, back = chance.expovariate(10.0), chance.expovariate(10.0)
        match self._fault():
            case "refused":
                self._ends(number, token, there, NoAnswer("connection_failed", left=False))
            case "lost":
                self._ends(number, token, timeout_seconds, NoAnswer("timeout", left=True))
            case "late":
                self._ends(number, token, timeout_seconds, NoAnswer("timeout", left=True))
                world.after(timeout_seconds * chance.uniform(1.0, 3.0), lambda: self._arrives(process))
            case "cut":
                self._ends(number, token, there, NoAnswer("connection_reset", left=True))
                if chance.random() < 0.7:
                    world.after(there / 2, lambda: self._arrives(process))
            case fault:
                self._ends(number, token, timeout_seconds, NoAnswer("timeout", left=True))
                world.after(there, lambda: self._answers(number, token, back, process()))
                if fault == "twice":
                    world.after(there + back + chance.uniform(0, 5), lambda: self._arrives(process))
        world.may_die("as a request has left")

    def wait(self, seconds: float) -> list[Done]:
        """Lets time go by until something ended, or a bell rings."""
        world = self._world
        world.may_die("waiting")
        world.pass_time(AT_LEAST)
        if not self._ended:
            world.pass_time(seconds, lambda: bool(self._ended) or self.rung)
        self.rung = False
        ended, self._ended = self._ended, []
        for number, done, what in ended:
            self._judge.hears(number, what)
            world.say(
                f"  ← {number}: {_told(done.result) if isinstance(what, NoAnswer) else list(what.words)}"
            )
        return [done for _, done, _ in ended]

    def close(self) -> None:
        """Nobody waits here any more."""
        self._busy.clear()
        self._ended.clear()

    def _fault(self) -> str:
        if self._world.calm:
            return ""
        roll, faults = self._chance.random(), self._faults
        for name in ("refused", "lost", "late", "cut", "twice"):
            roll -= getattr(faults, name)
            if roll < 0:
                return name
        return ""

    def _arrives(self, process: Callable[[], Answer | None]) -> None:
        process()

    def _answers(self, number: int, token: object, back: float, answer: Answer | None) -> None:
        if answer is None:
            return
        said = answer
        self._world.after(back, lambda: self._end(number, Done(token, said.response), said))

    def _ends(self, number: int, token: object, seconds: float, how: NoAnswer) -> None:
        self._world.after(seconds, lambda: self._end(number, Done(token, how), how))

    def _end(self, number: int, done: Done, what: Answer | NoAnswer) -> None:
        """What comes first ends the request; what comes later finds nobody."""
        if number in self._busy:
            self._busy.discard(number)
            self._ended.append((number, done, what))


def _told(result: object) -> str:
    return (
        f"{result.reason}, {'left' if result.left else 'never left'}" if isinstance(result, NoAnswer) else ""
    )
