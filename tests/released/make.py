"""Makes the data folder that `tests/data/released/VERSION.tar.xz` keeps: `python -m tests.released.make`.

Run it once for each release, with the code of that release, and keep what it made for ever. A made-up
lender's users register, log in, borrow, repay and change phones; a platform takes and refuses; people give
orders, make keys and come in. What was true of the folder then is written into it as `known.json`.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
from tests.running import ENVIRONMENT, BackEnd, Ledger, Service, Stand, call, until

from lendsignal import __version__
from lendsignal.log import DataFolder, Offer, open_audiences, open_shelf
from lendsignal.log.people import open_people
from lendsignal.log.proposals import open_proposals
from lendsignal.model.member import MemberRole

KEPT = Path(__file__).parents[1] / "data" / "released"
USERS = 60
LEFT_OUT = (".lock", ".metrics", ".pulse", ".address", ".readers")

MORE = """
[feed.appsflyer]
kind = "appsflyer"
app  = "acme-ng"

[pull.daily]
kind   = "files"
folder = "incoming"
match  = "*.jsonl"
settle = "0s"

[destination.kept]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = { env = "ACME_HOOK" }

[[route]]
to   = "kept"
send = { first_loan = "ev_fl", repeat_loan = "ev_rl", repayment = "ev_rp" }
"""
"""What the configuration of `tests.running` lacks."""

INSTALLS = """\
AppsFlyer ID,Event Time,Install Time,Media Source,Campaign,Campaign ID,App ID,Event Name
1700000000001-1000001,2026-11-01 08:00:00,2026-11-01 08:00:00,facebook,spring,c1,com.acme.loans,install
1700000000002-1000002,2026-11-02 09:30:00,2026-11-02 09:30:00,googleadwords_int,fall,c2,com.acme.loans,install
"""


def events(begin: datetime) -> list[dict[str, Any]]:
    """What the users of one day did, one after the other."""
    found = []
    for n in range(1, USERS + 1):
        for kind, minutes, fields in life(n):
            when = (begin + timedelta(minutes=n + minutes)).isoformat()
            common = {"brand": "acme", "app": "acme-ng", "user_id": f"u{n}"}
            found.append({**common, "type": kind, "occurred_at": when, **fields})
    return found


def life(n: int) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """(type, minutes, fields) of a user's events: each third borrows and repays, each sixth once more."""
    phone = {"appsflyer_id": f"{1_700_000_000_000 + n}-{1_000_000 + n}", "os_version": "13", "model": f"M{n}"}
    loan = {"currency": "NGN", "fee": "1500", "term_days": 14}
    yield "registered", 0, {"device": phone}
    yield "applied", 1, {"application_id": f"A{n}"}
    if n % 3 == 0:
        granted = {"application_id": f"A{n}", "grant_id": f"G{n}", "score": n / 100, "limit": "50000"}
        yield "credit_granted", 2, granted
        yield "disbursed", 3, {"loan_id": f"L{n}-1", "amount": f"{20_000 + n}", "loan_number": 1, **loan}
        paid = {"payment_id": f"P{n}", "amount": f"{21_500 + n}", "currency": "NGN", "outstanding": "0"}
        yield "repaid", 30, {"loan_id": f"L{n}-1", "closes_loan": True, **paid}
    if n % 6 == 0:
        fresh = {**phone, "appsflyer_id": f"{1_800_000_000_000 + n}-{2_000_000 + n}", "model": f"N{n}"}
        yield "logged_in", 40, {"device": fresh}
        yield "disbursed", 41, {"loan_id": f"L{n}-2", "amount": f"{30_000 + n}", "loan_number": 2, **loan}


def made(folder: Path) -> dict[str, Any]:
    """Runs the service over `folder`/service; what is true of its data folder once it has ended."""
    begin = datetime.now(UTC) - timedelta(hours=20)
    stand = Stand(folder / "sandbox")
    one = Service(folder / "service", stand.address)
    try:
        configure(one)
        incoming = one.folder / "incoming"
        incoming.mkdir()
        row = {
            "type": "overdue",
            "brand": "acme",
            "user_id": "u3",
            "loan_id": "L3-1",
            "dpd": 3,
            "occurred_at": (begin + timedelta(hours=2)).isoformat(),
        }
        (incoming / "a.jsonl").write_text(json.dumps(row) + "\n")
        (one.folder / "installs.csv").write_text(INSTALLS)
        one.start()
        _verb(one, "import", "attribution", "installs.csv", "--feed", "appsflyer")
        whole = events(begin)
        BackEnd(one).send(whole[: len(whole) // 2])
        one.idle()
        stand.faults({"kind": "status", "status": 400, "host": "hooks.acme.example", "times": 2})
        BackEnd(one).send(whole[len(whole) // 2 :])
        one.idle()
        refused = {"type": "disbursed", "brand": "acme", "user_id": "u1", "occurred_at": begin.isoformat()}
        call(one.address, "POST", "/v1/events", json.dumps([refused]).encode())
        _verb(one, "pause", "appsflyer-ng", "--reason", "kept for the next version")
        _verb(one, "keys", "new", "backend")
        waiting = [
            {
                "type": "disbursed",
                "brand": "acme",
                "user_id": "u2",
                "loan_id": "L2-1",
                "amount": "40002",
                "currency": "NGN",
                "loan_number": 1,
                "occurred_at": (begin + timedelta(hours=3)).isoformat(),
            }
        ]
        BackEnd(one).send(waiting)
        until(lambda: one.status()["waiting"].get("appsflyer-ng", {}).get("waiting"), "one waits")
        until(lambda: one.status()["events"] >= len(whole) + 2, "the pull has read")
    finally:
        one.close()
        stand.close()
    _verb(one, "archive", "write")
    _by_hand(DataFolder(one.data))
    return known(one.data)


def configure(one: Service) -> None:
    """The configuration under which these folders are made."""
    path = one.folder / "lendsignal.toml"
    fewer = path.read_text().replace(
        'send = { disbursement = "ev_ln", registration = "ev_r" }', 'send = { registration = "ev_r" }'
    )
    path.write_text(fewer + MORE)


def _by_hand(folder: DataFolder) -> None:
    """Rows of the files that this service has no work for."""
    with closing(open_shelf(folder.relay)) as shelf:
        offer = Offer(
            destination="app",
            delivery=65,
            address="a" * 32,
            conversion="c" * 32,
            item=b"{}",
            expires_us=2_000_000_000_000_000,
        )
        shelf.place([offer], 1_700_000_000_000_000)
    with closing(open_people(folder.people)) as people:
        code = people.invite(MemberRole.ADMIN, 1_700_000_000_000_000, by="the terminal")
        people.welcome(code, "made-up", "a made-up password of length", 1_700_000_001_000_000)
    open_proposals(folder.proposals).close()
    open_audiences(folder.audiences).close()


def known(data: Path) -> dict[str, Any]:
    """What is true of a data folder: counts that any later version must find in it as well."""
    ledger = Ledger(data)
    return {
        "version": __version__,
        "events": len(ledger.events),
        "verdicts": ledger.verdicts,
        "planned": {name: len(ids) for name, ids in sorted(ledger.planned.items())},
        "accepted": {name: len(ids) for name, ids in sorted(ledger.accepted.items())},
        "waiting": ledger.waiting,
        "rows": {path.name: rows(path) for path in DataFolder(data).databases()},
    }


def rows(path: Path) -> Mapping[str, int]:
    """How many rows each table of a database has."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        found = db.execute("select name from sqlite_master where type = 'table'").fetchall()
        names = sorted(str(name) for (name,) in found)
        return {name: int(db.execute(f'select count(*) from "{name}"').get) for name in names}


def _verb(one: Service, *words: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr + found.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = made(folder)
        data = folder / "service" / "data"
        (data / "known.json").write_text(json.dumps(found, indent=1, sort_keys=True))
        KEPT.mkdir(parents=True, exist_ok=True)
        to = KEPT / f"{__version__}.tar.xz"
        with tarfile.open(to, "w:xz") as packed:
            for path in sorted(data.rglob("*")):
                if path.is_file() and path.suffix not in LEFT_OUT and not path.name.endswith("-shm"):
                    packed.add(path, path.relative_to(data).as_posix())
        print(f"{to.name}: {to.stat().st_size:,} bytes, {found['events']} events")


if __name__ == "__main__":
    main()
