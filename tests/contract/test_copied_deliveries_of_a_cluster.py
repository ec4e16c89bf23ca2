"""The exam of a desk's deliveries: what several senders keep in a store, as a folder shows it."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from secrets import randbelow
from typing import Any

import pytest
from tests.acme import us
from tests.clustered import happenings
from tests.copying import Copy, copy_of, read
from tests.desk import TOKEN, Desk, acme, borrower, verdicts
from tests.scripted import Platform, platform, says
from tests.servers.postgresql import PostgreSql, postgresql
from tests.several import Several, users_in

from lendsignal.deliver import Outlet, Unknown
from lendsignal.errors import LogError
from lendsignal.log import Again, Cancel, Changes, Deliveries, Halt, LetGo, Open, Receipt, Stage
from lendsignal.log.postgres import schema
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.erasing import SlotErasing
from lendsignal.log.stream import Recorded
from lendsignal.plan import Placed
from lendsignal.replay.comparing import differences

ACCEPTS = verdicts("accepted")
USERS = [user for some in users_in(4, 3).values() for user in some]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def few_days() -> Iterator[None]:
    """Tables of fewer days beforehand: making them is most of what these tests cost."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        patched.setenv("ACME_TOKEN", TOKEN)
        yield


@pytest.fixture
def played() -> Iterator[Platform]:
    with platform(ACCEPTS) as one:
        yield one


Makes = Callable[..., Several]


@pytest.fixture
def several(server: PostgreSql, played: Platform) -> Iterator[Makes]:
    made: list[Several] = []

    def make(*outlets: Outlet, **settings: Any) -> Several:
        made.append(Several(server.plain_url, played.url, *outlets, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[[Several], Copy]]:
    made: list[Copy] = []

    def make(all_: Several) -> Copy:
        made.append(copy_of(tmp_path / f"desk-{len(made)}", all_.cluster))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Told:
    """What deliveries show, told without the numbers that differ between a store and its copy."""

    def __init__(self, log: Recorded, deliveries: Deliveries | SlotDeliveries) -> None:
        self._log = log
        self.tally = dict(deliveries.tally())
        self.waiting = deliveries.waiting()
        self.paused = deliveries.paused()
        self.renamed = deliveries.renamed()
        names = {name for name, _, _, _ in self.tally}
        self.open = sorted(
            self._open(one)
            for name in names
            for stage in Stage
            for one in deliveries.open(name, -(1 << 62), 10_000, stage)
        )
        self.dead = sorted(
            (
                self._named(one.id),
                one.destination,
                one.conversion,
                one.at_us,
                one.reason,
                one.request,
                one.answer,
            )
            for one in deliveries.all_dead(-(1 << 62), 10_000)
        )
        self.volume = {name: deliveries.volume(name, 0) for name in names}
        self.agreed = {name: deliveries.agreed(name) for name in names}
        tries: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        for _, pack in deliveries.all_receipts():
            for one in pack:
                tries.setdefault((self._named(one.id), one.destination), []).append(self._try(one))
        self.tries = tries

    def _named(self, delivery: int) -> str:
        record = self._log.record(delivery // 64)
        assert isinstance(record, Placed)
        return f"{record.conversion.id}/{delivery % 64}"

    def _open(self, one: Open) -> tuple[Any, ...]:
        return (
            self._named(one.id),
            one.destination,
            one.stage,
            one.due_us,
            one.attempts,
            one.unknown,
            one.reason,
        )

    def _try(self, one: Receipt) -> tuple[Any, ...]:
        return one.what, one.reason, one.attempt, one.sent_us, one.answered_us, one.status, one.answer


def same(all_: Several, copy: Copy) -> Told:
    """Asserts that the folder shows what the store shows; what that is."""
    copy.follow()
    log, deliveries = read(copy.folder)
    with closing(log), closing(deliveries):
        records = dict(all_.cluster.records())

        class Rows:
            record = staticmethod(records.get)

        here, there = Told(log, deliveries), Told(Rows, all_.store)  # type: ignore[arg-type]
        for what in vars(there).keys() - {"_log"}:
            assert getattr(here, what) == getattr(there, what), what
        return here


def test_a_folder_shows_what_senders_did_and_what_they_still_have_to_do(
    several: Makes, played: Platform, desk: Callable[[Several], Copy]
) -> None:
    """Some are accepted, some refused for good, some held, some wait; and all of it at every look."""
    seed = randbelow(1_000_000)
    print("seed", seed)
    chance = Random(seed)
    played.play(
        ACCEPTS,
        verdicts("rejected:bad_row"),
        says(503),
        verdicts("accepted", "retry:busy"),
        ACCEPTS,
        says(500),
    )
    all_ = several(acme(on_unknown=Unknown(retry=2), facts={"batch": 2}), acme("acme-two"))
    one, other = all_.sender("one"), all_.sender("other")
    all_.share_out(one, other)
    copy = desk(all_)
    for user in USERS:
        all_.tell(*borrower(user))
        for _ in range(chance.randrange(4)):
            chance.choice((one, other)).turn(0.005)
        copy.follower.turn()
        if chance.random() < 0.3:
            same(all_, copy)
    all_.until(lambda: all_.store.all_dead() and all_.tally().get("accepted"), one, other)

    found = same(all_, copy)
    assert {what for _, _, what, _ in found.tally} >= {"planned", "accepted", "dead"}
    assert found.dead
    late = desk(all_)
    assert vars(same(all_, late))["tries"] == found.tries


def test_what_people_order_shows_in_the_folder(
    several: Makes, played: Platform, desk: Callable[[Several], Copy]
) -> None:
    all_ = several(acme())
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    copy = desk(all_)
    order = all_.give(Halt(("acme-ng",), "by_hand"))
    all_.until(lambda: all_.store.obeyed(order) is not None, one)
    all_.tell(*(event for user in USERS[:4] for event in borrower(user)))
    all_.until(lambda: len(all_.open()) == 4, one)
    assert same(all_, copy).paused["acme-ng"].reason == "by_hand"
    order = all_.give(Cancel("acme-ng", (all_.open()[0].id,)))
    all_.until(lambda: all_.store.obeyed(order) is not None, one)
    assert len(same(all_, copy).open) == 3
    played.play(verdicts("rejected:bad_row"))
    all_.give(LetGo(("acme-ng",)))
    all_.until(lambda: all_.tally().get("dead") == 3, one)
    assert len(same(all_, copy).dead) == 3
    played.play(ACCEPTS)
    gone = all_.store.all_dead()
    all_.give(Again("acme-ng", "disbursement", "dead", "bad_row", ((gone[0].id, 0),), all_.store.last_pack()))
    all_.until(lambda: all_.tally().get("accepted") == 1, one)

    found = same(all_, copy)
    assert len(found.dead) == 2
    assert found.open == []


def test_a_destination_that_is_renamed_has_one_name_in_the_folder(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    all_ = several(acme(), acme("acme-two"))
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    copy = desk(all_)
    order = all_.give(Halt(("acme-ng", "acme-two"), "by_hand"))
    all_.until(lambda: all_.store.obeyed(order) is not None, one)
    all_.tell(*(event for user in USERS[:3] for event in borrower(user)))
    all_.until(lambda: len(all_.open()) == 3, one)
    same(all_, copy)

    all_.store.rename("acme-ng", "acme-new")

    found = same(all_, copy)
    assert found.renamed == {"acme-ng": "acme-new"}
    assert {name for name, _, _, _ in found.tally} == {"acme-new", "acme-two"}
    assert copy.deliveries.destinations() == ["acme-two", "acme-new"]
    assert copy.deliveries.counted("open") == len(found.open)


def test_what_an_erasure_takes_from_senders_goes_from_the_folder_too(
    several: Makes, played: Platform, desk: Callable[[Several], Copy]
) -> None:
    """One delivery of the user is open, and one died, with what was asked and answered."""
    played.play(verdicts("rejected:bad_row"))
    all_ = several(acme(), acme("acme-two"))
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    order = all_.give(Halt(("acme-two",), "by_hand"))
    all_.until(lambda: all_.store.obeyed(order) is not None, one)
    user, *others = USERS[:3]
    all_.tell(*(event for name in (user, *others) for event in borrower(name)))
    all_.until(lambda: (all_.tally().get("dead"), len(all_.open("acme-two"))) == (3, 3), one)
    copy = desk(all_)
    copy.follow()
    erasing = SlotErasing(all_.cluster.connect(), all_.cluster.slots)
    erasing.keep_out("acme", user, "r1", 1)
    erasing.strike("acme", user)
    copy.follow()

    log, deliveries = read(copy.folder)
    with closing(log), closing(deliveries):
        assert len(deliveries.open("acme-two", 0, 9)) == 2
        assert len([dead for dead in deliveries.all_dead() if dead.request]) == 2
        assert {reason for _, _, what, reason in deliveries.tally() if what == "skipped"} == {"suppressed"}
        answers = [(each.id, bool(each.answer)) for _, pack in deliveries.all_receipts() for each in pack]
        assert sorted(has for _, has in answers) == [False, True, True]


def test_a_receipt_that_is_committed_late_is_neither_passed_over_nor_followed_twice(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    all_ = several(acme())
    copy = desk(all_)
    all_.tell(*(event for user in USERS[:3] for event in borrower(user)))
    first, second, third, *_ = [number * 64 for number, _ in all_.cluster.records()]
    late = all_.cluster.connect()
    with late.transaction() as session:
        session.rows("select pg_current_xact_id()")
        ended(all_.store, second)
        copy.follower.turn()
        assert followed(copy) == []  # somebody who began before has not ended
        SlotDeliveries(late, 4, range(4)).commit(receipt_of(first))
    ended(all_.store, third)
    copy.follow()
    copy.follow()

    there = {delivery: copy.log.numbers.delivery(delivery) for delivery in (first, second, third)}
    assert followed(copy) == [there[first], there[second], there[third]]


def test_receipts_follow_in_the_order_of_numbers_where_transactions_get_another_digit(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    all_ = several(acme())
    copy = desk(all_)
    all_.tell(*(event for user in USERS[:3] for event in borrower(user)))
    deliveries = [number * 64 for number, _ in all_.cluster.records()][:3]
    for delivery in deliveries:
        ended(all_.store, delivery)
    for xid, delivery in zip((9, 10, 100), deliveries, strict=True):
        all_.cluster.database.rows(
            "update receipt set xid = %s::text::xid8 where low = %s", str(xid), delivery
        )
    copy.follow()
    copy.follow()

    assert followed(copy) == [copy.log.numbers.delivery(delivery) for delivery in deliveries]


def followed(copy: Copy) -> list[int]:
    """The deliveries of all receipts in the folder."""
    return [one.id for _, pack in copy.deliveries.all_receipts() for one in pack]


def receipt_of(delivery: int) -> Changes:
    changes = Changes()
    changes.receipts.append(Receipt(delivery, "acme-ng", "accepted", "confirmed"))
    return changes


def ended(store: SlotDeliveries, delivery: int) -> None:
    store.commit(receipt_of(delivery))


def test_a_folder_is_written_only_where_something_changed(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    """The archive goes by when its files were written last."""
    all_ = several(acme())
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    all_.tell(*borrower(USERS[0])).until(lambda: all_.tally().get("accepted") == 1, one)
    copy = desk(all_)
    copy.follow()
    copy.follow()
    before = copy.folder.last_written()
    for _ in range(3):
        copy.follow()

    assert copy.folder.last_written() == before


def test_what_senders_have_read_is_told_by_the_numbers_of_the_folder(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    all_ = several(acme())
    copy = desk(all_)
    all_.tell(*borrower(USERS[0]))
    copy.follow()
    assert copy.deliveries.position() < copy.log.last_record()
    one = all_.sender("one")
    all_.until(lambda: all_.tally().get("accepted") == 1, one)
    all_.tell(*borrower(USERS[5]))
    all_.until(lambda: all_.tally().get("accepted") == 2, one)
    copy.follow()

    assert copy.deliveries.position() == copy.log.last_record() > 0


def test_deliveries_of_a_later_moment_than_their_log_are_refused(
    several: Makes, desk: Callable[[Several], Copy]
) -> None:
    """Where only the log was put back from a backup, its numbers would come to mean other events."""
    all_ = several(acme())
    copy = desk(all_)
    copy.follow()
    before = copy.folder.log.read_bytes()
    all_.tell(*borrower(USERS[0]))
    one = all_.sender("one")
    all_.until(lambda: all_.tally().get("accepted") == 1, one)
    copy.follow()
    copy.close()
    for end in ("", "-wal", "-shm"):
        Path(f"{copy.folder.log}{end}").unlink(missing_ok=True)
    copy.folder.log.write_bytes(before)

    with pytest.raises(LogError, match="two moments"):
        copy_of(copy.folder.path, all_.cluster)


class Still:
    """A clock that stands: both installs work at the same moment."""

    replay = False

    def __init__(self, minutes: float) -> None:
        self._us = us(minutes)

    def steady(self) -> float:
        return time.monotonic()

    def now_us(self) -> int:
        return self._us


def test_events_deliveries_and_reports_of_a_desk_are_those_of_one_install_row_by_row(
    several: Makes,
    played: Platform,
    desk: Callable[[Several], Copy],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed = randbelow(1_000_000)
    print("seed", seed)
    monkeypatch.setattr("tests.several.Ahead", Still)
    outlets = acme(facts={"batch": 1}), acme("acme-two")
    events = happenings(Random(seed), 120, users=19)
    all_ = several(*outlets)
    one, other = all_.sender("one", 300), all_.sender("other", 300)
    copy = desk(all_)
    for at in range(0, len(events), 90):
        all_.tell(*events[at : at + 90])
        copy.follower.turn()
        all_.until(lambda: all_.is_done(), one, other)
        copy.follower.turn()
    copy.follow()
    (tmp_path / "one").mkdir()
    with Desk(tmp_path / "one", *outlets, sandbox=played.url, clock=Still(300)) as install:
        for at in range(0, len(events), 90):
            install.tell(*events[at : at + 90]).quiet()

    found = differences(copy.folder, install.folder)
    assert {name: each for name, each in found.items() if not each.is_none} == {}
    assert found["conversions"].rows > 20
    assert found["outcomes"].rows > 20
    assert found["funnel"].rows > 5
