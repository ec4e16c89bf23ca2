"""Rows out of files: what is read, how it is numbered, and that nothing is skipped in silence."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from lendsignal.errors import InputError
from lendsignal.source.files.rows import LONGEST_LINE, BadRow, Layout, Row, columns_of, format_of, rows

CSV = Layout("csv")
JSONL = Layout("jsonl")


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, layout: Layout = CSV) -> list[Row | BadRow]:
    return list(rows(path, layout))


def test_a_csv_row_has_its_number_and_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"loan,note\nL1,one\n\nL2,two\n")

    assert read(path) == [
        Row(1, 2, {"loan": "L1", "note": "one"}),
        Row(2, 4, {"loan": "L2", "note": "two"}),
    ]


def test_a_quoted_line_break_moves_the_line_but_not_the_row_number(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'loan,note\r\nL1,"one\r\nmore"\r\nL2,two\r\n')

    assert [(row.number, row.line) for row in read(path)] == [(1, 2), (2, 4)]
    assert read(path)[0] == Row(1, 2, {"loan": "L1", "note": "one\r\nmore"})


def test_gzip_is_told_by_the_content_and_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = written(tmp_path, "no-ending.csv", gzip.compress(b"\xef\xbb\xbfloan\nL1\n"))

    assert read(path) == [Row(1, 2, {"loan": "L1"})]


def test_other_delimiters_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"loan;note\nL1;a,b\n")

    assert read(path, Layout("csv", ";")) == [Row(1, 2, {"loan": "L1", "note": "a,b"})]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"L2", "has 1 cells where the header has 2"),
        (b"L2,two,three", "has 3 cells where the header has 2"),
        (b"L2,\xff\xfe", "is not UTF-8 text"),
        (b"L2,a\0b", "has a NUL byte"),
        (b'L2,"two"x', "is no CSV: ',' expected after '\"'"),
        (b"L2," + b"x" * LONGEST_LINE, "is longer than 1,000,000 characters"),
    ],
)
def test_a_bad_row_is_said_with_its_place_and_costs_no_other_row(
    tmp_path: Path, line: bytes, rule: str
) -> None:
    path = written(tmp_path, "a.csv", b"loan,note\nL1,one\n" + line + b"\nL3,three\n")

    first, bad, third = read(path)

    assert first == Row(1, 2, {"loan": "L1", "note": "one"})
    assert bad == BadRow(2, 3, rule)
    assert third == Row(3, 4, {"loan": "L3", "note": "three"})


def test_a_quote_that_is_never_closed_says_up_to_which_line_it_swallowed(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'loan,note\nL1,"one\nL2,two\nL3,three\n')

    (bad,) = read(path)

    assert bad == BadRow(1, 2, "is no CSV: unexpected end of data (up to line 4)")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "is empty: the first line must name the columns"),
        (b"loan,,x\n", "column 2 of its header has no name"),
        (b"loan,loan\n", "names the column 'loan' twice"),
        (b"loan,\xff\nL1,x\n", "its header is not UTF-8 text"),
    ],
)
def test_a_header_that_cannot_be_trusted_refuses_the_file(tmp_path: Path, content: bytes, rule: str) -> None:
    path = written(tmp_path, "a.csv", content)

    with pytest.raises(InputError) as refusal:
        read(path)

    assert (refusal.value.field, refusal.value.rule) == ("a.csv", rule)


def test_a_gzip_file_that_is_cut_off_is_refused_and_says_how_far_it_went(tmp_path: Path) -> None:
    whole = gzip.compress(b"loan\n" + b"".join(b"L%d\n" % n for n in range(60_000)))
    path = written(tmp_path, "a.csv.gz", whole[: len(whole) // 2])

    with pytest.raises(InputError, match=r"its gzip data is cut off or damaged after row \d{4,}"):
        read(path)


def test_a_missing_file_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^a\.csv: cannot be read: No such file"):
        read(tmp_path / "a.csv")


def test_json_lines_are_flattened_and_kept_whole(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", b'{"loan":"L1","device":{"gaid":"g1"}}\n\n{"loan":7,"on":true}\n')

    assert read(path, JSONL) == [
        Row(1, 1, {"loan": "L1", "device.gaid": "g1"}, {"loan": "L1", "device": {"gaid": "g1"}}),
        Row(2, 3, {"loan": 7, "on": True}, {"loan": 7, "on": True}),
    ]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"[1]", "must be a JSON object"),
        (b'{"a":1,"a":2}', "stands twice in one object"),
        (b'{"a":"\xff"}', "must be UTF-8 text"),
        (b'{"a":"' + b"x" * LONGEST_LINE + b'"}', "is longer than 1,000,000 characters"),
        (b"{", "must be JSON: "),
    ],
)
def test_a_bad_json_line_is_said_and_costs_no_other(tmp_path: Path, line: bytes, rule: str) -> None:
    path = written(tmp_path, "a.jsonl", line + b'\n{"loan":"L2"}\n')

    bad, good = read(path, JSONL)

    assert isinstance(bad, BadRow)
    assert (bad.number, bad.line) == (1, 1)
    assert rule in bad.rule
    assert good == Row(2, 2, {"loan": "L2"}, {"loan": "L2"})


def test_parquet_keeps_its_types_and_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with duckdb.connect(":memory:") as db:
        db.execute("set timezone = 'Asia/Manila'")
        db.execute(
            f"copy (select * from (values ('L1', 12.50::decimal(9,2), timestamptz '2026-03-01 08:00:00+08',"
            f" timestamp '2026-03-01 09:00:00', date '2026-03-02', {{'gaid': 'g1'}}),"
            f" ('L2', null, null, null, null, null)) as t (loan, amount, \"at\", local, day, device))"
            f" to '{path}' (format parquet)"
        )

    assert columns_of(path, Layout("parquet")) == ("loan", "amount", "at", "local", "day", "device")
    assert read(path, Layout("parquet")) == [
        Row(
            1,
            None,
            {
                "loan": "L1",
                "amount": Decimal("12.50"),
                "at": datetime(2026, 3, 1, tzinfo=UTC),
                "local": datetime.fromisoformat("2026-03-01T09:00:00"),
                "day": date(2026, 3, 2),
                "device.gaid": "g1",
            },
        ),
        Row(2, None, {"loan": "L2", "amount": None, "at": None, "local": None, "day": None, "device": None}),
    ]


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.parquet", b"loan\nL1\n")

    with pytest.raises(InputError, match=r"a\.parquet: cannot be read as Parquet"):
        read(path, Layout("parquet"))


def test_the_name_tells_the_format() -> None:
    assert [
        format_of(name) for name in ("a.CSV", "a.tsv.gz", "a.jsonl.gz", "a.ndjson", "a.parquet", "a.xlsx")
    ] == [
        "csv",
        "csv",
        "jsonl",
        "jsonl",
        "parquet",
        None,
    ]


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv.gz", gzip.compress(b"loan\n" + b"L1\n" * 5_000))
    told: list[int] = []

    list(rows(path, CSV, told.append))

    assert told == sorted(told)
    assert told[-1] == path.stat().st_size
