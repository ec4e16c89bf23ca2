"""What is still to be told to each platform, and what it has confirmed: durable when a call returns.

A list goes from its *base*, the members that were confirmed, to its *target*, the latest build, in the order
of their keys. Chunks of changes are claimed, sent, and ended; nothing else is remembered than up to which key
they are. What was claimed and did not end comes again with the same members: platforms take an addition or a
removal twice as once. A new build waits until every chunk was told; then what is confirmed by then is the
base. A chunk that was told and whose verdict comes later holds no build up: the base presumes a yes, the
verdict mends it, and until then nothing else is told of that chunk's members.

No removal names an id that somebody holds who is to be on the list (`audience.sharing`).
"""

from collections.abc import Iterator, Mapping, Sequence
from threading import RLock

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.audience.difference import Changes, Page, additions, removals
from lendsignal.audience.files import Files, quoted
from lendsignal.audience.sharing import Held, Side, held, waits, without
from lendsignal.clock import Clock
from lendsignal.errors import DataError
from lendsignal.log import Audiences, Build, ChunkRow, DataFolder, SyncRow, open_audiences
from lendsignal.log.audiences import AFTER_ALL, BEFORE_ALL, BEHIND, Way
from lendsignal.model.audience import Action, AudienceMember, Chunk, Counts, Sync, Use

CONFIRMED = """
with now as (
select key, coalesce(t.user_key, b.user_key) as user_key,
    case when t.key is not null and key <= $adds and not key in (select key from not_added)
        then t.value else b.value end as value
from {target} t full join {base} b using (key)
where case
    when t.key is not null and key <= $adds and not key in (select key from not_added) then true
    when b.key is null then false
    when t.key is not null then true
    else not (key <= $removes and not key in (select key from not_removed)) end
)
select * from now where key not in (select key from not_there)
union all
select key, null, null from still_there where key not in (select key from now)
order by key
"""
"""Who is confirmed, half-way from base to target. `not_there` and `still_there`: whom the base has wrong."""

LEAVING_AT_ONCE = 200_000
"""Members that are to be removed and are looked through together for ids that others hold."""


class Planned(Struct, frozen=True, kw_only=True):
    """A list that may be told to an account; `code` is its name there. `retired`: nobody is to be on it."""

    audience: str
    account: str
    code: str
    use: Use
    with_value: bool = False
    retired: bool = False


class _Leaving(Struct, frozen=True):
    """Which ids stay of the members that are removed up to a key, because others hold them."""

    target: str
    first: int
    last: int
    held: Held


class Membership:
    """Every list of the plan in every account, over one data folder. One process at a time has it."""

    def __init__(self, folder: DataFolder, plan: Sequence[Planned], clock: Clock) -> None:
        self._plan = {(one.audience, one.account): one for one in plan}
        self._clock = clock
        self._lock = RLock()
        self._book: Audiences = open_audiences(folder.audiences)
        self._files = Files(folder)
        self._ways: dict[tuple[str, str, Action], _Way] = {}
        self._leaving: dict[tuple[str, str], _Leaving] = {}
        self._told_before: dict[int, Changes] = {}

    def syncs(self) -> list[Sync]:
        """Every list of the plan as it stands, paused ones too."""
        with self._lock:
            return [self._sync(one) for one in self._plan.values()]

    def set_remote(self, sync: Sync, remote: str | None) -> None:
        """Keeps the platform's id of the list; `None`: it is there no more."""
        self._change(sync, remote=remote)

    def note(self, sync: Sync, name: str, body: bytes | None) -> None:
        """Keeps something small about the list, or lets it go."""
        self._book.note(*sync.name, name, body)

    def noted(self, sync: Sync, name: str) -> bytes | None:
        """What was kept under that name."""
        return self._book.noted(*sync.name, name)

    def pause(self, sync: Sync, reason: str) -> None:
        """The list waits for a person."""
        self._change(sync, state="paused", reason=reason, since_us=self._clock.now_us())

    def resume(self, sync: Sync) -> None:
        """It goes on."""
        self._change(sync, state="ready", reason="", since_us=self._clock.now_us())

    def matched(self, sync: Sync, size: int | None, rate: float | None, at_us: int) -> None:
        """Keeps what the platform tells: members it counts, and the part of ours that it found."""
        self._change(sync, size=size, match_rate=rate, matched_us=at_us)

    def counts(self, sync: Sync) -> Counts:
        """How far the list is."""
        with self._lock:
            row = self._book.sync(*sync.name)
            target = row.target if row.frozen else self._intended(sync)
            to_do: dict[Action, int] = {"add": 0, "remove": 0}
            for chunk in self._late(sync):
                if chunk.done:
                    continue
                to_do[chunk.action] += chunk.fresh if chunk.action == "add" else chunk.members
            if target == row.target:
                for action in to_do:
                    to_do[action] += self._left(sync, row, action)
            else:  # nothing was begun of the latest build
                pages = [self._files.pages(target), self._files.pages(row.base)]
                to_do["remove"] += sum(map(len, removals(*pages)))
                pages = [self._files.pages(target), self._files.pages(row.base)]
                to_do["add"] += sum(map(len, additions(*pages, valued=sync.with_value)))
            return Counts(
                intended=self._members_intended(sync),
                confirmed=row.confirmed,
                adds=to_do["add"],
                removes=to_do["remove"],
                refused=sum(self._book.refusals(*sync.name).values()),
            )

    # chunks

    def next(self, sync: Sync, action: Action, limit: int) -> Chunk | None:
        """Claims the next members to add or to remove; `None`: nobody for now.

        While chunks of an earlier build were not told there is nothing new either: send them first.
        """
        with self._lock:
            row = self._towards_latest(sync)
            late = self._book.ways(*sync.name)
            opened = [one for one in self._book.chunks(*sync.name) if one.number not in late]
            if row.frozen or row.target != self._intended(sync):
                return None
            after = max([row.after(action), *(one.last for one in opened if one.action == action)])
            changes = self._taken(sync, row, action, after, limit)
            if not len(changes):
                put_off = self._book.mistaken(*sync.name, "wait")
                if put_off and action == "add":  # whom they waited for was told by now
                    self._book.note(*sync.name, BEHIND, b"1")
                if not late and not put_off:
                    self._over(row, action, opened)
                return None
            keys = changes.keys
            claimed = ChunkRow(
                audience=sync.audience,
                account=sync.account,
                number=0,
                action=action,
                first=int(keys[0]),
                last=int(keys[-1]),
                members=len(keys),
                fresh=int(changes.fresh.sum()),
            )
            number = self._book.claim(claimed)
            return Chunk(number=number, action=action, members=self._told(sync, row, action, changes))

    def _taken(self, sync: Sync, row: SyncRow, action: Action, after: int, limit: int) -> Changes:
        """The next changes, `limit` of them at most; those that must wait for others are put off."""
        way = self._way(sync, row, action, after)
        while len(changes := way.take(limit)) and action == "remove":
            kept = self._held(sync, row, changes)
            if not any(kept.come.values()):
                break
            late = np.array([waits(one, kept) for one in self._members(changes)], dtype=np.bool_)
            if not late.any():
                break
            self._book.put_off(*sync.name, changes.keys[late].tolist())
            self._leaving.pop(sync.name, None)  # whoever waits keeps the ids that others share
            changes = Changes(changes.keys[~late], changes.values[~late], changes.fresh[~late])
            if len(changes):
                break
        return changes

    def open(self, sync: Sync) -> list[Chunk]:
        """The chunks that were claimed and did not end, with the members they had."""
        with self._lock:
            row = self._book.sync(*sync.name)
            return [
                Chunk(
                    number=one.number,
                    action=one.action,
                    members=self._told(sync, row, one.action, self._changes(row, one)),
                    handle=one.handle,
                )
                for one in self._book.chunks(*sync.name)
                if not one.done
            ]

    def pending(self, sync: Sync, number: int, handle: str) -> None:
        """The platform says later what came of a chunk."""
        self._book.pend(*sync.name, number, handle)

    def confirm(self, sync: Sync, number: int, refused: Mapping[int, str] | None = None) -> None:
        """The platform took a chunk, all but the refused members (key = reason)."""
        with self._lock:
            fresh: dict[int, bool] = {}
            if refused:
                row = self._book.sync(*sync.name)
                for chunk in self._book.chunks(*sync.name):
                    if chunk.number == number:
                        found = self._changes(row, chunk)
                        fresh = dict(zip(found.keys.tolist(), found.fresh.tolist(), strict=True))
            told = {key: (reason, fresh[key]) for key, reason in (refused or {}).items() if key in fresh}
            self._book.end(*sync.name, number, told, self._clock.now_us())

    def refuse(self, sync: Sync, number: int, reason: str) -> None:
        """The platform took nobody of a chunk. An addition is not asked for again while its ids stay."""
        with self._lock:
            row = self._book.sync(*sync.name)
            for chunk in self._book.chunks(*sync.name):
                if chunk.number == number and not chunk.done:
                    keys = self._changes(row, chunk).keys.tolist()
                    self.confirm(sync, number, dict.fromkeys(keys, reason))

    # replacing a list whole

    def freeze(self, sync: Sync) -> None:
        """Holds the list to its latest build until `replaced` or `thaw`; open chunks are over."""
        with self._lock:
            row = self._book.sync(*sync.name)
            if not row.frozen:
                self._rebased(replace(row, frozen=True), self._intended(sync))

    def thaw(self, sync: Sync) -> None:
        """Goes on by differences: the replace was given up."""
        self._change(sync, frozen=False)

    def everyone(self, sync: Sync, after: int | None, limit: int) -> list[AudienceMember]:
        """The members of the list behind a key, in the order of their keys."""
        with self._lock:
            row = self._book.sync(*sync.name)
            file = row.target if row.frozen else self._intended(sync)
            behind = BEFORE_ALL if after is None else after
            found = _Way(_as_changes(self._files.pages(file, behind))).take(limit)
            return self._members(found)

    def replaced(self, sync: Sync, refused: Mapping[int, str] | None = None) -> None:
        """The platform has now just the frozen members, but the refused ones (key = reason)."""
        with self._lock:
            row = self._book.sync(*sync.name)
            if not row.frozen:
                return
            done = replace(
                row, frozen=False, replace_asked=False, adds_after=AFTER_ALL, removes_after=AFTER_ALL
            )
            if refused:
                self._book.rebase(done, refused=refused, now_us=self._clock.now_us(), forget=True)
                self._rebased(done, row.target)
                return
            members = self._rows(row.target)
            now_us = self._clock.now_us()
            self._book.rebase(
                replace(done, base=row.target, confirmed=members, synced_us=now_us), forget=True
            )

    def ask_replace(self, sync: Sync) -> None:
        """Lets the whole list be sent anew: what stands there besides goes."""
        self._change(sync, replace_asked=True)

    def try_refused(self, sync: Sync) -> None:
        """Lets additions that were refused be tried again with the next build."""
        with self._lock:
            if not self._book.chunks(*sync.name):
                self._rebased(self._book.sync(*sync.name), self._intended(sync), forget=True)

    def close(self) -> None:
        """Lets files and memory go."""
        with self._lock:
            self._book.close()
            self._files.close()

    # inside

    def _sync(self, one: Planned) -> Sync:
        row = self._book.sync(one.audience, one.account)
        made = Sync(
            audience=one.audience,
            account=one.account,
            code=one.code,
            use=one.use,
            with_value=one.with_value,
            retired=one.retired,
            remote=row.remote,
            state=row.state,
            reason=row.reason,
            replace_asked=row.replace_asked,
        )
        return replace(made, intended=self._members_intended(made))

    def _change(self, sync: Sync, **changes: object) -> None:
        with self._lock:
            self._book.keep_sync(replace(self._book.sync(*sync.name), **changes))

    def _build(self, sync: Sync) -> Build | None:
        """The members that are intended; `None`: nobody."""
        return None if self._plan[sync.name].retired else self._book.build(sync.audience)

    def _intended(self, sync: Sync) -> str:
        build = self._build(sync)
        return "" if build is None else build.file

    def _members_intended(self, sync: Sync) -> int:
        build = self._build(sync)
        return 0 if build is None else build.members

    def _towards_latest(self, sync: Sync) -> SyncRow:
        """The list with its latest build as target, unless something was claimed and not told."""
        row = self._book.sync(*sync.name)
        latest = self._intended(sync)
        behind = self._book.noted(*sync.name, BEHIND) is not None
        if row.frozen or (row.target == latest and not behind):
            return row
        if not all(one.waits or one.done for one in self._book.chunks(*sync.name)):
            return row
        return self._rebased(row, latest)

    def _rebased(self, row: SyncRow, target: str, *, forget: bool = False) -> SyncRow:
        """The list with what is confirmed as its base, and another target.

        What waits for its verdict is presumed to be taken, unless the list is sent anew.
        """
        name, before = (row.audience, row.account), row
        known = self._book.ways(*name)
        opened = self._book.chunks(*name)
        told = [one for one in opened if one.number not in known and (one.done or one.waits)]
        waiting = [one for one in opened if one.waits]
        if row.frozen:
            told, waiting = [one for one in told if one.done], []
        row = replace(
            row,
            adds_after=max([row.adds_after, *(one.last for one in told if one.action == "add")]),
            removes_after=max([row.removes_after, *(one.last for one in told if one.action == "remove")]),
        )
        mistaken = [self._book.mistaken(*name, action) for action in ACTIONS]
        if row.frozen:
            # Late verdicts are asked for no more: what the base presumed of them is anybody's guess, and the
            # whole list is told in any case.
            mistaken = [[], []]
        refused: Mapping[Action, Sequence[int]] = {
            action: self._book.refused(*name, action) for action in ACTIONS
        }
        # Nothing was told on this way of the members of earlier chunks: they are as the base has them.
        held_back = self._book.mistaken(*name, "wait") + [
            key for one in opened if one.number in known for key in self._late_changes(one).keys.tolist()
        ]
        file: tuple[str, int] | None = None
        base, confirmed = row.base, row.confirmed
        ended = (row.adds_after, row.removes_after)
        whole = not held_back and not any(refused.values()) and not any(mistaken)
        if ended == (AFTER_ALL, AFTER_ALL) and whole:
            base, confirmed = row.target, self._rows(row.target)
        elif ended != (BEFORE_ALL, BEFORE_ALL) or any(mistaken):
            kept = {action: [*keys, *held_back] for action, keys in refused.items()}
            file = self._confirmed(row, kept, mistaken)
            base, confirmed = file
            confirmed -= sum(_counted(one) for one in waiting)
        moved = replace(
            row,
            base=base,
            target=target,
            confirmed=confirmed,
            adds_after=BEFORE_ALL,
            removes_after=BEFORE_ALL,
        )
        ways = {
            one.number: None if one.number in known else _as_way(self._changes(before, one))
            for one in waiting
        }
        self._book.rebase(moved, file=file, forget=forget, waiting=ways)
        for action in ACTIONS:
            self._ways.pop((*name, action), None)
        self._leaving.pop(name, None)
        return moved

    def _confirmed(
        self,
        row: SyncRow,
        refused: Mapping[Action, Sequence[int]],
        mistaken: Sequence[Sequence[int]],
    ) -> tuple[str, int]:
        """Writes who is confirmed by now as a file; its name and rows. `mistaken`: whom the base has and the
        platform has not, and the other way round."""
        db = self._files.db
        for table, keys in (
            ("not_added", refused["add"]),
            ("not_removed", refused["remove"]),
            ("not_there", mistaken[0]),
            ("still_there", mistaken[1]),
        ):
            db.execute(f"create or replace temp table {table} (key bigint)")
            db.register("arriving", {"key": np.array(keys, dtype=np.int64)})
            db.execute(f"insert into {table} select key from arriving")
            db.unregister("arriving")
        query = CONFIRMED.format(target=self._read(row.target), base=self._read(row.base))
        query = query.replace("$adds", str(row.adds_after)).replace("$removes", str(row.removes_after))
        number = self._book.next_build()
        name = f"confirmed/{row.audience}/{row.account}/{number:012d}.parquet"
        return name, self._files.write(db, query, name)

    def _read(self, file: str) -> str:
        if not file:
            return "(select null::bigint as key, null::bigint as user_key, null::double as value where false)"
        return f"read_parquet({quoted(self._files.root / file)})"

    def _rows(self, file: str) -> int:
        found = self._files.db.execute(f"select count(*) from {self._read(file)}").fetchone()
        return int(found[0]) if found else 0

    def _over(self, row: SyncRow, action: Action, opened: Sequence[ChunkRow]) -> None:
        """There is nobody more to add, or to remove: notes it once every chunk of it has ended."""
        if any(one.action == action for one in opened) or row.after(action) == AFTER_ALL:
            return
        done = (
            replace(row, adds_after=AFTER_ALL) if action == "add" else replace(row, removes_after=AFTER_ALL)
        )
        if (done.adds_after, done.removes_after) == (AFTER_ALL, AFTER_ALL):
            done = replace(done, synced_us=self._clock.now_us())
            if not self._book.refusals(row.audience, row.account):
                done = replace(done, base=row.target, confirmed=self._rows(row.target))
        self._book.keep_sync(done)

    def _left(self, sync: Sync, row: SyncRow, action: Action) -> int:
        """Changes of that kind that did not end: those in open chunks are counted, too."""
        way = self._made_way(sync, row, action, row.after(action))
        return sum(len(found) for found in way)

    def _changes(self, row: SyncRow, chunk: ChunkRow) -> Changes:
        """The changes of a claimed chunk, found again."""
        if chunk.number in self._book.ways(chunk.audience, chunk.account):
            return self._late_changes(chunk)
        sync = self._sync(self._plan[chunk.audience, chunk.account])
        found = _Way(self._made_way(sync, row, chunk.action, chunk.first - 1)).take(chunk.members)
        if len(found) != chunk.members or int(found.keys[-1]) != chunk.last:
            raise DataError(f"the files of list {sync.audience} are not those that were sent: build it anew")
        return found

    def _late_changes(self, chunk: ChunkRow) -> Changes:
        """The changes of a chunk that was told for an earlier base."""
        known = self._told_before.get(chunk.number)
        if known is None:
            kept = self._book.way(chunk.audience, chunk.account, chunk.number)
            known = self._told_before[chunk.number] = Changes(
                np.frombuffer(kept.keys, np.int64),
                np.frombuffer(kept.worth, np.float64),
                np.frombuffer(kept.fresh, np.bool_),
            )
        return known

    def _late(self, sync: Sync) -> list[ChunkRow]:
        """The chunks that were told for an earlier base; whoever is done had a verdict since."""
        ways = self._book.ways(*sync.name)
        return [one for one in self._book.chunks(*sync.name) if one.number in ways] if ways else []

    def _told(self, sync: Sync, row: SyncRow, action: Action, changes: Changes) -> list[AudienceMember]:
        """The members as the platform is told of them: removals without the ids that others hold."""
        members = self._members(changes)
        if action == "add" or not members:
            return members
        kept, last = self._held(sync, row, changes), int(changes.keys[-1])
        return [without(one, kept, last) for one in members]

    def _held(self, sync: Sync, row: SyncRow, changes: Changes) -> Held:
        """Which ids of members that leave belong to somebody who is to be on the list, too."""
        first, last = int(changes.keys[0]), int(changes.keys[-1])
        known = self._leaving.get(sync.name)
        if known is not None and known.target == row.target and known.first <= first and last <= known.last:
            return known.held
        ids = self._book.files("ids")
        stuck = [*self._book.mistaken(*sync.name, "wait"), *self._book.refused(*sync.name, "remove")]
        for chunk in self._late(sync):
            stuck += self._late_changes(chunk).keys.tolist()
        side = Side(row.target, row.base, self._book.refused(*sync.name, "add"), stuck)
        keys = _Way(self._made_way(sync, row, "remove", first - 1)).take(LEAVING_AT_ONCE).keys
        if not np.isin(changes.keys, keys).all():  # of an earlier build, that waited for its verdict
            return held(self._files, ids, changes.keys, side)
        found = held(self._files, ids, keys, side)
        self._leaving[sync.name] = _Leaving(row.target, first, int(keys[-1]), found)
        return found

    def _members(self, changes: Changes) -> list[AudienceMember]:
        values = [None if np.isnan(value) else float(value) for value in changes.values]
        return self._files.members(self._book.files("ids"), changes.keys.tolist(), values)

    def _way(self, sync: Sync, row: SyncRow, action: Action, after: int) -> "_Way":
        """The rest of the way, gone on where it was left."""
        name = (sync.audience, sync.account, action)
        way = self._ways.get(name)
        mark = (row.base, row.target, after)
        if way is None or way.mark != mark:
            way = self._ways[name] = _Way(self._made_way(sync, row, action, after), mark)
        return way

    def _made_way(self, sync: Sync, row: SyncRow, action: Action, after: int) -> Iterator[Changes]:
        """The changes behind a key, but those of members on whom a verdict is awaited."""
        found = self._path(sync, row, action, after)
        known = self._book.ways(*sync.name)
        late = [self._late_changes(chunk).keys for chunk in self._late(sync)] if known else []
        return _without(found, np.concatenate(late)) if late else found

    def _path(self, sync: Sync, row: SyncRow, action: Action, after: int) -> Iterator[Changes]:
        if after >= AFTER_ALL:
            return iter(())
        intended, confirmed = self._files.pages(row.target, after), self._files.pages(row.base, after)
        if action == "remove":
            put_off = np.array(self._book.mistaken(*sync.name, "wait"), dtype=np.int64)
            return _without(removals(intended, confirmed), put_off)
        refused = np.array(self._book.refused(*sync.name, "add"), dtype=np.int64)
        return _without(additions(intended, confirmed, valued=sync.with_value), refused)


ACTIONS: tuple[Action, ...] = ("add", "remove")


class _Way:
    """Changes taken in pieces; `mark` says from which files and behind which key it goes on."""

    def __init__(self, changes: Iterator[Changes], mark: tuple[str, str, int] = ("", "", BEFORE_ALL)) -> None:
        self._changes = changes
        self._waiting: list[Changes] = []
        self.mark = mark

    def take(self, limit: int) -> Changes:
        """The next changes, `limit` of them at most."""
        have = sum(map(len, self._waiting))
        while have < limit and (found := next(self._changes, None)) is not None:
            self._waiting.append(found)
            have += len(found)
        whole = _joined(self._waiting)
        taken = Changes(whole.keys[:limit], whole.values[:limit], whole.fresh[:limit])
        rest = Changes(whole.keys[limit:], whole.values[limit:], whole.fresh[limit:])
        self._waiting = [rest] if len(rest) else []
        if len(taken):
            self.mark = (self.mark[0], self.mark[1], int(taken.keys[-1]))
        return taken


def _counted(chunk: ChunkRow) -> int:
    """By how many members a yes to the chunk makes the list longer."""
    return chunk.fresh if chunk.action == "add" else -chunk.members


def _as_way(changes: Changes) -> Way:
    """Changes as they are kept apart from any file."""
    return Way(changes.keys.tobytes(), changes.values.tobytes(), changes.fresh.tobytes())


def _joined(parts: Sequence[Changes]) -> Changes:
    if not parts:
        return Changes(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.bool_))
    return Changes(
        np.concatenate([one.keys for one in parts]),
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.fresh for one in parts]),
    )


def _without(
    changes: Iterator[Changes], refused: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> Iterator[Changes]:
    """The changes but those of certain members."""
    sorted_ = np.unique(refused)
    for one in changes:
        first, last = np.searchsorted(sorted_, (one.keys[0], one.keys[-1] + 1))
        left = ~np.isin(one.keys, sorted_[first:last], assume_unique=True)
        if left.any():
            yield Changes(one.keys[left], one.values[left], one.fresh[left])


def _as_changes(pages: Iterator[Page]) -> Iterator[Changes]:
    for page in pages:
        yield Changes(page.keys, page.values, np.ones(len(page), dtype=np.bool_))
