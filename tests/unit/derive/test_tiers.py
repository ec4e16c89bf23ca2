"""Quality tiers by a table of cuts."""

from datetime import timedelta

import msgspec
import pytest
from tests.acme import ANDROID, T0, event

from lendsignal.derive import Cut, CutSet, CutTable, Ladders, Tiers, cuts_of, with_table
from lendsignal.derive import tiers as tiers_module
from lendsignal.errors import InputError
from lendsignal.model import App, Event

TABLE = Tiers(
    cuts=(Cut(share=20, cut=720), Cut(share=30, cut=680), Cut(share=50, cut=610), Cut(share=70, cut=540))
)


def app_in(country: str) -> App:
    return msgspec.structs.replace(ANDROID, country=country)


def tiers_of(one: Event, country: str, tiers: Tiers) -> list[str]:
    """The tiers of a grant in an app of that country."""
    return list(Ladders(tiers).tiers_of(one, app_in(country), "acme-group"))


def shares_of(one: Event, country: str, tiers: Tiers) -> list[int]:
    return [int(name.removeprefix("credit_top")) for name in tiers_of(one, country, tiers)]


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
    assert list(shares_of(event("credit_granted", 0, score=score), "NG", TABLE)) == shares


def test_where_a_low_score_is_a_good_one_the_cuts_are_upper_ends() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=0.05), Cut(share=50, cut=0.12)), higher_is_better=False)

    assert list(shares_of(event("credit_granted", 0, score=0.05), "NG", table)) == [50, 20]
    assert list(shares_of(event("credit_granted", 0, score=0.12), "NG", table)) == [50]
    assert list(shares_of(event("credit_granted", 0, score=0.13), "NG", table)) == []


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

    assert list(shares_of(event("credit_granted", 0, score=650), "NG", table)) == [30, 20]


def test_a_table_of_cuts_is_read_from_csv() -> None:
    text = "share,cut,country,valid_from\n20,720,NG,2026-03-10T09:00:00Z\n70, 540.5 ,,\n"

    assert cuts_of(text) == (Cut(share=20, cut=720, country="NG", valid_from=T0), Cut(share=70, cut=540.5))
    others = (
        "share,cut,brand,app,product,score_version,basis,ties\n5,1.5,acme,acme-ng,p,v2,predicted_value,0.25\n"
    )
    assert cuts_of(others) == (
        Cut(
            share=5,
            cut=1.5,
            brand="acme",
            app="acme-ng",
            product="p",
            score_version="v2",
            basis="predicted_value",
            ties=0.25,
        ),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("share,cutoff\n20,1\n", "line 1"),
        ("share\n20\n", "line 1"),
        ('share,"cut"s\n20,1\n', "line 1"),
        ("", "line 1"),
        ("share,cut\n20,1\n100,2\n", "line 3"),
        ("share,cut\n0,1\n", "line 2"),
        ("share,cut,ties\n20,1,1.5\n", "line 2"),
        ("share,cut,basis\n20,1,luck\n", "line 2"),
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


def test_both_bases_run_at_once_each_by_its_own_measure() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=720), Cut(share=20, cut=15.5, basis="predicted_value")))

    def tiers(score: float | None, value: object) -> list[str]:
        granted = event("credit_granted", 0, score=score, properties={"predicted_value": value})
        return tiers_of(granted, "NG", table)

    assert tiers(720, 15.5) == ["value_top20", "credit_top20"]
    assert tiers(719, 15.5) == ["value_top20"]
    assert tiers(720, 15.4) == ["credit_top20"]
    assert tiers(720, True) == tiers(720, "20") == ["credit_top20"]
    assert tiers(None, 16) == ["value_top20"]


def test_more_predicted_value_is_better_also_where_a_lower_score_is() -> None:
    table = Tiers(
        cuts=(Cut(share=20, cut=0.05), Cut(share=20, cut=10, basis="predicted_value")), higher_is_better=False
    )
    granted = event("credit_granted", 0, score=0.01, properties={"predicted_value": 12.5})

    assert tiers_of(granted, "NG", table) == ["value_top20", "credit_top20"]


def test_of_many_with_exactly_the_cut_s_score_the_stated_part_belongs() -> None:
    """A coarse score: 2 000 grants of one score, of which 30 % and 60 % are to be in."""
    table = Tiers(cuts=(Cut(share=20, cut=700, ties=0.3), Cut(share=50, cut=700, ties=0.6)))
    grants = [event("credit_granted", 0, score=700, grant_id=f"G{n}") for n in range(2_000)]

    found = [shares_of(one, "NG", table) for one in grants]

    # Four standard deviations of a share of 2 000 are 4.1 and 4.4 points.
    assert abs(sum(20 in one for one in found) / 2_000 - 0.3) < 0.041
    assert abs(sum(50 in one for one in found) / 2_000 - 0.6) < 0.044
    assert all(50 in one for one in found if 20 in one)
    assert found == [shares_of(one, "NG", table) for one in grants]
    assert shares_of(event("credit_granted", 0, score=700.1), "NG", table) == [50, 20]
    assert not shares_of(event("credit_granted", 0, score=699.9), "NG", table)


def test_a_cut_may_be_limited_to_a_brand_or_an_app() -> None:
    table = Tiers(cuts=(Cut(share=20, cut=600, app="acme-ng"), Cut(share=30, cut=500, brand="other")))

    assert shares_of(event("credit_granted", 0, score=600), "NG", table) == [20]
    assert shares_of(event("credit_granted", 0, score=600, brand="other"), "NG", table) == [30, 20]
    assert not Ladders(table).tiers_of(event("credit_granted", 0, score=600), None, "acme-group")


def test_products_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers_module, "LADDERS_AT_HAND", 8)
    ladders = Ladders(TABLE)

    for n in range(100):
        granted = event("credit_granted", 0, score=700, product=f"p{n}")
        assert len(ladders.tiers_of(granted, ANDROID, "acme-group")) == 3

    assert len(ladders._at_hand) <= 8


def test_own_cuts_are_those_of_the_table_and_given_ones_are_left_alone() -> None:
    cuts = (Cut(share=20, cut=7), Cut(share=30, cut=6), Cut(share=20, cut=5, basis="predicted_value"))
    table = CutTable(version="c1", made_us=0, sets=(CutSet(cuts=cuts, reason="first", made_us=0, n=500),))
    rolling = Tiers(rolling=("score",), shares=(20, 50))

    assert with_table(rolling, table) == msgspec.structs.replace(rolling, cuts=cuts[:1], version="c1")
    assert with_table(rolling, None) is rolling
    assert with_table(TABLE, table) is TABLE


def test_every_tier_there_may_be_has_a_name() -> None:
    assert TABLE.names() == ["credit_top20", "credit_top30", "credit_top50", "credit_top70"]
    both = Tiers(rolling=("predicted_value", "score"), shares=(20, 50))
    assert both.names() == ["value_top20", "value_top50", "credit_top20", "credit_top50"]
    assert Tiers().names() == []
