"""How a log is cut: what goes, what stays whatever its age, and what of it is left to its readers."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, POLICY, event, loan, login, phone, told, us

from lendsignal.errors import DataError
from lendsignal.log import Decided, Log, open_log
from lendsignal.log import keeping as module
from lendsignal.log.keeping import Cut, Holder, LogSettings, cut_of, cutting, span_of, uncut
from lendsignal.log.sqlite import connect, rows
from lendsignal.model import Event
from lendsignal.plan import UserState, Verdict, decide, event_of, record_id


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with_log = open_log(tmp_path / "log.sqlite")
    yield with_log
    with_log.close()


def keep(log: Log, events: Sequence[Event]) -> None:
    """Appends events of one user, and what they come to."""
    first = log.append(events)
    for number, one in enumerate(events, first):
        made = decide(log.state("acme:u1") or UserState("acme:u1"), number, one, POLICY)
        log.commit(
            Decided(
                after=number - 1,
                position=number,
                states={"acme:u1": made.state},
                records=made.records,
                verdicts=[] if made.verdict is Verdict.TAKEN else [(number, made.verdict)],
                timers=[],
                tally={},
            )
        )


def stand(path: Path, table: str) -> list[int]:
    key = "id" if table == "part" else "seq"
    db = connect(path, "", read_only=True)
    found = [number for (number,) in rows(db, f"select {key} from {table} order by 1")]
    db.close()
    return found


def swept(log: Log) -> int:
    side, gone = log.cutting, 0
    side.begin_marking()
    while side.mark():
        pass
    more = True
    while more:
        n, more = side.sweep()
        gone += n
    return gone


def test_what_is_old_and_needed_by_nobody_may_go() -> None:
    assert cut_of(0, aged=70, decided=100, holders=[]) == Cut(70)


def test_the_last_event_that_is_decided_stays_whatever_its_age() -> None:
    # The next event is numbered behind the last one that is there.
    assert cut_of(0, aged=100, decided=100, holders=[]) == Cut(99)


def test_whoever_needs_the_oldest_event_holds_the_cut_back() -> None:
    sender, archive = Holder("send", 30), Holder("archive", 20)

    assert cut_of(0, 70, 100, [sender, archive]) == Cut(20, archive)
    assert cut_of(0, 70, 100, [Holder("send", 70)]) == Cut(70)


def test_a_cut_never_goes_back() -> None:
    assert cut_of(50, 70, 100, [Holder("archive", 20)]).position == 50


def test_events_are_kept_for_as_long_as_whoever_looks_furthest_back() -> None:
    windows = {"destination ga": timedelta(days=90), "tiers": timedelta(days=28)}

    assert span_of(timedelta(days=14), windows) == (timedelta(days=90), "destination ga")
    assert span_of(timedelta(days=120), windows) == (timedelta(days=120), "log.keep_for")
    assert span_of(timedelta(days=14), {}) == (timedelta(days=14), "log.keep_for")


def test_less_than_a_late_login_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 14d"):
        LogSettings(keep_for=timedelta(days=13))


def test_events_are_old_up_to_the_first_that_is_not(log: Log) -> None:
    # The third was written under a clock that was a month behind.
    log.append([login(0, "a"), login(DAY, "a"), login(2 * DAY, "a", arrives=-30 * DAY), login(3 * DAY, "a")])

    assert log.cutting.aged(0, us(DAY)) == (1, False)
    assert log.cutting.aged(1, us(3 * DAY)) == (3, False)
    assert log.cutting.aged(0, us(9 * DAY)) == (4, False)


def test_looking_for_what_is_old_goes_on_where_a_piece_ended(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_AT_ONCE", 2)
    log.append([login(number, "a") for number in range(5)])

    assert log.cutting.aged(0, us(DAY)) == (2, True)
    assert log.cutting.aged(2, us(DAY)) == (4, True)
    assert log.cutting.aged(4, us(DAY)) == (5, False)


def test_what_was_decided_of_an_event_goes_with_it(log: Log, tmp_path: Path) -> None:
    keep(log, [login(0, "a"), loan(1), loan(2), loan(3, "L2"), loan(4, "L3")])

    assert log.cutting.take(3) == 3
    path = tmp_path / "log.sqlite"
    assert stand(path, "event") == [4, 5]
    assert stand(path, "verdict") == []
    assert stand(path, "record") == [4, 5]
    assert log.find("disbursed-L1") == []
    assert [fact.seq for fact in log.read(0, 10)] == [4, 5]
    assert [fact.seq for fact, _ in log.decided(0, 5)] == [4, 5]
    assert {event_of(number)[0] for number, _ in log.records(0, 100)} == {4, 5}
    assert log.record(record_id(2, 0)) is None
    assert log.cutting.first() == 4


def test_a_piece_takes_no_more_than_it_may(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 2)
    log.append([login(number, "a") for number in range(6)])

    assert [log.cutting.take(5) for _ in range(4)] == [2, 2, 1, 0]
    assert log.cutting.first() == 6


def test_the_last_record_stays_until_there_is_a_later_one(log: Log, tmp_path: Path) -> None:
    keep(log, [login(0, "a"), loan(1), login(2, "a"), login(3, "a")])
    last = log.last_record()
    log.cutting.take(3)

    assert log.last_record() == last
    assert stand(tmp_path / "log.sqlite", "record") == [2]
    keep(log, [loan(4, "L2"), login(5, "a")])
    log.cutting.take(4)
    assert stand(tmp_path / "log.sqlite", "record") == [5]


def test_events_are_numbered_on_behind_those_that_went(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log.sqlite")
    keep(log, [login(0, "a"), loan(1), loan(2, "L2")])
    log.cutting.announce(2)
    log.cutting.take(2)
    log.close()
    log = open_log(tmp_path / "log.sqlite")

    assert (log.cutting.cut(), log.position(), log.end()) == (2, 3, 3)
    assert log.append([loan(3, "L3")]) == 4
    log.close()


def test_a_repeat_of_what_went_is_still_a_duplicate(log: Log) -> None:
    keep(log, [login(0, "a"), loan(1), login(2, "a")])
    log.cutting.take(2)
    keep(log, [loan(1, arrives=30 * DAY)])

    assert [verdict for _, verdict in log.find("disbursed-L1")] == ["duplicate"]


def test_an_announcement_never_goes_back(log: Log) -> None:
    log.cutting.announce(7)
    log.cutting.announce(5)

    assert log.cutting.cut() == 7


def test_installations_that_nobody_speaks_of_go_and_the_others_stay(log: Log, tmp_path: Path) -> None:
    keep(log, [login(0, "a"), loan(1), login(2, "b"), loan(3, "L2"), login(4, "c"), login(5, "c")])
    kept = log.state("acme:u1")
    assert kept is not None
    # Somebody who was remembered with the first phone alone is remembered no more.
    log.append([event("app_opened", 6, user_id="u2")])
    log.commit(state_of(log, 7, "acme:u2", phone("z")))
    log.append([event("app_opened", 7, user_id="u2")])
    log.commit(state_of(log, 8, "acme:u2", None))
    before = stand(tmp_path / "log.sqlite", "part")
    log.append([login(9, "a")])
    log.commit(state_of(log, 9, "acme:u3", phone("last")))

    assert swept(log) == 1
    assert set(before) - set(stand(tmp_path / "log.sqlite", "part")) == {before[-1]}
    assert log.state("acme:u1") == kept


def state_of(log: Log, number: int, key: str, device: Any) -> Decided:
    """A user who showed one phone, or none."""
    made = UserState(key) if device is None else told(login(0, device)).state
    state = UserState(key, touches=made.touches)
    return Decided(
        after=number - 1, position=number, states={key: state}, records=[], verdicts=[], timers=[], tally={}
    )


def test_an_installation_that_is_spoken_of_while_it_is_looked_stays(log: Log) -> None:
    log.append([login(number, "a") for number in range(4)])
    log.commit(state_of(log, 1, "acme:u1", phone("shared")))
    log.commit(state_of(log, 2, "acme:u1", None))
    log.commit(state_of(log, 3, "acme:u2", phone("other")))
    log.cutting.begin_marking()
    while log.cutting.mark():
        pass
    # Everybody was looked at, and now somebody shows that phone again: it is known by its number still.
    log.commit(state_of(log, 4, "acme:u1", phone("shared")))
    while log.cutting.sweep()[1]:
        pass
    state = log.state("acme:u1")

    assert state is not None
    assert state.touches.snapshots[0].device == phone("shared")


def test_an_installation_that_went_gets_another_number_when_it_is_shown_again(
    log: Log, tmp_path: Path
) -> None:
    log.append([login(number, "a") for number in range(4)])
    log.commit(state_of(log, 1, "acme:u1", phone("gone")))
    log.commit(state_of(log, 2, "acme:u1", None))
    log.commit(state_of(log, 3, "acme:u2", phone("other")))
    assert swept(log) == 1
    log.commit(state_of(log, 4, "acme:u1", phone("gone")))

    assert stand(tmp_path / "log.sqlite", "part") == [2, 3]
    reader = open_log(tmp_path / "log.sqlite", read_only=True)
    state = reader.state("acme:u1")
    reader.close()
    assert state is not None
    assert state.touches.snapshots[0].device == phone("gone")


def test_without_the_write_barrier_a_state_would_speak_of_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([login(number, "a") for number in range(4)])
    log.commit(state_of(log, 1, "acme:u1", phone("shared")))
    log.commit(state_of(log, 2, "acme:u1", None))
    log.commit(state_of(log, 3, "acme:u2", phone("other")))
    log.cutting.begin_marking()
    while log.cutting.mark():
        pass
    monkeypatch.setattr(module.Spoken, "add", lambda self, number: None)
    log.commit(state_of(log, 4, "acme:u1", phone("shared")))
    log.cutting.sweep()
    log._parts.forget()

    with pytest.raises(DataError, match="not kept"):
        log.state("acme:u1")


def test_everybody_is_told_of_in_pieces(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lendsignal.log.log.PEOPLE_AT_ONCE", 2)
    log.append([login(number, "a") for number in range(3)])
    for number in (1, 2, 3):
        log.commit(state_of(log, number, f"acme:u{number}", phone(f"p{number}")))

    assert [one.key for one in log.people()] == ["acme:u1", "acme:u2", "acme:u3"]


def test_nothing_is_cut_while_somebody_copies(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with uncut(path), uncut(path), cutting(path) as free:
        assert not free
    with cutting(path) as free:
        assert free


def test_what_goes_makes_room_for_what_comes(log: Log) -> None:
    def day(first: int) -> list[Event]:
        return [login(first + number, phone("a", user_agent="x" * 400)) for number in range(400)]

    log.append(day(0))
    sizes = []
    for number in range(1, 6):
        log.append(day(number * 400))
        while log.cutting.take(number * 400):
            pass
        sizes.append(log.cutting.bytes()[0])

    # Five days were written, and two at a time were there: it grows no more after the second.
    assert max(sizes[1:]) < 1.05 * sizes[1]
