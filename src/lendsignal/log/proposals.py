"""Proposals to move bids and budgets, and what a person decided of each, in a file of their own.

Nothing here is done by itself: a proposal waits until a person accepts or declines it, and stays with the
evidence it was made from. A new round replaces proposals that nobody decided.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import apsw
import msgspec
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists proposal (
    id integer primary key,
    made_us integer not null,
    channel text not null,
    campaign_id text not null,
    campaign text not null,
    body blob not null,                 -- msgpack: the proposal with all that it rests on
    state text not null,                -- open, accepted, declined, replaced
    decided_us integer,
    who text not null default '',       -- the system's user name, or that of the console
    note text not null default ''
);
create index if not exists proposal_state on proposal (state, id);
create table if not exists cursor (name text primary key, position integer not null) without rowid;
"""

DAY_US = 86_400_000_000

State: TypeAlias = Literal["open", "accepted", "declined", "replaced"]
Campaign: TypeAlias = tuple[str, str, str]
"""Channel, campaign id and campaign name."""


class Kept(Struct, frozen=True, kw_only=True):
    """A proposal as it stands. Moments are microseconds since 1970, UTC; `decided_us`: `None` while open."""

    id: int
    made_us: int
    channel: str
    campaign_id: str
    campaign: str
    body: Mapping[str, Any]
    state: State
    decided_us: int | None
    who: str
    note: str


_out = msgspec.msgpack.Encoder().encode
_in = msgspec.msgpack.Decoder(dict[str, Any]).decode

_COLUMNS = "id, made_us, channel, campaign_id, campaign, body, state, decided_us, who, note"


class Proposals:
    """The file of proposals."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def propose(self, made_us: int, proposals: Sequence[tuple[Campaign, Struct]]) -> list[int]:
        """Keeps a round of proposals and returns their numbers; open ones of earlier rounds are replaced."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "update proposal set state = 'replaced', decided_us = ? where state = 'open'", (made_us,)
            )
            numbers = []
            for (channel, id_, name), body in proposals:
                self._db.execute(
                    "insert into proposal (made_us, channel, campaign_id, campaign, body, state)"
                    " values (?, ?, ?, ?, ?, 'open')",
                    (made_us, channel, id_, name, _out(body)),
                )
                numbers.append(int(self._db.last_insert_rowid()))
        return numbers

    def decide(self, number: int, state: State, *, at_us: int, who: str, note: str) -> Kept | None:
        """Accepts or declines an open proposal; `None` where there is none of that number that is open."""
        with self._lock, transaction(self._db):
            found = row(self._db, "select state from proposal where id = ?", (number,))
            if found is None or found[0] != "open":
                return None
            self._db.execute(
                "update proposal set state = ?, decided_us = ?, who = ?, note = ? where id = ?",
                (state, at_us, who, note, number),
            )
        return self.of(number)

    def of(self, number: int) -> Kept | None:
        """The proposal of that number."""
        with self._lock:
            found = row(self._db, f"select {_COLUMNS} from proposal where id = ?", (number,))
        return None if found is None else _kept(found)

    def all(self, state: State | None = None) -> list[Kept]:
        """Every proposal, youngest first, of one state where that is given."""
        where, given = ("", ()) if state is None else (" where state = ?", (state,))
        with self._lock:
            found = rows(self._db, f"select {_COLUMNS} from proposal{where} order by id desc", given)
        return [_kept(one) for one in found]

    def last_step_us(self) -> dict[Campaign, int]:
        """When each campaign's last proposal was accepted."""
        with self._lock:
            found = rows(
                self._db,
                "select channel, campaign_id, campaign, max(decided_us) from proposal"
                " where state = 'accepted' group by channel, campaign_id, campaign",
            )
        return {(channel, id_, name): at_us for channel, id_, name, at_us in found}

    def rested_days(self, now_us: int) -> dict[Campaign, int]:
        """Whole days since each campaign's last accepted step."""
        return {one: (now_us - at_us) // DAY_US for one, at_us in self.last_step_us().items()}

    def accepted_since(self, after_us: int) -> list[Kept]:
        """What was accepted from that moment on, oldest proposal first."""
        return [one for one in reversed(self.all("accepted")) if (one.decided_us or 0) >= after_us]

    def close(self) -> None:
        """Lets the file go."""
        with self._lock:
            self._db.close()


def open_proposals(path: Path, *, read_only: bool = False) -> Proposals:
    """The proposals kept at `path`; made where they are missing, unless they are only to be read."""
    return Proposals(connect(path, SCHEMA, read_only=read_only))


def _kept(found: Sequence[Any]) -> Kept:
    id_, made_us, channel, campaign_id, campaign, body, state, decided_us, who, note = found
    return Kept(
        id=id_,
        made_us=made_us,
        channel=channel,
        campaign_id=campaign_id,
        campaign=campaign,
        body=_in(body),
        state=state,
        decided_us=decided_us,
        who=who,
        note=note,
    )
