"""What metrics say of lists."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tests.telling import build, data_folder
from tests.unit.audience.lists import Memory
from tests.unit.deliver.test_list_syncing import Hand

from lendsignal.audience.membership import Membership, Planned
from lendsignal.deliver.audiences.meters import ListMeters
from lendsignal.log import DataFolder, open_audiences

PLAN = [Planned(audience="good", account="there", code="ls-1", use="seed")]


class House:
    """One list, told by hand, and its metrics."""

    def __init__(self, path: Path) -> None:
        self.folder: DataFolder = data_folder(path)
        self.clock = Hand()
        self.meters = ListMeters(self.folder.audiences, self.clock)

    def build(self, *keys: int) -> None:
        """A build as it is made now."""
        build(self.folder, "good", dict.fromkeys(keys, 1.0), at_us=self.clock.now_us())

    def tell(self, refused: dict[int, str]) -> None:
        platform = Memory()
        with closing(Membership(self.folder, PLAN, self.clock)) as membership:
            (one,) = membership.syncs()
            for action in ("remove", "add"):
                while (chunk := membership.next(one, action, 100)) is not None:
                    platform.take(chunk.action, chunk.members)
                    membership.confirm(one, chunk.number, refused if action == "add" else None)

    def said(self) -> dict[str, float]:
        lines = [line for line in self.meters.text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_lists_are_told_by_size_lag_and_refusals(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert house.said() == {}, "there is no list yet"

    house.build(1, 2, 3)
    house.tell({2: "invalid_entry"})
    house.clock.pass_by(timedelta(minutes=1))
    where = 'account="there",list="good"'
    assert house.said() == {
        'lendsignal_list_intended_members{list="good"}': 3.0,
        'lendsignal_list_built_age_seconds{list="good"}': 60.0,
        f"lendsignal_list_confirmed_members{{{where}}}": 2.0,
        f"lendsignal_list_behind_seconds{{{where}}}": 0.0,
        f"lendsignal_list_synced_age_seconds{{{where}}}": 60.0,
        f'lendsignal_list_refused_members{{{where},reason="invalid_entry"}}': 1.0,
        f"lendsignal_list_paused{{{where}}}": 0.0,
    }


def test_a_list_is_behind_since_the_first_build_that_the_platform_lacks(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.build(1)
    house.tell({})
    for _ in range(2):
        house.clock.pass_by(timedelta(minutes=5))
        house.build(1, 2)
    house.clock.pass_by(timedelta(minutes=1))
    assert house.said()['lendsignal_list_behind_seconds{account="there",list="good"}'] == 360.0

    house.tell({})
    house.clock.pass_by(timedelta(minutes=1))
    assert house.said()['lendsignal_list_behind_seconds{account="there",list="good"}'] == 0.0


def test_a_list_that_waits_for_a_person_says_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.build(1)
    house.tell({})
    with closing(Membership(house.folder, PLAN, house.clock)) as membership:
        membership.pause(membership.syncs()[0], "bad_token")
    assert house.said()['lendsignal_list_paused{account="there",list="good"}'] == 1.0


def test_however_many_lists_there_are_the_words_are_bounded(tmp_path: Path) -> None:
    house = House(tmp_path)
    with closing(open_audiences(house.folder.audiences)) as book:
        for number in range(300):
            one = Planned(audience=f"list-{number}", account="there", code="ls-1", use="seed")
            book.keep_sync(book.sync(one.audience, one.account))
    lists = {name for name in house.said() if name.startswith("lendsignal_list_paused")}

    assert len(lists) <= 201
