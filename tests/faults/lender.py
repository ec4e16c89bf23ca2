"""A small made-up lender: users log in, borrow, change phones, take loans back, end their consent."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.acme import consent_of, event, loan, login, source, target
from tests.faults.disk import FaultyDeliveries
from tests.faults.setting import Setting
from tests.faults.world import START_US, World

from lendsignal.decide import Decider
from lendsignal.deliver import Outlet
from lendsignal.deliver.choose import Choice, Chooser
from lendsignal.log import EVERY, Cancel, Halt, LetGo, Log, Order, Orders, Stage
from lendsignal.model import Event
from lendsignal.resolve import ResolveSettings

SEND = ("disbursement", "first_loan", "repeat_loan")


class Lender:
    """What comes in, at times that the seed chose; decided as it comes. `ring` wakes the sender."""

    def __init__(self, world: World, log: Log, setting: Setting, ring: Callable[[], None]) -> None:
        self._world = world
        self._setting = setting
        self._ring = ring
        self._chance = world.chance("lender")
        self._told = 0
        targets = {
            place.name: target(place.name, place.app.name, kind="acme", account=place.account)
            for place in setting.places
        }
        policy = source(
            targets=targets,
            send={name: f"ev_{name}" for name in SEND},
            resolve=ResolveSettings(settle=timedelta(seconds=setting.settle)),
        )
        self._decider = Decider(log, policy, world, lambda: None)
        self._decided()
        for number in range(setting.users):
            self._live(f"u{number}")

    def _live(self, user: str) -> None:
        """One user's events, put on the agenda."""
        chance, setting = self._chance, self._setting
        apps = sorted({place.app.name for place in setting.places})
        start = chance.choice((0.0, chance.uniform(0, setting.span)))
        self._at(start, lambda: [self._login(user, "one", chance.choice(apps), 0)])
        at = start
        for number in range(1, setting.loans + 1):
            at += chance.choice((0.0, 0.001, chance.uniform(0, setting.span / 2)))
            age = chance.choice((0.0, 1.5, chance.uniform(0, 90)))
            self._at(at, lambda n=number, age=age: [self._loan(user, n, age)])  # type: ignore[misc]
            if chance.random() < 0.2:
                later = at + chance.uniform(0.0, 60.0)
                self._at(later, lambda n=number: [self._reversal(user, n)])  # type: ignore[misc]
        if chance.random() < 0.4:
            moved = at + chance.uniform(0.0, 30.0)
            back = moved - start + chance.uniform(-20.0, 20.0)
            app = chance.choice(apps)
            self._at(moved, lambda: [self._login(user, "two", app, max(0.0, back))])
        if chance.random() < 0.1:
            self._at(at + chance.uniform(0, 60), lambda: [self._consent(user)])

    def _at(self, seconds: float, events: Callable[[], list[Event]]) -> None:
        self._world.after(seconds, lambda: self._tell(events()))

    def _tell(self, events: list[Event]) -> None:
        for one in events:
            self._world.say(f"event {one.type} of {one.user_id} {one.loan_id or one.app or ''}")
        self._decider.append(events)
        self._decided()
        self._ring()

    def _decided(self) -> None:
        while self._decider.turn():
            pass

    def _minutes(self, age: float = 0.0) -> float:
        """The time of day as tests/acme.py counts it: minutes since nine."""
        return (self._world.now_us() - START_US) / 60e6 - age / 60

    def _name(self) -> str:
        self._told += 1
        return f"event-{self._told}"

    def _login(self, user: str, phone: str, app: str, age: float) -> Event:
        fields = {"user_id": user, "event_id": self._name(), "arrives": self._minutes()}
        return login(self._minutes(age), f"{user}-{phone}", app=app, **fields)

    def _loan(self, user: str, number: int, age: float) -> Event:
        fields = {"user_id": user, "event_id": self._name(), "loan_number": number}
        return loan(self._minutes(age), f"{user}-L{number}", arrives=self._minutes(), **fields)

    def _reversal(self, user: str, number: int) -> Event:
        fields: dict[str, Any] = {
            "user_id": user,
            "event_id": self._name(),
            "loan_id": f"{user}-L{number}",
        }
        return event("disbursement_reversed", self._minutes(), **fields)

    def _consent(self, user: str) -> Event:
        return consent_of(self._minutes(), False, user_id=user, event_id=self._name())


class Operator:
    """A person with the command line: gives orders while the sender may be dead, slow or busy."""

    def __init__(
        self,
        world: World,
        log: Log,
        store: FaultyDeliveries,
        orders: Orders,
        outlets: dict[str, Outlet],
        ring: Callable[[], None],
    ) -> None:
        self._world = world
        self._log = log
        self._store = store
        self._orders = orders
        self._outlets = outlets
        self._ring = ring
        self._chance = world.chance("operator")

    def plans(self, number: int, span: float) -> None:
        """So many orders, somewhere within so many seconds."""
        for _ in range(number):
            self._world.after(self._chance.uniform(0, span * 1.5), self._orders_something)

    def let_go(self) -> None:
        """Everything may be sent again, whoever stopped it."""
        self._give([LetGo((EVERY,))])

    def _orders_something(self) -> None:
        if self._world.calm:
            return
        chance = self._chance
        name = chance.choice((*self._outlets, EVERY))
        chooser = Chooser(self._log, self._store, self._outlets, self._world.now_us())
        match chance.choice(("halt", "let go", "cancel", "again", "again")):
            case "halt":
                self._give([Halt((name,))])
                self._world.after(chance.uniform(1, 40), lambda: self._give([LetGo((name,))]))
            case "let go":
                self._give([LetGo((name,))])
            case "cancel":
                found = chooser.to_cancel(Choice(states=frozenset({"waiting", "held"}))).cancel()
                claimed = [one for one in self._flying() if chance.random() < 0.5]
                self._give([*found[:1], *claimed])
            case _:
                state = chance.choice(("accepted", "dead", "held"))
                again: list[Order] = [*chooser.to_send_again(Choice(states=frozenset({state}))).again()]
                self._give(again[: chance.randint(1, 3)])

    def _flying(self) -> list[Cancel]:
        """What is on its way: asked for by id, as a person may."""
        return [
            Cancel(name, (one.id,))
            for name in self._outlets
            for one in self._store.open(name, 0, 20, Stage.CLAIMED)
        ]

    def _give(self, orders: list[Order]) -> None:
        if orders:
            for one in orders:
                self._world.say(f"order {one}")
            self._orders.give(orders, "operator", self._world.now_us())
            self._ring()
