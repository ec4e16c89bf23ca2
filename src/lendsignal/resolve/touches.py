"""Which device an event belongs to: the device of the user's latest login.

A *touch* is an event of the user's own that shows a device snapshot. `Touches` is what we remember of
one user's; the functions below answer from it. Moments are microseconds since 1970, UTC.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec
from msgspec import Struct

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, ZERO_ID, Device, id_of

REMEMBERED = 48
"""Touches kept one by one; of older ones only those at which the snapshot changed."""

CHANGES_REMEMBERED = 128
"""Older changes kept; the first touch of all stays for ever."""


_install_ids = attrgetter(*(kind.value for kind in INSTALL_SCOPED))
_device_ids = attrgetter(*(kind.value for kind in DEVICE_SCOPED))


class Snapshot(Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """One installation of one app, as one or more logins showed it.

    Its hash is that of some forty fields, and the log asks for it with every state and record: it is kept.
    """

    app: str
    device: Device


class Mark(Struct, frozen=True, array_like=True, order=True, gc=False):
    """When a snapshot was seen. Two touches in one instant are settled by the larger event id."""

    at_us: int
    event_id: str
    snapshot: int
    received_us: int


class Touches(Struct, frozen=True, array_like=True, gc=False):
    """One user's touches over all apps of the brand: distinct snapshots, and marks in time's order."""

    snapshots: tuple[Snapshot, ...] = ()
    marks: tuple[Mark, ...] = ()


class Binding(Struct, frozen=True, array_like=True, gc=False):
    """The snapshot an event is bound to, and when it was seen."""

    snapshot: Snapshot
    at_us: int


def with_touch(touches: Touches, at_us: int, event_id: str, received_us: int, snapshot: Snapshot) -> Touches:
    """The touches and one more; a touch already there changes nothing, in whatever order they come."""
    snapshots = touches.snapshots
    try:
        index = snapshots.index(snapshot)
    except ValueError:
        index, snapshots = len(snapshots), (*snapshots, snapshot)
    mark = Mark(at_us, event_id, index, received_us)
    marks = touches.marks
    if marks and mark.at_us > marks[-1].at_us:
        grown = [*marks, mark]
    else:
        if any(m.at_us == at_us and m.event_id == event_id for m in marks):
            return touches
        grown = list(marks)
        insort(grown, mark)
    if len(grown) <= REMEMBERED:
        return Touches(snapshots, tuple(grown))
    return _thinned(snapshots, grown)


def device_at(touches: Touches, at_us: int) -> Binding | None:
    """The device the user had last logged in on at that moment; a touch at exactly `at_us` counts.

    A touch that shows no installation does not rebind: without any id it is passed over, and with
    device ids alone it stands only where it shows another phone than the touch before it.
    `None`: no touch by then.
    """
    marks = touches.marks
    # Mostly it is asked of now, and every touch lies before.
    end = len(marks) if marks and marks[-1].at_us <= at_us else bisect_right(marks, at_us, key=_moment)
    unproven: Mark | None = None
    for position in range(end - 1, -1, -1):
        mark = marks[position]
        snapshot = touches.snapshots[mark.snapshot]
        if shows_installation(snapshot.device):
            if unproven and not _same_phone(touches.snapshots[unproven.snapshot], snapshot):
                break
            if len(touches.snapshots) > 1:
                snapshot = _completed(touches, snapshot, marks[: position + 1])
            return Binding(snapshot, mark.at_us)
        if unproven is None and _shows_phone(snapshot.device):
            unproven = mark
    return None if unproven is None else Binding(touches.snapshots[unproven.snapshot], unproven.at_us)


def first_install(touches: Touches, at_us: int | None = None) -> Binding | None:
    """The rule we compare with: the user's first installation, whatever came later.

    `at_us` limits what may be known; `None` means all touches. Its missing install ids are completed
    from any known touch of the same installation.
    """
    marks = (
        touches.marks if at_us is None else touches.marks[: bisect_right(touches.marks, at_us, key=_moment)]
    )
    for mark in marks:
        snapshot = touches.snapshots[mark.snapshot]
        if shows_installation(snapshot.device) or _shows_phone(snapshot.device):
            return Binding(_completed(touches, snapshot, marks), mark.at_us)
    return None


def shows_installation(device: Device) -> bool:
    """True where the snapshot carries an id that tells one installation from another."""
    return _names_somebody(_install_ids(device))


def same_installation(one: Snapshot, other: Snapshot) -> bool:
    """True where both are of one app, share an install id, and contradict each other in none."""
    if one.app != other.app:
        return False
    shared = False
    for kind in INSTALL_SCOPED:
        left, right = id_of(one.device, kind), id_of(other.device, kind)
        if left and right:
            if left != right:
                return False
            shared = True
    return shared


def existed_at(binding: Binding, at_us: int, installed_us: int | None) -> bool:
    """True where the bound installation was there at that moment: seen by then, or installed by then."""
    return binding.at_us <= at_us or (installed_us is not None and installed_us <= at_us)


def _completed(touches: Touches, snapshot: Snapshot, marks: Sequence[Mark]) -> Snapshot:
    """The snapshot with install ids it lacks, taken from earlier touches of the same installation only."""
    if len(touches.snapshots) == 1:
        return snapshot
    grown = snapshot
    donors = [touches.snapshots[index] for index in dict.fromkeys(mark.snapshot for mark in reversed(marks))]
    lent = True
    while lent:
        lent = False
        for other in donors:
            # What was completed so far must agree too: two snapshots that each share an id with this
            # one may still be two installations. And what it lends may tie a further one to it.
            found = _lent(grown, other) if other is not snapshot and same_installation(grown, other) else {}
            if found:
                grown = Snapshot(grown.app, msgspec.structs.replace(grown.device, **found))
                lent = True
    return grown


def _lent(snapshot: Snapshot, other: Snapshot) -> dict[str, str]:
    """The install ids that the other has and this one lacks."""
    return {
        kind.value: value
        for kind in INSTALL_SCOPED
        if not id_of(snapshot.device, kind) and (value := id_of(other.device, kind))
    }


def _same_phone(one: Snapshot, other: Snapshot) -> bool:
    if one.app != other.app:
        return False
    return any(
        (value := id_of(one.device, kind)) and value == id_of(other.device, kind) for kind in DEVICE_SCOPED
    )


def _shows_phone(device: Device) -> bool:
    return _names_somebody(_device_ids(device))


def _names_somebody(ids: Iterable[str | None]) -> bool:
    """Whether one of the ids is there and not all zeros, as `model.id_of` has it."""
    # A loop, for it is asked of every conversion: a generator costs more than all it looks at.
    for value in ids:  # noqa: SIM110
        if value and value != ZERO_ID:
            return True
    return False


def _moment(mark: Mark) -> int:
    return mark.at_us


def _thinned(snapshots: tuple[Snapshot, ...], marks: list[Mark]) -> Touches:
    """Older touches that only repeat the snapshot before them are let go: no answer changes by it."""
    old, recent = marks[:-REMEMBERED], marks[-REMEMBERED:]
    changes = [mark for i, mark in enumerate(old) if i == 0 or mark.snapshot != old[i - 1].snapshot]
    if len(changes) > CHANGES_REMEMBERED:
        changes = [changes[0], *changes[1 - CHANGES_REMEMBERED :]]
    kept = changes + recent
    used = list(dict.fromkeys(mark.snapshot for mark in kept))
    place = {index: position for position, index in enumerate(used)}
    return Touches(
        tuple(snapshots[index] for index in used),
        tuple(Mark(m.at_us, m.event_id, place[m.snapshot], m.received_us) for m in kept),
    )
