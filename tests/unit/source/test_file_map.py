"""The map: mistakes are named with their lines; columns and operations mean what the reference says."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from math import floor
from typing import Any

import pytest

from lendsignal.errors import ConfigError, InputError
from lendsignal.source.files import entry_rules, events_of_row, map_hash, map_of
from lendsignal.source.files.map import file_rule_of, layout_of
from lendsignal.source.files.oddity import Oddity
from lendsignal.source.files.rows import Cell, Layout, Row

HEAD = """\
[file.loans]
match = "loans*.csv"
"""

EVENT = """\
[[event]]
type = "logged_in"
constants = { brand = "acme" }
columns = { user_id = "user", occurred_at = "at", "properties.result" = "result" }
"""

AT = "2026-03-01T00:00:00Z"


def made(text: str, **cells: Cell) -> tuple[list[dict[str, Any]], list[Oddity]]:
    """The event objects and oddities of one row under a map."""
    found, odd = events_of_row(Row(1, 2, cells), entry_rules(map_of(text, "map.toml"), "loans"))
    return [one.event for one in found], odd


def result(definition: str, **cells: Cell) -> object:
    """What the computed value `result` comes to, as a property; `None` where it is empty."""
    events, odd = made(f"{HEAD}[computed]\n{definition}\n{EVENT}", user="u1", at=AT, **cells)
    assert odd == []
    return events[0].get("properties", {}).get("result")


def time_of(column: str, cell: Cell) -> tuple[Any, list[Oddity]]:
    """The event's time and precision where the column `at` is declared so."""
    events, odd = made(f"{HEAD}[column.at]\n{column}\n{EVENT}", user="u1", at=cell)
    return [(one["occurred_at"], one.get("time_precision")) for one in events], odd


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_each_column_is_read_in_its_own_time_zone() -> None:
    lagos = 'kind = "time"\ntimezone = "Africa/Lagos"\nformat = "%Y-%m-%d %H:%M:%S.%f"'

    assert time_of(lagos, "2026-03-01 08:00:00.250000") == ([(utc(2026, 3, 1, 7, 0, 0, 250_000), None)], [])
    assert time_of('kind = "time"\ntimezone = "Asia/Manila"', "2026-03-01 08:00") == (
        [(utc(2026, 3, 1), None)],
        [],
    )


def test_an_offset_in_the_text_wins_over_the_zone_of_the_column() -> None:
    found, _ = time_of('kind = "time"\ntimezone = "Africa/Lagos"', "2026-03-01T08:00:00+07:00")

    assert found == [(utc(2026, 3, 1, 1), None)]


def test_midnight_may_mean_that_only_the_day_is_known() -> None:
    column = 'kind = "time"\ntimezone = "Africa/Lagos"\nmidnight = "date"'

    assert time_of(column, "2026-03-01 00:00:00") == ([(utc(2026, 3, 1, 11), "day")], [])
    assert time_of(column, "2026-03-01 00:00:01") == ([(utc(2026, 2, 28, 23, 0, 1), None)], [])


def test_a_date_is_noon_of_its_local_day_and_known_by_the_day() -> None:
    column = 'kind = "date"\ntimezone = "Asia/Jakarta"\nformat = "%d/%m/%Y"'

    assert time_of(column, "02/03/2026") == ([(utc(2026, 3, 2, 5), "day")], [])


def test_epochs_are_utc() -> None:
    # date -u -d 2026-03-01T00:00:00 +%s = 1772323200
    assert time_of('kind = "epoch_ms"', "1772323200500") == ([(utc(2026, 3, 1, 0, 0, 0, 500_000), None)], [])
    assert time_of('kind = "epoch_s"', "1772323200.25") == ([(utc(2026, 3, 1, 0, 0, 0, 250_000), None)], [])
    assert time_of('kind = "epoch_ms"', 1772323200500) == ([(utc(2026, 3, 1, 0, 0, 0, 500_000), None)], [])


def test_a_time_that_clocks_showed_twice_is_the_earlier_one_and_is_reported() -> None:
    # Mexico City put its clocks back from 02:00 (-05:00) to 01:00 (-06:00) on 2021-10-31.
    found, odd = time_of('kind = "time"\ntimezone = "America/Mexico_City"', "2021-10-31 01:30:00")

    assert found == [(utc(2021, 10, 31, 6, 30), None)]
    assert [(one.kind, one.field, one.rule.partition(" when")[0]) for one in odd] == [
        ("doubtful_time", "at", "was shown twice")
    ]


def test_a_time_that_clocks_skipped_is_an_hour_later_and_is_reported() -> None:
    # Mexico City put its clocks forward from 02:00 (-06:00) to 03:00 (-05:00) on 2021-04-04.
    # 03:30 there was 08:30 UTC.
    found, odd = time_of('kind = "time"\ntimezone = "America/Mexico_City"', "2021-04-04 02:30:00")

    assert found == [(utc(2021, 4, 4, 8, 30), None)]
    assert [(one.kind, one.rule.partition(" when")[0]) for one in odd] == [("doubtful_time", "was skipped")]


@pytest.mark.parametrize(
    ("column", "cell", "rule"),
    [
        ('kind = "time"', "2026-03-01 08:00:00", "has no offset, and the column no timezone"),
        ('kind = "time"\ntimezone = "UTC"', "01.03.2026", "must be written ISO 8601"),
        ('kind = "time"\ntimezone = "UTC"\nformat = "%d.%m.%Y"', "2026-03-01", "must be written as %d.%m.%Y"),
        (
            'kind = "date"\ntimezone = "UTC"',
            "2026-03-01 08:00:00",
            "has a time of day where a date is wanted",
        ),
        ('kind = "epoch_s"', "soon", "must be a number such as 1250.50"),
        ('kind = "epoch_s"', "99999999999999", "is no time between the years 1 and 9999"),
        (
            'kind = "text"',
            "2026-03-01 08:00:00",
            "is no time: declare the column with its kind and time zone",
        ),
        ('kind = "number"', "5", "is no time: declare the column with its kind and time zone"),
    ],
)
def test_a_time_that_cannot_be_told_is_reported_with_its_column_and_makes_no_event(
    column: str, cell: str, rule: str
) -> None:
    found, (odd,) = time_of(column, cell)

    assert found == []
    assert (odd.kind, odd.row, odd.line, odd.field, odd.event) == ("unreadable_cell", 1, 2, "at", "logged_in")
    assert odd.rule.startswith(rule)
    assert cell not in odd.rule


def test_a_bad_cell_costs_the_events_that_need_it_and_no_other() -> None:
    text = f"""{HEAD}
[[event]]
type = "logged_in"
constants = {{ brand = "acme" }}
columns = {{ user_id = "user", occurred_at = "at" }}
[[event]]
type = "applied"
constants = {{ brand = "acme" }}
columns = {{ user_id = "user", occurred_at = "at", application_id = "loan", amount = "amount" }}
"""
    events, (odd,) = made(text, user="u1", at=AT, loan="L1", amount="ten thousand")

    assert [one["type"] for one in events] == ["logged_in"]
    assert odd == Oddity(
        kind="unreadable_cell",
        rule="must be a number such as 1250.50",
        row=1,
        line=2,
        field="amount",
        event="applied",
    )


def test_fields_take_text_as_what_they_are_and_empty_cells_are_left_out() -> None:
    text = f"""{HEAD}empty = ["", "n/a"]
[[event]]
type = "disbursed"
constants = {{ brand = "acme", currency = "PHP" }}
[event.columns]
user_id = "user"
occurred_at = "at"
loan_id = "loan"
amount = "amount"
term_days = "term"
fee = "fee"
test = "test"
due_date = "due"
"device.gaid" = "gaid"
"device.cpu_cores" = "cores"
"""
    (event,), _ = made(
        text,
        user=" u1 ",
        at=AT,
        loan="0012",
        amount="10000.5000",
        term="30",
        fee="n/a",
        test="No",
        due="2026-03-31",
        gaid="g1",
        cores="8",
    )

    assert event == {
        "type": "disbursed",
        "brand": "acme",
        "currency": "PHP",
        "user_id": "u1",
        "occurred_at": utc(2026, 3, 1),
        "loan_id": "0012",
        "amount": Decimal("10000.5"),
        "term_days": 30,
        "test": False,
        "due_date": datetime(2026, 3, 31, tzinfo=UTC).date(),
        "device": {"gaid": "g1", "cpu_cores": 8},
    }


@pytest.mark.parametrize(
    ("definition", "cells", "expected"),
    [
        ('result = { op = "template", text = "{loan}-first" }', {"loan": "L1"}, "L1-first"),
        ('result = { op = "template", text = "{loan}-{part}" }', {"loan": "{part}", "part": "2"}, "{part}-2"),
        ('result = { op = "template", text = "{loan}-first" }', {"loan": ""}, None),
        ('result = { op = "slice", text = "loan", start = 2, end = 4 }', {"loan": "abcdef"}, "cd"),
        ('result = { op = "slice", text = "loan", start = 9, end = 12 }', {"loan": "abcdef"}, None),
        ('result = { op = "hex", text = "loan" }', {"loan": "014cfb32a0da"}, 0x014CFB32A0DA),
        ('result = { op = "add", of = ["a", "b", 0.1] }', {"a": "0.2", "b": "1"}, 1.3),
        ('result = { op = "subtract", of = ["a", "b"] }', {"a": "13000.0000", "b": "10000"}, 3000),
        ('result = { op = "multiply", of = ["a", 0.15], places = 2 }', {"a": "33.5"}, 5.03),
        ('result = { op = "divide", of = ["a", "b"], places = 4 }', {"a": "1", "b": "3"}, 0.3333),
        ('result = { op = "divide", of = ["a", "b"], places = 2 }', {"a": "1", "b": "8"}, 0.13),
        ('result = { op = "least", of = ["a", 30] }', {"a": "60"}, 30),
        ('result = { op = "greatest", of = ["a", 30] }', {"a": "60"}, 60),
        ('result = { op = "add", of = ["a", "b"] }', {"a": "1", "b": ""}, None),
        ('result = { op = "first_of", of = ["a", "b"] }', {"a": "", "b": "x"}, "x"),
        ('result = { op = "first_of", of = ["a"], otherwise = 7 }', {"a": ""}, 7),
        (
            'result = { op = "only_if", value = "a", when = [{ column = "b", equals = "y" }] }',
            {"a": "1", "b": "y"},
            "1",
        ),
        (
            'result = { op = "only_if", value = "a", when = [{ column = "b", equals = "y" }] }',
            {"a": "1", "b": "n"},
            None,
        ),
        (
            'result = { op = "seconds_between", start = "at", end = "a" }',
            {"a": "2026-03-01T00:01:30.5Z"},
            90.5,
        ),
        (
            'result = { op = "shift", time = "at", seconds = -10, days = "a" }',
            {"a": "2"},
            "2026-03-02T23:59:50Z",
        ),
        ('result = { op = "epoch", number = "a", unit = "s" }', {"a": "1772323200"}, "2026-03-01T00:00:00Z"),
    ],
)
def test_an_operation_gives_what_its_line_in_the_reference_says(
    definition: str, cells: dict[str, Cell], expected: object
) -> None:
    assert result(definition, **cells) == expected


def test_a_hashed_number_is_the_first_32_bits_of_sha_256_spread_over_its_range() -> None:
    for loan in ("L1", "L2", "301994762"):
        u01 = int(sha256(f"{loan}d".encode()).hexdigest()[:8], 16) / 2**32
        expected = 10 + floor(50 * u01)
        found = result(
            'result = { op = "hash_number", text = "a", salt = "d", least = 10, below = 60 }', a=loan
        )

        assert found == expected


def test_an_hour_of_the_local_day_is_counted_in_the_zone_of_the_time() -> None:
    text = f"""{HEAD}
[column.due]
kind = "date"
timezone = "Africa/Lagos"
[computed]
end = {{ op = "at_hour", time = "due", hour = 24, days = 3 }}
late = {{ op = "days_between", start = "due", end = "end" }}
[[event]]
type = "overdue"
constants = {{ brand = "acme" }}
columns = {{ user_id = "user", occurred_at = "end", loan_id = "loan", dpd = "late" }}
"""
    (event,), _ = made(text, user="u1", loan="L1", due="2026-03-01")

    # The day ends at 23:00 UTC of 1 March; three days more is midnight of 5 March in Lagos.
    assert event["occurred_at"] == utc(2026, 3, 4, 23)
    assert event["dpd"] == 4
    assert "time_precision" not in event


@pytest.mark.parametrize(
    ("definition", "rule"),
    [
        ('result = { op = "divide", of = ["a", 0] }', "divides by zero"),
        ('result = { op = "add", of = ["a", "b"] }', "must be a number such as 1250.50"),
        ('result = { op = "hex", text = "b" }', "must be up to 32 hexadecimal digits"),
        ('result = { op = "shift", time = "at", days = 1e9 }', "is no time between the years 1 and 9999"),
        (
            'result = { op = "only_if", value = "a", when = [{ column = "at", above = 5 }] }',
            "must be a number",
        ),
    ],
)
def test_an_operation_that_cannot_be_done_is_reported(definition: str, rule: str) -> None:
    events, (odd,) = made(f"{HEAD}[computed]\n{definition}\n{EVENT}", user="u1", at=AT, a="1", b="xyz")

    assert events == []
    assert odd.kind == "unreadable_cell"
    assert odd.rule.startswith(rule)


@pytest.mark.parametrize(
    ("condition", "cells", "holds"),
    [
        ("present = true", {"a": "x"}, True),
        ("present = true", {"a": " "}, False),
        ("present = false", {}, True),
        ('equals = "x"', {"a": "x"}, True),
        ('equals = "x"', {"a": "X"}, False),
        ("equals = 0", {"a": "0.00"}, True),
        ("equals = true", {"a": "yes"}, True),
        ('equals = "x"', {}, False),
        ('not_equals = "x"', {"a": "y"}, True),
        ('not_equals = "x"', {}, True),
        ('same_as = "b"', {"a": "7", "b": "7"}, True),
        ('same_as = "b"', {"a": "7"}, False),
        ("above = 5", {"a": "5"}, False),
        ("at_least = 5", {"a": "5.0"}, True),
        ("below = 5", {"a": "5"}, False),
        ("at_most = 5", {"a": "5"}, True),
        ('above = "b"', {"a": "10", "b": "9"}, True),
        ('above = "b"', {"a": "10"}, False),
        ("below = 5", {}, False),
    ],
)
def test_a_condition_holds_as_its_line_in_the_reference_says(
    condition: str, cells: dict[str, Cell], holds: bool
) -> None:
    text = f'{HEAD}{EVENT}when = [{{ column = "a", {condition} }}]\n'
    events, odd = made(text, user="u1", at=AT, **cells)

    assert [one["type"] for one in events] == (["logged_in"] if holds else [])
    assert [one.kind for one in odd] == ([] if holds else ["row_without_event"])


def test_times_are_compared_as_moments_not_as_texts() -> None:
    text = f'{HEAD}[column.due]\nkind = "time"\n[column.at]\nkind = "time"\n{EVENT}'
    text += 'when = [{ column = "at", above = "due" }]\n'

    later, _ = made(text, user="u1", at="2026-03-01T01:00:00+00:00", due="2026-03-01T08:00:00+08:00")
    same, _ = made(text, user="u1", at="2026-03-01T00:00:00+00:00", due="2026-03-01T08:00:00+08:00")

    assert (len(later), len(same)) == (1, 0)


def test_every_mistake_of_a_map_is_named_with_its_line() -> None:
    text = """\
[file.loans]
match = "loans*.csv"
fromat = "csv"

[column.at]
kind = "time"
timezone = "Africa/Lagoss"

[computed]
a = { op = "template", text = "{loan" }
b = { op = "cut", text = "loan" }
c = { op = "slice", text = "loan", start = 4, end = 2 }

[[event]]
type = "applied"
when = [{ column = "x", present = true, equals = 1 }]
"""
    with pytest.raises(ConfigError) as refusal:
        map_of(text, "map.toml")

    found = {(one.key, one.origin) for one in refusal.value.problems}
    assert found == {
        ("file.loans.fromat", "map.toml, line 3"),
        ("column.at", "map.toml, line 5"),
        ("computed.a", "map.toml, line 10"),
        ("computed.b.op", "map.toml, line 11"),
        ("computed.c", "map.toml, line 12"),
        ("event[0].when[0]", "map.toml, line 16"),
    }


def test_names_that_stand_for_nothing_are_mistakes_too() -> None:
    text = """\
[file.loans]
match = "loans*.csv"
[constant]
curency = "PHP"
[computed]
a = { op = "add", of = ["b", 1] }
b = { op = "add", of = ["a", 1] }
s = { op = "lookup", file = "scores", key = "loan", column = "score" }
[[event]]
type = "applied"
file = "laons"
columns = { user_id = "user", occurred_at = "at", amuont = "amount" }
"""
    with pytest.raises(ConfigError) as refusal:
        map_of(text, "map.toml")

    assert [(one.key, one.nearest) for one in refusal.value.problems] == [
        ("computed.s.file", None),
        ("computed.a", None),
        ("computed.b", None),
        ("constant.curency", "currency"),
        ("event[0].file", "loans"),
        ("event[0].columns.amuont", "amount"),
        ("event[0].columns", None),  # no brand
        ("event[0].columns", None),  # no application_id
    ]


def test_a_map_that_is_no_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match="valid TOML"):
        map_of("[file", "map.toml")


def test_a_constant_its_field_cannot_take_is_refused() -> None:
    text = HEAD + EVENT.replace('brand = "acme"', 'brand = "acme", amount = "much"')

    with pytest.raises(ConfigError, match=r"event\[0\].constants.amount"):
        entry_rules(map_of(text, "map.toml"), "loans")


def test_the_hash_of_a_map_is_of_what_it_says() -> None:
    once = map_of(HEAD + EVENT, "map.toml")
    again = map_of(f"# a comment\n{EVENT}\n{HEAD}", "other.toml")
    other = map_of(HEAD + EVENT.replace("acme", "other"), "map.toml")

    assert map_hash(once) == map_hash(again) != map_hash(other)


def test_a_file_belongs_to_the_one_entry_that_matches_its_name() -> None:
    rules = map_of(f'{HEAD}[file.all]\nmatch = ["*-2026.csv", "rest.dat"]\n{EVENT}', "map.toml")

    assert file_rule_of("loans-2025.csv", rules) == "loans"
    with pytest.raises(InputError, match="several entries of the map: loans, all"):
        file_rule_of("loans-2026.csv", rules)
    with pytest.raises(InputError, match="no entry of the map"):
        file_rule_of("users.csv", rules)
    with pytest.raises(InputError, match="a name that tells no format"):
        layout_of("rest.dat", rules.file["all"])
    assert layout_of("rest.tsv.gz", rules.file["all"]) == Layout("csv", "\t")
