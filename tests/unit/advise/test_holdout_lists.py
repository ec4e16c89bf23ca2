"""What each list brought by its holdouts, side by side: seen, not seen, not readable."""

from msgspec.structs import replace
from tests.unit.advise.test_holdout_reading import asked, held, rows

from lendsignal.advise.holdout.lists import NO_BEGINNING, NO_HOLDOUT, effects_of_lists
from lendsignal.advise.holdout.reading import HoldoutReading, read_holdout
from lendsignal.report.layout import Table


def only(found: Table, outcome: str = "reloan") -> dict[str, object]:
    (row,) = [one for one in found.records() if one["outcome"] == outcome]
    return dict(row)


def reading(lift: float) -> HoldoutReading:
    return read_holdout(rows(lift), held(), asked())


def test_an_effect_stands_beside_its_list_with_the_interval_of_the_reading() -> None:
    one = reading(0.05)

    row = only(effects_of_lists({"lapsed": [("lapsed-20", one)]}))

    (known,) = [each for each in one.effects.records() if each["outcome"] == "reloan"]
    assert (row["list"], row["holdout"], row["says"]) == ("lapsed", "lapsed-20", "seen")
    assert (row["lift"], row["low"], row["high"]) == (known["lift"], known["low"], known["high"])
    # A fifth of 20,000 users is held out, as the draw has it.
    assert int(str(row["users"])) + int(str(row["held_out"])) == 20_000
    assert 3_800 < int(str(row["held_out"])) < 4_200


def test_what_is_not_told_from_chance_comes_with_what_is_not_promised() -> None:
    row = only(effects_of_lists({"lapsed": [("draw", reading(0.0))]}))

    least = row["smallest_lift"]
    assert isinstance(least, float)
    # 20,000 users of whom a fifth comes back, a fifth held out: 2.8 · √(.16 · (1/16,000 + 1/4,000)) ÷ .2.
    assert 0.07 < least < 0.11
    assert row["says"] == f"not told from chance; below {least:.0%} nothing is promised"


def test_a_list_without_a_holdout_or_whose_beginning_nobody_says_has_no_figures() -> None:
    found = effects_of_lists({"plain": [], "undated": [("draw", None)]})

    assert [(row["list"], row["lift"], row["says"]) for row in found.records()] == [
        ("plain", None, NO_HOLDOUT),
        ("undated", None, NO_BEGINNING),
    ]


def test_arms_that_are_not_what_was_drawn_are_not_read() -> None:
    broken = read_holdout(rows(0.05, share=0.2), held(0.3), asked())
    few = read_holdout(replace(rows(users=30)), held(), asked())

    found = effects_of_lists({"broken": [("draw", broken)], "few": [("draw", few)]})

    says = {str(row["list"]): str(row["says"]) for row in found.records()}
    assert says["broken"].startswith("Do not read it")
    assert says["few"].startswith("Too few")
    assert all(row["lift"] is None for row in found.records())
