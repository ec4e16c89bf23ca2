"""Which ids stay on a list when somebody leaves it who shares them with others."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.telling import build, data_folder, email, gaid

from lendsignal.audience.files import Files
from lendsignal.audience.sharing import Held, Side, held, waits, without
from lendsignal.log import DataFolder, open_audiences
from lendsignal.model.audience import AudienceMember
from lendsignal.model.contact import Contact

# 1, 2 and 3 have one address; 2 and 4 one phone.
CONTACT_OF, PHONE_OF = {2: 1, 3: 1}, {4: 2}


class Lists:
    """Files of members, by a name each."""

    def __init__(self, path: Path) -> None:
        self.folder: DataFolder = data_folder(path)

    def of(self, name: str, *keys: int) -> str:
        build(self.folder, name, dict.fromkeys(keys, 1.0), contact_of=CONTACT_OF, phone_of=PHONE_OF)
        with closing(open_audiences(self.folder.audiences)) as book:
            made = book.build(name)
        assert made is not None
        return made.file

    def held(self, leaving: list[int], side: Side) -> Held:
        with closing(open_audiences(self.folder.audiences)) as book, closing(Files(self.folder)) as files:
            return held(files, book.files("ids"), np.array(leaving, dtype=np.int64), side)


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(tmp_path)


def test_an_id_of_somebody_who_is_there_and_stays_is_kept(lists: Lists) -> None:
    base, target = lists.of("base", 1, 2, 4), lists.of("target", 2, 4)
    kept = lists.held([1], Side(target, base))

    assert kept.keeps("email", email(1), last=1)
    assert not kept.keeps("gaid", gaid(1), last=1)
    assert not waits(member(1), kept)


def test_an_id_of_somebody_who_only_comes_lets_the_leaving_one_wait(lists: Lists) -> None:
    base, target = lists.of("base", 1), lists.of("target", 3)
    kept = lists.held([1], Side(target, base))

    assert waits(member(1), kept)
    assert not waits(member(1), lists.held([1], Side(target, base, refused=[3]))), "who never comes"


def test_the_last_of_several_who_leave_takes_the_id_along(lists: Lists) -> None:
    base, target = lists.of("base", 1, 2, 3, 4), lists.of("target", 4)
    kept = lists.held([1, 2, 3], Side(target, base))

    assert [kept.keeps("email", email(1), last=last) for last in (1, 2, 3)] == [True, True, False]
    assert kept.keeps("gaid", gaid(2), last=3), "4 stays with the phone of 2"


def test_whoever_is_not_removed_now_keeps_what_others_share(lists: Lists) -> None:
    base = lists.of("base", 1, 2)
    kept = lists.held([2], Side("", base, waiting=[1]))

    assert kept.keeps("email", email(1), last=2)
    assert not lists.held([2], Side("", base)).keeps("email", email(1), last=2), "1 was removed before"


def test_a_member_without_the_ids_that_stay_is_told_with_the_others() -> None:
    kept = Held(stay={"gaid": frozenset((gaid(1),)), "who": frozenset(("ab",))})
    told = without(member(1), kept, last=1)

    assert (told.gaid, told.user, told.contact) == (None, "", Contact(email=email(1)))


def member(key: int) -> AudienceMember:
    return AudienceMember(key=key, user="ab", gaid=gaid(key), contact=Contact(email=email(key)))
