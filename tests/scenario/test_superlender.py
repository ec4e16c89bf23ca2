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


def test_a_plan_shows_what_the_first_installation_would_have_had_as_the_judge_counts_it(
    folder: Path, found: dict[str, Any]
) -> None:
    """The webhooks carry every disbursement: the share that is moved is the one of the answer file."""
    secrets = dict.fromkeys(("KEY", "APPSFLYER", "FIREBASE", "META"), "made-up-secret-of-the-example")
    secrets["WEBHOOK"] = WEBHOOK_SECRET
    command = [sys.executable, "-m", "lendsignal", "plan", "--json", "--days", "5000", "--history"]
    command += ["--binding", "first_install", "--config", str(folder / "lendsignal.toml")]
    done = subprocess.run(
        command,
        env={**os.environ, **{f"SUPERLENDER_{name}": value for name, value in secrets.items()}},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 3, done.stderr[-2000:]
    plan = json.loads(done.stdout)
    moved = sum(
        one["deliveries"]
        for one in plan["changes"]
        if one["conversion"] == "disbursement"
        and one["destination"].startswith("ledger")
        and one["change"] == "moved"
    )

    assert {one["change"] for one in plan["changes"]} == {"moved"}
    # Late logins (some 0.5 % of the answers) move what had not left by then; the answer file knows them all.
    assert moved / found["counts"]["loans"] == pytest.approx(found["moved"]["disbursed"], abs=0.005)
