"""What the plan is told of destinations that let us correct what they have."""

from pathlib import Path

import pytest
from tests import every_kind

from lendsignal.config import load
from lendsignal.plan import compile_policy


def test_the_plan_knows_what_each_destination_lets_us_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in every_kind.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "lendsignal.toml"
    path.write_text(every_kind.configuration("http://127.0.0.1:8900"))

    policy = compile_policy(load(path).policy)

    # Google Ads documents RETRACTION and RESTATEMENT, the Data Manager a restatement alone; nobody else any.
    assert {name: one.corrects for name, one in policy.corrects.items()} == {
        "google_ads": "everything",
        "google_data_manager": "value",
    }
