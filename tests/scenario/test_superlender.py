"""The main job on real loans: the judge, who shares no code with us, must agree with every binding."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.running import WEBHOOK_SECRET

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared"))
DATA, TOOL = SHARED / "data" / "superlender", SHARED / "tools" / "superlender_world.py"
CUSTOMERS = 300

pytestmark = pytest.mark.skipif(
    not (DATA.is_dir() and TOOL.is_file()),
    reason=f"NOT RUN: no loans and no judge at {SHARED}; LENDSIGNAL_SHARED can name their folder",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lender is played, and what is left of it."""
    return tmp_path_factory.mktemp("superlender")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "examples" / "superlender" / "run.py"), "--json"]
    command += ["--data", str(DATA), "--world-tool", str(TOOL), "--customers", str(CUSTOMERS)]
    command += ["--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_device_is_the_judges_under_both_bindings(found: dict[str, Any]) -> None:
    assert found["agreement"] == {"last_login": 1.0, "first_install": 1.0}
    assert found["judged"] > 5 * CUSTOMERS
    assert 0 < found["late_touch"] < found["judged"] / 20


def test_the_books_balance_and_the_sandboxes_hold_what_was_accepted(found: dict[str, Any]) -> None:
    assert found["balanced"]
    assert found["received_equals_accepted"]
    assert found["received"] == found["accepted"]
    assert found["accepted_share"] >= 0.95


def test_the_binding_report_is_the_judges_truth(found: dict[str, Any]) -> None:
    assert found["bindings_report_equals_truth"]
    assert found["moved"]["disbursed"] > 0.05


def test_firsts_and_repeats_add_up_to_the_loans(found: dict[str, Any]) -> None:
    counts = found["counts"]

    assert counts["customers"] == CUSTOMERS
    assert counts["registered"] == CUSTOMERS
    assert counts["first_loans"] + counts["repeat_loans"] == counts["loans"]
    # A customer whose loans do not start at number 1 has no first loan.
    assert counts["first_loans"] <= CUSTOMERS


def asked(folder: Path, *words: str, ends: int = 0) -> dict[str, Any]:
    """What a verb answers over the lender that was played."""
    secrets = dict.fromkeys(("KEY", "APPSFLYER", "FIREBASE", "META"), "made-up-secret-of-the-example")
    secrets["WEBHOOK"] = WEBHOOK_SECRET
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal", *words, "--json", "--config", str(folder / "lendsignal.toml")],
        env={**os.environ, **{f"SUPERLENDER_{name}": value for name, value in secrets.items()}},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ends, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_plan_shows_what_the_first_installation_would_have_had_as_the_judge_counts_it(
    folder: Path, found: dict[str, Any]
) -> None:
    """The ledgers get every disbursement. The judge knows every login; a plan, like the sender, only those
    that had come by then: they part by no more loans than a late login misled."""
    plan = asked(folder, "plan", "--days", "5000", "--history", "--binding", "first_install", ends=3)
    moved = sum(
        one["deliveries"]
        for one in plan["changes"]
        if one["conversion"] == "disbursement" and one["destination"].startswith("ledger")
    )
    rows = asked(folder, "report", "bindings")["tables"]["moved"]["rows"]
    (row,) = [one for one in rows if one["event"] == "disbursed"]

    assert {one["change"] for one in plan["changes"]} == {"moved"}
    assert round(row["moved_share"], 5) == found["moved"]["disbursed"], "the row is the judge's"
    assert abs(row["moved"] - moved) <= row["misled"]
