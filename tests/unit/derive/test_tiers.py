"""Quality tiers by a table of cuts."""

from datetime import timedelta

import pytest
from tests.acme import T0, event

from lendsignal.derive import Cut, Tiers, cuts_of, tiers_of
from lendsignal.errors import InputError

TABLE = Tiers(
    cuts=(Cut(share=20, cut=720), Cut(share=30, cut=680), Cut(share=50, cut=610), Cut(share=70, cut=540))
)


@pytest.mark.parametrize(
    ("score", "shares"),
    [
        (721, [70, 50, 30, 20]),
        (720, [70, 50, 30, 20]),
        (719.9, [70, 50, 30]),
        (650, [70, 50]),
        (540, [70]),
        (539, []),
    ],
)
def test_tiers_are_nested_and_come_widest_first(score: float, shares: list[int]) -> None:
    assert list(tiers_of(event("credit_granted", 0, score=score), "NG", TABLE)) == shares


def test_where_a_low_score_is_a_good_one_the_cuts_are_upper_ends() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=0.05), Cut(share=50, cut=0.12)), higher_is_better=False)

    assert list(tiers_of(event("credit_granted", 0, score=0.05), "NG", table)) == [50, 20]
    assert list(tiers_of(event("credit_granted", 0, score=0.12), "NG", table)) == [50]
    assert list(tiers_of(event("credit_granted", 0, score=0.13), "NG", table)) == []


def test_without_a_score_or_a_table_there_is_no_tier() -> None:
    assert not tiers_of(event("credit_granted", 0), "NG", TABLE)
    assert not tiers_of(event("credit_granted", 0, score=900), "NG", Tiers())


def test_the_most_closely_scoped_cut_decides_whatever_its_age() -> None:
    table = Tiers(
        cuts=(
            Cut(share=20, cut=600, valid_from=T0 - timedelta(days=1)),
            Cut(share=20, cut=700, country="NG"),
            Cut(share=20, cut=800, country="NG", product="payday"),
        )
    )

    def inside(score: float, country: str, product: str) -> bool:
        granted = event("credit_granted", 0, score=score, product=product)
        return bool(tiers_of(granted, country, table))

    assert inside(600, "PH", "payday")
    assert inside(700, "NG", "instalment")
    assert not inside(699, "NG", "instalment")
    assert not inside(799, "NG", "payday")


def test_the_youngest_cut_valid_at_the_grant_decides() -> None:
    table = Tiers(
        cuts=(
            Cut(share=20, cut=700, valid_from=T0 + timedelta(hours=1)),
            Cut(share=20, cut=500),
            Cut(share=20, cut=600, valid_from=T0),
        )
    )

    assert not tiers_of(event("credit_granted", -1, score=499), "NG", table)
    assert tiers_of(event("credit_granted", -1, score=500), "NG", table)
    assert not tiers_of(event("credit_granted", 0, score=599), "NG", table)
    assert tiers_of(event("credit_granted", 59, score=600), "NG", table)
    assert not tiers_of(event("credit_granted", 60, score=699), "NG", table)


def test_a_cut_for_another_version_of_the_score_says_nothing() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=700, score_version="v2"),))

    assert tiers_of(event("credit_granted", 0, score=700, score_version="v2"), "NG", table)
    assert not tiers_of(event("credit_granted", 0, score=700, score_version="v1"), "NG", table)
    assert not tiers_of(event("credit_granted", 0, score=700), "NG", table)


def test_tiers_are_nested_even_where_the_cuts_are_not() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=600), Cut(share=30, cut=680), Cut(share=10, cut=900)))

    assert list(tiers_of(event("credit_granted", 0, score=650), "NG", table)) == [30, 20]


def test_a_table_of_cuts_is_read_from_csv() -> None:
    text = "share,cut,country,valid_from\n20,720,NG,2026-03-10T09:00:00Z\n70, 540.5 ,,\n"

    assert cuts_of(text) == (Cut(share=20, cut=720, country="NG", valid_from=T0), Cut(share=70, cut=540.5))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("share,cutoff\n20,1\n", "line 1"),
        ("share\n20\n", "line 1"),
        ('share,"cut"s\n20,1\n', "line 1"),
        ("", "line 1"),
        ("share,cut\n20,1\n100,2\n", "line 3"),
        ("share,cut\n0,1\n", "line 2"),
        ("share,cut\n20,high\n", "line 2"),
        ("share,cut\n20\n", "line 2"),
        ("share,cut,valid_from\n20,1,2026-03-10T09:00:00\n", "line 2"),
        ("share,cut\n20,nan\n", "line 2"),
        ("share,cut\n20,0,7\n", "line 2"),
        ('share,cut\n20,"0"7\n', "line 2"),
    ],
)
def test_a_wrong_table_is_refused_with_the_line(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        cuts_of(text)

    assert caught.value.field == line
