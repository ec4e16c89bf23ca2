"""What a holdout can see, and that its arms are what was drawn."""

import pytest

from lendsignal.advise.holdout import (
    Design,
    match_parity,
    power_at,
    rate_design,
    sample_ratio,
    sights,
    smallest_effect,
    users_for,
)


@pytest.mark.parametrize(
    ("rate", "share", "users", "per_cent"),
    [
        # (z.975 + z.8) = 2.8016; of 10 % the sd is 0.3: 2.8016 · 0.3 · √(1/9,000 + 1/1,000) / 0.4 / 0.10
        (0.10, 0.1, 10_000, 70),
        (0.10, 0.1, 50_000, 31),
        (0.10, 0.1, 200_000, 15.7),
        (0.10, 0.1, 1_000_000, 7),
        (0.10, 0.5, 10_000, 42),
        (0.10, 0.5, 200_000, 9.4),
        (0.03, 0.1, 10_000, 133),
        (0.03, 0.1, 1_000_000, 13.3),
    ],
)
def test_the_smallest_lift_is_that_of_the_formula(
    rate: float, share: float, users: int, per_cent: float
) -> None:
    (one,) = sights(rate_design(rate, users, reach=0.4), [share], [0])

    assert one.relative is not None
    assert 100 * one.relative == pytest.approx(per_cent, rel=0.02)


def test_the_users_it_takes_see_just_the_effect_that_was_asked_about() -> None:
    users = users_for(0.01, 0.3, 0.2, reach=0.5, explained=0.1)
    held = round(users * 0.2)

    assert smallest_effect(0.3, users - held, held, reach=0.5, explained=0.1) == pytest.approx(0.01, rel=1e-4)


def test_the_smallest_effect_is_seen_eight_times_in_ten() -> None:
    least = smallest_effect(0.3, 9_000, 1_000)

    assert least is not None
    assert power_at(least, 0.3, 9_000, 1_000) == pytest.approx(0.8, abs=1e-6)


def test_without_an_effect_the_power_is_the_false_alarm() -> None:
    assert power_at(0.0, 0.3, 9_000, 1_000) == pytest.approx(0.05)


def test_too_few_users_see_nothing_at_all() -> None:
    assert smallest_effect(0.3, 10_000, 99) is None
    assert smallest_effect(0.3, 10_000, 100) is not None


def test_an_effect_below_the_smallest_is_not_promised() -> None:
    design = rate_design(0.10, 10_000, reach=0.4)
    least = design.smallest(0.1)
    assert least is not None
    (below,) = sights(design, [0.1], [0], asked=least * 0.99)
    (above,) = sights(design, [0.1], [0], asked=least * 1.01)

    assert below.promised is False
    assert above.promised is True


def test_pooling_weeks_and_holding_out_more_see_more() -> None:
    design = Design(mean=0.1, sd=0.3, eligible=10_000, weekly=2_000)
    found = [one.smallest for one in sights(design, [0.1, 0.5], [0, 12])]

    assert [one.users for one in sights(design, [0.1], [0, 12])] == [10_000, 34_000]
    assert None not in found
    assert found[0] > found[1] > found[3]  # type: ignore[operator]
    assert found[0] > found[2] > found[3]  # type: ignore[operator]


def test_what_is_forgone_is_the_effect_on_those_of_the_held_out_whom_ads_would_have_reached() -> None:
    (one,) = sights(rate_design(0.10, 10_000, reach=0.4), [0.1], [0], asked=0.02)

    assert one.forgone == pytest.approx(1_000 * 0.4 * 0.02)


def test_arms_as_they_were_drawn_are_sound() -> None:
    ratio = sample_ratio(9_030, 970, 0.1)

    # z = (970 − 1,000) / √(10,000 · 0.09) = −1: beyond that on either side lies 31.73 %.
    assert ratio.p == pytest.approx(0.3173, abs=1e-4)
    assert ratio.is_sound
    assert ratio.found == pytest.approx(0.097)


def test_an_arm_that_lost_users_is_not_to_be_read() -> None:
    # z = (880 − 988) / √(9,880 · 0.09) = −3.62
    assert not sample_ratio(9_000, 880, 0.1).is_sound


def test_no_users_are_no_reason_to_doubt() -> None:
    assert sample_ratio(0, 0, 0.1).is_sound
    assert sample_ratio(0, 0, 0.1).found is None


def test_a_platform_that_knows_both_arms_alike_passes_and_one_that_does_not_fails() -> None:
    alike, unlike = match_parity((3_600, 9_000), (410, 1_000)), match_parity((3_600, 9_000), (300, 1_000))

    assert alike.is_sound
    assert (unlike.treated, unlike.control) == (0.4, 0.3)
    assert not unlike.is_sound
