"""Which installation, and which phone, a snapshot shows: one number for each, over all users.

Resolve compares two snapshots at a time (`same_installation`: one app, an install id in common, none
contradicting). Reports need a name that stays the same for every touch, so the rule is carried on: ids that
some touch showed together belong to one installation, and an installation holds one id of each kind. A
touch that lacks an id thus counts for the installation that another touch showed it with, whoever's it
was and whenever it came. Where ids contradict each other they are two installations, as they are to resolve.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeGuard

import msgspec

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, ZERO_ID, Device, IdKind

NAMED_BY = (
    IdKind.FIREBASE_APP_INSTANCE_ID,
    *(kind for kind in INSTALL_SCOPED if kind is not IdKind.FIREBASE_APP_INSTANCE_ID),
)
"""An installation is called by the first of these ids that it showed."""

Ids = tuple[str | None, ...]
"""One snapshot's ids, those of `INSTALL_SCOPED` and then those of `DEVICE_SCOPED`, in that order."""

KINDS = (*INSTALL_SCOPED, *DEVICE_SCOPED)
ids_of: Callable[[Any], Ids] = attrgetter(*KINDS)
"""Reads the ids of a device snapshot, as it is written or as `stored` reads it."""


def device_of(ids: Ids) -> Device:
    """A device that shows these ids and nothing else."""
    return msgspec.convert({kind.value: value for kind, value in zip(KINDS, ids, strict=True)}, Device)


class Installation:
    """One installation of one app: `ids` by kind. `shown` is false where only a phone was seen."""

    __slots__ = ("app", "ids", "number", "phone_ids", "shown")

    def __init__(self, number: int, app: str, shown: bool) -> None:
        self.number = number
        self.app = app
        self.shown = shown
        self.ids: dict[IdKind, str] = {}
        self.phone_ids: dict[tuple[IdKind, str], None] = {}

    @property
    def name(self) -> str:
        """The id it is called by; a phone that showed no installation is called by a device id."""
        for kind in NAMED_BY:
            if kind in self.ids:
                return self.ids[kind]
        return next(f"{kind}:{value}" for kind, value in self.phone_ids)


class Installations:
    """Gathers snapshots in the order they were seen; `find` numbers them, `all` gives what there is."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._all: list[Installation] = []
        self._known: dict[tuple[str, Ids], int | None] = {}
        self._by_id: dict[tuple[str, IdKind, str], list[int]] = {}
        self._by_phone: dict[tuple[str, IdKind, str], int] = {}

    def find(self, app: str, ids: Ids) -> int | None:
        """The installation that a snapshot with these ids shows; `None` where it shows no id at all.

        The number may later turn out to be another's too: ask `root` once everything is gathered.
        """
        key = (app, ids)
        found = self._known.get(key, -1)
        if found == -1:
            found = self._known[key] = self._gathered(app, ids)
        return found

    @property
    def seen(self) -> int:
        """How many numbers were given out, those that turned out to be another's too included."""
        return len(self._all)

    def shows(self, number: int | None) -> bool:
        """Whether a snapshot with this number showed an installation, and not a phone alone or nothing."""
        return number is not None and self._all[number].shown

    def root(self, number: int) -> int:
        """The number that stands for an installation and all that turned out to be the same."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def all(self) -> list[Installation]:
        """Every installation once, in the order they were first seen."""
        return [one for one in self._all if self._parent[one.number] == one.number]

    def of(self, app: str, identifier: str) -> int | None:
        """The installation of an app that showed this id, of whatever install-scoped kind."""
        for kind in NAMED_BY:
            numbers = self._by_id.get((app, kind, identifier))
            if numbers:
                return self.root(numbers[0])
        return None

    def phones(self) -> dict[int, int]:
        """A number for the phone of each installation; without any device id it is not known, and absent.

        A phone is what shares a device-scoped id, directly or through an installation seen with two.
        """
        parent: dict[tuple[IdKind, str], tuple[IdKind, str]] = {}

        def top(one: tuple[IdKind, str]) -> tuple[IdKind, str]:
            while parent.setdefault(one, one) != one:
                parent[one] = parent[parent[one]]
                one = parent[one]
            return one

        found = self.all()
        for one in found:
            ids = list(one.phone_ids)
            for other in ids[1:]:
                parent[top(other)] = top(ids[0])
        numbers: dict[tuple[IdKind, str], int] = {}
        return {
            one.number: numbers.setdefault(top(next(iter(one.phone_ids))), len(numbers))
            for one in found
            if one.phone_ids
        }

    def _gathered(self, app: str, ids: Ids) -> int | None:
        install = {kind: value for kind, value in zip(KINDS, ids, strict=True) if _names(value)}
        phone = {(kind, value): None for kind, value in install.items() if kind in DEVICE_SCOPED}
        for kind in DEVICE_SCOPED:
            install.pop(kind, None)
        if not install:
            return self._phone_alone(app, phone) if phone else None
        near = {
            self.root(number)
            for kind, value in install.items()
            for number in self._by_id.get((app, kind, value), ())
        }
        one: Installation | None = None
        for number in sorted(near):
            other = self._all[number]
            if _agree(other.ids, install if one is None else {**install, **one.ids}):
                one = other if one is None else self._joined(one, other)
        if one is None:
            one = self._new(app, shown=True)
        for kind, value in install.items():
            if kind not in one.ids:
                one.ids[kind] = value
                self._by_id.setdefault((app, kind, value), []).append(one.number)
        one.phone_ids.update(phone)
        return one.number

    def _phone_alone(self, app: str, phone: dict[tuple[IdKind, str], None]) -> int:
        for kind, value in phone:
            known = self._by_phone.get((app, kind, value))
            if known is not None:
                one = self._all[known]
                break
        else:
            one = self._new(app, shown=False)
        one.phone_ids.update(phone)
        for kind, value in one.phone_ids:
            self._by_phone[app, kind, value] = one.number
        return one.number

    def _new(self, app: str, *, shown: bool) -> Installation:
        one = Installation(len(self._all), app, shown)
        self._all.append(one)
        self._parent.append(one.number)
        return one

    def _joined(self, one: Installation, other: Installation) -> Installation:
        self._parent[other.number] = one.number
        one.ids = {**other.ids, **one.ids}
        one.phone_ids.update(other.phone_ids)
        return one


def _agree(one: dict[IdKind, str], other: dict[IdKind, str]) -> bool:
    return all(other.get(kind, value) == value for kind, value in one.items())


def _names(value: str | None) -> TypeGuard[str]:
    """Whether an id names anybody: an empty or all-zero one counts as missing, as in `model.id_of`."""
    return bool(value) and value != ZERO_ID
