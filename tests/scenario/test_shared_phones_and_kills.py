"""Deciding that is killed again and again: nobody is counted twice on a phone, and nobody forgotten."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from tests.acme import again, event, loan, login, phone, source, us

from lendsignal.decide import Decider
from lendsignal.log import Log, open_log
from lendsignal.model import Event, SkipReason
from lendsignal.plan import Planned
from lendsignal.resolve import ResolveSettings, Snapshot, phone_keys

DECIDES = """
import sys
from pathlib import Path
import msgspec
from lendsignal.clock import SystemClock
from lendsignal.decide import Decider, decider
from lendsignal.log import open_log
from lendsignal.plan import PolicySource

folder = Path(sys.argv[1])
decider.AT_ONCE = 3
policy = msgspec.json.decode((folder / "policy.json").read_bytes(), type=PolicySource)
one = Decider(open_log(folder / "log.sqlite"), policy, SystemClock(), lambda: None)
while one.turn():
    print(one.position, flush=True)
"""
POLICY = source(resolve=ResolveSettings(shared_device_users=3, shared_device="skip"))
USERS, PHONES, LOANS = 12, 3, 4
KILLS = 6


class Clock:
    """A clock that stands still."""

    replay = False

    def now_us(self) -> int:
        return us(0)


def story() -> list[Event]:
    """Every user comes by four times, each time on another of three phones, and takes a loan there."""
    found = []
    for visit in range(LOANS):
        for user in range(USERS):
            at = 100 * visit + 5 * user
            came = login(at, f"p{(user + visit) % PHONES}")
            lent = loan(at + 1, f"L{user}-{visit}", loan_number=visit + 1)
            found += [
                again(one, user_id=f"u{user}", event_id=f"{one.event_id}-{user}") for one in (came, lent)
            ]
    return [again(one, received_at=event("x", 1_000 + n).received_at) for n, one in enumerate(found)]


def killed_after(folder: Path, turns: int) -> bool:
    """Decides until so many batches are said to be kept, and is killed then; whether it came so far."""
    child = subprocess.Popen(
        [sys.executable, "-c", DECIDES, str(folder)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    said = [line for _, line in zip(range(turns), child.stdout, strict=False)]
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(30)
    child.stdout.close()
    return len(said) == turns


def decided(log: Log) -> Log:
    decider = Decider(log, POLICY, Clock(), lambda: None)
    while decider.turn():
        pass
    return log


def users_of(log: Log) -> dict[int, tuple[int, ...]]:
    keys = {key for n in range(PHONES) for key in phone_keys("acme", Snapshot("", phone(f"p{n}")))}
    return log.phones(keys, 1_000)


def test_a_decider_that_is_killed_skips_and_counts_as_one_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_bytes(msgspec.json.encode(POLICY))
    told = open_log(Path(":memory:"))
    killed = open_log(tmp_path / "log.sqlite")
    for log in (told, killed):
        Decider(log, POLICY, Clock(), lambda: None)
        log.append(story())
    killed.close()

    came_so_far = [killed_after(tmp_path, turns) for turns in range(1, KILLS + 1)]
    killed = decided(open_log(tmp_path / "log.sqlite"))

    assert all(came_so_far)
    assert killed.records(0, 10_000) == decided(told).records(0, 10_000)
    assert users_of(killed) == users_of(told)
    assert {len(users) for users in users_of(told).values()} == {USERS}
    skips = [
        entry.skip for _, one in told.records(0, 10_000) if isinstance(one, Planned) for entry in one.entries
    ]
    assert 0 < skips.count(SkipReason.SHARED_DEVICE) < len(skips)
    for log in (told, killed):
        log.close()
