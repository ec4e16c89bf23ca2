"""The short form of `make soak`: an hour and a bit of a lender, with every weather at once and two kills."""

import pytest
from tests.soak.course import short, soak
from tests.soak.figures import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run for all."""
    return soak(tmp_path_factory.mktemp("soak"), short(), print)


def test_nothing_is_lost_or_doubled_while_platforms_fail_and_roles_are_killed(run: Run) -> None:
    assert run.broken() == []
    assert run.events > 300
    assert run.planned - run.arrived <= run.held + run.lied
    assert dict(run.kills) == {"core": 1, "send": 1}


def test_platforms_failed_in_every_way(run: Run) -> None:
    assert {"status", "hang", "error_in_200", "close_after_accept", "lie"} <= run.faults.keys()
    assert run.faults["status"] > 20
    assert run.faults["error_in_200"] > 0


def test_every_role_was_watched_all_along(run: Run) -> None:
    assert len(run.samples) > 10
    assert all(set(one.pss_mib) == {"core", "send", "web"} for one in run.samples)
    assert run.samples[-1].cpu_s["send"] > run.samples[0].cpu_s["send"]
    assert run.samples[-1].files_mib["log.sqlite"] > run.samples[0].files_mib["log.sqlite"]
