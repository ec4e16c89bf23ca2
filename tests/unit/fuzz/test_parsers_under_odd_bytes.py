"""The short form of `make fuzz PARSERS=1`: odd bytes are read, or refused with an error of ours."""

import random

import pytest
from tests.fuzz.parsers import PARSERS, Parser, finding, mutations, thrown

INPUTS = 150
"""Of each parser."""

SEED = 7
"""Always the same here: what chance finds, `make fuzz PARSERS=1` and `tests.fuzz.parsers` look for."""


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_the_bytes_are_a_parser_reads_them_or_says_why_not(name: str) -> None:
    found = thrown(name, SEED, INPUTS)

    assert [wrong for wrong, _ in found] == []


def test_another_error_than_ours_is_found() -> None:
    def careless(raw: bytes) -> None:
        raw.decode()

    wrong = finding(Parser(careless, (b"a",)), b"\xff")

    assert wrong is not None
    assert wrong.startswith("UnicodeDecodeError")


def test_the_same_seed_bends_the_same_way() -> None:
    once, twice = (list(mutations((b"a good one",), random.Random(7), 50)) for _ in range(2))

    assert once == twice
    assert len(set(once)) > 25
