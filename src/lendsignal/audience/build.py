"""Builds lists: who is on each now, written as files of members, set by set.

A whole build looks at everybody. Between them, lists that follow the state of a loan are brought up to date
with the users of whom something came in; and whoever withdrew consent, or turned out to be a test user,
leaves every list. Test users are on none, nor is anybody without consent or without an id.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from lendsignal.audience.customers import (
    LOGIN_COLUMNS,
    NEW_IDS,
    Asked,
    known_ids,
    make_chosen,
    make_customers,
)
from lendsignal.audience.definitions import Definition
from lendsignal.audience.files import Files, quoted
from lendsignal.audience.told import read, take
from lendsignal.audience.worth import PREDICTED, Predict
from lendsignal.clock import Clock
from lendsignal.log import Audiences, Build, DataFolder, open_audiences, open_log
from lendsignal.plan import Holdout, is_held_out
from lendsignal.report.tables import Tables, load

MOST_ID_FILES = 12
"""So many files of ids are made one: each asks for a look."""

KEPT_BUILDS = 400
"""Builds of each list that are remembered: a year of days, and some of a busy day."""

MEMBERS_OF = """
create or replace temp table list_member as
select c.key, c.user_key, c.user, {value} as value, c.allows, c.reachable, c.test
from customer c {joined} where {where}
"""

CURRENCY = """
select currency from customer where {where} and currency is not null
group by 1 order by count(*) desc, 1 limit 1
"""

LEFT_OUT = """
select count(*) filter (test), count(*) filter (not test and not allows),
    count(*) filter (not test and allows and not reachable),
    count(*) filter (not test and allows and reachable and {worthless})
from list_member
"""

LISTED = "not test and allows and reachable"

CHANGED = """
select count(*) filter (o.key is null), count(*) filter (n.key is null),
    count(*) filter (o.key is not null and n.key is not null and o.value is distinct from n.value)
from {new} n full join {old} o using (key)
"""

KEPT_MEMBERS = """
select key, user_key, value from {old} where user_key not in (select user_key from list_chosen)
union all select key, user_key, value from list_member
"""

STAYING = """
select key, user_key, value from {old} where user_key not in (
    select user_key from customer
    where (test or not allows) and user_key in (select user_key from list_chosen))
"""


class Rules(Struct, frozen=True, kw_only=True):
    """What lists are built by. `holdouts`: by list, who is left out of it on purpose."""

    lists: Mapping[str, Definition]
    asked: Asked = Asked()
    holdouts: Mapping[str, Sequence[Holdout]] = {}
    predict: Predict | None = None


class Builder:
    """Builds the lists of one data folder. One process at a time: whoever has the role `audience`."""

    def __init__(self, folder: DataFolder, rules: Rules, clock: Clock) -> None:
        self._folder = folder
        self._rules = rules
        self._clock = clock
        self._book: Audiences = open_audiences(folder.audiences)
        self._files = Files(folder)

    def whole(self, names: Sequence[str] | None = None) -> list[Build]:
        """Builds lists from everything, by default all of them; what was built."""
        position = self._taken()
        wanted = [one for name, one in self._rules.lists.items() if names is None or name in names]
        with load(self._folder) as tables:
            told = self._book.files("told")
            make_customers(tables, self._files, told, self._rules.asked, wide=_wide(wanted))
            made = self._made(tables, wanted)
            built = self._kept(tables, made, position, whole=True)
        if names is None:
            self._book.move("listed", position)
            self._book.move("whole_us", self._clock.now_us())
        self._book.forget_unused(KEPT_BUILDS)
        self._thin_out()
        self._swept()
        return built

    def fresh(self) -> list[Build]:
        """Brings lists up to date with what came in since the last build; those that changed.

        Lists without a build, or with another definition by now, are built whole.
        """
        since, position = self._book.position("listed"), self._taken()
        stale = [
            one
            for one in self._rules.lists.values()
            if (build := self._book.build(one.name)) is None or build.definition != one.checksum()
        ]
        if since == 0:
            return self.whole()
        built = self.whole([one.name for one in stale]) if stale else []
        if position <= since:
            return built
        with load(self._folder) as tables:
            told = self._book.files("told")
            known = [one for one in self._rules.lists.values() if one not in stale]
            if make_chosen(tables, self._files, told, self._rules.asked, since, wide=_wide(known)):
                made = [found for one in known if (found := self._moved(tables, one)) is not None]
                built += self._kept(tables, made, position, whole=False)
        self._book.move("listed", position)
        self._swept()
        return built

    def forget(self, users: Collection[str]) -> None:
        """Lets go of what was told of users (`brand:user_id`) who are erased.

        They leave every list with the next build, for the archive has them no more; the ids that a platform
        must be told to remove them by go with the first whole build after it said yes.
        """
        names = self._book.files("told")
        if names:
            listed = ", ".join(quoted(one) for one in sorted(users)) or "''"
            query = f'select * from {read(self._files, names)} where "user" not in ({listed})'
            name = f"told/{0:015d}-{self._book.position('told'):015d}-{self._book.next_build()}.parquet"
            rows = self._files.write(self._files.db, f"{query} order by user_key, seq", name, dense=True)
            self._book.keep_file(name, "told", rows, instead_of=names)
        self._book.move("forgetting", 1)
        self._swept()

    def due_whole(self, every_us: int) -> bool:
        """Whether the last whole build is longer ago."""
        return self._clock.now_us() - self._book.position("whole_us") >= every_us

    def ready(self, tables: Tables) -> None:
        """Makes the tables that `members` looks at, of everybody."""
        self._taken()
        make_customers(tables, self._files, self._book.files("told"), self._rules.asked)

    def close(self) -> None:
        """Lets files and memory go."""
        self._files.people.unlink(missing_ok=True)
        self._book.close()
        self._files.close()

    # inside

    def _taken(self) -> int:
        """Reads contacts and consents up to what is decided; that position."""
        log = open_log(self._folder.log, read_only=True)
        try:
            position = log.position()
        finally:
            log.close()
        take(self._folder, self._files, self._book, position)
        return position

    def _made(self, tables: Tables, wanted: Sequence[Definition]) -> list["_Made"]:
        tables.db.execute("create or replace temp table list_needed (key bigint)")
        return [
            self._written(tables, one, "select * from list_member", self.members(tables, one))
            for one in wanted
        ]

    def _moved(self, tables: Tables, one: Definition) -> "_Made | None":
        """The list with the users of whom something came in looked at anew; `None`: it stays as it is."""
        build = self._book.build(one.name)
        assert build is not None, "lists without a build are built whole"
        old = f"read_parquet({quoted(self._files.root / build.file)})"
        left_out = msgspec.json.decode(build.left_out, type=dict[str, int])
        tables.db.execute("create table if not exists list_needed (key bigint)")
        follows = one.follows and one.query is None and one.top is None
        if follows:
            self.members(tables, one)
        query = (KEPT_MEMBERS if follows else STAYING).format(old=old)
        ((joined, gone, other),) = tables.rows(CHANGED.format(new=f"({query})", old=old))
        if not joined and not gone and not other:
            return None
        return self._written(tables, one, query, Out(left_out, build.currency))

    def members(self, tables: Tables, one: Definition) -> "Out":
        """Makes `list_member`: who is on the list now; whom it leaves out, and its currency."""
        where = one.where(self._clock.now_us())
        joined, value, currency = "", "null::double", None
        if one.query is not None:
            tables.db.execute(f"create or replace temp table list_own as select * from ({one.query})")
            columns = [name for (name,) in tables.rows("select column_name from (describe list_own)")]
            given = "max(value)::double" if "value" in columns else "null::double"
            joined = f'join (select "user", {given} as own from list_own group by 1) q on q.user = c.user'
            value = _or_nothing("q.own")
        if one.value == "realised":
            value = _or_nothing("round(realised_value, 2)")
        elif one.value == "predicted":
            self._predicted(tables)
            joined += " left join list_predicted w on w.user_key = c.user_key"
            value = _or_nothing("round(w.value, 2)")
        if one.value is not None:
            found = tables.rows(CURRENCY.format(where=where))
            currency = found[0][0] if found else None
            # Amounts of another currency cannot stand beside them.
            value = f"case when c.currency = {quoted(currency or '')} then {value} end"
        tables.db.execute(MEMBERS_OF.format(value=value, joined=joined, where=where))
        worthless = "value is null" if one.value is not None else "false"
        ((test, no_consent, no_id, no_value),) = tables.rows(LEFT_OUT.format(worthless=worthless))
        tables.db.execute(f"delete from list_member where not ({LISTED}) or ({worthless})")
        held_out = self._hold_out(tables, one.name)
        if one.top is not None:
            tables.db.execute(
                "delete from list_member where key not in (select key from list_member"
                f" order by value desc nulls last, key limit {one.top:d})"
            )
        counts = {
            "test_user": test,
            "no_consent": no_consent,
            "no_id": no_id,
            "no_value": no_value,
            "holdout": held_out,
        }
        return Out({reason: n for reason, n in counts.items() if n}, currency)

    def _hold_out(self, tables: Tables, name: str) -> int:
        now_us = self._clock.now_us()
        holdouts = [one for one in self._rules.holdouts.get(name, ()) if one.live.holds(now_us)]
        if not holdouts:
            return 0
        found = tables.db.execute("select key, user from list_member").fetchnumpy()
        held = [
            any(is_held_out(one.salt, one.share, user) for one in holdouts) for user in found["user"].tolist()
        ]
        keys = np.ma.getdata(found["key"])[np.array(held, dtype=np.bool_)]
        tables.db.register("held", {"key": keys})
        tables.db.execute("delete from list_member where key in (select key from held)")
        tables.db.unregister("held")
        return len(keys)

    def _predicted(self, tables: Tables) -> None:
        """Makes `list_predicted`, once for all lists."""
        if tables.number("select count(*) from duckdb_tables() where table_name = 'list_predicted'"):
            return
        if self._rules.predict is None:
            tables.db.execute(PREDICTED)
            return
        said = self._rules.predict(tables)
        tables.db.register("said", {"user": np.array(said.users, dtype=object), "value": said.values})
        tables.db.execute(
            "create temp table list_predicted as select c.user_key, max(s.value) as value"
            " from said s join customer c on c.user = s.user group by 1"
        )
        tables.db.unregister("said")

    def _written(self, tables: Tables, one: Definition, members: str, out: "Out") -> "_Made":
        number = self._book.next_build()
        name = f"members/{one.name}/{number:012d}.parquet"
        query = f"select key, user_key, value from ({members}) order by key"
        rows = self._files.write(tables.db.db, query, name)
        new = f"read_parquet({quoted(self._files.root / name)})"
        tables.db.execute(f"insert into list_needed select key from {new}")
        before = self._book.build(one.name)
        joined, gone = rows, 0
        if before is not None and (self._files.root / before.file).exists():
            old = f"read_parquet({quoted(self._files.root / before.file)})"
            ((joined, gone, _),) = tables.rows(CHANGED.format(new=new, old=old))
        return _Made(one, number, name, rows, joined, gone, out)

    def _kept(self, tables: Tables, made: Sequence["_Made"], position: int, *, whole: bool) -> list[Build]:
        """Makes files count: first the ids, for a list never has a member without."""
        if not made:
            return []
        known = self._book.files("ids")
        name = f"ids/{made[-1].number:012d}.parquet"
        query = NEW_IDS.format(known=known_ids(self._files, known))
        rows = self._files.write(tables.db.db, query, name, dense=True)
        if rows:
            self._book.keep_file(name, "ids", rows)
        builds = [one.build(self._clock.now_us(), position, whole=whole) for one in made]
        for build in builds:
            self._book.keep_build(build)
        return builds

    def _thin_out(self) -> None:
        """Lets go of ids that no list needs any more, where there are many files of them or somebody was
        erased."""
        if self._book.awaits():
            return  # who was told to be removed may have to be told again
        names = self._book.files("ids")
        lists = [*self._book.files("members"), *self._book.files("confirmed")]
        if not names or not lists or (len(names) < MOST_ID_FILES and not self._book.position("forgetting")):
            return
        needed = ", ".join(quoted(self._files.root / one) for one in lists)
        query = (
            f"select * from {known_ids(self._files, names)}"
            f" where key in (select key from read_parquet([{needed}])) order by key"
        )
        name = f"ids/{self._book.next_build():012d}.parquet"
        rows = self._files.write(self._files.db, query, name, dense=True)
        self._book.keep_file(name, "ids", rows, instead_of=names)

    def _swept(self) -> None:
        self._book.forget_unused(KEPT_BUILDS)
        self._files.sweep(self._book.files())


def _or_nothing(value: str) -> str:
    """SQL of a value of which a loss ranks as nothing, and none stays none: `greatest` passes over nulls."""
    return f"case when {value} is not null then greatest(0, {value}) end"


def _wide(lists: Sequence[Definition]) -> bool:
    """Whether any of them asks for what a login shows besides ids."""
    return any(one.asks_for(LOGIN_COLUMNS) for one in lists)


class Out(Struct, frozen=True):
    """Whom a list leaves out, by reason, and the currency of its values."""

    left_out: dict[str, int]
    currency: str | None


class _Made(Struct, frozen=True):
    """A list whose file is written and does not count yet."""

    definition: Definition
    number: int
    file: str
    members: int
    joined: int
    gone: int
    out: Out

    def build(self, at_us: int, position: int, *, whole: bool) -> Build:
        """The same as the book has it."""
        facts: dict[str, Any] = {"members": self.members, "joined": self.joined, "gone": self.gone}
        return Build(
            audience=self.definition.name,
            number=self.number,
            file=self.file,
            at_us=at_us,
            position=position,
            whole=whole,
            definition=self.definition.checksum(),
            left_out=msgspec.json.encode(self.out.left_out).decode(),
            currency=self.out.currency,
            **facts,
        )
