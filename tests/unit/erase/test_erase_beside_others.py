"""Erasing beside those who work at the same time, and those who share a phone."""

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.forgotten import ENVIRONMENT, OTHER, SHARES, USER, Lender, device_of

from lendsignal.cli import main
from lendsignal.client.events import Made
from lendsignal.client.spool import Spool
from lendsignal.decide import Decider
from lendsignal.erase.asking import ask, subject_of
from lendsignal.erase.job import carried_on
from lendsignal.log import Decided, open_log
from lendsignal.plan import Planned
from lendsignal.report.explain import explain


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lender:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Lender(tmp_path)


def erase(lender: Lender, user: str) -> None:
    ask(lender.config, subject_of(lender.config, f"acme:{user}"), "tester", lender.clock)
    carried_on(lender.config, lender.clock)


def test_a_decider_that_had_the_user_in_memory_decides_anew_and_brings_nobody_back(lender: Lender) -> None:
    with closing(open_log(lender.folder.log)) as log:
        decider = Decider(log, lender.config.policy, lender.clock, lambda: None)
        events = lender.events(USER)
        decider.append(events[:2])
        while decider.turn():
            pass
        with lender.folder.lock("core"):  # this decider is the service's
            erase(lender, USER)

        decider.append([*events[2:], *lender.events(OTHER)])
        while decider.turn() or decider.position < log.end():
            pass

        assert log.state(f"acme:{USER}") is None
        state = log.state(f"acme:{OTHER}")
        assert state is not None
        assert len(state.ledger.loans) == 1
        assert log.tally()["verdict", "taken"] == 2 + 4
    lender_left = [name for name in lender.left(USER) if not name.startswith("erasures")]
    assert lender_left == []


def test_an_erasure_between_deciding_and_keeping_it_has_it_decided_anew(
    lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_log(lender.folder.log)) as log, lender.folder.lock("core"):
        decider = Decider(log, lender.config.policy, lender.clock, lambda: None)
        while decider.turn():
            pass
        log.append([*lender.events(USER), *lender.events(OTHER)])
        commit = log.commit
        erased: list[str] = []

        def after_an_erasure(decided: Decided) -> None:
            if not erased:
                erased.append(USER)
                erase(lender, USER)
            commit(decided)

        monkeypatch.setattr(log, "commit", after_an_erasure)
        while decider.turn() or decider.position < log.end():
            pass

        assert erased
        assert log.state(f"acme:{USER}") is None
        assert log.state(f"acme:{OTHER}") is not None
        assert [one for _, one in log.records(0, 1_000) if USER in str(one)] == []


def test_a_phone_that_went_with_its_user_is_new_when_somebody_else_shows_it(lender: Lender) -> None:
    with closing(open_log(lender.folder.log)) as log, lender.folder.lock("core"):
        decider = Decider(log, lender.config.policy, lender.clock, lambda: None)
        decider.append(lender.events(USER))
        while decider.turn():
            pass
        erase(lender, USER)
        decider.append(lender.events(SHARES, phone=USER))
        while decider.turn() or decider.position < log.end():
            pass
    with closing(open_log(lender.folder.log)) as fresh:
        state = fresh.state(f"acme:{SHARES}")
        assert state is not None
        assert state.touches.snapshots[0].device == device_of(USER)
        assert fresh.records(0, 1_000)


def test_no_number_of_an_installation_is_given_twice(lender: Lender) -> None:
    """A sender that has the old one in memory would send it as the new one's."""
    lender.tell(*lender.events(USER))
    with closing(open_log(lender.folder.log)) as reader:
        before = [one for _, one in reader.records(0, 100) if isinstance(one, Planned)]
        erase(lender, USER)
        lender.tell(*lender.events(OTHER))
        after = [one for _, one in reader.records(0, 100) if isinstance(one, Planned)]

    assert {one.conversion.user_id for one in before} == {USER}
    assert {one.conversion.user_id for one in after} == {OTHER}
    devices = {one.binding.snapshot.device for one in after if one.binding is not None}
    assert devices == {device_of(OTHER)}


def test_events_that_wait_to_be_decided_are_erased_too(lender: Lender) -> None:
    lender.tell(*lender.events(OTHER))
    with closing(open_log(lender.folder.log)) as log:
        log.append(lender.events(USER))
        with lender.folder.lock("core"):
            erase(lender, USER)
        decider = Decider(log, lender.config.policy, lender.clock, lambda: None)
        while decider.turn() or decider.position < log.end():
            pass

        assert log.state(f"acme:{USER}") is None
        assert [one for _, one in log.records(0, 1_000) if USER in str(one)] == []


def test_the_phone_of_two_users_stays_the_others_when_one_is_erased(lender: Lender) -> None:
    lender.tell(*lender.events(OTHER), *lender.events(SHARES, phone=OTHER))
    before = explain(lender.folder, f"acme:{SHARES}")
    erase(lender, OTHER)

    with closing(open_log(lender.folder.log)) as log:
        state = log.state(f"acme:{SHARES}")
        assert state is not None
        (snapshot,) = state.touches.snapshots
        assert snapshot.device == device_of(OTHER), "it is that user's phone as well"
        assert log.state(f"acme:{OTHER}") is None
        assert len(log.records(0, 1_000)) > 0
    assert explain(lender.folder, f"acme:{SHARES}") == before
    erase(lender, SHARES)
    left = [name for name in lender.left(SHARES) + lender.left(OTHER) if not name.startswith("erasures")]
    assert left == [], "with the last of them the phone goes"


def test_the_verb_counts_asks_erases_and_shows_the_receipt(lender: Lender) -> None:
    lender.tell(*lender.events(USER))

    def said(*words: str, code: int = 0, answer: str | None = None) -> str:
        done = CliRunner().invoke(main, ["erase", *words, "--config", str(lender.file)], input=answer)
        assert done.exit_code == code, done.output
        return done.output

    assert "4  events in the log" in said(USER, "--dry-run")
    assert '"events":4' in said(USER, "--dry-run", "--json")
    assert "nothing was changed" in said(USER, code=1, answer="n\n")
    assert "cannot ask" in said(USER, "--json", code=2)
    assert "nobody was ever erased" in said("--list")
    assert "erased" not in said("--receipt", "0123", code=1)
    told = said(USER, "--brand", "acme", "--yes")
    number = told.partition("erasure ")[2].partition(":")[0]
    assert "events made husks" in told
    assert number in said("--receipt", number)
    assert number in said("--list")
    assert "1 may come in again" in said(USER, "--allow-again")
    assert "are written anew" in said("--scrub")
    with lender.folder.lock("core"):
        assert "already does 'core'" in said("--scrub", code=1)


def test_a_spool_of_the_python_client_loses_the_user_and_keeps_the_others(
    lender: Lender, tmp_path: Path
) -> None:
    lender.tell(*lender.events(OTHER))
    path = tmp_path / "spool.sqlite"
    with closing(Spool(path, 100)) as spool:
        for user in (USER, OTHER):
            body = f'{{"type":"applied","brand":"acme","user_id":"{user}","application_id":"AP-{user}"}}'
            spool.put(Made(f"e-{user}", body.encode(), True))
    about = subject_of(lender.config, f"acme:{USER}", spools=[path])
    ask(lender.config, about, "tester", lender.clock)
    carried_on(lender.config, lender.clock)

    assert USER.encode() not in path.read_bytes()
    assert OTHER.encode() in path.read_bytes()
