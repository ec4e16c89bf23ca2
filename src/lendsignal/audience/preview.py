"""What a list would be before it goes anywhere: its size, whom it leaves out, and what hangs on its rule."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from lendsignal.audience.build import Builder
from lendsignal.audience.definitions import Definition, definition_of, variants
from lendsignal.audience.policy import below_floor
from lendsignal.audience.settings import AudienceSettings
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.tables import Tables

SAMPLE = 10
"""Users that are shown: enough to look them up, too few to be a list."""


class Preview(Report, frozen=True, kw_only=True):
    """A list as it would be built now."""

    members: int
    left_out: Table
    countries: Table
    overlap: Table
    sensitivity: Table
    sample: Table


class _Sized(Struct, frozen=True):
    members: int
    left_out: Mapping[str, int]
    currency: str | None


def preview(
    builder: Builder,
    tables: Tables,
    name: str,
    settings: AudienceSettings,
    others: Mapping[str, Definition],
    kinds: Mapping[str, str],
) -> Preview:
    """The list `name`, beside `others`. `kinds` are the kinds of the accounts that it goes to, by account."""
    definition = definition_of(name, settings)
    beside = [one for one in others.values() if one.name != name]
    found = _sized(builder, tables, definition)
    tables.db.execute("create or replace temp table looked_at as select * from list_member")
    by_country = tables.rows(
        "select coalesce(c.country, ''), coalesce(c.os, ''), count(*), count(m.value), sum(m.value)"
        " from looked_at m join customer c using (user_key) group by all order by 3 desc, 1, 2"
    )
    sample = tables.rows(
        "select m.user, coalesce(c.country, ''), m.value from looked_at m join customer c using (user_key)"
        f" order by md5(m.user) limit {SAMPLE}"
    )
    notes = _floors(definition, kinds, by_country)
    return Preview(
        title=f"List {name} ({definition.use}) as it would be built now",
        as_of=tables.as_of,
        members=found.members,
        left_out=table("Left out", columns("reason users"), list(found.left_out.items())),
        countries=table(
            "Members by country and system",
            columns("country os members with_value value", value=MONEY),
            [(*row[:4], None if row[4] is None else round(row[4], 2)) for row in by_country],
            f"value: the sum of the members' values, in {found.currency}." if found.currency else "",
        ),
        overlap=_overlap(builder, tables, found.members, beside),
        sensitivity=_sensitivity(builder, tables, name, settings, found.members),
        sample=table(
            "Some of the members",
            columns("user country value", value=MONEY),
            sample,
            "`lendsignal explain USER` tells what each did.",
        ),
        notes=notes,
    )


def _sized(builder: Builder, tables: Tables, definition: Definition) -> _Sized:
    out = builder.members(tables, definition)
    return _Sized(tables.number("select count(*) from list_member"), out.left_out, out.currency)


def _floors(
    definition: Definition, kinds: Mapping[str, str], rows: Sequence[tuple[Cell, ...]]
) -> tuple[str, ...]:
    sizes: dict[str, int] = {}
    for country, _, members, *_ in rows:
        sizes[str(country)] = sizes.get(str(country), 0) + int(str(members))
    told = ((account, below_floor(definition.use, kind, sizes)) for account, kind in kinds.items())
    notes = [f"{account}: too small: {why}" for account, why in told if why is not None]
    if definition.use == "seed" and len([one for one in sizes if one]) > 1:
        notes.append("a seed of several countries: platforms make look-alikes country by country")
    return tuple(notes)


def _overlap(builder: Builder, tables: Tables, members: int, others: Sequence[Definition]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for other in others:
        size = _sized(builder, tables, other).members
        both = tables.number("select count(*) from looked_at semi join list_member using (user_key)")
        rows.append((other.name, other.use, size, both, both / members if members else None))
    return table(
        "On other lists too", columns("list use members both share_of_this", share_of_this=SHARE), rows
    )


def _sensitivity(
    builder: Builder, tables: Tables, name: str, settings: AudienceSettings, members: int
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for words, one in variants(settings).items():
        size = _sized(builder, tables, definition_of(name, one)).members
        rows.append((words, size, size - members))
    return table("With another rule", columns("rule members difference"), rows)


def left_out_of(text: str) -> dict[str, int]:
    """Whom a build left out, by reason."""
    return msgspec.json.decode(text, type=dict[str, int])
