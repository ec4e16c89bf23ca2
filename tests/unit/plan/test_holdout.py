"""Who is held out, and what decisions make of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from statistics import fmean
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import HOUR, TARGETS, Told, consent_of, event, expired, loan, login, moment, source, told, us

from lendsignal.model import SkipReason
from lendsignal.plan import (
    ALWAYS,
    Holdout,
    HoldoutSettings,
    Live,
    Planned,
    Policy,
    compile_policy,
    held_by,
    holdout_of,
    is_held_out,
    place_of,
    version_of,
    wrong_holdouts,
)

HELD = SkipReason.HOLDOUT
EVERYBODY = 0.999999999
USERS = [f"acme:u{number}" for number in range(20_000)]


def holdout(name: str = "h1", share: float = EVERYBODY, **parts: Any) -> Holdout:
    return Holdout(name=name, salt=parts.pop("salt", f"salt of {name}"), share=share, **parts)


def policy(*holdouts: Holdout) -> Policy:
    return compile_policy(replace(source(), holdouts=holdouts))


def skips(after: Told, name: str) -> list[SkipReason | None]:
    return [entry.skip for record in after.planned(name) for entry in record.entries]


def test_a_place_is_the_hash_of_salt_and_user_as_a_number_below_one() -> None:
    by_hand = blake2b(b"4\x1fsalt\x1facme:u1", digest_size=8).hexdigest()

    assert place_of("salt", "acme:u1") == pytest.approx(int(by_hand, 16) / 2**64, abs=2**-52)
    assert is_held_out("salt", 0.5, "acme:u1") == (int(by_hand, 16) < 2**63)


def test_places_are_even_over_the_users() -> None:
    places = [place_of("spring", user) for user in USERS]
    tenths = [sum(number <= 10 * place < number + 1 for place in places) for number in range(10)]

    # χ² with 9 degrees of freedom; 27.9 is passed once in a thousand draws.
    assert sum((n - 2_000) ** 2 / 2_000 for n in tenths) < 27.9


def test_two_salts_draw_independently() -> None:
    one = [place_of("spring", user) for user in USERS]
    other = [place_of("autumn", user) for user in USERS]
    both = [a * b for a, b in zip(one, other, strict=True)]

    # Independent even numbers: the mean of the product is 1/4, its standard error 0.2205 / √20,000.
    assert abs(fmean(both) - fmean(one) * fmean(other)) < 4 * 0.2205 / 20_000**0.5


def test_a_larger_share_keeps_all_whom_a_smaller_one_held() -> None:
    small = {user for user in USERS if is_held_out("spring", 0.05, user)}
    large = {user for user in USERS if is_held_out("spring", 0.10, user)}

    assert small < large
    assert len(large) == pytest.approx(2_000, abs=4 * (20_000 * 0.09) ** 0.5)


def test_a_salt_and_a_user_cannot_be_taken_for_another_pair() -> None:
    assert place_of("a", "b\x1fc") != place_of("a\x1fb", "c")


def test_a_held_out_users_delivery_is_skipped_and_says_why() -> None:
    after = told(login(0, "a"), loan(5, loan_number=1), policy=policy(holdout()))

    assert after.names() == ["disbursement", "first_loan"]
    assert skips(after, "first_loan") == [HELD]
    assert after.device("first_loan") == "af-a"


def test_who_is_not_drawn_is_sent_to_as_ever() -> None:
    drawn = holdout(share=place_of("salt of h1", "acme:u1"))  # exactly at the edge: not below it
    after = told(login(0, "a"), loan(5, loan_number=1), policy=policy(drawn))

    assert skips(after, "first_loan") == [None]


def test_a_holdout_of_some_conversions_lets_the_others_through() -> None:
    after = told(
        login(0, "a"),
        loan(5, loan_number=1),
        policy=policy(holdout(conversions=("repeat_loan", "first_loan"))),
    )

    assert skips(after, "first_loan") == [HELD]
    assert skips(after, "disbursement") == [None]


def test_a_holdout_of_some_destinations_lets_the_others_through() -> None:
    events = login(0, "a"), loan(5, loan_number=1)

    assert skips(told(*events, policy=policy(holdout(destinations=("appsflyer-*",)))), "first_loan") == [HELD]
    assert skips(told(*events, policy=policy(holdout(destinations=("*-ios",)))), "first_loan") == [None]


def test_a_holdout_of_lists_alone_keeps_no_conversion() -> None:
    lists = holdout_of("h1", HoldoutSettings(share=EVERYBODY, audiences=("lapsed",)))
    after = told(login(0, "a"), loan(5, loan_number=1), policy=policy(lists))

    assert skips(after, "first_loan") == [None]


def test_a_holdout_begins_and_ends_by_the_events_own_time() -> None:
    rules = policy(holdout(live=Live(us(HOUR), us(2 * HOUR))))
    late = {"arrives": 5 * HOUR}
    after = told(
        login(0, "a"),
        loan(HOUR - 1, "L1", **late),
        loan(HOUR, "L2", **late),
        loan(2 * HOUR - 1, "L3", **late),
        loan(2 * HOUR, "L4", **late),
        policy=rules,
    )

    assert skips(after, "disbursement") == [None, HELD, HELD, None]


def test_two_holdouts_hold_each_by_its_own_salt() -> None:
    one, other = holdout("h1", 0.5), holdout("h2", 0.5)
    found = {user: held_by((one, other), user, us(0)) for user in USERS[:2_000]}

    assert {frozenset(), frozenset({"h1"}), frozenset({"h2"}), frozenset({"h1", "h2"})} == set(found.values())
    assert all(("h1" in names) == is_held_out("salt of h1", 0.5, user) for user, names in found.items())


def test_a_user_who_allows_nothing_is_skipped_for_that_and_not_for_the_holdout() -> None:
    after = told(login(0, "a"), consent_of(1, False), loan(5, loan_number=1), policy=policy(holdout()))

    assert skips(after, "first_loan") == [SkipReason.NO_CONSENT]


def test_what_the_pen_releases_is_held_out_too() -> None:
    after = told(loan(5, loan_number=1), login(20, "a"), policy=policy(holdout()))

    assert skips(after, "first_loan") == [HELD]


def test_what_the_pen_gives_up_is_skipped_for_want_of_a_login() -> None:
    after = told(loan(5, loan_number=1), policy=policy(holdout()))
    after.tell(*expired(after.timers))

    assert skips(after, "first_loan") == [SkipReason.NO_LOGIN]


def test_a_loan_that_moves_to_another_phone_is_still_held_out() -> None:
    some = policy(holdout(destinations=("appsflyer-ios",)))
    after = told(
        login(0, "a"),
        loan(5, loan_number=1),
        login(3, "b", app="acme-ios", arrives=9),
        policy=some,
    )
    moved = [entry.skip for record in after.rebound() for entry in record.entries]

    assert set(skips(after, "first_loan")) == {None}
    assert moved
    assert set(moved) == {HELD}


def test_replaying_the_same_events_gives_the_same_records() -> None:
    rules = policy(holdout(share=0.5), holdout("h2", 0.3, conversions=("first_loan",)))
    events = login(0, "a"), loan(5, loan_number=1), event("repaid", 90, loan_id="L1", payment_id="P1")

    assert told(*events, policy=rules).records == told(*events, policy=rules).records


def test_without_a_holdout_nothing_is_looked_up() -> None:
    rules = policy(holdout_of("h1", HoldoutSettings(share=0.5, audiences=("lapsed",))))

    assert rules.holdouts == ()


def test_a_holdout_makes_another_policy() -> None:
    bare = source()

    assert version_of(replace(bare, holdouts=(holdout(),))) != version_of(bare)


def test_settings_say_salt_share_and_span() -> None:
    made = holdout_of(
        "global",
        HoldoutSettings(share=0.05, from_=moment(0), to=moment(60), destinations=("meta-*",)),
    )

    assert made == Holdout(
        name="global", salt="global", share=0.05, destinations=("meta-*",), live=Live(us(0), us(60))
    )
    assert holdout_of("x", HoldoutSettings(share=0.1, salt="other")) == Holdout(
        name="x", salt="other", share=0.1, live=ALWAYS
    )


def wrong(**settings: HoldoutSettings) -> Sequence[tuple[str, str, str | None]]:
    found = wrong_holdouts(settings, ["first_loan", "repeat_loan"], list(TARGETS))
    return [(key, seen, near) for key, seen, _, near in found]


def test_a_conversion_that_is_none_is_named_with_the_nearest() -> None:
    found = wrong(h1=HoldoutSettings(share=0.1, conversions=("frist_loan",)))

    assert found == [("h1.conversions", "'frist_loan'", "first_loan")]


def test_a_pattern_without_a_destination_is_named() -> None:
    found = wrong(h1=HoldoutSettings(share=0.1, destinations=("appsflyer-n", "appsflyer-*")))

    assert found == [("h1.destinations", "'appsflyer-n'", "appsflyer-ng")]


def test_an_end_before_the_beginning_is_a_mistake() -> None:
    day = datetime(2026, 3, 10, tzinfo=UTC)

    assert [key for key, *_ in wrong(h1=HoldoutSettings(share=0.1, from_=day, to=day))] == ["h1.to"]


def test_two_holdouts_of_one_salt_are_a_mistake() -> None:
    found = wrong(h1=HoldoutSettings(share=0.1), h2=HoldoutSettings(share=0.2, salt="h1"))

    assert [key for key, *_ in found] == ["h2.salt"]


def test_a_planned_record_of_a_held_out_user_keeps_name_and_value() -> None:
    after = told(login(0, "a"), loan(5, loan_number=1), policy=policy(holdout()))
    (record,) = after.planned("first_loan")

    assert isinstance(record, Planned)
    assert record.entries[0].name == "ev_first_loan"
