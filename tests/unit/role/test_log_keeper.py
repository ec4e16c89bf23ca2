"""A log that is cut while it grows decides, delivers and is archived as one that keeps everything."""

import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.running import CONFIG, ENVIRONMENT, drawn_seed

from lendsignal.archive import Book
from lendsignal.archive.keeper import brought_up
from lendsignal.backup import backup, restore
from lendsignal.cli.doctor import retention
from lendsignal.clock import to_us
from lendsignal.config import Config, parsed
from lendsignal.decide import Decider
from lendsignal.erase.places import deliveries as deliveries_of
from lendsignal.erase.places import gone_records
from lendsignal.log import (
    Again,
    Changes,
    DataFolder,
    Dead,
    Open,
    Receipt,
    Stage,
    keeping,
    open_deliveries,
    open_log,
    open_orders,
    refuse_damage,
)
from lendsignal.log.erasures import About
from lendsignal.log.keeping import span_of, uncut
from lendsignal.model import Device, Event
from lendsignal.plan import Placed, Record, delivery_id, event_of, record_of
from lendsignal.report.explain import explain
from lendsignal.role.keeping import KeepMeters, LogKeeper, kept_since, windows_of

T0 = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
DAYS, USERS, A_DAY = 36, 20, 24


class Hands:
    """A clock that the test sets, for both the day and the machine's steady time."""

    replay = False

    def __init__(self) -> None:
        self.us = to_us(T0)
        self.seconds = 0.0

    def now_us(self) -> int:
        return self.us

    def steady(self) -> float:
        self.seconds += 60.0
        return self.seconds


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    text = CONFIG.format(door=1, web=2, sandbox="http://127.0.0.1:9", outlet="", deliver="")
    return parsed(text, tmp_path / "lendsignal.toml")


def days(chance: random.Random) -> Iterator[list[Event]]:
    """What a lender's users do, day by day: logins on old and new phones, some of them late, loans,
    reversals, and repeats of what was sent days before."""
    sent: list[Event] = []
    for day in range(DAYS):
        found = []
        for place in range(A_DAY):
            arrives = T0 + timedelta(days=day, minutes=20 * place)
            if sent and chance.random() < 0.1:
                again = chance.choice(sent[-60:])
                found.append(made({**fields_of(again), "received_at": arrives}))
            else:
                found.append(happens(chance, f"{day}-{place}", arrives))
        sent += found
        yield found


def fields_of(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__struct_fields__}


def made(fields: Mapping[str, Any]) -> Event:
    return Event(**fields)


def happens(chance: random.Random, name: str, arrives: datetime) -> Event:
    late = timedelta(days=chance.choice([0, 0, 0, 1, 5, 16]), minutes=chance.randrange(300))
    user = f"u{chance.randrange(USERS)}"
    common: dict[str, Any] = {"brand": "acme", "user_id": user, "received_at": arrives}
    common |= {"occurred_at": arrives - late, "event_id": f"e-{name}"}
    match chance.randrange(6):
        case 0 | 1:
            phone = f"{user}-{chance.randrange(4)}"
            device = Device(
                appsflyer_id=f"af-{phone}", gaid=f"gaid-{phone}", ip=f"10.0.0.{chance.randrange(99)}"
            )
            return Event(type="logged_in", app="acme-ng", device=device, **common)
        case 2:
            loan = f"L{chance.randrange(200)}"
            return Event(type="disbursement_reversed", loan_id=loan, **common)
        case 3:
            return Event(type="registered", **common)
        case _:
            money: dict[str, Any] = {"amount": Decimal(25000), "fee": Decimal(1500), "currency": "NGN"}
            return Event(type="disbursed", loan_id=f"L{chance.randrange(200)}", **money, **common)


class House:
    """A log with who decides over it, and the sender's file."""

    def __init__(self, config: Config, path: Path, clock: Hands) -> None:
        self.folder = DataFolder(path)
        self.log = open_log(self.folder.log)
        self.decider = Decider(self.log, config.policy, clock, lambda: None)
        self.records: dict[int, Record] = {}
        self.verdicts: dict[int, str] = {}

    def take(self, events: list[Event]) -> None:
        self.log.append(events)
        before = self.decider.position
        while self.decider.turn() or self.decider.position < self.log.end():
            pass
        self.verdicts |= {fact.seq: word for fact, word in self.log.decided(before, self.log.end())}
        last = max(self.records, default=0)
        while found := self.log.records(last, 500):
            self.records |= dict(found)
            last = found[-1][0]


def keeper_of(config: Config, house: House, clock: Hands, meters: KeepMeters | None = None) -> LogKeeper:
    return LogKeeper(config, house.folder, house.log, clock, meters, steady=clock.steady, sweep_seconds=0.0)


def turned(keeper: LogKeeper, most: int = 400) -> None:
    """Everything that is due, announced and gone."""
    for _ in range(most):
        keeper.turn()


def test_a_log_that_is_cut_decides_as_one_that_keeps_everything(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "EVENTS_AT_ONCE", 20)
    monkeypatch.setattr(keeping, "LOOKED_AT_ONCE", 30)
    chance, clock = random.Random(drawn_seed()), Hands()
    whole, cut = House(config, tmp_path / "whole", clock), House(config, tmp_path / "data", clock)
    keeper = keeper_of(config, cut, clock)
    longest = needed = 0
    with closing(open_deliveries(cut.folder.deliveries)) as store:
        open_: dict[int, Open] = {}
        for day, events in enumerate(days(chance)):
            clock.us = to_us(events[-1].received_at)
            for house in (whole, cut):
                house.take(events)
            changes = Changes()
            sent(cut, store.position(), changes, open_)
            for number in [one for one in open_ if chance.random() < 0.2]:
                # Whatever is still to be sent has its record.
                assert cut.log.record(record_of(number)[0]) == cut.records[record_of(number)[0]]
                changes.finish(open_.pop(number))
            store.commit(changes)
            if day % 10 == 9:
                brought_up(cut.folder, config.archive, clock.us)
            turned(keeper)
            needed = min((event_of(record_of(number)[0])[0] for number in open_), default=cut.log.end())
            if cut.log.cutting.first() < needed:
                longest = max(longest, cut.log.end() - cut.log.cutting.first())

    assert cut.records == whole.records
    assert cut.verdicts == whole.verdicts
    assert list(cut.log.people()) == list(whole.log.people())
    assert cut.log.tally() == whole.log.tally()
    # What is kept is 14 days, what the archive or an open delivery still needed, and no more.
    assert cut.log.cutting.first() == needed or cut.log.cutting.first() > 10 * A_DAY
    assert longest < 30 * A_DAY
    brought_up(cut.folder, config.archive, clock.us)
    with closing(Book(cut.folder.archive)) as book:
        assert sum(part.rows for part in book.parts() if part.table == "events") == cut.log.end()
    for house in (whole, cut):
        house.log.close()


def sent(house: House, position: int, changes: Changes, open_: dict[int, Open]) -> None:
    """As the sender: reads what is new, and has a delivery open for each that is to be sent."""
    for number, record in sorted(house.records.items()):
        if number <= position or not isinstance(record, Placed):
            continue
        for place, entry in enumerate(record.entries):
            if entry.skip is None:
                one = Open(entry.destination, delivery_id(number, place), Stage.WAITING, 0)
                open_[one.id] = one
                changes.keep(one)
    changes.read(max(house.records, default=0))


@pytest.fixture
def house(config: Config, tmp_path: Path) -> Iterator[House]:
    clock = Hands()
    one = House(config, tmp_path / "data", clock)
    one.take([happens_at(0, "u1", "logged_in"), *(lent(number) for number in range(1, 9))])
    yield one
    one.log.close()


def happens_at(day: int, user: str, kind: str, **more: Any) -> Event:
    at = T0 + timedelta(days=day)
    device = Device(appsflyer_id=f"af-{user}") if kind == "logged_in" else None
    app = "acme-ng" if device is not None else None
    common: dict[str, Any] = {"occurred_at": at, "received_at": at, "device": device, "app": app}
    return Event(type=kind, brand="acme", user_id=user, event_id=f"{kind}-{day}", **common, **more)


def lent(day: int) -> Event:
    return happens_at(day, "u1", "disbursed", loan_id=f"L{day}", amount=Decimal(9), currency="NGN")


def clock_at(day: int) -> Hands:
    clock = Hands()
    clock.us = to_us(T0 + timedelta(days=day))
    return clock


def read_and_archived(config: Config, house: House, *open_: int) -> None:
    """As after a sender that has sent everything but the loans of some days, and the archive."""
    with closing(open_deliveries(house.folder.deliveries)) as store:
        changes = Changes()
        changes.read(house.log.last_record())
        for day in open_:
            changes.keep(Open("warehouse", delivery_id(record_of_day(house, day), 0), Stage.HELD, 0))
        store.commit(changes)
    brought_up(house.folder, config.archive, to_us(T0))


def record_of_day(house: House, day: int) -> int:
    seq = next(fact.seq for fact in house.log.scan() if fact.event.event_id == f"disbursed-{day}")
    return next(number for number in house.records if event_of(number)[0] == seq)


def test_nothing_goes_before_it_was_announced_for_one_look(config: Config, house: House) -> None:
    read_and_archived(config, house)
    clock = clock_at(20)
    keeper = keeper_of(config, house, clock)
    before = house.log.cutting.first()
    while not house.log.cutting.cut():
        keeper.turn()

    assert house.log.cutting.first() == before
    turned(keeper)
    assert house.log.cutting.first() == house.log.cutting.cut() + 1


def test_without_a_sender_nothing_goes(config: Config, house: House) -> None:
    brought_up(house.folder, config.archive, to_us(T0))
    clock = clock_at(60)
    turned(keeper_of(config, house, clock))

    assert house.log.cutting.first() == 1
    (_, _, found) = kept_since(config, house.folder, house.log, clock.us)
    assert found.held_by is not None
    assert found.held_by.name == "send"


def test_what_the_archive_does_not_have_stays(config: Config, house: House) -> None:
    read_and_archived(config, house)
    reach = house.log.position()
    house.take([happens_at(9, "u2", "logged_in"), happens_at(10, "u2", "registered")])
    with closing(open_deliveries(house.folder.deliveries)) as store:
        changes = Changes()
        changes.read(house.log.last_record())
        store.commit(changes)
    turned(keeper_of(config, house, clock_at(60)))

    assert house.log.cutting.first() == reach + 1


def test_a_delivery_that_is_still_open_keeps_its_record(config: Config, house: House) -> None:
    read_and_archived(config, house, 3)
    number = record_of_day(house, 3)
    clock = clock_at(60)
    turned(keeper_of(config, house, clock))

    assert house.log.cutting.first() == event_of(number)[0]
    assert house.log.record(number) == house.records[number]
    (_, _, found) = kept_since(config, house.folder, house.log, clock.us)
    assert found.held_by is not None
    assert found.held_by.name == "destination warehouse"


def tried(house: House, *days: int) -> None:
    """A pack of receipts for each day's loan."""
    with closing(open_deliveries(house.folder.deliveries)) as store:
        for day in days:
            changes = Changes()
            number = delivery_id(record_of_day(house, day), 0)
            changes.receipts.append(Receipt(number, "warehouse", "accepted", "confirmed"))
            store.commit(changes)


def packs(house: House) -> list[int]:
    with closing(open_deliveries(house.folder.deliveries, read_only=True)) as store:
        return [pack for pack, _ in store.all_receipts()]


def test_what_came_of_deliveries_goes_with_their_events_once_the_archive_has_it(
    config: Config, house: House
) -> None:
    tried(house, 1, 2)
    read_and_archived(config, house)
    tried(house, 3, 4, 5)
    keeper = keeper_of(config, house, clock_at(60))
    turned(keeper)
    assert house.log.cutting.first() == house.log.end()
    assert packs(house) == [3, 4, 5]  # the archive does not have these

    brought_up(house.folder, config.archive, to_us(T0))
    turned(keeper)
    assert packs(house) == [5]
    assert archived_outcomes(house) == 5


def archived_outcomes(house: House) -> int:
    with closing(Book(house.folder.archive)) as book:
        return sum(part.rows for part in book.parts() if part.table == "outcomes")


def test_what_came_of_deliveries_stays_as_long_as_their_events_do(config: Config, house: House) -> None:
    tried(house, 1, 2, 3, 4)
    read_and_archived(config, house, 3)
    turned(keeper_of(config, house, clock_at(60)))

    # The loan of the third day is still open: its event and all behind it stay.
    assert packs(house) == [3, 4]


def test_an_order_on_its_way_to_the_sender_keeps_everything(config: Config, house: House) -> None:
    read_and_archived(config, house)
    clock = clock_at(60)
    keeper = keeper_of(config, house, clock)
    while not house.log.cutting.cut():
        keeper.turn()
    number = record_of_day(house, 3)
    with closing(open_orders(house.folder.orders)) as orders:
        orders.give([again(number)], "somebody", 0)
    turned(keeper)

    assert house.log.record(number) is not None


def again(record: int) -> Again:
    return Again(
        destination="warehouse", conversion="disbursement", what="dead", reason="rejected", pack=0,
        deliveries=((delivery_id(record, 0), 0),),
    )  # fmt: skip


def test_nothing_goes_while_a_copy_is_made(config: Config, house: House) -> None:
    read_and_archived(config, house)
    keeper = keeper_of(config, house, clock_at(60))
    with uncut(house.folder.log):
        turned(keeper)
        assert house.log.cutting.first() == 1
    turned(keeper)

    assert house.log.cutting.first() == house.log.end()


def test_what_is_old_by_a_wrong_clock_alone_stays(config: Config, house: House) -> None:
    read_and_archived(config, house)
    # Decided long after: events that wait may still move what was planned 14 days before they came in.
    late = happens_at(9, "u1", "logged_in")
    house.log.append([late])
    clock = clock_at(60)
    turned(keeper_of(config, house, clock))

    assert house.log.cutting.first() == 1


def test_room_and_age_are_measured(config: Config, house: House) -> None:
    read_and_archived(config, house)
    clock = clock_at(20)
    with closing(open_log(house.folder.log, read_only=True)) as reader:
        meters = KeepMeters(reader, clock)
        turned(keeper_of(config, house, clock, meters))
        text = meters.text()

    # Of twenty days the last fourteen.
    assert f"lendsignal_log_oldest_seconds {14 * 86_400}" in text
    assert 'lendsignal_log_bytes{use="data"}' in text
    assert f"lendsignal_log_events_gone_total {house.log.cutting.first() - 1}" in text


def test_a_log_of_another_process_is_not_touched_by_what_goes_wrong(
    config: Config, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_and_archived(config, house)
    house.folder.deliveries.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    keeper = keeper_of(config, house, clock_at(60))
    turned(keeper, 10)

    assert house.log.cutting.cut() == 0


def test_what_has_gone_is_told_from_the_archive(config: Config, house: House) -> None:
    read_and_archived(config, house)
    turned(keeper_of(config, house, clock_at(20)))

    event = explain(house.folder, "disbursed-3")
    assert (event.kind, len(event.lives)) == ("nothing", 0)
    text = event.to_text()
    assert "The log begins on 2026-01-11 08:00 UTC" in text
    assert "disbursed-3: disbursed of acme:u1, came in 2026-01-08 08:00 UTC: taken" in text
    assert "disbursement → warehouse: planned" in text
    user = explain(house.folder, "u1")
    assert user.kind == "user"
    assert [one.event_id for one in user.timeline] == ["disbursed-6", "disbursed-7", "disbursed-8"]
    assert sum("disbursed of acme:u1" in note for note in user.notes) == 5
    assert "The archive" not in explain(house.folder, "nobody").to_text()
    assert "the archive has nothing of it either" in explain(house.folder, "nobody").to_text()


def test_who_is_remembered_is_found_when_all_events_have_gone(config: Config, house: House) -> None:
    house.take([happens_at(9, "u9", "registered")])
    read_and_archived(config, house)
    turned(keeper_of(config, house, clock_at(60)))

    found = explain(house.folder, "u1")
    assert found.kind == "user"
    assert found.user is not None
    assert (found.user.user, found.user.loans) == ("acme:u1", 8)


def test_an_archive_that_begins_later_begins_where_the_log_does(config: Config, house: House) -> None:
    read_and_archived(config, house)
    turned(keeper_of(config, house, clock_at(20)))
    first = house.log.cutting.first()
    house.folder.archive.unlink()
    shutil.rmtree(house.folder.path / "archive")

    assert brought_up(house.folder, config.archive, to_us(T0))[0] > 0
    with closing(Book(house.folder.archive)) as book:
        rows = sum(part.rows for part in book.parts() if part.table == "events")
        assert (rows, book.reach("log")) == (house.log.end() - first + 1, house.log.end())


def test_a_copy_of_a_log_that_was_cut_can_be_put_back(config: Config, house: House, tmp_path: Path) -> None:
    read_and_archived(config, house)
    turned(keeper_of(config, house, clock_at(60)))
    house.log.close()
    made = {"archive": "archive", "portfolio": "acme", "now": T0}
    backup(house.folder, tmp_path / "copy", **made)  # type: ignore[arg-type]
    anew = DataFolder(tmp_path / "anew")
    restore(anew, tmp_path / "copy", archive="archive", now=T0)
    refuse_damage(anew)

    with closing(open_log(anew.log)) as log:
        assert (log.cutting.first(), log.end()) == (10, 10)


def test_whoever_is_erased_goes_from_deliveries_whose_records_have_gone(config: Config, house: House) -> None:
    number = record_of_day(house, 3)
    with closing(open_deliveries(house.folder.deliveries)) as store:
        changes = Changes()
        changes.read(house.log.last_record())
        changes.dead.append(
            Dead(delivery_id(number, 0), "warehouse", "disbursement", 0, "rejected", b"af-u1", b"no")
        )
        store.commit(changes)
    brought_up(house.folder, config.archive, to_us(T0))
    turned(keeper_of(config, house, clock_at(60)))
    assert house.log.record(number) is None

    about = About(users=(("acme", "u1"),), person=None, installations=())
    gone = gone_records(config, house.folder, house.log, about)
    step = deliveries_of(house.folder, house.log, "receipt", gone)

    assert number in gone
    assert step.state == "done"
    with closing(open_deliveries(house.folder.deliveries)) as store:
        assert store.dead(delivery_id(number, 0)) is None
    trace = house.log.erasing.trace([("acme", "u1")])
    assert ("acme-ng", Device(appsflyer_id="af-u1")) in trace.devices


def test_the_doctor_says_who_holds_the_log_back(config: Config, house: House) -> None:
    read_and_archived(config, house, 3)
    turned(keeper_of(config, house, clock_at(60)))
    number = event_of(record_of_day(house, 3))[0]
    (found,) = retention(config)

    assert (found.level, found.check) == ("look", "retention")
    assert "events since 2026-01-08; events are kept for 14d (log.keep_for)" in found.found
    assert found.found.endswith(f"from event {number:,} on older ones stay, for destination warehouse")
    assert found.do == "destination warehouse has deliveries that are still open: `lendsignal status`"


def test_a_log_that_nobody_holds_back_is_well(config: Config, house: House) -> None:
    read_and_archived(config, house)
    turned(keeper_of(config, house, clock_at(60)))
    (found,) = retention(config)

    assert found.level == "ok"


def test_a_destination_that_looks_further_back_keeps_the_log_longer(config: Config) -> None:
    outlet = config.outlets["warehouse"]
    common = msgspec.structs.replace(outlet.common, max_age=timedelta(days=40), late="send")
    longer = msgspec.structs.replace(outlet, common=common)
    wide = msgspec.structs.replace(config, outlets={**config.outlets, "warehouse": longer})

    windows = windows_of(wide, to_us(T0))
    assert windows["destination warehouse"] == timedelta(days=40)
    assert span_of(config.log.keep_for, windows) == (timedelta(days=40), "destination warehouse")
