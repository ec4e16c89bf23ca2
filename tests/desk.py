"""A lender's data folder with the real log, the real decisions and the real sender, one turn at a time."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

from msgspec import Struct
from tests.acme import ANDROID, APPS, loan, login, source, target, us
from tests.scripted import PATIENCE, Act, says

from lendsignal.clock import Clock
from lendsignal.decide import Decider
from lendsignal.deliver import DeliverSettings, DestinationSettings, Outlet
from lendsignal.deliver.sender import Sender
from lendsignal.destination import registry
from lendsignal.destination.spec import (
    Bearer,
    Destination,
    Item,
    Request,
    Response,
    Spec,
    body_json,
    by_status,
    hosts_of,
)
from lendsignal.log import DataFolder, Deliveries, Open, Receipt, Stage, open_deliveries, open_log
from lendsignal.model import (
    Accepted,
    App,
    Delivery,
    Event,
    IdKind,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Secret,
    Skip,
    SkipReason,
    Split,
    id_of,
)
from lendsignal.plan import Target
from lendsignal.resolve import ResolveSettings

TOKEN = "sesame-token-4c1f"
"""The secret of every made-up destination, as its environment variable would hold it."""

WHATS = ("planned", "accepted", "dead", "skipped", "cancelled")
MINUTE = 60_000_000


class Hand:
    """A clock that a test moves; not a replay."""

    replay = False

    def __init__(self, minutes: float) -> None:
        self.us = us(minutes)

    def now_us(self) -> int:
        return self.us

    def steady(self) -> float:
        return time.monotonic() + self.us / 1e6

    def ahead(self, minutes: float) -> None:
        self.us += round(minutes * MINUTE)


# a platform whose answers say the outcome in plain words


class AcmeSettings(Struct, frozen=True, kw_only=True):
    """What a lender writes for Acme Ads."""

    token: Secret = Secret(env="ACME_TOKEN")


ACME = Spec(
    name="acme",
    label="Acme Ads",
    docs="https://acme.example/docs",
    docs_read="2026-11-22",
    hosts=("api.acme.example",),
    auth=Bearer("token"),
    any_of_ids=(IdKind.APPSFLYER_ID,),
    max_age=timedelta(days=2),
    per_second=10_000,
    batch=4,
    tries_on={"http_500": 3},
)


def encode(delivery: Delivery, settings: AcmeSettings) -> Item | Skip:
    """One conversion as Acme's event object."""
    if delivery.user_id == "unknown":
        return Skip(SkipReason.NO_DEVICE_ID)
    if delivery.user_id == "poison":
        raise ValueError("our own mistake")
    return {
        "id": delivery.id,
        "name": delivery.name,
        "user": delivery.user_id,
        "device": id_of(delivery.device, IdKind.APPSFLYER_ID),
    }


def request(items: Sequence[Item], settings: AcmeSettings) -> Request:
    """Up to `SPEC.batch` events in one POST."""
    return Request(method="POST", url="https://api.acme.example/v1/events", json={"events": list(items)})


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the words in `verdicts`, one for each row or one for all; without them by status."""
    body = body_json(response)
    words = body.get("verdicts") if isinstance(body, dict) else None
    if words is None:
        return [by_status(response)] * count
    return [_outcome(word) for word in (words * count if len(words) == 1 else words)]


def _outcome(word: str) -> Outcome:
    kind, _, reason = word.partition(":")
    match kind:
        case "accepted":
            return Accepted()
        case "unconfirmed":
            return Accepted(confirmed=False)
        case "retry":
            return Retry(reason)
        case "throttled":
            return Retry("throttled", after=timedelta(seconds=int(reason)) if reason else None, counts=False)
        case "rejected":
            return Rejected(reason)
        case "paused":
            return Paused(reason)
        case "split":
            return Split(reason)
        case "pending":
            return Pending(reason)
        case _:
            raise ValueError(word)


def acme(
    name: str = "acme-ng",
    *,
    app: App = ANDROID,
    facts: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    token: str = "ACME_TOKEN",
    **common: Any,
) -> Outlet:
    """A destination at Acme: our settings for it, with some of its facts or parts of its file changed."""
    known = {field: getattr(ACME, field) for field in Spec.__struct_fields__}
    spec = Spec(**{**known, **(facts or {})})
    file = SimpleNamespace(
        **{
            "Settings": AcmeSettings,
            "SPEC": spec,
            "problem_with_name": lambda name: None,
            "encode": encode,
            "request": request,
            "classify": classify,
            **(parts or {}),
        }
    )
    return Outlet(
        name=name,
        module=cast(Destination, file),
        common=DestinationSettings(**{"kind": "acme", "app": app.name, **common}),
        own=AcmeSettings(token=Secret(env=token)),
        app=app,
        hosts=spec.hosts,
    )


def acme_at(url: str, name: str, *, facts: Mapping[str, Any] | None = None, **common: Any) -> Outlet:
    """A destination at Acme that is reached at an address of its own, without a sandbox."""

    def there(items: Sequence[Item], settings: AcmeSettings) -> Request:
        return Request(method="POST", url=f"{url}/v1/events", json={"events": list(items)})

    here = {"hosts": ("127.0.0.1",), **(facts or {})}
    return acme(name, facts=here, parts={"request": there}, **common)


def real(
    name: str, kind: str, *, app: App = ANDROID, common: Mapping[str, Any] | None = None, **own: Any
) -> Outlet:
    """A destination of a platform that there is."""
    found = registry()[kind]
    settings = found.Settings(**own)
    return Outlet(
        name=name,
        module=found,
        common=DestinationSettings(kind=kind, app=app.name, **(common or {})),
        own=settings,
        app=app,
        hosts=hosts_of(found.SPEC, settings),
    )


def planned_for(outlet: Outlet) -> Target:
    """A destination as planning sees it."""
    corrections = outlet.spec.corrections
    corrects = "nothing" if corrections is None else "everything" if corrections.retracts else "value"
    return target(outlet.name, outlet.common.app, kind=outlet.common.kind, corrects=corrects)


def verdicts(*words: str) -> Act:
    """Acme's answer to a batch."""
    return says(200, json.dumps({"verdicts": words}).encode())


class Desk:
    """Tells events, lets the sender turn, and looks at what is stored."""

    def __init__(
        self,
        path: Path,
        *outlets: Outlet,
        sandbox: str | None = None,
        send: Sequence[str] = ("disbursement",),
        value: Mapping[str, Any] | None = None,
        settle: timedelta = timedelta(0),
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.folder = DataFolder(path)
        self.outlets = {one.name: one for one in outlets}
        self.settings = DeliverSettings(sandbox=sandbox, **settings)
        self.clock = cast(Hand, clock or Hand(0))
        self.log = open_log(self.folder.log)
        targets = {one.name: planned_for(one) for one in outlets}
        policy = source(
            targets=targets,
            send={name: f"ev_{name}" for name in send},
            value=value,
            resolve=ResolveSettings(settle=settle),
        )
        self.decider = Decider(self.log, policy, self.clock, lambda: None)
        self.decided()
        self.store: Deliveries = open_deliveries(self.folder.deliveries)
        self.sender = self.started()

    def started(self) -> Sender:
        """A sender over what is stored, as after a start."""
        steady = getattr(self.clock, "steady", time.monotonic)
        return Sender(self.log, self.store, self.outlets, APPS, self.settings, self.clock, steady=steady)

    def restart(self, *outlets: Outlet, killed: bool = True) -> Self:
        """The sender dies as by `kill -9`, or ends well, and another starts; with these destinations."""
        if not killed:
            self.sender.drain()
        self.sender.close()
        self.store.close()
        self.store = open_deliveries(self.folder.deliveries)
        if outlets:
            self.outlets = {one.name: one for one in outlets}
        self.sender = self.started()
        return self

    def close(self) -> None:
        self.sender.close()
        self.store.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def tell(self, *events: Event) -> Self:
        """Appends and decides events."""
        self.log.append(events)
        return self.decided()

    def decided(self) -> Self:
        while self.decider.turn():
            pass
        return self

    def turns(self, number: int = 3) -> Self:
        """So many turns of the sender's loop, waiting for nothing; what came of them is kept."""
        for _ in range(number):
            self.sender.turn(0.0)
        if self.sender.book.trouble is None:
            self.sender.book.commit()
        return self

    def until(self, true: Callable[[], Any]) -> Self:
        """Turns until something is so."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.sender.turn(0.02)
            if true():
                return self
        raise AssertionError(f"never so: {self.tally()} {self.open()}")

    def quiet(self) -> Self:
        """Turns until nothing is in flight and nothing is left to be done, or kept, at this moment."""
        busy, end = True, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            turned = self.sender.turn(0.02)
            busy = turned or self.sender.in_flight > 0 or bool(self.sender.book.changes)
            if not busy:
                break
        assert not busy
        return self.turns(2)

    # looking

    def open(self, destination: str = "acme-ng") -> list[Open]:
        """What is not finished, as another process reads it."""
        with closing(self.stored()) as store:
            found = [one for stage in Stage for one in store.open(destination, 0, 10_000, stage)]
        return sorted(found, key=lambda one: one.id)

    def stored(self) -> Deliveries:
        """The store, read only."""
        return open_deliveries(self.folder.deliveries, read_only=True)

    def receipts(self, delivery: int) -> list[Receipt]:
        """What came of each try of one delivery."""
        with closing(self.stored()) as store:
            return store.receipts(delivery)

    def all_receipts(self) -> list[Receipt]:
        """What came of every try, oldest first."""
        with closing(self.stored()) as store:
            return [one for _, pack in store.all_receipts() for one in pack]

    def tally(self, destination: str = "acme-ng") -> dict[str, int]:
        """Counts of one destination: `accepted`, and with its reason `accepted confirmed`."""
        found: dict[str, int] = {}
        with closing(self.stored()) as store:
            for (name, _, what, reason), n in store.tally().items():
                if name == destination:
                    found[what] = found.get(what, 0) + n
                    if reason:
                        found[f"{what} {reason}"] = found.get(f"{what} {reason}", 0) + n
        return found

    def balanced(self) -> bool:
        """Whether every destination's and conversion's planned deliveries are accounted for."""
        with closing(self.stored()) as store:
            tally = store.tally()
        books: dict[tuple[str, str], int] = {}
        for (name, conversion, what, _), n in tally.items():
            if what in WHATS:
                books[name, conversion] = books.get((name, conversion), 0) + (n if what == "planned" else -n)
        for name in {name for name, _ in books}:
            for one in self.open(name):
                record = self.log.record(one.id // 64)
                conversion = cast(Any, record).conversion.name
                books[name, conversion] = books.get((name, conversion), 0) - 1
        return not any(books.values())


def stage_on_disk(path: Path) -> list[tuple[int, int]]:
    """(stage, first try) of every open delivery, read by a stranger to our code."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("select stage, first_us from open order by id").fetchall()


def borrower(name: str = "u1", minutes: float = 0, **fields: Any) -> list[Event]:
    """A user logs in on a phone named like him and gets a loan: one `disbursement`."""
    return [
        login(minutes, name, user_id=name, event_id=f"in-{name}"),
        loan(minutes, f"L-{name}", user_id=name, event_id=f"out-{name}", **fields),
    ]


def borrowers(number: int, minutes: float = 0) -> list[Event]:
    """So many of them."""
    return [event for n in range(number) for event in borrower(f"u{n}", minutes)]
