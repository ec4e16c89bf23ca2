"""Settings out of TOML: what is understood, what is said of mistakes, and on which line they stand."""

import json
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, field

from lendsignal.errors import Problem
from lendsignal.model import Secret
from lendsignal.settings import (
    describe,
    duration,
    duration_text,
    key_path,
    read,
    schema,
    toml_positions,
    toml_text,
    with_lines,
)


class Store(Struct, frozen=True, kw_only=True):
    brand: str
    platform: Literal["android", "ios"]
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166-1, two capitals")]


class Retries(Struct, frozen=True, kw_only=True, tag_field="on_unknown", tag="retry"):
    times: Annotated[int, Meta(ge=1, le=20)] = 3


class Hold(Struct, frozen=True, kw_only=True, tag_field="on_unknown", tag="hold"):
    until: timedelta = timedelta(days=1)


class Partner(Struct, frozen=True, kw_only=True):
    kind: str
    token: Secret
    max_age: Annotated[timedelta | None, Meta(description="skip what is older")] = None
    late: Literal["send", "skip"] = "skip"
    unanswered: Retries | Hold = Retries()
    forwards: tuple[str, ...] = ()


class Route(Struct, frozen=True, kw_only=True):
    to: str
    send: dict[str, str]
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Lender(Struct, frozen=True, kw_only=True):
    app: dict[str, Store]
    destination: dict[str, Partner]
    route: Annotated[list[Route], Meta(min_length=1)]
    settle: timedelta = timedelta(seconds=2)
    shares: tuple[Annotated[int, Meta(gt=0, lt=100)], ...] = (20, 30, 50, 70)


SOUND = """\
settle = "5s"

[app.acme-ng]
brand    = "acme"
platform = "android"
country  = "NG"

[destination.appsflyer-ng]
kind       = "appsflyer"
token      = { env = "APPSFLYER_S2S_KEY" }
max_age    = "72h"
unanswered = { on_unknown = "hold", until = "12h" }
forwards   = ["meta", "google"]

[[route]]
to   = "appsflyer-ng"
send = { first_loan = "ev_fl", disbursement = "ev_ln" }
"""

BROKEN = """\
settle = 2                              # no unit
shares = [20, "30", 150]                # a text; more than everybody

[app.acme-ng]
brand    = "acme"
platform = "andriod"                    # misspelt
country  = "Nigeria"                    # not two capitals

[destination.appsflyer-ng]
kind    = "appsflyer"
token   = "ZbT7-live-9Qx"               # the secret itself
late    = "send"
max_aeg = "72h"                         # misspelt key

[[route]]
to    = "appsflyer-ng"
send  = { first_loan = "ev_fl" }

[[route]]                               # send is missing
to    = "appsflyer-ng"
"""


class Place(StrEnum):
    HOME = "home"
    AWAY = "away"


def verdict(kind: Any, text: str) -> tuple[Any, list[Problem]]:
    """What becomes of `x = text` where a `kind` is wanted."""

    class Wanted(Struct, frozen=True, kw_only=True):
        x: kind

    value, problems = read(Wanted, tomllib.loads(f"x = {text}"), path="", origin="a.toml")
    return (None if value is None else value.x), problems


def complaint(kind: Any, text: str) -> tuple[str, str]:
    """What was found and what is allowed, of the only problem there is."""
    value, problems = verdict(kind, text)
    assert value is None
    assert [problem.key for problem in problems] == ["x"]
    return problems[0].found, problems[0].allowed


def test_a_sound_configuration_becomes_typed_values() -> None:
    lender, problems = read(Lender, tomllib.loads(SOUND), path="", origin="lendsignal.toml")

    assert problems == []
    assert lender == Lender(
        settle=timedelta(seconds=5),
        app={"acme-ng": Store(brand="acme", platform="android", country="NG")},
        destination={
            "appsflyer-ng": Partner(
                kind="appsflyer",
                token=Secret(env="APPSFLYER_S2S_KEY"),
                max_age=timedelta(days=3),
                unanswered=Hold(until=timedelta(hours=12)),
                forwards=("meta", "google"),
            )
        },
        route=[Route(to="appsflyer-ng", send={"first_loan": "ev_fl", "disbursement": "ev_ln"})],
    )


def test_eight_mistakes_in_one_file_are_named_at_once_with_their_lines() -> None:
    lender, problems = read(Lender, tomllib.loads(BROKEN), path="", origin="lendsignal.toml")

    assert lender is None
    assert [str(problem) for problem in with_lines(problems, toml_positions(BROKEN))] == [
        'app.acme-ng.platform (lendsignal.toml, line 6): found the text "andriod";'
        " allowed: one of: android, ios. Did you mean 'android'?",
        'app.acme-ng.country (lendsignal.toml, line 7): found the text "Nigeria";'
        " allowed: text, matching ^[A-Z]{2}$.",
        "destination.appsflyer-ng.max_aeg (lendsignal.toml, line 13): found an unknown key;"
        " allowed: the keys forwards, kind, late, max_age, token, unanswered. Did you mean 'max_age'?",
        "destination.appsflyer-ng.token (lendsignal.toml, line 11): found a plain text value (not shown);"
        ' secrets are given by reference; allowed: { env = "NAME" } or { file = "PATH" }.',
        "route[1].send (lendsignal.toml, line 19): found nothing (the key is required);"
        " allowed: a table (each value: text).",
        "settle (lendsignal.toml, line 1): found the whole number 2;"
        ' allowed: a duration such as "2s", "90m", "3d".',
        'shares[1] (lendsignal.toml, line 2): found the text "30";'
        " allowed: a whole number, above 0, below 100.",
        "shares[2] (lendsignal.toml, line 2): found the whole number 150;"
        " allowed: a whole number, above 0, below 100.",
    ]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "7", 7),
        (float, "7", 7.0),
        (Decimal, "0.1", Decimal("0.1")),
        (Decimal, '"12.50"', Decimal("12.50")),
        (bool, "true", True),
        (timedelta, '"90m"', timedelta(minutes=90)),
        (date, "2026-03-04", date(2026, 3, 4)),
        (date, '"2026-03-04"', date(2026, 3, 4)),
        (time, "02:30:00", time(2, 30)),
        (datetime, "2026-03-04T05:06:07+01:00", datetime(2026, 3, 4, 4, 6, 7, tzinfo=UTC)),
        (datetime, '"2026-03-04T05:06:07Z"', datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        (Place, '"away"', Place.AWAY),
        (dict[Place, int], "{ home = 1 }", {Place.HOME: 1}),
        (Literal[20, 30], "30", 30),
        (float | Literal["auto"], '"auto"', "auto"),
        (float | Literal["auto"], "1", 1.0),
        (int | Literal["all"], '"all"', "all"),
        (Secret | None, '{ file = "/run/secrets/meta" }', Secret(file="/run/secrets/meta")),
        (frozenset[str], '["a", "b"]', frozenset("ab")),
        (tuple[str, int], '["a", 2]', ("a", 2)),
        (str | list[str], '["a"]', ["a"]),
        (Path, '"cuts.csv"', Path("cuts.csv")),
        (dict[str, Any], "{ a = [1, { b = 2 }] }", {"a": [1, {"b": 2}]}),
    ],
)
def test_a_value_is_understood_as_its_type_wants(kind: Any, text: str, value: object) -> None:
    assert verdict(kind, text) == (value, [])


@pytest.mark.parametrize(
    ("kind", "text", "found", "allowed"),
    [
        (int, "7.0", "the number 7.0", "a whole number"),
        (int, "true", "true", "a whole number"),
        (
            Annotated[int, Meta(ge=1, le=3)],
            "4",
            "the whole number 4",
            "a whole number, at least 1, at most 3",
        ),
        (Annotated[int, Meta(multiple_of=5)], "4", "the whole number 4", "a whole number, a multiple of 5"),
        (float, "nan", "the number nan", "a number"),
        (float, "1" + "0" * 400, "a whole number beyond 64 bits", "a number"),
        (Decimal, '"12,50"', 'the text "12,50"', "a number"),
        (bool, '"yes"', 'the text "yes"', "true or false"),
        (str, "[]", "a list of length 0", "text"),
        (Annotated[str, Meta(min_length=1)], '""', 'the text ""', "text, of length 1 or more"),
        (timedelta, '"2 s"', 'the text "2 s"', 'a duration such as "2s", "90m", "3d"'),
        (
            date,
            "2026-03-04T05:06:07Z",
            "the date or time 2026-03-04T05:06:07+00:00",
            "a date such as 2026-03-01",
        ),
        (
            datetime,
            "2026-03-04T05:06:07",
            "the date or time 2026-03-04T05:06:07",
            "a date and time with its offset, such as 2026-03-01T00:00:00Z",
        ),
        (Place, '"abroad"', 'the text "abroad"', "one of: home, away"),
        (Literal[1, 2], "true", "true", "one of: 1, 2"),
        (list[int], "{ a = 1 }", "a table", "a list (each item: a whole number)"),
        (
            Annotated[list[str], Meta(min_length=1)],
            "[]",
            "a list of length 0",
            "a list (each item: text), of length 1 or more",
        ),
        (tuple[str, int], '["a"]', "a list of length 1", "a list of 2 (text; a whole number)"),
        (
            Literal["auto"] | Annotated[int, Meta(ge=1)],
            "0",
            "the whole number 0",
            'a whole number, at least 1, or "auto"',
        ),
        (Store, "{}", None, None),
        (Store, '"ng"', 'the text "ng"', "a table"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_words(
    kind: Any, text: str, found: str | None, allowed: str | None
) -> None:
    if found is None:
        assert [problem.key for problem in verdict(kind, text)[1]] == ["x.brand", "x.platform", "x.country"]
    else:
        assert complaint(kind, text) == (found, allowed)


@pytest.mark.parametrize(
    "text",
    ['"s3cr3t"', "53137", '["s3cr3t"]', '{ value = "s3cr3t" }', '{ env = "s3cr3t!" }', "{ file = 53137 }"],
)
@pytest.mark.parametrize("kind", [Secret, Secret | None, list[Secret], dict[str, Secret], Partner])
def test_what_stands_where_a_secret_belongs_is_never_repeated(kind: Any, text: str) -> None:
    value, problems = verdict(kind, text)

    assert value is None
    assert "3cr3t" not in repr(problems)
    assert "53137" not in repr(problems)


def test_a_key_that_sounds_secret_is_never_repeated_whatever_its_type() -> None:
    class Careless(Struct, frozen=True, kw_only=True):
        api_key: int

    _, problems = read(Careless, {"api_key": "s3cr3t"}, path="door", origin="")

    assert [str(problem) for problem in problems] == [
        "door.api_key: found a plain text value (not shown); allowed: a whole number."
    ]


@pytest.mark.parametrize("text", ["someone@lender.example", "x" * 41])
def test_an_address_or_a_long_text_in_the_wrong_place_is_counted_not_shown(text: str) -> None:
    assert complaint(int, toml_text(text))[0] == f"a text of {len(text)} characters (not shown)"


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("{}", "x", "an empty table"),
        ('{ env = "A", file = "b" }', "x", "both env and file"),
        ('{ env = "" }', "x.env", "a plain text value (not shown)"),
        ('{ evn = "A" }', "x.evn", "an unknown key"),
        ('{ file = " " }', "x.file", "a plain text value (not shown)"),
    ],
)
def test_a_secret_is_given_by_one_name_or_one_file(text: str, key: str, found: str) -> None:
    _, problems = verdict(Secret, text)

    assert [(problem.key, problem.found) for problem in problems] == [(key, found)]


def test_a_misspelt_required_key_is_one_problem_that_names_the_right_one() -> None:
    table = {"brand": "acme", "platfrom": "ios", "country": "NG"}

    _, problems = read(Store, table, path="app.acme", origin="")

    assert problems == [
        Problem("app.acme.platfrom", "an unknown key", "the keys brand, country, platform", "", "platform")
    ]


def test_an_unknown_key_is_a_problem_even_where_the_struct_would_let_it_pass() -> None:
    class Lax(Struct):
        a: int = 1

    _, problems = read(Lax, {"b c": 2}, path="lax", origin="a.toml")

    assert [problem.key for problem in problems] == ['lax."b c"']


def test_keys_that_somebody_else_reads_are_no_problem() -> None:
    table = {"brand": "acme", "platform": "ios", "country": "NG", "timezone": "Africa/Lagos"}

    store, problems = read(Store, table, path="", origin="", also=["timezone"])

    assert problems == []
    assert store == Store(brand="acme", platform="ios", country="NG")


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("{ times = 5 }", "x.on_unknown", None),
        ('{ on_unknown = "retyr", times = 5 }', "x.on_unknown", "retry"),
        ('{ on_unknown = "retry", times = 50 }', "x.times", None),
        ('{ on_unknown = "hold", times = 5 }', "x.times", None),
    ],
)
def test_the_tag_says_which_table_is_meant(text: str, key: str, nearest: str | None) -> None:
    _, problems = verdict(Retries | Hold, text)

    assert [(problem.key, problem.nearest) for problem in problems] == [(key, nearest)]


def test_values_that_a_struct_refuses_together_are_a_problem_of_the_table() -> None:
    class Window(Struct, frozen=True, kw_only=True):
        least: int
        most: int

        def __post_init__(self) -> None:
            if self.least > self.most:
                raise ValueError("least must not be above most")

    _, problems = read(Window, {"least": 9, "most": 8}, path="window", origin="")

    assert problems == [Problem("window", "values that do not go together", "least must not be above most")]


def test_a_value_where_the_whole_table_belongs_is_one_problem() -> None:
    assert read(Store, 3, path="app.acme", origin="") == (
        None,
        [Problem("app.acme", "the whole number 3", "a table")],
    )


@pytest.mark.parametrize(
    ("text", "delta"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("2s", timedelta(seconds=2)),
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("0s", timedelta()),
        ("250us", timedelta(microseconds=250)),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit_both_ways(text: str, delta: timedelta) -> None:
    assert duration(text) == delta
    assert duration_text(delta) == text


@pytest.mark.parametrize(
    "text", ["", "2", "s", "-2s", "1.5h", "2 s", "2s\n", "1h30m", "２s", "2w", "9" * 18 + "d"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


def test_a_span_below_zero_has_no_text() -> None:
    with pytest.raises(ValueError, match="below zero"):
        duration_text(timedelta(seconds=-1))


def test_keys_are_written_as_toml_writes_them() -> None:
    assert key_path("", "app", "acme-ng", "country") == "app.acme-ng.country"
    assert key_path("brand", "a.b", "it's") == 'brand."a.b"."it\'s"'


def test_the_schema_speaks_of_durations_and_secrets_as_people_write_them() -> None:
    found = schema(Lender)
    partner, secret = found["$defs"]["Partner"], found["$defs"]["Secret"]

    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$defs"]["Lender"]["properties"]["settle"] == {
        "type": "string",
        "pattern": "^[0-9]+(us|ms|s|m|h|d)$",
        "default": "2s",
    }
    assert partner["properties"]["max_age"]["description"] == "skip what is older"
    assert partner["properties"]["token"] == {"$ref": "#/$defs/Secret"}
    assert set(secret["properties"]) == {"env", "file"}
    assert (secret["minProperties"], secret["maxProperties"]) == (1, 1)
    assert found["$defs"]["Store"]["properties"]["country"]["description"] == "ISO 3166-1, two capitals"
    assert all(table["additionalProperties"] is False for table in found["$defs"].values())
    assert json.loads(json.dumps(found)) == found


def test_the_schema_closes_every_table_as_the_reader_does() -> None:
    class Lax(Struct):
        share: Decimal = Decimal("0.5")

    share = schema(Lax)["$defs"]["Lax"]["properties"]["share"]

    assert schema(Lax)["$defs"]["Lax"]["additionalProperties"] is False
    assert share["type"] == ["number", "string"]


def test_the_reference_page_lists_every_key_with_words_default_and_description() -> None:
    rows = [(row.key, row.allowed, row.default, row.description) for row in describe(Lender)]

    a_duration = 'a duration such as "2s", "90m", "3d"'
    assert rows == [
        ("app", "a table (each value: a table)", None, ""),
        ("app.<name>.brand", "text", None, ""),
        ("app.<name>.platform", "one of: android, ios", None, ""),
        ("app.<name>.country", "text, matching ^[A-Z]{2}$", None, "ISO 3166-1, two capitals"),
        ("destination", "a table (each value: a table)", None, ""),
        ("destination.<name>.kind", "text", None, ""),
        ("destination.<name>.token", '{ env = "NAME" } or { file = "PATH" }', None, ""),
        ("destination.<name>.max_age", a_duration, None, "skip what is older"),
        ("destination.<name>.late", "one of: send, skip", '"skip"', ""),
        ("destination.<name>.unanswered", "a table", '{ on_unknown = "retry", times = 3 }', ""),
        ("destination.<name>.unanswered.on_unknown", '"retry"', None, ""),
        ("destination.<name>.unanswered.times", "a whole number, at least 1, at most 20", "3", ""),
        ("destination.<name>.unanswered.on_unknown", '"hold"', None, ""),
        ("destination.<name>.unanswered.until", a_duration, '"1d"', ""),
        ("destination.<name>.forwards", "a list (each item: text)", "[]", ""),
        ("route", "a list (each item: a table), of length 1 or more", None, ""),
        ("route[].to", "text", None, ""),
        ("route[].send", "a table (each value: text)", None, ""),
        ("route[].share", "a number, at least 0, at most 1", "1.0", ""),
        ("settle", a_duration, '"2s"', ""),
        ("shares", "a list (each item: a whole number, above 0, below 100)", "[20, 30, 50, 70]", ""),
    ]
    assert [row.key for row in describe(Route, "route[]") if row.required] == ["route[].to", "route[].send"]


def test_a_struct_that_holds_itself_is_described_once() -> None:
    assert [row.key for row in describe(Folder)] == ["name", "inner"]


class Folder(Struct, frozen=True, kw_only=True):
    name: str
    inner: "list[Folder]" = field(default_factory=list)


def test_a_type_that_settings_cannot_have_is_refused_loudly() -> None:
    class Odd(Struct, frozen=True, kw_only=True):
        x: bytes

    with pytest.raises(TypeError, match="BytesType"):
        describe(Odd)


def test_positions_of_a_lenders_file() -> None:
    at = toml_positions(SOUND)

    assert at["settle"] == 1
    assert at["app"] == at["app.acme-ng"] == 3
    assert at["app.acme-ng.country"] == 6
    assert at["destination.appsflyer-ng.token"] == at["destination.appsflyer-ng.token.env"] == 10
    assert at["destination.appsflyer-ng.forwards[1]"] == 13
    assert at["route"] == at["route[0]"] == 15
    assert at["route[0].send.disbursement"] == 17


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("", {}),
        ("# only = 'words'\n\n", {}),
        ("a.b.c = 1\na.d = 2", {"a": 1, "a.b": 1, "a.b.c": 1, "a.d": 2}),
        ("[a.b]\nc = 1\n[a]\nd = 2", {"a": 1, "a.b": 1, "a.b.c": 2, "a.d": 4}),
        ("[ a . 'b c' ]\r\n\"d\\u0065\" = 1", {"a": 1, 'a."b c"': 1, 'a."b c".de': 2}),
        (
            "[[r]]\nx = 1\n[[r.s]]\ny = 2\n[[r.s]]\n[[r]]\n[r.t]\n[[r.s]]\n",
            {"r": 1, "r[0]": 1, "r[0].x": 2, "r[0].s": 3, "r[0].s[0]": 3, "r[0].s[0].y": 4}
            | {"r[0].s[1]": 5, "r[1]": 6, "r[1].t": 7, "r[1].s": 8, "r[1].s[0]": 8},
        ),
        (
            "a = [ # list ]\n  [1, 2],\n  { b = '}', c = \"]\" },\n]\nd = 1",
            {"a": 1, "a[0]": 2, "a[0][0]": 2, "a[0][1]": 2, "a[1]": 3, "a[1].b": 3, "a[1].c": 3, "d": 5},
        ),
        (
            'a = """\n[b]\nc = 1 \\""" "" """\n'
            "d = '''\n''e'''''\n"
            'f = ""\n'
            "g = 1979-05-27 07:32:00.5",
            {"a": 1, "d": 4, "f": 6, "g": 7},
        ),
        ("3.14 = 'pi'\n1-2 = 3.5e-2", {"3": 1, "3.14": 1, "1-2": 2}),
    ],
)
def test_positions_are_those_a_person_would_count(text: str, positions: dict[str, int]) -> None:
    tomllib.loads(text)

    assert toml_positions(text) == positions


@pytest.mark.parametrize(
    "text", ["a = 1\nb == 2", "a = 1\n[b", 'a = 1\n"b', "a = 1\n= 2", "a = 1\n}", "a = 1\n+ = 2"]
)
def test_a_text_that_is_no_toml_keeps_the_positions_up_to_the_mistake(text: str) -> None:
    assert toml_positions(text)["a"] == 1


def test_a_problem_without_a_line_of_its_own_takes_that_of_the_table_around_it() -> None:
    problems = [Problem(key, "", "", "a.toml") for key in ("r[0].x.y", 'b."c d"[3]', "z", "")]

    located = with_lines(problems, {"r": 4, "r[0]": 5, 'b."c d"': 7})

    assert [one.origin for one in located] == ["a.toml, line 5", "a.toml, line 7", "a.toml", "a.toml"]
