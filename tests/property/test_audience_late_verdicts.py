"""Laws of lists whose platform decides later, id by id: whatever the order of builds and verdicts, in the end
the platform has the ids of whoever is intended and was not refused."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from tests.telling import build, data_folder, email, gaid
from tests.unit.audience.lists import Still

from lendsignal.audience.membership import Membership, Planned
from lendsignal.log import DataFolder
from lendsignal.model.audience import Action, AudienceMember, Chunk

PLAN = [Planned(audience="good", account="there", code="ls-1", use="exclusion")]
CONTACT_OF = {key: key % 4 for key in range(12)}
PHONE_OF = {key: key - key % 2 for key in range(12)}
ACTIONS: tuple[Action, ...] = ("remove", "add")


class Verdict(Struct, frozen=True):
    """On which of the open chunks, and whether it is a yes."""

    place: int
    well: bool


class Platform:
    """Single ids. `late`: what was asked is done when the verdict is given, not when it is asked."""

    def __init__(self, *, late: bool) -> None:
        self.ids: set[str] = set()
        self.late = late

    def asked(self, chunk: Chunk) -> None:
        if not self.late:
            self._do(chunk)

    def decided(self, chunk: Chunk, *, well: bool) -> None:
        if self.late and well:
            self._do(chunk)

    def _do(self, chunk: Chunk) -> None:
        found = {one for member in chunk.members for one in ids_of(member)}
        self.ids = self.ids | found if chunk.action == "add" else self.ids - found


def ids_of(member: AudienceMember) -> set[str]:
    contact = member.contact
    known = {member.gaid, None if contact is None else contact.email}
    return {one for one in known if one is not None}


class World:
    """One list over one folder, and the chunks that the platform has not decided on."""

    def __init__(self, folder: Path, platform: Platform, *, shared: bool) -> None:
        self.folder: DataFolder = data_folder(folder)
        self.platform = platform
        self.shared = shared
        self.told: dict[int, Chunk] = {}
        self.refused: set[int] = set()

    def intend(self, keys: set[int]) -> None:
        shares = {"contact_of": CONTACT_OF, "phone_of": PHONE_OF} if self.shared else {}
        build(self.folder, "good", dict.fromkeys(keys, 1.0), **shares)  # type: ignore[arg-type]

    def expected(self, keys: set[int]) -> set[str]:
        there = keys - self.refused
        if not self.shared:
            return {one for key in there for one in (gaid(key), email(key))}
        return {one for key in there for one in (gaid(PHONE_OF[key]), email(CONTACT_OF[key]))}

    def tell(self, verdicts: Sequence[Verdict]) -> bool:
        """A process tells what there is to tell, and hears some verdicts; whether anything was left to do."""
        busy = False
        with closing(Membership(self.folder, PLAN, Still())) as found:
            (sync,) = found.syncs()
            for verdict in verdicts:
                if self.told:
                    busy = True
                    number = sorted(self.told)[verdict.place % len(self.told)]
                    chunk = self.told.pop(number)
                    self.platform.decided(chunk, well=verdict.well)
                    keys = [one.key for one in chunk.members]
                    found.confirm(sync, number, {} if verdict.well else dict.fromkeys(keys, "no"))
                    if not verdict.well and chunk.action == "add":
                        self.refused |= set(keys)
            for action in ACTIONS:
                while (made := found.next(sync, action, 3)) is not None:
                    busy = True
                    self.platform.asked(made)
                    found.pending(sync, made.number, f"h{made.number}")
                    self.told[made.number] = made
        return busy

    def ended(self) -> None:
        """Every verdict is a yes from now on, until nothing is left to do."""
        for _ in range(20):
            if not self.tell([Verdict(0, True)] * max(1, len(self.told))) and not self.told:
                return
        raise AssertionError("it never ends")


keys = st.sets(st.integers(0, 11))
verdicts = st.lists(st.builds(Verdict, st.integers(0, 9), st.booleans()), max_size=4)
yes = st.lists(st.builds(Verdict, st.integers(0, 9), st.just(True)), max_size=4)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(keys, verdicts), min_size=1, max_size=5))
def test_a_platform_that_works_in_any_order_and_says_no_ends_as_intended(
    story: Sequence[tuple[set[int], Sequence[Verdict]]],
) -> None:
    with TemporaryDirectory() as scratch:
        world = World(Path(scratch), Platform(late=True), shared=False)
        for wanted, said in story:
            world.intend(wanted)
            world.tell(said)
        world.ended()
        # A removal that was refused is asked for again with the next build.
        world.intend(story[-1][0])
        world.ended()

        assert world.platform.ids == world.expected(story[-1][0])
        _in_step(world, story[-1][0])


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(keys, yes), min_size=1, max_size=5))
def test_ids_that_several_hold_stay_while_one_of_them_is_intended(
    story: Sequence[tuple[set[int], Sequence[Verdict]]],
) -> None:
    with TemporaryDirectory() as scratch:
        world = World(Path(scratch), Platform(late=False), shared=True)
        for wanted, said in story:
            world.intend(wanted)
            world.tell(said)
        world.ended()

        assert world.platform.ids == world.expected(story[-1][0])
        _in_step(world, story[-1][0])


def _in_step(world: World, wanted: set[int]) -> None:
    with closing(Membership(world.folder, PLAN, Still())) as found:
        counts = found.counts(found.syncs()[0])
    assert (counts.adds, counts.removes) == (0, 0)
    assert counts.confirmed == len(wanted - world.refused)
