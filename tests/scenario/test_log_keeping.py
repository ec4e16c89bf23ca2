"""Weeks of a lender through the real service with a bounded log, while the process that cuts it is killed."""

import http.client
import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.running import BackEnd, Service, Stand, call, drawn_seed, until

from lendsignal.clock import ReplayClock, to_us
from lendsignal.log import open_deliveries, open_log

DAYS, USERS_A_DAY, KILLS = 20, 10, 3
START = datetime.now(UTC).replace(hour=8, minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 4)

MORE = """
[service]
replay_clock = "clock"

[log]
every = "20ms"

[archive]
keep = false
"""


@contextmanager
def weeks(folder: Path) -> Iterator[tuple[Service, Stand, ReplayClock]]:
    """The service on a clock that the test sets, with one destination."""
    stand = Stand(folder / "sandbox")
    one = Service(folder / "service", stand.address)
    file = one.folder / "lendsignal.toml"
    text = file.read_text()
    # The webhook's signatures are of the platform's own time, which goes on.
    without = text[: text.index("[destination.warehouse]")] + text[text.index("[[route]]") :]
    file.write_text(without[: without.rindex("[[route]]")] + MORE)
    clock = ReplayClock(one.folder / "clock")
    clock.set_us(to_us(START))
    try:
        yield one.start(), stand, clock
    finally:
        one.close()
        stand.close()


def of_day(day: int, number: int, at: datetime) -> list[dict[str, Any]]:
    """A user logs in and gets a loan."""
    user = f"u{day}-{number}"
    common = {"brand": "acme", "user_id": user, "occurred_at": at.isoformat()}
    ids = {"appsflyer_id": f"{1_700_000_000_000 + day}-{1_000_000 + number}", "os_version": "13"}
    money = {"loan_id": f"L-{user}", "amount": "25000", "fee": "1500", "currency": "NGN"}
    return [
        {**common, "event_id": f"l-{user}", "type": "logged_in", "app": "acme-ng", "device": ids},
        {**common, "event_id": f"d-{user}", "type": "disbursed", **money},
    ]


def test_weeks_with_a_bounded_log_lose_and_double_nothing_whoever_is_killed(tmp_path: Path) -> None:
    chance = random.Random(drawn_seed())
    kills = set(chance.sample(range(14, DAYS), KILLS))
    repeated: list[dict[str, Any]] = []
    firsts: list[int] = []
    with weeks(tmp_path) as (one, stand, clock):
        back_end = BackEnd(one)
        for day in range(DAYS):
            now = START + timedelta(days=day)
            clock.set_us(to_us(now))
            if day in kills:
                one.kill("core")
            if day - 1 in kills:
                one.kill("send")  # nothing is on its way now
            events = [event for number in range(USERS_A_DAY) for event in of_day(day, number, now)]
            if day:
                earlier = max(0, day - chance.randrange(1, 20))
                sent = of_day(earlier, chance.randrange(USERS_A_DAY), START + timedelta(days=earlier))
                repeated.append(sent[1])
                events.append(sent[1])
            back_end.send(events)
            settled(one, clock)
            firsts.append(first_of(one.data))
        # Everything that came in before the last fortnight goes.
        oldest = to_us(START + timedelta(days=DAYS - 15))
        until(lambda: since_us(one.data) >= oldest, "what is old has gone")
        taken = stand.ids("appsflyer-ng")
        found = lookup(one, str(repeated[-1]["event_id"]))
        one.stop()
    with closing(open_deliveries(one.data / "deliveries.sqlite", read_only=True)) as store:
        accepted = sum(n for (_, _, what, _), n in store.tally().items() if what == "accepted")
    with closing(open_log(one.data / "log.sqlite", read_only=True)) as log:
        words = {name: n for (what, name), n in log.tally().items() if what == "verdict"}
        numbers = [fact.seq for fact in log.read(0, 10_000)]

    assert len(taken) == accepted == DAYS * USERS_A_DAY
    assert set(taken.values()) == {1}
    # Whoever was not acknowledged sent his events once more: these are repeats too.
    assert words["duplicate"] >= len(repeated)
    assert set(words) <= {"taken", "duplicate"}
    assert found[-1]["verdict"] == "duplicate"
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 2 * USERS_A_DAY
    assert firsts == sorted(firsts)


def settled(one: Service, clock: ReplayClock) -> None:
    """Returns when everything is decided and sent; time goes on meanwhile."""

    def state() -> bool:
        clock.set_us(clock.now_us() + 200_000)
        try:
            found = one.status()
        except (OSError, http.client.HTTPException, ValueError):
            return False
        stages = (sum(waiting.values()) for waiting in found["waiting"].values())
        return bool(found.get("idle")) and not sum(stages)

    until(state, "the service is idle")


def first_of(data: Path) -> int:
    with closing(open_log(data / "log.sqlite", read_only=True)) as log:
        return log.cutting.first()


def since_us(data: Path) -> int:
    with closing(open_log(data / "log.sqlite", read_only=True)) as log:
        since = log.cutting.since()
        return 0 if since is None else to_us(since)


def lookup(one: Service, event_id: str) -> list[dict[str, Any]]:
    """What the door tells of an event."""
    found: list[dict[str, Any]] = json.loads(call(one.address, "GET", f"/v1/events/{event_id}")[2])["events"]
    return found
