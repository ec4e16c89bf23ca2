"""What a holdout's reading says, and what it refuses to say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lendsignal.advise.holdout import match_parity, rate_design, sights
from lendsignal.advise.holdout.reading import Asked, HoldoutReading, own_design, plan_of, read_holdout
from lendsignal.errors import LendsignalError
from lendsignal.model import to_us
from lendsignal.plan import is_held_out
from lendsignal.report.holdout_rows import Entered

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
USERS = 20_000


def rows(
    lift: float = 0.0, *, users: int = USERS, young: int = 0, share: float = 0.2, seed: int = 1
) -> Entered:
    """Users of whom a fifth comes back, the treated likelier by `lift`; the last `young` are not yet ripe."""
    rng = np.random.default_rng(seed)
    names = tuple(f"acme:u{number}" for number in range(users))
    held = np.array([is_held_out("s", share, name) for name in names])
    facts = rng.standard_normal((users, 4))
    came = rng.random(users) < np.clip(0.2 + 0.08 * facts[:, 0] + lift * ~held, 0, 1)
    known_us = to_us(AS_OF) - DAY_US * (30 * np.arange(users)[::-1] // users)
    known_us[users - young :] += 10 * DAY_US + 30 * DAY_US
    return Entered(
        users=names,
        known_us=known_us.astype(np.int64),
        outcomes={
            "reloan": came.astype(float),
            "loans": np.asarray(came * 2.0, dtype=np.float64),
            "margin": np.asarray(came * 12.0, dtype=np.float64),
            "loss": np.zeros(users),
        },
        facts=facts,
        currency="NGN",
        as_of=AS_OF,
    )


def held(share: float = 0.2) -> Callable[[str], bool]:
    return lambda user: is_held_out("s", share, user)


def asked(**parts: object) -> Asked:
    known = {"name": "lapsed", "share": 0.2, "horizon": timedelta(days=28)}
    return Asked(**{**known, **parts})  # type: ignore[arg-type]


def effect(found: HoldoutReading, outcome: str = "reloan") -> dict[str, object]:
    (row,) = [one for one in found.effects.records() if one["outcome"] == outcome]
    return dict(row)


def test_a_real_effect_is_seen_and_said_with_its_interval() -> None:
    found = read_holdout(rows(0.05), held(), asked(is_over=True))

    assert found.sound
    assert found.verdict.startswith("It brings more loans")
    row = effect(found)
    assert row["remark"] == "seen"
    assert float(str(row["once_low"])) < 0.05 < float(str(row["once_high"]))


def test_no_effect_is_not_called_none_and_what_is_too_small_is_not_promised() -> None:
    found = read_holdout(rows(0.0), held(), asked(is_over=True))

    assert "that is not none" in found.verdict
    assert "not promised" in found.verdict


def test_before_its_end_the_intervals_are_those_of_every_look() -> None:
    running, over = (read_holdout(rows(0.02), held(), asked(is_over=end)) for end in (False, True))

    assert float(str(effect(running)["low"])) < float(str(effect(over)["low"]))
    assert "at this and every other look" in running.effects.note
    assert any("every look" in note for note in running.notes)


def test_arms_that_are_not_what_was_drawn_are_not_read() -> None:
    # The configuration says a tenth, and a fifth was held out.
    found = read_holdout(rows(0.05), held(0.2), asked(share=0.1))

    assert not found.sound
    assert found.verdict.startswith("Do not read it")


def test_a_platform_that_knows_the_arms_unlike_is_not_read_either() -> None:
    found = read_holdout(rows(), held(), asked(matched=match_parity((8_000, 16_000), (1_000, 4_000))))

    assert not found.sound
    assert "recognises" in found.verdict


def test_users_whose_horizon_runs_are_left_out_and_counted() -> None:
    found = read_holdout(rows(young=5_000), held(), asked())
    (treated, control) = found.arms.records()
    users = sum(int(str(one["users"])) for one in (treated, control))

    assert users == USERS  # the draw is judged by all of them
    assert any(note.startswith("5,000 users") for note in found.notes)
    now, later = (row for row in found.outlook.records() if row["weeks"] in (0, 8))
    assert (now["users"], later["users"]) == (15_000, 20_000)


def test_too_few_users_say_nothing() -> None:
    found = read_holdout(rows(users=300), held(), asked())

    assert found.verdict.startswith("Too few")
    assert found.effects.rows == ()


def test_an_outcome_that_hardly_anybody_has_is_called_thin() -> None:
    found = read_holdout(rows(), held(), asked())

    assert effect(found, "loss")["remark"] == "thin"
    assert effect(found, "margin")["remark"] != "thin"


def test_what_was_known_before_takes_noise_away() -> None:
    explained = effect(read_holdout(rows(), held(), asked()))["explained"]

    # 0.08² of a variance of 0.16.
    assert float(str(explained)) == pytest.approx(0.04, abs=0.01)


def test_reach_and_spend_give_the_effect_on_the_reached_and_the_cost_of_one_more() -> None:
    found = read_holdout(rows(0.05), held(), asked(reach=0.5, reach_control=0.1, spend=8_000.0))
    row = found.reached.records()[1]
    raw = effect(found, "loans")
    difference = float(str(raw["difference"]))

    assert row["outcome"] == "loans"
    assert row["effect"] == pytest.approx(difference / 0.4)
    treated = int(str(found.arms.records()[0]["users"]))
    assert row["cost_each"] == pytest.approx(8_000 / (difference * treated))


def test_looks_go_back_over_the_days_and_grow() -> None:
    looks = read_holdout(rows(), held(), asked()).looks.records()
    users = [int(str(one["users"])) for one in looks]

    assert len(looks) == 28
    assert users == sorted(users)
    assert users[-1] == USERS


def test_the_lenders_own_design_is_what_its_users_did() -> None:
    design = own_design(rows(), reach=0.4)

    assert design.mean == pytest.approx(0.2, abs=0.01)
    assert design.eligible == USERS
    assert design.explained == pytest.approx(0.04, abs=0.01)
    # Over 30 days, evenly: so many in four weeks, a quarter of them a week.
    assert design.weekly == pytest.approx(USERS * 28 / 30 / 4, rel=0.05)


def test_a_ledger_of_few_users_has_no_design() -> None:
    with pytest.raises(LendsignalError, match="--rate"):
        own_design(rows(users=50), reach=0.4)


def test_a_plan_prints_a_row_for_each_way_of_holding_out() -> None:
    design = rate_design(0.1, 10_000, reach=0.4)
    plan = plan_of(design, sights(design, [0.1], [0, 4], asked=0.02), "Not promised.")

    assert [row["promised"] for row in plan.sights.records()] == [False, False]
    assert "10% held out, now" in plan.to_text()
    assert "70.04%" in plan.to_text()
    assert plan.to_text().endswith("Not promised.\n")
    assert "no events yet" not in plan.to_text()
