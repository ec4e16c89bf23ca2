"""What an event costs as the store grows: sampled all along, while one data folder is filled."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from lendsignal.bench.machine import Machine, machine
from lendsignal.bench.made_up import life, requests
from lendsignal.bench.measure import CONNECTIONS_BATCH
from lendsignal.bench.service import EVERY_ROLE, Service, send_all, serving, until
from lendsignal.errors import LendsignalError

CHUNK = 25_000
"""Events between two samples: some seconds of work."""

SAMPLES_A_STEP = 5
"""A step's cost is the median of so many samples, the last ones before it."""


class Sample(Struct, frozen=True, kw_only=True):
    """The cost of the events between two moments of the fill, and how much was there at the end of it.

    `per_s` counts from the first request of the chunk until its last delivery is recorded.
    """

    events: int
    users: int
    per_s: float
    cpu_us: Mapping[str, float]
    rss_mib: Mapping[str, float]
    disk_mib: float

    @property
    def core_and_send_us(self) -> float:
        """Processor time of door, deciding and sending for one event."""
        return self.cpu_us["core"] + self.cpu_us["send"]


class Step(Struct, frozen=True, kw_only=True):
    """The cost around a size of the store: medians over the last samples before it."""

    events: int
    users: int
    per_s: float
    core_us: float
    send_us: float


class Growth(Struct, frozen=True, kw_only=True):
    """A whole fill. `cost_ratio` is the cost at the last step divided by that at the first: 1 is flat."""

    events: int
    users: int
    deliveries: int
    steps: Sequence[Step]
    cost_ratio: float
    samples: Sequence[Sample]
    machine: Machine


def grow(events: int, users: int, tell: Callable[[str], None], *, chunk: int = CHUNK) -> Growth:
    """Fills one data folder with so many events of so many users, every loan with two deliveries.

    A tenth of the events (with ten events a user) are logins of new users; the loans belong to users
    scattered over all who came before, so that states are read from everywhere in the store. Each chunk
    starts when the one before is decided, sent and recorded. Raises `LendsignalError` for sizes that
    cannot be sampled.
    """
    each = events // users if users else 0
    if each < 2 or events < 2 * chunk:
        raise LendsignalError(f"growth needs at least two events a user and {2 * chunk} events in all")
    before = machine()
    samples: list[Sample] = []
    with serving(EVERY_ROLE) as (service, _):
        for start in range(0, events, chunk):
            numbers = range(start, min(start + chunk, events))
            samples.append(_sample(service, numbers, each))
            if len(samples) % 10 == 0 or numbers.stop == events:
                last = samples[-1]
                tell(
                    f"{last.events:,} events: {last.per_s:,.0f} events/s,"
                    f" {last.core_and_send_us:.0f} µs an event"
                )
        until(service.idle, "everything to be recorded")
    steps = steps_of(samples)
    return Growth(
        events=events,
        users=samples[-1].users,
        deliveries=2,
        steps=steps,
        cost_ratio=(steps[-1].core_us + steps[-1].send_us) / (steps[0].core_us + steps[0].send_us),
        samples=samples,
        machine=before,
    )


def _sample(service: Service, numbers: range, events_per_user: int) -> Sample:
    bodies = requests(life(numbers, events_per_user), 100)
    cost = service.cost()
    took = send_all(service.url, service.key, bodies, CONNECTIONS_BATCH)
    took += until(lambda: service.decided(numbers.stop) and service.idle(), "a chunk to be sent and recorded")
    after = service.cost()
    return Sample(
        events=numbers.stop,
        users=(numbers.stop - 1) // events_per_user + 1,
        per_s=len(numbers) / took,
        cpu_us={
            role: (after.seconds[role] - seconds) / len(numbers) * 1e6
            for role, seconds in cost.seconds.items()
        },
        rss_mib=service.rss_mib(peak=False),
        disk_mib=service.bytes() / 1024**2,
    )


def steps_of(samples: Sequence[Sample]) -> list[Step]:
    """Sizes that double and the last one, each with the median cost of the samples just before it.

    The first sample is left out: connections, caches and tables are made in it.
    """
    wanted = [samples[-1].events]
    while wanted[-1] // 2 >= samples[0].events * 3:
        wanted.append(wanted[-1] // 2)
    return [_step(samples, size) for size in reversed(wanted)]


def _step(samples: Sequence[Sample], size: int) -> Step:
    until_there = [one for one in samples[1:] if one.events <= size] or [samples[1]]
    last = until_there[-SAMPLES_A_STEP:]
    return Step(
        events=last[-1].events,
        users=last[-1].users,
        per_s=statistics.median(one.per_s for one in last),
        core_us=statistics.median(one.cpu_us["core"] for one in last),
        send_us=statistics.median(one.cpu_us["send"] for one in last),
    )
