"""The reports' statements in ClickHouse's dialect: parsed by sqlglot as DuckDB's, and changed by rule.

A rule stands for what sqlglot does not know, or where the two engines mean something else by the same words.
What no rule covers is an error of ClickHouse's, and never another figure.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

TEMPORARY = "temporary"
"""What is said of a table that DuckDB would keep for one connection."""

_CALLED = {
    "epoch_us": "toUnixTimestamp64Micro",
    "list_concat": "arrayConcat",
    "list_contains": "has",
    "row": "tuple",
}
"""Functions that are only called otherwise."""

_COUNTS = (exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank)

AT_HAND = 512
"""Statements that are kept parsed: a console asks the same ones again."""


def translated(query: str, given: Mapping[str, Any], zones: Collection[str]) -> list[str]:
    """A statement of DuckDB's as one or several of ClickHouse's, its parameters (`$name`) filled in.

    `zones`: the time zones that its rows may name. Raises `sqlglot.errors.SqlglotError` for what is no SQL.
    """
    known = sorted({*zones, "UTC"})
    tree = _rebuilt(_parsed(query).copy(), lambda node: _changed(node, given, known))
    return list(_statements(tree))


@lru_cache(maxsize=AT_HAND)
def asked_of(query: str) -> frozenset[str]:
    """The tables that a statement reads, or adds to; what it makes or names within itself is none."""
    tree = _parsed(query)
    named = {one.name for one in tree.find_all(exp.Table)}
    own = {one.alias for one in tree.find_all(exp.CTE)}
    if isinstance(tree, exp.Create):
        own.add(tree.this.this.name if isinstance(tree.this, exp.Schema) else tree.this.name)
    return frozenset(named - own - {""})


@lru_cache(maxsize=AT_HAND)
def _parsed(query: str) -> exp.Expr:
    return sqlglot.parse_one(query, read="duckdb")


def _rebuilt(tree: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Every node changed, what is within before what it is in."""
    for node in reversed(list(tree.walk())):
        changed = change(node)
        if changed is not node:
            if node is tree:
                return changed
            node.replace(changed)
    return tree


# whole statements


def _statements(tree: exp.Expr) -> Iterator[str]:
    match tree:
        case exp.Create():
            yield from _created(tree)
        case exp.Update():
            yield from _updated(tree)
        case exp.Insert() if (parts := tree.args.get("with_")) is not None:
            tree.set("with_", None)
            tree.expression.set("with_", parts)
            yield _sql(tree)
        case _:
            yield _sql(tree)


def _created(tree: exp.Create) -> Iterator[str]:
    """A view is made a table too: views over views take ClickHouse longer to plan than to fill."""
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    name = tree.this.name if schema is None else schema.this.name
    if tree.args.get("replace"):
        yield f"drop table if exists {name}"
    columns = "" if schema is None else f" ({', '.join(_sql(column) for column in schema.expressions)})"
    kept = f" comment '{TEMPORARY}'" if tree.find(exp.TemporaryProperty) else ""
    query = "" if tree.expression is None else f" as {_sql(tree.expression)}"
    yield f"create table {name}{columns} engine = Memory{kept}{query}"


def _updated(tree: exp.Update) -> Iterator[str]:
    """An update from another table: the table made anew, with what the matching row of that one says."""
    name, source = tree.this.name, tree.args["from_"].this
    changed = ", ".join(
        f"if({source.alias_or_name}.is_there = 1, {_sql(one.expression)}, {name}.{one.this.name})"
        f" as {one.this.name}"
        for one in tree.expressions
    )
    yield (
        f"create table {name}_anew engine = Memory as select {name}.* replace ({changed}) from {name}"
        f" left join (select *, 1 as is_there from {source.name}) {source.alias_or_name}"
        f" on {_sql(tree.args['where'].this)}"
    )
    yield f"drop table {name}"
    yield f"rename table {name}_anew to {name}"


def _sql(tree: exp.Expr) -> str:
    return tree.sql(dialect="clickhouse", comments=False)


# what stands in them


def _changed(node: exp.Expr, given: Mapping[str, Any], zones: Sequence[str]) -> exp.Expr:
    match node:
        case exp.Parameter() | exp.Placeholder():
            said = given[node.this if isinstance(node.this, str) else node.this.name]
            return exp.convert(list(said) if isinstance(said, tuple | set | frozenset) else said)
        case exp.Select():
            return _unnested(_named(node))
        case exp.SetOperation() if node.args.get("by_name"):
            return _in_place(node)
        case exp.Filter() | exp.Window() | exp.Count() | exp.RowNumber() | exp.Rank() | exp.DenseRank():
            return _signed(node)
        case exp.AtTimeZone():
            return _timed(node, zones)
        case exp.Cast() if node.is_type(exp.DataType.Type.TIMESTAMPTZ):
            return _call("toDateTime64", node.this, _number(6), _text("UTC"))
        case exp.IntDiv():
            return _call("intDiv", node.this, node.expression)
        case exp.BitwiseRightShift():
            return _call("bitShiftRight", node.this, node.expression)
        case exp.LogicalOr():
            return _call("max", node.this)
        case exp.LogicalAnd():
            return _call("min", node.this)
        case exp.ArrayOverlaps():
            return _call("hasAny", node.this, node.expression)
        case exp.SplitPart():
            parts = _call("splitByString", node.args["delimiter"], _call("assumeNotNull", node.this))
            return _call("arrayElement", parts, node.args["part_index"])
        case exp.PercentileCont():
            return _quantile(node.this, node.expression)
        case exp.IgnoreNulls() if isinstance(node.this, exp.AnyValue) and isinstance(
            node.this.this, exp.Order
        ):
            first = node.this.this
            return exp.ArgMin(this=first.this, expression=first.expressions[0].this)
        case exp.ArrayPrepend():
            return _call("arrayPushFront", node.this, node.expression)
        case exp.Struct():
            return _call("tuple", *(one.expression for one in node.expressions))
        case exp.NullSafeNEQ():
            return exp.Not(this=exp.Paren(this=exp.NullSafeEQ(this=node.this, expression=node.expression)))
        case exp.Anonymous():
            return _called(node)
        case _:
            return node


def _called(node: exp.Anonymous) -> exp.Expr:
    match node.name.lower():
        case "hash":  # of a text of all of them: a hash of what is null would be null
            hashed = _call("cityHash64", _call("toString", exp.Tuple(expressions=node.expressions)))
            return _call("toInt64", _call("bitShiftRight", hashed, _number(1)))
        case "make_timestamptz":
            return _call("fromUnixTimestamp64Micro", *node.expressions, _text("UTC"))
        case name:
            return _call(_CALLED[name], *node.expressions) if name in _CALLED else node


def _quantile(value: exp.Expr, wanted: exp.Expr) -> exp.Expr:
    """Both interpolate between the two nearest (type 7 of Hyndman and Fan, 1996)."""
    if isinstance(wanted, exp.Array):
        shares = ", ".join(one.name for one in wanted.expressions)
        return _call(f"quantilesExactInclusive({shares})", value)
    return _call(f"quantileExactInclusiveOrNull({wanted.name})", value)


def _signed(node: exp.Expr) -> exp.Expr:
    """Counts as DuckDB has them: with a sign, so that they go together with other whole numbers."""
    if isinstance(node.parent, exp.Filter | exp.Window) and node.arg_key == "this":
        return node
    counted = node
    while isinstance(counted, exp.Filter | exp.Window):
        counted = counted.this
    return _call("toInt64", node.copy()) if isinstance(counted, _COUNTS) else node


def _timed(node: exp.AtTimeZone, zones: Sequence[str]) -> exp.Expr:
    """The wall clock of a zone, or the moment that one shows: a zone of each row's own, written out for each.

    ClickHouse's zones are constants. A wall clock is kept as if it were of UTC.
    """
    moment, cases = node.this, exp.Case(this=node.args["zone"])
    shows_a_clock = any(one.name == "toTimeZone" for one in moment.find_all(exp.Anonymous))
    for one in zones:
        zone = _text(one)
        told = moment.copy() if shows_a_clock else _call("toTimeZone", moment.copy(), zone)
        kept_as = zone if shows_a_clock else _text("UTC")
        cases = cases.when(zone.copy(), _call("toDateTime64", _call("toString", told), _number(6), kept_as))
    return exp.Paren(this=cases)


def _named(select: exp.Select) -> exp.Select:
    """Columns keep their own names, and an order is that of what is chosen: by its place."""
    chosen = [
        exp.alias_(one, one.name)
        if isinstance(one, exp.Column) and one.table and not isinstance(one.this, exp.Star)
        else one
        for one in select.expressions
    ]
    select.set("expressions", chosen)
    order = select.args.get("order")
    if order is not None and not any(one.is_star for one in chosen):
        places = {one.alias_or_name: place for place, one in enumerate(chosen, 1)}
        for term in order.expressions:
            if isinstance(term.this, exp.Column) and not term.this.table and term.this.name in places:
                term.set("this", _number(places[term.this.name]))
    return select


def _in_place(union: exp.SetOperation) -> exp.Expr:
    """What is put together by name, by place: in the order of the side that names its columns."""
    sides = {"this": union.this, "expression": union.expression}
    for one, other in (("expression", "this"), ("this", "expression")):
        if isinstance(sides[one], exp.Select) and not sides[one].is_star:
            names = [exp.column(said.alias_or_name) for said in sides[one].expressions]
            union.set(other, exp.select(*names).from_(sides[other].copy().subquery("unordered")))
            union.set("by_name", False)
            break
    return union


def _unnested(select: exp.Select) -> exp.Expr:
    """Lists side by side: their first ones in one row, their second ones in the next."""
    is_list = [isinstance(one.unalias(), exp.Explode) for one in select.expressions]
    if sum(is_list) < 2:
        return select
    names = [one.alias_or_name or f"column_{place}" for place, one in enumerate(select.expressions)]
    within = select.copy()
    within.set(
        "expressions",
        [
            exp.alias_(one.unalias().this if a_list else one.unalias(), name)
            for name, one, a_list in zip(names, within.expressions, is_list, strict=True)
        ],
    )
    ordered = {
        part: within.args.pop(part) for part in ("order", "limit") if within.args.get(part) is not None
    }
    zipped = _call(
        "arrayZip", *(exp.column(name) for name, a_list in zip(names, is_list, strict=True) if a_list)
    )
    turned = exp.select("*", exp.alias_(_call("arrayJoin", zipped), "turn")).from_(within.subquery("whole"))
    places = iter(range(1, len(names) + 1))
    found = exp.select(
        *(
            exp.alias_(_call("tupleElement", exp.column("turn"), _number(next(places))), name)
            if a_list
            else exp.column(name)
            for name, a_list in zip(names, is_list, strict=True)
        )
    ).from_(turned.subquery("turned"))
    for part, said in ordered.items():
        found.set(part, said)
    return found


def _call(name: str, *values: exp.Expr) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=list(values))


def _text(text: str) -> exp.Literal:
    return exp.Literal.string(text)


def _number(number: int) -> exp.Expr:
    return exp.Literal.number(number)
