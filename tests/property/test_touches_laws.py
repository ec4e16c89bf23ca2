"""Laws of the device of the last login, checked against a slow and obvious version of the rule."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, Device, id_of
from lendsignal.resolve import Snapshot, Touches, device_at, first_install, with_touch
from lendsignal.resolve.touches import CHANGES_REMEMBERED, REMEMBERED


class Touch(NamedTuple):
    """One touch; sorted by moment, then by event id."""

    at: int
    event_id: str
    snapshot: Snapshot


def few(prefix: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, f"{prefix}1", f"{prefix}2"])


snapshots = st.builds(
    Snapshot,
    st.sampled_from(["acme-ng", "acme-ios"]),
    st.builds(
        Device,
        appsflyer_id=few("af"),
        adjust_adid=few("ad"),
        firebase_app_instance_id=few("fb"),
        gaid=few("gaid"),
        model=few("model"),
    ),
)
touch_lists = st.lists(st.builds(Touch, st.integers(0, 20), st.uuids().map(str), snapshots), max_size=30)


def remembered(touches: Sequence[Touch]) -> Touches:
    found = Touches()
    for touch in touches:
        found = with_touch(found, touch.at, touch.event_id, touch.at, touch.snapshot)
    return found


def has(snapshot: Snapshot, kinds: Sequence[str]) -> bool:
    return any(id_of(snapshot.device, kind) for kind in INSTALL_SCOPED + DEVICE_SCOPED if kind in kinds)


def agree(one: Snapshot, other: Snapshot) -> bool:
    """One app, at least one install id in common, and none that differs."""
    pairs = [(id_of(one.device, kind), id_of(other.device, kind)) for kind in INSTALL_SCOPED]
    both = [(left, right) for left, right in pairs if left and right]
    return one.app == other.app and bool(both) and all(left == right for left, right in both)


def slow_device_at(touches: Sequence[Touch], at: int) -> Snapshot | None:
    """The rule, read aloud: the latest touch by then that shows an installation, completed from earlier ones
    of it; unless a later touch shows, by phone ids alone, that the user has gone to another phone."""
    by_then = sorted(touch for touch in touches if touch.at <= at)
    proven = [n for n, touch in enumerate(by_then) if has(touch.snapshot, INSTALL_SCOPED)]
    last = proven[-1] if proven else -1
    # Only the latest of the touches with phone ids alone has a say.
    phones = [touch.snapshot for touch in by_then[last + 1 :] if has(touch.snapshot, DEVICE_SCOPED)]
    if phones:
        if not proven:
            return phones[-1]
        here, there = by_then[last].snapshot, phones[-1]
        same = any(
            id_of(here.device, kind) and id_of(here.device, kind) == id_of(there.device, kind)
            for kind in DEVICE_SCOPED
        )
        if here.app != there.app or not same:
            return there
    if not proven:
        return None
    whole = by_then[last].snapshot
    latest_first: list[Snapshot] = []
    for touch in reversed(by_then[: last + 1]):
        if touch.snapshot not in latest_first:
            latest_first.append(touch.snapshot)
    # Each may lend an id that ties a further one to the installation: as often as there are ids.
    for one in latest_first * len(INSTALL_SCOPED):
        if agree(whole, one):
            ids = {kind: id_of(one.device, kind) for kind in INSTALL_SCOPED}
            lacking = {kind.value: value for kind, value in ids.items() if not id_of(whole.device, kind)}
            filled = msgspec.structs.replace(
                whole.device, **{name: value for name, value in lacking.items() if value}
            )
            whole = Snapshot(whole.app, filled)
    return whole


def answer(touches: Touches, at: int) -> Snapshot | None:
    found = device_at(touches, at)
    return None if found is None else found.snapshot


@given(touch_lists, st.integers(-1, 21))
def test_the_device_is_the_one_the_obvious_rule_finds(touches: list[Touch], at: int) -> None:
    assert answer(remembered(touches), at) == slow_device_at(touches, at)


@given(touch_lists, st.data())
def test_order_and_repetition_of_touches_change_nothing(touches: list[Touch], data: st.DataObject) -> None:
    repeated = touches + data.draw(
        st.lists(st.sampled_from(touches), max_size=10) if touches else st.just([])
    )
    shuffled = data.draw(st.permutations(repeated))

    one, other = remembered(touches), remembered(shuffled)

    for at in range(-1, 22):
        assert device_at(one, at) == device_at(other, at)
        assert first_install(one, at) == first_install(other, at)


@given(touch_lists, st.integers(0, 20))
def test_a_binding_never_mixes_installations(touches: list[Touch], at: int) -> None:
    """Every touch that lent an id agrees with every id of the binding that it has a say on."""
    found = answer(remembered(touches), at)

    if found is not None:
        for kind in INSTALL_SCOPED:
            value = id_of(found.device, kind)
            lenders = [one.snapshot for one in touches if id_of(one.snapshot.device, kind) == value]
            assert value is None or any(
                one == found or agree(one, found) or not has(found, INSTALL_SCOPED) for one in lenders
            )


def part_of(app: str, number: int, af: bool, ad: bool, fb: bool, gaid: bool) -> Snapshot:
    """What one login showed of an installation whose ids are its own: some of them."""
    return Snapshot(
        app,
        Device(
            appsflyer_id=f"af{number}" if af else None,
            adjust_adid=f"ad{number}" if ad else None,
            firebase_app_instance_id=f"fb{number}" if fb else None,
            gaid=f"gaid{number // 2}" if gaid else None,
        ),
    )


apps = st.sampled_from(["acme-ng", "acme-ios"])
true_snapshots = st.builds(
    part_of, apps, st.integers(1, 4), st.booleans(), st.booleans(), st.booleans(), st.booleans()
)
"""Installations that share no id, as in the world: which donor comes first then makes no difference."""

steps = st.lists(
    st.tuples(st.integers(1, 3), true_snapshots), min_size=REMEMBERED + 1, max_size=REMEMBERED + 60
)


@settings(max_examples=25)
@given(steps)
def test_thinning_changes_no_answer_for_touches_that_came_in_order(
    found: list[tuple[int, Snapshot]],
) -> None:
    """All changes fit into what is remembered here, so nothing but repeats is let go."""
    at, touches = 0, []
    for gap, snapshot in found:
        at += gap
        touches.append(Touch(at, f"e{at:06}", snapshot))
    known = remembered(touches)

    assert len(touches) <= REMEMBERED + CHANGES_REMEMBERED
    for moment in range(at + 2):
        assert answer(known, moment) == slow_device_at(touches, moment)


@settings(max_examples=40)
@given(steps, st.integers(0, 10_000), true_snapshots)
def test_thinning_changes_no_answer_for_moments_after_what_was_thinned(
    found: list[tuple[int, Snapshot]], place: int, seen: Snapshot
) -> None:
    """A late touch among the touches remembered one by one finds its place as if nothing had been let go."""
    at, touches = 0, []
    for gap, snapshot in found:
        at += gap
        touches.append(Touch(at, f"e{at:06}", snapshot))
    known = remembered(touches)
    since = touches[-REMEMBERED].at
    late = Touch(since + 1 + place % (at - since), "late", seen)
    known = with_touch(known, late.at, late.event_id, at, late.snapshot)

    for moment in range(late.at, at + 2):
        assert answer(known, moment) == slow_device_at([*touches, late], moment)
