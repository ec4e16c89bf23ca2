"""What MMPs and ad accounts tell us, in a file of its own: attribution, recorded events, cost.

The door and imports write it, reports read it. Taking the same facts again changes nothing; what an MMP
says differently later stands beside what it said before, and the later one holds.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded, Spend
from lendsignal.model.money import plain

SCHEMA = """
create table if not exists attribution (
    key blob primary key,               -- hash of feed, app, id, kind, second and ad
    feed text not null,
    mmp text not null,
    app text not null,
    id text not null,                   -- the MMP's id of the installation
    kind text not null,
    at_us integer not null,             -- when the user came; 0: not told
    told_us integer not null,           -- of two rows that differ only in the ad, the later one holds
    ad integer not null,                -- rowid of ad
    touch text not null,
    touch_us integer,
    user_id text not null,
    click_ids text not null             -- JSON
) without rowid;
create table if not exists recorded (
    key blob primary key,               -- hash of feed, app, id, name, second and what else tells it apart
    feed text not null,
    mmp text not null,
    app text not null,
    id text not null,
    name text not null,
    at_us integer not null,
    conversion text not null,           -- the conversion id that we sent with it; empty: none
    amount text,
    currency text not null,
    sent_by text not null,              -- SDK or S2S, as the MMP says
    kind text not null,
    is_primary integer not null,
    ad integer not null,
    user_id text not null,
    copies integer not null             -- how often one file had it
) without rowid;
create table if not exists spend (
    feed text not null,
    account text not null,
    day text not null,                  -- of the account's own time zone
    ad integer not null,
    country text not null,
    currency text not null,
    amount text not null,               -- major units
    impressions integer not null,
    clicks integer not null,
    primary key (feed, account, day, ad, country, currency)
) without rowid;
create table if not exists ad (
    number integer primary key,
    channel text not null, media_source text not null, campaign text not null, campaign_id text not null,
    ad_set text not null, ad_set_id text not null, ad text not null, ad_id text not null,
    unique (channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad, ad_id)
);
create table if not exists kept_out (   -- installations and users that were erased: nothing of them comes in
    who blob primary key
) without rowid;
create table if not exists salt (one integer primary key, body blob not null);
create table if not exists cursor (name text primary key, position integer not null) without rowid;
create table if not exists changed (    -- the days of which something was told, each by the last time it was
    kind text not null,
    day integer not null,               -- since 1970, UTC; of spend the account's own
    turn integer not null,
    primary key (kind, day)
) without rowid;
create index if not exists changed_turn on changed (turn);
"""

_CHANGED = (
    "insert into changed select '{kind}', {day}, coalesce(max(turn), 0) + 1 from changed where true"
    " on conflict (kind, day) do update set turn = excluded.turn;"
)
_DAY_OF = {
    "attribution": "{row}.at_us / 86400000000",
    "recorded": "{row}.at_us / 86400000000",
    "spend": "cast(julianday({row}.day) - 2440587.5 as integer)",
}
"""SQL of the day that a row of each kind belongs to."""

SCHEMA += "".join(
    f"create trigger if not exists {kind}_{act} after {act} on {kind} begin "
    f"{_CHANGED.format(kind=kind, day=day.format(row='old' if act == 'delete' else 'new'))} end;\n"
    for kind, day in _DAY_OF.items()
    for act in ("insert", "update", "delete")
)

_AD_WORDS = "channel, media_source, campaign, campaign_id, ad_set, ad_set_id, ad.ad, ad_id"
_TOLD = {
    "attribution": "select hex(key), feed, mmp, app, id, kind, nullif(at_us, 0), told_us, "
    f"{_AD_WORDS}, touch, touch_us, user_id, click_ids from attribution told join ad on number = told.ad"
    " where at_us / 86400000000 = ? order by key",
    "recorded": "select hex(key), feed, mmp, app, id, name, nullif(at_us, 0), conversion, amount, currency,"
    f" sent_by, kind, is_primary <> 0, {_AD_WORDS}, user_id, copies"
    " from recorded told join ad on number = told.ad where at_us / 86400000000 = ? order by key",
    "spend": f"select feed, account, day, {_AD_WORDS}, country, currency, amount, impressions, clicks"
    " from spend told join ad on number = told.ad where day = date(? * 86400, 'unixepoch')"
    " order by feed, account, told.ad, country, currency",
}
"""The rows of a day, as the archive has them."""

ATTRIBUTED = """
insert into attribution values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (key) do update set
    -- The MMP's own clock says when it came to say so; ours only says when a file was read, and a file may
    -- be read again.
    told_us = iif(?, max(told_us, excluded.told_us), told_us),
    touch = excluded.touch, touch_us = coalesce(excluded.touch_us, touch_us),
    user_id = iif(excluded.user_id = '', user_id, excluded.user_id),
    click_ids = iif(excluded.click_ids = '{}', click_ids, excluded.click_ids)
"""

RECORDED = """
insert into recorded values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (key) do update set
    copies = max(copies, excluded.copies),
    ad = iif(excluded.is_primary >= is_primary, excluded.ad, ad),
    kind = iif(excluded.is_primary >= is_primary, excluded.kind, kind),
    is_primary = max(is_primary, excluded.is_primary)
"""

SECOND = 1_000_000
"""Raw-data files tell times to the second, messages to the millisecond: one fact has one key in both."""

AT_ONCE = 5_000
"""Facts that one transaction takes, so that a file of millions does not keep the door waiting."""

_json = msgspec.json.Encoder(order="sorted").encode


class FeedCounts(Struct, frozen=True):
    """How many rows there are of each kind."""

    attributions: int
    recorded: int
    spend: int


class Feeds:
    """The file of feeds. Whatever writes raises `LogError` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)
        self._ads: dict[Ad, int] = {}
        self._salt = b""
        self._kept_out: frozenset[bytes] = frozenset()
        self._kept_out_at = -1

    def take(self, facts: Iterable[Attribution | Recorded]) -> None:
        """Makes facts durable, all or none. What is told of who was erased is passed over."""
        with self._lock, transaction(self._db):
            known = dict(self._ads)
            self._look_who_is_kept_out()
            for fact in facts:
                if self._kept_out and self._is_kept_out(fact):
                    continue
                if isinstance(fact, Attribution):
                    self._attribute(fact, known)
                else:
                    self._record(fact, known)
        self._ads = known

    def take_many(self, facts: Iterable[Attribution | Recorded]) -> None:
        """Makes any number of facts durable, a few thousand at a time."""
        batch: list[Attribution | Recorded] = []
        for fact in facts:
            batch.append(fact)
            if len(batch) == AT_ONCE:
                self.take(batch)
                batch.clear()
        self.take(batch)

    def replace_days(self, costs: Sequence[Spend]) -> None:
        """Makes costs durable, all or none: whatever a feed's account had on the days they tell of is gone.

        Costs of one day, ad, country and currency are added up.
        """
        with self._lock, transaction(self._db):
            known = dict(self._ads)
            self._db.executemany(
                "delete from spend where feed = ? and account = ? and day = ?",
                sorted({(one.feed, one.account, one.day.isoformat()) for one in costs}),
            )
            for one in _added_up(costs):
                self._db.execute(
                    "insert into spend values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        one.feed,
                        one.account,
                        one.day.isoformat(),
                        self._ad(one.ad, known),
                        one.country,
                        one.currency,
                        plain(one.amount),
                        one.impressions,
                        one.clicks,
                    ),
                )
        self._ads = known

    def attributions(self) -> Iterator[Attribution]:
        """What holds now, by app, id and moment: of several sayings about one coming the latest."""
        with self._lock:
            ads = self._all_ads()
            for (
                feed,
                mmp,
                app,
                id_,
                kind,
                at_us,
                told_us,
                ad,
                touch,
                touch_us,
                user,
                clicks,
            ) in self._db.execute(
                "select feed, mmp, app, id, kind, at_us, told_us, ad, touch, touch_us, user_id, click_ids"
                " from ("
                "  select *, row_number() over (partition by feed, app, id, kind, at_us / ?"
                "    order by told_us desc, key) as place from attribution"
                ") where place = 1 order by app, id, at_us, feed, kind",
                (SECOND,),
            ):
                yield Attribution(
                    feed=feed,
                    mmp=mmp,
                    app=app,
                    id=id_,
                    kind=AttributionKind(kind),
                    at_us=at_us,
                    told_us=told_us,
                    ad=ads[ad],
                    touch=touch,
                    touch_us=touch_us,
                    user_id=user,
                    click_ids=msgspec.json.decode(clicks),
                )

    def history(self, app: str, id_: str) -> list[tuple[int, Ad]]:
        """Everything that was ever said of an installation: when, and which ad, oldest first."""
        with self._lock:
            ads = self._all_ads()
            found = self._db.execute(
                "select told_us, ad from attribution where app = ? and id = ? order by told_us, key",
                (app, id_),
            )
            return [(told_us, ads[ad]) for told_us, ad in found]

    def recorded(self) -> Iterator[Recorded]:
        """Every event that an MMP says it recorded, once, by app, name and moment."""
        with self._lock:
            ads = self._all_ads()
            for found in self._db.execute(
                "select feed, mmp, app, id, name, at_us, conversion, amount, currency, sent_by, kind,"
                " is_primary, ad, user_id, copies from recorded order by app, name, at_us, key"
            ):
                feed, mmp, app, id_, name, at_us, conversion, amount, currency, sent_by = found[:10]
                kind, is_primary, ad, user, copies = found[10:]
                yield Recorded(
                    feed=feed,
                    mmp=mmp,
                    app=app,
                    id=id_,
                    name=name,
                    at_us=at_us,
                    conversion=conversion,
                    amount=None if amount is None else Decimal(amount),
                    currency=currency,
                    sent_by=sent_by,
                    kind=AttributionKind(kind),
                    primary=bool(is_primary),
                    ad=ads[ad],
                    user_id=user,
                    copies=copies,
                )

    def spend(self) -> Iterator[Spend]:
        """Every cost by day."""
        with self._lock:
            ads = self._all_ads()
            for feed, account, day, ad, country, currency, amount, impressions, clicks in self._db.execute(
                "select * from spend order by day, feed, account, ad, country, currency"
            ):
                yield Spend(
                    feed=feed,
                    account=account,
                    day=date.fromisoformat(day),
                    ad=ads[ad],
                    country=country,
                    currency=currency,
                    amount=Decimal(amount),
                    impressions=impressions,
                    clicks=clicks,
                )

    def changed(self, after: int) -> list[tuple[str, int, int]]:
        """(kind, day since 1970, turn) of the days of which something was told behind a turn, in order.

        A turn rises with each telling. What was told before days were counted is of turn 0: ask from -1 on.
        """
        counted = " union all ".join(
            f"select distinct '{kind}', {day.format(row=kind)}, 0 from {kind}"
            for kind, day in _DAY_OF.items()
        )
        with self._lock:
            if row(self._db, "select 1 from sqlite_master where name = 'changed'") is None:
                return rows(self._db, f"select * from ({counted}) order by 2")
            if after >= 0:
                query = "select kind, day, turn from changed where turn > ? order by turn"
                return rows(self._db, query, (after,))
            return rows(
                self._db,
                "select kind, day, coalesce(c.turn, 0) as turn"
                " from (select '' as kind, 0 as day, 0 where false"
                f" union all {counted}) told left join changed c using (kind, day) order by turn",
            )

    def told_on(self, kind: str, day: int) -> list[tuple[Any, ...]]:
        """The rows of a kind (attribution, recorded or spend) on a day, as the archive's tables have them."""
        with self._lock:
            return rows(self._db, _TOLD[kind], (day,))

    def latest(self) -> dict[str, int]:
        """When each feed last told of a coming or of a recorded event that happened then, in microseconds."""
        with self._lock:
            found = self._db.execute(
                "select feed, max(at_us) from"
                " (select feed, max(told_us) as at_us from attribution group by feed"
                " union all select feed, max(at_us) from recorded group by feed) group by feed"
            )
            return {feed: int(at_us) for feed, at_us in found}

    def counts(self) -> FeedCounts:
        """How much there is of everything."""
        with self._lock:
            found = row(
                self._db,
                "select (select count(*) from attribution), (select count(*) from recorded),"
                " (select count(*) from spend)",
            )
        return FeedCounts(*(found or (0, 0, 0)))

    # what somebody follows

    def place(self, name: str) -> int:
        """A number that was kept under that name; 0: none was."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (name,))
        return 0 if found is None else int(found[0])

    def move(self, places: Mapping[str, int]) -> None:
        """Keeps numbers by name, all or none."""
        with self._lock, transaction(self._db):
            self._db.executemany("insert or replace into cursor values (?, ?)", places.items())

    # who was erased

    def erase(self, installations: Collection[tuple[str, str]], users: Collection[tuple[str, str]]) -> int:
        """Deletes what was told of installations (app, the MMP's id) and of users (app, user id), and takes
        nothing of them any more; how many rows went.

        The days that they stood on count as told anew.
        """
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                self._db.execute("insert or ignore into salt values (1, ?)", (os.urandom(32),))
                before = self.counts()
                for table in ("attribution", "recorded"):
                    self._db.executemany(f"delete from {table} where app = ? and id = ?", installations)
                    self._db.executemany(f"delete from {table} where app = ? and user_id = ?", users)
                self._look_who_is_kept_out()
                self._db.executemany(
                    "insert or ignore into kept_out values (?)",
                    [
                        *((self._name("installation", *one),) for one in installations),
                        *((self._name("user", *one),) for one in users),
                    ],
                )
                self._kept_out_at = -1
                after = self.counts()
        return before.attributions - after.attributions + before.recorded - after.recorded

    def erase_named(self, salt: bytes, names: Collection[bytes]) -> int:
        """Deletes what was told of installations and users whose salted hashes these are, as `name_in` makes
        them; how many rows went. Nothing of them comes in where these feeds are followed from."""
        wanted = frozenset(names)
        if not wanted:
            return 0
        with self._lock:
            installations, users = set(), set()
            for table in ("attribution", "recorded"):
                for app, id_, user in self._db.execute(f"select distinct app, id, user_id from {table}"):
                    if name_in(salt, "installation", app, id_) in wanted:
                        installations.add((app, id_))
                    if user and name_in(salt, "user", app, user) in wanted:
                        users.add((app, user))
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                before = self.counts()
                for table in ("attribution", "recorded"):
                    self._db.executemany(f"delete from {table} where app = ? and id = ?", installations)
                    self._db.executemany(f"delete from {table} where app = ? and user_id = ?", users)
                after = self.counts()
        return before.attributions - after.attributions + before.recorded - after.recorded

    def allow_again(self, users: Collection[tuple[str, str]]) -> None:
        """What is told of these users (app, user id) counts again; their old installations stay outside."""
        with self._lock, transaction(self._db):
            self._look_who_is_kept_out()
            self._db.executemany(
                "delete from kept_out where who = ?", [(self._name("user", *one),) for one in users]
            )
            self._kept_out_at = -1

    def _look_who_is_kept_out(self) -> None:
        """Reads the list where it grew or shrank, within a transaction."""
        (found,) = rows(self._db, "select count(*) from kept_out")
        if found[0] == self._kept_out_at:
            return
        salt = row(self._db, "select body from salt")
        self._salt = b"" if salt is None else bytes(salt[0])
        self._kept_out = frozenset(bytes(who) for (who,) in rows(self._db, "select who from kept_out"))
        self._kept_out_at = found[0]

    def _is_kept_out(self, fact: Attribution | Recorded) -> bool:
        if self._name("installation", fact.app, fact.id) in self._kept_out:
            return True
        return bool(fact.user_id) and self._name("user", fact.app, fact.user_id) in self._kept_out

    def _name(self, *parts: str) -> bytes:
        return name_in(self._salt, *parts)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _attribute(self, one: Attribution, known: dict[Ad, int]) -> None:
        ad = self._ad(one.ad, known)
        self._db.execute(
            ATTRIBUTED,
            (
                _key(one.feed, one.app, one.id, one.kind, one.at_us // SECOND, *_words(one.ad)),
                one.feed,
                one.mmp,
                one.app,
                one.id,
                one.kind.value,
                one.at_us,
                one.told_us,
                ad,
                one.touch,
                one.touch_us,
                one.user_id,
                _json(one.click_ids).decode(),
                one.dated,
            ),
        )

    def _record(self, one: Recorded, known: dict[Ad, int]) -> None:
        self._db.execute(
            RECORDED,
            (
                _key(one.feed, one.app, one.id, one.name, one.at_us // SECOND, one.detail),
                one.feed,
                one.mmp,
                one.app,
                one.id,
                one.name,
                one.at_us,
                one.conversion,
                None if one.amount is None else plain(one.amount),
                one.currency,
                one.sent_by,
                one.kind.value,
                one.primary,
                self._ad(one.ad, known),
                one.user_id,
                one.copies,
            ),
        )

    def _ad(self, ad: Ad, known: dict[Ad, int]) -> int:
        number = known.get(ad)
        if number is None:
            words = _words(ad)
            self._db.execute("insert or ignore into ad values (null, ?, ?, ?, ?, ?, ?, ?, ?)", words)
            found = row(
                self._db,
                "select number from ad where channel = ? and media_source = ? and campaign = ?"
                " and campaign_id = ? and ad_set = ? and ad_set_id = ? and ad = ? and ad_id = ?",
                words,
            )
            assert found is not None
            number = known[ad] = int(found[0])
        return number

    def _all_ads(self) -> dict[int, Ad]:
        names = Ad.__struct_fields__
        return {
            number: Ad(**dict(zip(names, words, strict=True)))
            for number, *words in self._db.execute(f"select number, {', '.join(names)} from ad")
        }


def open_feeds(path: Path, *, read_only: bool = False) -> Feeds:
    """The feeds kept at `path`; made where they are missing.

    Raises `NotYet` where they are only to be read.
    """
    return Feeds(connect(path, SCHEMA, read_only=read_only))


def fact_key(one: Recorded) -> bytes:
    """What makes two reports of a recorded event the same report."""
    return _key(one.feed, one.app, one.id, one.name, one.at_us // SECOND, one.detail, str(one.primary))


def name_in(salt: bytes, *parts: str) -> bytes:
    """What an installation (`installation`, app, id) or a user (`user`, app, id) is kept out by."""
    return blake2b(_json(parts), key=salt, digest_size=16).digest()


def _words(ad: Ad) -> tuple[str, ...]:
    return tuple(getattr(ad, name) for name in Ad.__struct_fields__)


def _key(*parts: object) -> bytes:
    return blake2b(_json([str(part) for part in parts]), digest_size=16).digest()


def _added_up(costs: Sequence[Spend]) -> list[Spend]:
    sums: dict[tuple[str, str, date, Ad, str, str], Spend] = {}
    for one in costs:
        key = (one.feed, one.account, one.day, one.ad, one.country, one.currency)
        before = sums.get(key)
        sums[key] = (
            one
            if before is None
            else msgspec.structs.replace(
                before,
                amount=before.amount + one.amount,
                impressions=before.impressions + one.impressions,
                clicks=before.clicks + one.clicks,
            )
        )
    return list(sums.values())
