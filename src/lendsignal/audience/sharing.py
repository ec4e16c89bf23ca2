"""Ids that several members have: a phone that two users share, a number that a family has.

Platforms know ids and not our users. Whoever leaves a list takes along the ids that nobody else on it holds:
the others stay until the last who holds them has left. So an id that is to be on a list is never asked to be
removed, and additions need not wait for the verdict on removals. Where those who hold an id are only about to
be added, whoever leaves waits for them: should they never come, the id would belong to nobody. Of several who
leave, the last one takes the id along: should the others come back before, it is still there.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.audience.files import Files, quoted
from lendsignal.model.audience import AudienceMember

Keys: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
Ids: TypeAlias = Mapping[str, frozenset[str]]
"""Ids by their kind, the name of the field; hashes in hex."""

NEVER = 2**63 - 1
"""The key of the last who leaves, where somebody is not removed on this way."""

PHONE = ("gaid", "idfa", "oaid", "appsflyer_id")
CONTACT = ("email", "email_google", "phone_digits", "phone_e164")
USER = "who"

HOLDERS = """
select s.id,
    bool_or(t.key is not null and r.key is null and b.key is not null) as stays,
    bool_or(t.key is not null and r.key is null and b.key is null) as comes,
    max(case when t.key is null and b.key is not null and w.key is not null then {never}
        when t.key is null and b.key is not null and s.key >= {first} then s.key end) as last_to_leave
from sharing s left join {wanted} t on t.key = s.key left join {there} b on b.key = s.key
left join refused_keys r on r.key = s.key left join waiting_keys w on w.key = s.key
group by 1 having stays or comes or count(distinct s.key) > 1
"""


class Held(Struct, frozen=True):
    """Ids that belong to others, too: to some who are on the list and `stay`, or only to some who `come`.

    `until`: ids of several who leave, with the key of the last of them.
    """

    stay: Ids = {}
    come: Ids = {}
    until: Mapping[str, Mapping[str, int]] = {}

    def keeps(self, kind: str, value: str | None, last: int) -> bool:
        """Whether an id stays there when everybody up to the key `last` has left."""
        if value is None:
            return False
        if value in self.stay.get(kind, ()) or value in self.come.get(kind, ()):
            return True
        return self.until.get(kind, {}).get(value, -1) > last


class Side(Struct, frozen=True):
    """Files and keys of one list on its way: who is to be on it, who is, and who of them is told nothing.

    `target` and `base` are names of files; empty: nobody. `refused` are to be on it and are not taken;
    `waiting` are on it and are not removed now.
    """

    target: str
    base: str
    refused: Sequence[int] = ()
    waiting: Sequence[int] = ()


def held(files: Files, ids: Sequence[str], leaving: Keys, side: Side) -> Held:
    """Which ids of the members with the keys `leaving`, in rising order, somebody else holds, too.

    `ids` are the files of ids.
    """
    if not ids or not len(leaving):
        return Held()
    db = files.db
    known = f"read_parquet([{', '.join(quoted(files.root / name) for name in ids)}])"
    first, last = int(leaving[0]), int(leaving[-1])
    holders = HOLDERS.format(
        never=NEVER, first=first, wanted=_members(files, side.target), there=_members(files, side.base)
    )
    arriving: Mapping[str, Sequence[int] | Keys] = {
        "asked_keys": leaving,
        "refused_keys": side.refused,
        "waiting_keys": side.waiting,
    }
    for name, keys in arriving.items():
        db.register(name, {"key": np.array(keys, dtype=np.int64)})
    found: dict[str, list[tuple[str, bool, bool, int | None]]] = {}
    try:
        kinds = (*PHONE, *CONTACT, USER)
        db.execute(
            f"create or replace temp table leaving as select {', '.join(kinds)} from {known}"
            f" where key between {first} and {last} and key in (select key from asked_keys)"
        )
        for kind in kinds:
            # Few share: they are found by the id first, and then looked for in the list.
            db.execute(
                f"create or replace temp table sharing as select i.key, i.{kind} as id from {known} i"
                f" semi join leaving l on l.{kind} = i.{kind}"
            )
            rows = db.execute(holders).fetchall()
            found[kind] = [(_text(one), stays, comes, until) for one, stays, comes, until in rows]
    finally:
        for name in arriving:
            db.unregister(name)
    return Held(
        stay={kind: frozenset(one for one, stays, _, _ in rows if stays) for kind, rows in found.items()},
        come={
            kind: frozenset(one for one, stays, comes, _ in rows if comes and not stays)
            for kind, rows in found.items()
        },
        until={
            kind: {one: until for one, _, _, until in rows if until is not None}
            for kind, rows in found.items()
        },
    )


def waits(member: AudienceMember, kept: Held) -> bool:
    """Whether an id of the member belongs to somebody who only comes. Pure."""
    contact = member.contact
    known = [(kind, getattr(member, kind)) for kind in PHONE]
    known += [] if contact is None else [(kind, getattr(contact, kind)) for kind in CONTACT]
    return any(value in kept.come.get(kind, ()) for kind, value in (*known, (USER, member.user)))


def without(member: AudienceMember, kept: Held, last: int) -> AudienceMember:
    """The member without the ids that stay there when everybody up to the key `last` has left. Pure."""

    def left(kind: str, value: str | None) -> str | None:
        return None if kept.keeps(kind, value, last) else value

    contact = member.contact
    if contact is not None:
        contact = replace(contact, **{kind: left(kind, getattr(contact, kind)) for kind in CONTACT})
    return replace(
        member,
        **{kind: left(kind, getattr(member, kind)) for kind in PHONE},
        user=left(USER, member.user) or "",
        contact=contact,
    )


def _members(files: Files, name: str) -> str:
    """SQL of the keys in a file of members."""
    if not name:
        return "(select null::bigint as key where false)"
    return f"(select key from read_parquet({quoted(files.root / name)}))"


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
