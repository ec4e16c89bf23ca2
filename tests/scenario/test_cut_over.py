"""A lender changes its sender: shadow, a switch at a stated minute, a roll back. Each loan is sent once.

The real service runs and is configured anew twice; the sandbox counts what it sent. The old sender writes
what it sends into a log of its own, and goes by the same minutes.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.running import ENVIRONMENT, BackEnd, Service, Stand, service

from lendsignal.cli import main
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.report.compare import ours_of

SWITCH, BACK, END = 20, 40, 60
"""Minutes: ours from the 20th on, the old sender's again from the 40th on."""


class Lender:
    """Loans by the minute after `began`: each of a user of his own, who logged in before."""

    def __init__(self, one: Service, stand: Stand) -> None:
        self.service, self.stand = one, stand
        self.began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=70)
        self.old_log: list[dict[str, Any]] = []

    def at(self, minute: float) -> datetime:
        return self.began + timedelta(minutes=minute)

    def lends(self, minutes: Iterable[float], old_sends: Sequence[range]) -> None:
        """The loans of these minutes reach us, and the old sender, which sends those of its own minutes."""
        for minute in minutes:
            user, ids = f"u{minute}", {"appsflyer_id": f"17000000000{minute:02}-10{minute:02}000"}
            common = {"brand": "acme", "user_id": user}
            BackEnd(self.service).send(
                [
                    {
                        **common,
                        "type": "registered",
                        "occurred_at": self.at(minute - 1).isoformat(),
                        "app": "acme-ng",
                        "device": ids,
                    },
                    {
                        **common,
                        "type": "disbursed",
                        "occurred_at": self.at(minute).isoformat(),
                        "loan_id": f"L{minute}",
                        "amount": "25000",
                        "currency": "NGN",
                    },
                ]
            )
            if any(minute in mine for mine in old_sends):
                self.old_log.append(
                    {
                        "occurred_at": self.at(minute).isoformat(),
                        "event": "ev_ln",
                        "loan_id": f"L{minute}",
                        "appsflyer_id": ids["appsflyer_id"],
                    }
                )
        self.service.idle()

    def configured(self, route: str) -> None:
        """The service ends and starts again with these keys in its route to AppsFlyer."""
        if self.service.process is not None:
            assert self.service.stop() == 0
        path = self.service.folder / "lendsignal.toml"
        before, line, after = path.read_text().partition('send = { disbursement = "ev_ln" }\n')
        kept = after[after.index("\n[[route]]") :]
        path.write_text(f"{before}{line}{route}{kept}")
        self.service.start()

    def sent_by_us(self) -> Counter[str]:
        """How often the sandbox took each loan from us."""
        folder = DataFolder(self.service.data)
        with (
            closing(open_log(folder.log, read_only=True)) as log,
            closing(open_deliveries(folder.deliveries, read_only=True)) as store,
        ):
            ours = ours_of(log, store, "appsflyer-ng", None).ours
        loans = {one.id: one.loan_id for one in ours}
        return Counter({loans[name]: times for name, times in self.stand.ids("appsflyer-ng").items()})

    def sent_by_them(self) -> Counter[str]:
        return Counter(row["loan_id"] for row in self.old_log)

    def compared(self, log: Sequence[dict[str, Any]], code: int = 0) -> dict[str, Any]:
        """What `compare` counts, over the whole hour."""
        path = self.service.folder / "sent.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.old_log[0]))
            writer.writeheader()
            writer.writerows(log)
        words = ["--destination", "appsflyer-ng", "--with", str(path), "--json"]
        words += ["--from", self.at(0).isoformat(), "--to", self.at(END).isoformat()]
        settings = ["--config", str(self.service.folder / "lendsignal.toml")]
        done = CliRunner(env=ENVIRONMENT).invoke(main, ["compare", *words, *settings])
        assert done.exit_code == code, done.output
        (row,) = json.loads(done.stdout)["tables"]["conversions"]["rows"]
        return {name: n for name, n in row.items() if n and name not in ("conversion", "same_share")}

    def moments(self, **minutes: int) -> str:
        return "".join(
            f"{word} = {{ disbursement = {self.at(minute).isoformat()} }}\n"
            for word, minute in minutes.items()
        )


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Thirty-one loans in an hour, under three configurations one after the other."""
    with service(tmp_path_factory.mktemp("cut-over"), start=False) as (one, stand):
        lender = Lender(one, stand)
        before, until_switch, after_back = range(END), range(SWITCH), range(BACK, END)
        lender.configured('mode = "shadow"\n')
        lender.lends(range(0, 10, 2), [before])

        lender.configured('mode = "shadow"\n' + lender.moments(live_from=SWITCH))
        lender.lends(range(10, 30, 2), [until_switch])
        lender.lends([15], [until_switch])  # it comes in when we are live, and happened before

        lender.configured('mode = "shadow"\n' + lender.moments(live_from=SWITCH, live_until=BACK))
        lender.lends(range(30, 60, 2), [until_switch, after_back])
        assert one.stop() == 0
        one.start()
        yield lender


def test_every_loan_is_sent_exactly_once_by_one_of_the_two(lender: Lender) -> None:
    ours, theirs = lender.sent_by_us(), lender.sent_by_them()
    loans = [f"L{minute}" for minute in (*range(0, 60, 2), 15)]

    assert ours == Counter({f"L{minute}": 1 for minute in range(SWITCH, BACK, 2)})
    assert ours + theirs == Counter(loans)


def test_the_comparison_of_the_hour_finds_no_gap_and_no_double(lender: Lender) -> None:
    assert lender.compared(lender.old_log) == {"ours": 31, "theirs": 21, "same": 21, "ours_alone": 10}


def test_an_old_sender_that_missed_its_minute_is_found_out(lender: Lender) -> None:
    row = lender.old_log[0]
    too_long = {**row, "occurred_at": lender.at(SWITCH).isoformat(), "loan_id": f"L{SWITCH}"}
    too_early = [row for row in lender.old_log if row["loan_id"] != "L18"]

    assert lender.compared([*lender.old_log, too_long], code=3)["sent_by_both"] == 1
    assert lender.compared(too_early, code=3)["missing_there"] == 1


def test_what_is_in_shadow_is_accounted_for_and_reaches_nobody(lender: Lender, tmp_path: Path) -> None:
    settings = ["--config", str(lender.service.folder / "lendsignal.toml")]
    done = CliRunner(env=ENVIRONMENT).invoke(main, ["report", "delivery", "--json", *settings])
    report = json.loads(done.stdout)
    (row,) = [
        one
        for one in report["tables"]["conversions"]["rows"]
        if (one["destination"], one["conversion"]) == ("appsflyer-ng", "disbursement")
    ]

    assert report["balanced"]
    assert (row["planned"], row["accepted"], row["skipped"]) == (31, 10, 21)
