"""A copy is made under traffic, the machine is lost, and the copy goes on: nothing is lost or mixed up."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.running import ENVIRONMENT, BackEnd, Ledger, Service, borrowing, service, until


def verb(one: Service, *words: str, code: int = 0) -> str:
    """A verb over the service's folder; what it printed."""
    found = subprocess.run(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout + found.stderr


def test_a_copy_under_traffic_goes_on_after_the_machine_is_lost(tmp_path: Path) -> None:
    """Sources send again what the copy lacks; every conversion has one id before and after."""
    with service(tmp_path) as (one, stand):
        back_end, ended, users = BackEnd(one), threading.Event(), 0

        def borrow() -> None:
            nonlocal users
            while not ended.wait(0.05) and users < 400:
                users += 1
                back_end.send(borrowing(users))

        sending = threading.Thread(target=borrow)
        sending.start()
        try:
            until(lambda: users > 15, "events come")
            assert "is whole" in verb(one, "backup", "copy") + verb(one, "restore", "copy", "--dry-run")
        finally:
            ended.set()
            sending.join()
        one.idle()
        assert "another lendsignal process" in verb(one, "restore", "copy", "--replace", code=1)

        for role in ("core", "send", "web"):  # the machine is gone, and its disk
            one.kill(role)
        assert one.process is not None
        os.kill(one.process.pid, signal.SIGKILL)
        one.process.wait()
        until(lambda: not any(one.pid(role) for role in ("core", "send", "web")), "everybody is gone")
        before = stand.ids("warehouse")
        shutil.rmtree(one.data)

        verb(one, "restore", "copy")
        one.start()
        copied = one.status()["events"]
        again = BackEnd(one)
        again.send([event for n in range(1, users + 1) for event in borrowing(n)])
        one.idle()
        one.stop()

        ledger = Ledger(one.data)
        after = stand.ids("warehouse")
        assert copied > 0
        assert len(set(ledger.events)) == 2 * users
        # Nothing has another id than before, nothing is missing; what the copy did not know went out again.
        assert set(after) == set(before) == set(ledger.planned["warehouse"])
        assert len(after) == 2 * users
        assert all(ledger.balances(name) for name in ("warehouse", "appsflyer-ng"))
