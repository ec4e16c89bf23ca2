"""A running service whose tiers are cut from the command line, and a conversion of the lender's own."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.running import ENVIRONMENT, BackEnd, Service, service

from lendsignal.cli import main
from lendsignal.log import DataFolder, open_log
from lendsignal.plan import Planned

ROUTES = """\
[[route]]
to    = "warehouse"
send  = { disbursement = "ev_ln", credit_top20 = "ev_c2", credit_top50 = "ev_c5", large = "ev_g" }
value = { large = "own" }

[tiers]
basis    = ["score"]
shares   = [20, 50]
scope    = []
at_least = 100

[conversion.large]
when  = "event.type == 'disbursed' && event.amount >= 50000.0 && snapshot.os_version == '13'"
value = "event.amount * 0.04"
"""


def granted(number: int, score: float) -> list[dict[str, Any]]:
    """A user registers, is granted a credit and takes a loan of a hundred times the score."""
    user, now = f"u{number}", datetime.now(UTC).isoformat()
    ids = {"appsflyer_id": f"{1_700_000_000_000 + number}-{1_000_000 + number}", "os_version": "13"}
    common = {"brand": "acme", "user_id": user, "occurred_at": now}
    return [
        {**common, "event_id": f"r-{user}", "type": "registered", "app": "acme-ng", "device": ids},
        {
            **common,
            "event_id": f"g-{user}",
            "type": "credit_granted",
            "grant_id": f"G-{user}",
            "score": score,
        },
        {
            **common,
            "event_id": f"d-{user}",
            "type": "disbursed",
            "loan_id": f"L-{user}",
            "amount": str(score * 100),
            "currency": "NGN",
        },
    ]


def tiers(one: Service, *words: str) -> Any:
    config = str(one.folder / "lendsignal.toml")
    done = CliRunner(env=ENVIRONMENT).invoke(main, ["tiers", *words, "--json", "--config", config])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_cuts_made_beside_a_running_service_apply_from_then_on(tmp_path: Path) -> None:
    with service(tmp_path, start=False) as (one, stand):
        path = one.folder / "lendsignal.toml"
        text, _, _ = path.read_text().rpartition('[[route]]\nto   = "warehouse"')
        path.write_text(text + ROUTES)
        one.start()
        back_end = BackEnd(one)
        back_end.send([event for n in range(200) for event in granted(n, 400.0 + n)])
        one.idle()

        made = tiers(one, "recut")
        one.idle()
        back_end.send(
            [event for n, score in ((200, 580.0), (201, 520.0), (202, 499.0)) for event in granted(n, score)]
        )
        one.idle()
        shown = tiers(one, "show")

        log = open_log(DataFolder(one.data).log, read_only=True)
        planned = [record for _, record in log.records(0, 10_000) if isinstance(record, Planned)]
        log.close()
        accepted = stand.ids("warehouse")

    # Of scores from 400 to 599 the best 20 % begin at 560 and the best half at 500.
    assert made["changes"][0]["after"] == {"20": 560.0, "50": 500.0}
    assert shown["in_force"] == made["version"]
    cut = [(one.conversion.event_id, one.conversion.name, one.conversion.tier_version) for one in planned]
    assert [found for found in cut if "_top" in found[1]] == [
        ("g-u200", "credit_top50", made["version"]),
        ("g-u200", "credit_top20", made["version"]),
        ("g-u201", "credit_top50", made["version"]),
    ]
    large = {one.conversion.event_id: one for one in planned if one.conversion.name == "large"}
    # 500 × 100 and more: 100 of the first 200, and the two of 580 and 520.
    assert len(large) == 102
    (entry,) = large["d-u200"].entries
    assert entry.value is not None
    assert (float(entry.value.amount), entry.value.currency) == (2320.0, "NGN")
    sent = Counter(one.conversion.name for one in planned if one.conversion.id in accepted)
    assert sent == {"disbursement": 203, "large": 102, "credit_top50": 2, "credit_top20": 1}
