"""Platforms that keep the truth: what they really received, whatever became of the answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from zlib import crc32

from msgspec import Struct
from tests.desk import ACME, TOKEN, AcmeSettings, classify
from tests.faults.setting import Place, unknown_of
from tests.faults.world import World

from lendsignal.clock import to_us
from lendsignal.deliver import DestinationSettings, Outlet
from lendsignal.destination.spec import Destination, Item, Request, Response, Spec
from lendsignal.model import Delivery, IdKind, Outcome, Skip, id_of

HOST = "api.acme.example"


class Answer(Struct, frozen=True):
    """What a platform says to a request, and in plain words what that means for each row."""

    response: Response
    words: Sequence[str]


class Verdict(Struct):
    """What a platform will say of a request that it answered with `pending`."""

    words: Sequence[str]
    ready_at: float


class Platform:
    """One platform's account. `counted` holds the requests by which each id was counted. A request that the
    network delivers twice is answered and counted the same way twice, which no sender can help."""

    def __init__(self, place: Place, world: World) -> None:
        self.place = place
        self.weather = "fair"
        self.counted: dict[str, set[int]] = {}
        self._world = world
        self._chance = world.chance(f"platform {place.name}")
        self._answers: dict[int, Answer] = {}
        self._tries: dict[str, int] = {}
        self._verdicts: dict[str, Verdict] = {}

    def takes(self, request: int, items: Sequence[Mapping[str, Any]]) -> Answer | None:
        """A request arrives; `None`: it is taken, and no answer is ever given."""
        if request not in self._answers:
            fair = self.weather in ("fair", "deaf")
            if self.weather == "garbage" and self._chance.random() < 0.5:
                self._fair(request, items)  # it counts them, and says so in words that nobody can read
            self._answers[request] = self._fair(request, items) if fair else self._foul(len(items))
        return None if self.weather == "deaf" else self._answers[request]

    def asked(self, handle: str, rows: int) -> Answer | None:
        """Somebody asks what became of a request."""
        if self.weather != "fair":
            return None if self.weather == "deaf" else self._foul(rows)
        verdict = self._verdicts[handle]
        if self._world.steady() < verdict.ready_at:
            return _words([f"pending:{handle}"], ["pending"] * rows)
        return _words(verdict.words, verdict.words)

    def _fair(self, request: int, items: Sequence[Mapping[str, Any]]) -> Answer:
        ids = [str(item["id"]) for item in items]
        if "split" in (fates := [self._fate(one) for one in ids]):
            return _words(["split:poisoned"], ["split:poisoned"] * len(ids))
        for one in ids:
            self._tries[one] = self._tries.get(one, 0) + 1
        final = [
            "retry:busy"
            if fate == "late" and self._tries[one] <= 2
            else "accepted"
            if fate == "late"
            else fate
            for one, fate in zip(ids, fates, strict=True)
        ]
        for one, word in zip(ids, final, strict=True):
            if word in ("accepted", "unconfirmed"):
                self.counted.setdefault(one, set()).add(request)
        if not self.place.pends:
            return _words(final, final)
        handle = f"h{request}x{len(self._verdicts)}"
        said = [word if word.startswith("rejected") else f"pending:{handle}" for word in final]
        later = [word for word in final if not word.startswith("rejected")]
        self._verdicts[handle] = Verdict(later, self._world.steady() + self._chance.uniform(0.0, 90.0))
        return _words(said, said)

    def _foul(self, rows: int) -> Answer:
        match self.weather:
            case "storm":
                status = self._chance.choice((500, 500, 502, 503))
                after = {"retry-after": "7"} if status == 503 else {}
                return _status(status, rows, f"retry:http_{status}", after)
            case "throttle":
                return _status(429, rows, "throttled:")
            case "throttle_for":
                seconds = self._chance.choice((1, 8, 30))
                return _status(429, rows, f"throttled:{seconds}", {"retry-after": str(seconds)})
            case "locked":
                return _status(401, rows, "paused:http_401")
            case "refuses":
                return _status(400, rows, "rejected:http_400")
            case _:
                body = self._chance.choice(("{", '{"verdicts": ["gibberish"]}', '{"verdicts": []}'))
                return Answer(Response(status=200, body=body.encode()), ["retry:unreadable_answer"] * rows)

    def _fate(self, conversion: str) -> str:
        """What this platform thinks of a conversion, the same at every try."""
        if not self.place.picky:
            return "accepted"
        number = crc32(f"{self._world.seed}{self.place.name}{conversion}".encode()) % 100
        marks = ((48, "accepted"), (55, "unconfirmed"), (80, "late"), (93, f"rejected:bad_{number}"))
        return next((word for below, word in marks if number < below), "split")


def _status(status: int, rows: int, word: str, headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal that repeats the token, as some platforms do."""
    body = f"who is {TOKEN}?".encode()
    return Answer(Response(status=status, body=body, headers=headers or {}), [word] * rows)


def _words(said: Sequence[str], words: Sequence[str]) -> Answer:
    body = json.dumps({"verdicts": said, "by": TOKEN}).encode()
    return Answer(Response(status=200, body=body), words)


# the destination's file, in the manner of the desk's


def outlet_of(place: Place) -> Outlet:
    """The destination that sends to this platform."""
    seconds: Callable[[float], timedelta] = lambda number: timedelta(seconds=number)  # noqa: E731
    facts = {
        **{field: getattr(ACME, field) for field in Spec.__struct_fields__},
        "batch": place.batch,
        "batch_by": "user" if place.by_user else None,
        "max_age": seconds(place.max_age),
        "late": place.late,
        "rises": seconds(place.rises),
        "tries_on": {"http_500": 3} if place.three_500 else {},
        "verdict_after": seconds(10),
    }
    parts: dict[str, Any] = {
        "Settings": AcmeSettings,
        "SPEC": Spec(**facts),
        "problem_with_name": lambda name: None,
        "encode": _encode,
        "request": _request_of(place.name),
        "classify": _classify,
    }
    if place.has_lanes:
        parts["lane"] = lambda delivery, settings: delivery.user_id
    if place.pends:
        parts["ask"] = _ask_of(place.name)
        parts["verdict"] = _classify
    common: dict[str, Any] = {"out_of_order": place.ordered} if place.has_lanes else {}
    return Outlet(
        name=place.name,
        module=cast(Destination, SimpleNamespace(**parts)),
        common=DestinationSettings(
            kind="acme",
            app=place.app.name,
            account=place.account,
            on_unknown=unknown_of(place),
            per_second=place.most,
            burst=place.burst,
            concurrency=place.concurrency,
            timeout=seconds(place.timeout),
            schedule=f"every {place.period // 60}m" if place.period else "realtime",
            linger=seconds(place.linger),
            lane_wait=seconds(place.lane_wait),
            first_run=place.first_run,
            **common,
        ),
        own=AcmeSettings(),
        app=place.app,
        hosts=(HOST,),
    )


def _encode(delivery: Delivery, settings: AcmeSettings) -> Item | Skip:
    return {
        "id": delivery.id,
        "user": delivery.user_id,
        "at": to_us(delivery.occurred_at),
        "device": id_of(delivery.device, IdKind.APPSFLYER_ID),
    }


def _request_of(name: str) -> Callable[[Sequence[Item], AcmeSettings], Request]:
    def request(items: Sequence[Item], settings: AcmeSettings) -> Request:
        return Request(method="POST", url=f"https://{HOST}/{name}/events", json={"events": list(items)})

    return request


def _ask_of(name: str) -> Callable[[str, AcmeSettings], Request]:
    def ask(handle: str, settings: AcmeSettings) -> Request:
        return Request(method="GET", url=f"https://{HOST}/{name}/verdicts/{handle}")

    return ask


def _classify(response: Response, count: int) -> Sequence[Outcome]:
    """As the desk's Acme; but a 200 without words cannot be read."""
    if response.status == 200 and b"verdicts" not in response.body:
        raise ValueError("no verdicts")
    return classify(response, count)
