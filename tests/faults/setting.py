"""What a seed chooses before anything happens: destinations, sizes, and which faults there are.

Each fault is there or not (a half of the seeds has it), so that faults which hide each other are met apart.
"""

from datetime import timedelta
from random import Random

from msgspec import Struct
from tests.acme import ANDROID, IOS

from lendsignal.deliver import DeliverSettings
from lendsignal.deliver.settings import Brakes, Unknown
from lendsignal.model import App


class Place(Struct, frozen=True, kw_only=True):
    """One destination. Spans are seconds; `hold` and `retry` are its `on_unknown`, one of them set."""

    name: str
    app: App
    account: str
    most: float
    burst: float
    batch: int
    by_user: bool
    linger: float
    ordered: str
    rises: float
    lane_wait: float
    retry: int | None
    hold: float | None
    max_age: float
    late: str
    period: int
    timeout: float
    concurrency: int
    first_run: int | None
    pends: bool
    picky: bool
    three_500: bool

    @property
    def has_lanes(self) -> bool:
        """Whether the deliveries of one user go one after the other."""
        return bool(self.ordered)


class Faults(Struct, frozen=True, kw_only=True):
    """How often what goes wrong: shares of requests, and of commits; `weather` are spells of one platform."""

    refused: float
    lost: float
    late: float
    cut: float
    twice: float
    weather: tuple[str, ...]
    slow_disk: float
    full_disk: bool
    deaths: int
    death_share: float
    jumps: int
    orders: int

    @property
    def is_fair(self) -> bool:
        """Nothing goes wrong at all, and nobody gives orders."""
        rates = (self.refused, self.lost, self.late, self.cut, self.twice, self.slow_disk)
        return not any((*rates, *self.weather, self.full_disk, self.deaths, self.jumps, self.orders))


class Setting(Struct, frozen=True, kw_only=True):
    """All of it. `rows` are the sender's page sizes, `park` the seconds from which a wait is parked."""

    places: tuple[Place, ...]
    faults: Faults
    users: int
    loans: int
    span: float
    settle: float
    window: int
    rows: int
    bodies: int
    park: float
    first_retry: float
    longest_retry: float
    retry_for: float
    probe_after: float
    brakes: bool

    def deliver(self) -> DeliverSettings:
        """The same as the sender wants it."""
        return DeliverSettings(
            probe_after=timedelta(seconds=self.probe_after),
            first_retry=timedelta(seconds=self.first_retry),
            longest_retry=timedelta(seconds=self.longest_retry),
            retry_for=timedelta(seconds=self.retry_for),
            window=self.window,
            brakes=Brakes(rejected=0.8 if self.brakes else None, rejected_of=10, volume=None),
        )


WEATHER = ("storm", "throttle", "throttle_for", "locked", "garbage", "deaf", "refuses")


def chosen(chance: Random) -> Setting:
    """The setting of one seed."""
    accounts = chance.choice((["one", "two", "three"], ["one", "one", "two"]))
    rates = {name: (chance.choice((1, 2, 5, 50, 1_000)), chance.choice((1, 1, 3, 20))) for name in accounts}
    names = ("acme-a", "acme-b", "acme-c")[: chance.choice((1, 2, 2, 3))]
    places = tuple(
        _place(chance, name, account, *rates[account]) for name, account in zip(names, accounts, strict=False)
    )
    longest = chance.choice((10.0, 60.0, 120.0))
    return Setting(
        places=places,
        faults=_faults(chance),
        users=chance.choice((2, 3, 5, 8)),
        loans=chance.choice((1, 2, 3)),
        span=chance.choice((5.0, 60.0, 240.0)),
        settle=chance.choice((0.0, 0.0, 2.0)),
        window=chance.choice((4, 8, 1_000)),
        rows=chance.choice((2, 5, 2_000)),
        bodies=chance.choice((0, 4, 1_000)),
        park=chance.choice((1.0, 30.0)),
        first_retry=chance.choice((0.5, 2.0)),
        longest_retry=longest,
        retry_for=chance.choice((60.0, 1_800.0)),
        probe_after=chance.choice((5.0, 20.0)),
        brakes=chance.random() < 0.1,
    )


def _place(chance: Random, name: str, account: str, most: float, burst: float) -> Place:
    ordered = chance.choice(("", "", "send", "restamp", "skip", "skip"))
    holds = chance.random() < 0.5
    batch = chance.choice((1, 4, 4, 50))
    return Place(
        name=name,
        app=chance.choice((ANDROID, ANDROID, IOS)),
        account=account,
        most=most,
        burst=burst,
        batch=batch,
        by_user=batch > 1 and not ordered and chance.random() < 0.2,
        linger=chance.choice((0.0, 0.0, 0.5, 5.0)),
        ordered=ordered,
        rises=chance.choice((0.0, 1.0)),
        lane_wait=chance.choice((20.0, 120.0)),
        retry=None if holds else chance.choice((0, 1, 3)),
        hold=chance.choice((60.0, 1e6)) if holds else None,
        max_age=chance.choice((60.0, 600.0, 7_200.0, 7_200.0)),
        late=chance.choice(("skip", "skip", "send")),
        period=chance.choice((0, 0, 0, 60)),
        timeout=chance.choice((2.0, 10.0)),
        concurrency=chance.choice((1, 3, 32)),
        first_run=chance.choice((None, None, None, 3)),
        pends=chance.random() < 0.2,
        picky=chance.random() < 0.6,
        three_500=chance.random() < 0.2,
    )


def _faults(chance: Random) -> Faults:
    none = chance.random() < 0.08

    def share(most: float) -> float:
        return 0.0 if none or chance.random() < 0.5 else chance.uniform(0.0, most)

    weather = () if none else tuple(name for name in WEATHER if chance.random() < 0.3)
    deaths = 0 if none or chance.random() < 0.5 else chance.randint(1, 6)
    return Faults(
        refused=share(0.2),
        lost=share(0.15),
        late=share(0.1),
        cut=share(0.15),
        twice=share(0.1),
        weather=weather,
        slow_disk=share(0.1),
        full_disk=not none and chance.random() < 0.2,
        deaths=deaths,
        death_share=chance.choice((0.01, 0.05, 0.1)) if deaths else 0.0,
        jumps=0 if none or chance.random() < 0.8 else chance.randint(1, 2),
        orders=0 if none or chance.random() < 0.5 else chance.randint(1, 6),
    )


def unknown_of(place: Place) -> Unknown:
    """The destination's `on_unknown`."""
    return Unknown(retry=place.retry, hold=None if place.hold is None else timedelta(seconds=place.hold))
