"""Laws of reading settings: it never stops, a value never comes with a problem, and it can be undone."""

import tomllib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from lendsignal.model import Secret
from lendsignal.settings import (
    duration,
    duration_text,
    key_path,
    read,
    toml_positions,
    toml_text,
    with_lines,
)


class Mood(StrEnum):
    CALM = "calm"
    BUSY = "busy"


class Retry(Struct, frozen=True, kw_only=True, tag="retry"):
    times: Annotated[int, Meta(ge=1, le=9)] = 3


class Wait(Struct, frozen=True, kw_only=True, tag="wait"):
    until: timedelta


class Inner(Struct, frozen=True, kw_only=True, rename="kebab"):
    first_name: Annotated[str, Meta(min_length=1, max_length=9)]
    amount: Decimal
    price: float
    on: bool = False


class Simple(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only what msgspec itself would read by the same rules."""

    a: Annotated[int, Meta(ge=0, lt=4)]
    b: str | int | None
    c: list[Literal["send", "calm", 2]]
    d: dict[Mood, bool] = {}
    e: Annotated[tuple[int, ...], Meta(max_length=2)] = ()
    f: "Simple | None" = None


class Settings(Struct, frozen=True, kw_only=True):
    """One field of every kind that a room may want."""

    a: int
    b: Inner
    c: list[Inner]
    d: dict[str, Inner]
    e: Retry | Wait
    f: Literal["send", "skip"]
    m: timedelta
    g: dict[Mood, tuple[int, ...]]
    h: datetime
    i: date
    token: Secret
    j: Inner | None = None
    k: int | Literal["all"] = "all"


NAMES = [*"abcdefghijkm", "token", "type", "until", "first-name", "amount", "price", "on", "env", "calm"]

instants = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
spans = st.integers(0, 10**15).map(lambda us: timedelta(microseconds=us))
names = st.sampled_from(NAMES) | st.text(max_size=5)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["send", "2s", "calm", "retry", "wait", "all", "NAME"])
    | instants
    | instants.map(datetime.date)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)
tables = st.dictionaries(names, values, max_size=14)

decimals = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
inners = st.builds(
    Inner,
    first_name=st.text(min_size=1, max_size=9),
    amount=decimals,
    price=st.floats(allow_nan=False, allow_infinity=False),
    on=st.booleans(),
)
secrets = st.sampled_from([Secret(env="META_TOKEN"), Secret(file="/run/secrets/meta")])
sound = st.builds(
    Settings,
    a=st.integers(-(2**63), 2**63 - 1),
    b=inners,
    c=st.lists(inners, max_size=3),
    d=st.dictionaries(st.text(max_size=6), inners, max_size=3),
    e=st.builds(Retry, times=st.integers(1, 9)) | st.builds(Wait, until=spans),
    f=st.sampled_from(["send", "skip"]),
    m=spans,
    g=st.dictionaries(st.sampled_from(Mood), st.lists(st.integers(0, 9), max_size=3).map(tuple), max_size=2),
    h=instants,
    i=instants.map(datetime.date),
    token=secrets,
    j=st.none() | inners,
    k=st.integers(0, 99) | st.just("all"),
)


@given(tables)
def test_reading_never_stops_and_the_value_is_missing_exactly_when_there_is_a_problem(
    table: dict[str, Any],
) -> None:
    value, problems = read(Settings, table, path="", origin="x.toml")

    assert (value is None) == bool(problems)
    assert all(problem.key and problem.origin == "x.toml" for problem in problems)


@given(tables)
def test_every_key_of_the_table_itself_that_nobody_knows_is_named(table: dict[str, Any]) -> None:
    _, problems = read(Settings, table, path="at", origin="")

    named = {problem.key for problem in problems}
    assert {key_path("at", name) for name in table if name not in Settings.__struct_fields__} <= named


@given(sound)
def test_settings_written_as_toml_are_read_back_as_they_were(settings: Settings) -> None:
    table = tomllib.loads(f"x = {toml_text(settings)}")["x"]

    assert read(Settings, table, path="x", origin="") == (settings, [])


@given(sound, st.sets(st.sampled_from("abcdefghim"), min_size=1))
def test_mistakes_made_independently_are_each_named(settings: Settings, spoilt: set[str]) -> None:
    table = tomllib.loads(f"x = {toml_text(settings)}")["x"] | dict.fromkeys(spoilt, "no such thing")

    value, problems = read(Settings, table, path="", origin="")

    assert value is None
    assert {problem.key for problem in problems} == spoilt


@given(sound, st.data())
def test_one_value_replaced_anywhere_is_either_understood_or_named_where_it_stands(
    settings: Settings, data: st.DataObject
) -> None:
    table = tomllib.loads(f"x = {toml_text(settings)}")["x"]
    inside, at = table, ""
    while True:
        step = data.draw(st.sampled_from([*inside] if isinstance(inside, dict) else range(len(inside))))
        at = key_path(at, step) if isinstance(inside, dict) else f"{at}[{step}]"
        if not isinstance(inside[step], dict | list) or not inside[step] or data.draw(st.booleans()):
            inside[step] = data.draw(values)
            break
        inside = inside[step]

    value, problems = read(Settings, table, path="", origin="")

    assert (value is None) == bool(problems)
    owner = at.removesuffix(".type").removesuffix(".env").removesuffix(".file")
    assert all(problem.key.startswith(owner) for problem in problems)


@given(
    st.fixed_dictionaries(
        {
            "a": st.integers(-1, 4),
            "b": leaves,
            "c": st.lists(st.sampled_from(["send", "calm", 2, 1]), max_size=2),
        },
        optional={
            "d": st.dictionaries(
                st.sampled_from(["calm", "busy", "late"]), st.booleans() | st.just(1), max_size=2
            ),
            "e": st.lists(st.integers(0, 1) | st.just(0.5), max_size=3),
            "f": st.fixed_dictionaries({"a": st.integers(-1, 4), "b": leaves, "c": st.just([])}),
            "g": st.just(1),
        },
    )
)
def test_what_msgspec_takes_is_taken_and_what_it_refuses_is_refused(table: dict[str, Any]) -> None:
    try:
        expected = msgspec.convert(table, Simple)
    except msgspec.ValidationError:
        expected = None

    assert read(Simple, table, path="", origin="")[0] == expected


@given(st.text(alphabet="0123456789abcdefghij", min_size=6, max_size=30).map("s3cr3t".__add__), values)
def test_a_secret_written_out_never_comes_back_in_a_message(text: str, other: object) -> None:
    for misplaced in (text, [text], {"env": f"{text} "}, {"env": text, "file": text}, {"value": text}):
        _, problems = read(Settings, {"token": misplaced, "a": other}, path="", origin="")

        assert text not in repr([problem for problem in problems if problem.key.startswith("token")])


@given(spans)
def test_a_duration_survives_its_text(span: timedelta) -> None:
    assert duration(duration_text(span)) == span


def paths(value: object, at: str) -> set[str]:
    """Every key in a value, by a walk over what the TOML parser found."""
    if isinstance(value, dict):
        return set().union(*({key_path(at, k)} | paths(v, key_path(at, k)) for k, v in value.items()))
    if isinstance(value, list):
        return set().union(*({f"{at}[{n}]"} | paths(v, f"{at}[{n}]") for n, v in enumerate(value)))
    return set()


def spread(table: dict[str, Any], at: str = "") -> list[str]:
    """The table as lines of TOML with a header for every table; a naive writer to compare with."""
    is_table = {k: isinstance(v, dict) for k, v in table.items()}
    is_array = {
        k: isinstance(v, list) and bool(v) and all(isinstance(i, dict) for i in v) for k, v in table.items()
    }
    lines = [
        f"{key_path('', k)} = {toml_text(v)} # [x]"
        for k, v in table.items()
        if not (is_table[k] or is_array[k])
    ]
    for name, value in table.items():
        if is_table[name]:
            lines += ["", f"[{key_path(at, name)}]", *spread(value, key_path(at, name))]
        if is_array[name]:
            for item in value:
                lines += [f"  [[{key_path(at, name)}]]", *spread(item, key_path(at, name))]
    return lines


toml_leaves = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.floats() | instants
toml_tables = st.dictionaries(
    names,
    st.recursive(
        toml_leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


@given(toml_tables)
def test_every_key_that_the_parser_finds_has_a_line_and_the_line_names_it(table: dict[str, Any]) -> None:
    lines = spread(table)
    text = "\n".join(lines)

    positions = toml_positions(text)

    assert set(positions) == paths(tomllib.loads(text), "")
    for name in (name for name in table if table[name] != []):
        assert key_path("", name) in lines[positions[key_path("", name)] - 1]


@given(st.text(alphabet="ab.=[]{}\"'\\#,\n 1", max_size=60))
def test_no_text_stops_the_search_for_lines(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in toml_positions(text).values())


@given(tables, toml_tables)
def test_adding_lines_changes_nothing_but_the_origin(table: dict[str, Any], other: dict[str, Any]) -> None:
    _, problems = read(Settings, table, path="", origin="x.toml")

    located = with_lines(problems, toml_positions("\n".join(spread(other))))

    assert [(p.key, p.found, p.allowed) for p in located] == [(p.key, p.found, p.allowed) for p in problems]
    assert all(p.origin.startswith("x.toml") for p in located)
