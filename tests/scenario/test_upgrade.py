"""This version runs on over the data of every released one: nothing is sent twice, nobody is forgotten."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.released.folders import VERSIONS, unpacked
from tests.released.make import configure
from tests.running import ENVIRONMENT, BackEnd, Ledger, Service, Stand, until


def verb(one: Service, *words: str) -> str:
    """A verb over the service's folder; what it printed."""
    found = subprocess.run(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_goes_on_over_the_data_of_an_earlier_version(version: str, tmp_path: Path) -> None:
    """u3 has had one loan: the next is a repeat loan. What a person paused waits until it is resumed."""
    stand = Stand(tmp_path / "sandbox")
    one = Service(tmp_path / "service", stand.address)
    try:
        configure(one)
        (one.folder / "incoming").mkdir()
        then = unpacked(version, one.data)
        assert "log.sqlite" in verb(one, "migrate", "--dry-run")
        verb(one, "migrate")
        one.start()
        loan = {"brand": "acme", "user_id": "u3", "type": "disbursed", "loan_id": "L3-2", "amount": "41003"}
        BackEnd(one).send([{**loan, "currency": "NGN", "occurred_at": datetime.now(UTC).isoformat()}])
        until(lambda: stand.ids("warehouse"), "the loan is told")
        waits = then["waiting"]["appsflyer-ng"]["waiting"] + 1
        until(lambda: one.status()["waiting"]["appsflyer-ng"].get("waiting") == waits, "the others wait")
        verb(one, "resume", "appsflyer-ng")
        one.idle()
        one.stop()

        assert list(stand.ids("warehouse").values()) == [1]
        assert list(stand.ids("appsflyer-ng").values()) == [1] * waits
        ledger = Ledger(one.data)
        planned = {
            conversion: n
            for (name, conversion, what, _), n in ledger.tally.items()
            if (name, what) == ("kept", "planned")
        }
        assert sum(planned.values()) == then["planned"]["kept"] + 1
        assert (planned["repeat_loan"], planned["first_loan"]) == (11, 21)
        assert all(ledger.balances(name) for name in ("appsflyer-ng", "kept", "warehouse"))
    finally:
        one.close()
        stand.close()
