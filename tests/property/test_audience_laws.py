"""Laws of lists: what was confirmed, changed as was said, is what is intended, wherever the way broke off."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.audience.lists import Memory, built, membership

from lendsignal.audience.difference import Page, additions, removals
from lendsignal.log import DataFolder
from lendsignal.model.audience import Action

Members = dict[int, float]

some_members = st.dictionaries(st.integers(0, 40), st.sampled_from((1.0, 1.05, 2.0, 8.0)), max_size=25)


def pages(members: Members, size: int) -> list[Page]:
    keys = sorted(members)
    return [
        Page(
            np.array(keys[place : place + size], dtype=np.int64),
            np.array([members[key] for key in keys[place : place + size]], dtype=np.float64),
        )
        for place in range(0, len(keys), size)
    ]


def apart(one: float, other: float) -> bool:
    return abs(one - other) > 0.1 * max(one, other)


@given(some_members, some_members, st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_the_difference_makes_of_what_is_confirmed_what_is_intended(
    intended: Members, confirmed: Members, size: int, other_size: int, valued: bool
) -> None:
    wanted, there = pages(intended, size), pages(confirmed, other_size)
    added: Members = {}
    fresh: dict[int, bool] = {}
    for one in additions(wanted, there, valued=valued):
        added |= dict(zip(one.keys.tolist(), one.values.tolist(), strict=True))
        fresh |= dict(zip(one.keys.tolist(), one.fresh.tolist(), strict=True))
    gone = [key for one in removals(wanted, there) for key in one.keys.tolist()]
    after = {key: value for key, value in (confirmed | added).items() if key not in gone}

    assert after.keys() == intended.keys()
    assert list(added) == sorted(added)
    assert gone == sorted(confirmed.keys() - intended.keys())
    assert {key for key, new in fresh.items() if new} == intended.keys() - confirmed.keys()
    told_again = {key for key, new in fresh.items() if not new}
    both = intended.keys() & confirmed.keys()
    assert told_again == {key for key in both if valued and apart(intended[key], confirmed[key])}


Step = tuple[str, int, bool]

steps = st.lists(st.tuples(st.sampled_from(("add", "remove")), st.integers(1, 9), st.booleans()), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(some_members, steps), min_size=1, max_size=4))
def test_a_platform_ends_with_what_is_intended_however_often_the_sender_was_killed(
    story: Sequence[tuple[Members, Sequence[Step]]],
) -> None:
    """Each build is told for a few steps; a step that is cut off was sent and never confirmed, and the sender
    begins anew from its files."""
    with TemporaryDirectory() as scratch:
        folder, platform = Path(scratch), Memory()
        for members, told in story:
            built(DataFolder(folder), members)
            _tell(folder, platform, told)
        intended = story[-1][0]
        for action in ("add", "remove"):
            _tell(folder, platform, [(action, 100, False)] * 4)

        has = {int(name.removeprefix("gaid-")): value for name, value in platform.members.items()}
        assert has.keys() == intended.keys()
        assert not [key for key, value in has.items() if value is None or apart(value, intended[key])]
        found, sync = membership(folder)
        counts = found.counts(sync)
        assert (counts.intended, counts.adds, counts.removes) == (len(intended), 0, 0)
        assert counts.confirmed == len(intended)
        found.close()


def _tell(folder: Path, platform: Memory, told: Sequence[Step]) -> None:
    found, sync = membership(folder)
    for name, limit, killed in told:
        action: Action = "add" if name == "add" else "remove"
        for chunk in found.open(sync):
            platform.take(chunk.action, chunk.members)
            found.confirm(sync, chunk.number)
        claimed = found.next(sync, action, limit)
        if claimed is None:
            continue
        platform.take(action, claimed.members)
        if killed:
            found.close()
            found, sync = membership(folder)
        else:
            found.confirm(sync, claimed.number)
    for chunk in found.open(sync):
        platform.take(chunk.action, chunk.members)
        found.confirm(sync, chunk.number)
    found.close()
