"""One event decided: repeats, bindings, late touches, the holding pen, reversals, consent, values."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.acme import (
    DAY,
    HOUR,
    POLICY,
    SEND,
    TARGETS,
    Told,
    again,
    consent_of,
    event,
    expired,
    loan,
    login,
    moment,
    phone,
    source,
    target,
    told,
    us,
)

from lendsignal.derive import Cut, Tiers
from lendsignal.model import KEY_FIELD, Consent, Contact, Device, Money, SkipReason
from lendsignal.plan import Planned, Policy, Timer, Verdict, compile_policy, is_not_routed, record_id
from lendsignal.plan.state import OPEN, PENNED, RECENT

TAKEN, DUPLICATE, CONFLICT, OUTDATED = (
    Verdict.TAKEN,
    Verdict.DUPLICATE,
    Verdict.CONFLICT,
    Verdict.OUTDATED,
)
REGISTERED = event("registered", -DAY)
TIERS = Tiers(cuts=(Cut(share=20, cut=720), Cut(share=30, cut=680), Cut(share=50, cut=610)), version="v7")


def rules(**changes: Any) -> Policy:
    return compile_policy(source(**changes))


MONEY = rules(send={"disbursement": "ev_ln"})
"""Disbursements are all that is routed."""


# repeats


def test_the_same_loan_told_twice_is_a_duplicate_and_changes_nothing() -> None:
    one = loan(0)
    before = told(login(-5, "a"), one)

    after = told(login(-5, "a"), one, again(one, event_id="resent", received_at=moment(9), source="file"))

    assert after.verdicts[-1] is DUPLICATE
    assert (after.state, after.records) == (before.state, before.records)


@pytest.mark.parametrize(
    "change",
    [{"amount": Decimal("25001")}, {"currency": "PHP"}, {"user_id": "u1", "term_days": 9}, {"test": True}],
)
def test_the_same_loan_told_differently_is_a_conflict_and_changes_nothing(change: dict[str, Any]) -> None:
    one = loan(0)

    after = told(login(-5, "a"), one, again(one, event_id="other", **change))

    assert after.verdicts[-1] is CONFLICT
    assert after.state == told(login(-5, "a"), one).state


def test_a_loan_told_for_analytics_first_is_still_planned_when_it_is_told_for_optimisation() -> None:
    one = loan(0)
    for_analytics = again(one, event_id="seen", purpose="analytics")
    after = told(login(-5, "a"), for_analytics, again(for_analytics, event_id="seen-2"), one)

    assert after.verdicts == [TAKEN, TAKEN, DUPLICATE, TAKEN]
    alone = told(login(-5, "a"), one)
    assert [one.conversion for one in after.planned()] == [one.conversion for one in alone.planned()]
    assert told(login(-5, "a"), one, for_analytics).records == told(login(-5, "a"), one).records


@pytest.mark.parametrize("kind", sorted({*KEY_FIELD, "registered", "logged_in", "app_opened", "quiz_done"}))
def test_nothing_told_for_analytics_is_planned_whatever_it_is(kind: str) -> None:
    keys: dict[str, Any] = {field: f"k-{field}" for field in set(KEY_FIELD.values())}
    one = event(kind, 0, purpose="analytics", score=800.0, dpd=90, **keys)

    assert told(login(-5, "a"), one).records == {}


def test_a_repeat_whose_time_the_door_pulled_back_less_is_still_a_duplicate() -> None:
    """A back end whose clock runs a minute ahead: its first try is pulled back to the arrival, the second,
    half a minute later, less."""
    first = loan(0)
    second = again(first, occurred_at=moment(0.5), received_at=moment(0.5))

    assert told(first, second).verdicts == [TAKEN, DUPLICATE]
    assert told(first, again(first, occurred_at=moment(6))).verdicts == [TAKEN, CONFLICT]


@pytest.mark.parametrize("flag", ["clock_ahead", "clock_corrected"])
def test_a_repeat_from_a_phone_whose_clock_is_wrong_is_still_a_duplicate(flag: str) -> None:
    first = login(0, "a", flags=(flag,))
    second = again(first, occurred_at=moment(40), received_at=moment(40))

    assert told(first, second).verdicts == [TAKEN, DUPLICATE]


def test_a_higher_revision_supersedes_and_never_fires_again() -> None:
    per_grant = Tiers(cuts=TIERS.cuts, per_grant=True)
    grant = event("credit_granted", 0, grant_id="G1", score=700.0, loan_number=1)
    facts = [
        REGISTERED,
        event("applied", 0, application_id="A1"),
        grant,
        loan(0, loan_number=2),
        event("repaid", 1, payment_id="P1", loan_id="L1", outstanding=Decimal(0)),
        event("defaulted", 2, loan_id="L1"),
    ]
    revised = [again(one, revision=1, event_id=one.event_id + "r", product="new") for one in facts]
    for policy in (POLICY, rules(tiers=TIERS), rules(tiers=per_grant)):
        once = told(login(-5, "a"), *facts, policy=policy)

        after = told(login(-5, "a"), *facts, *revised, policy=policy)

        assert after.verdicts[-6:] == [TAKEN] * 6
        assert after.names() == once.names()


def test_a_revision_that_makes_the_loan_the_first_fires_the_first() -> None:
    wrong = loan(0, loan_number=2)

    after = told(login(-5, "a"), wrong, again(wrong, revision=1, loan_number=1))

    assert after.names() == ["disbursement", "repeat_loan", "first_loan"]


def test_an_older_revision_that_comes_late_is_outdated() -> None:
    newer = loan(0, revision=3)

    after = told(newer, again(newer, revision=2), again(newer, revision=3))

    assert after.verdicts == [TAKEN, OUTDATED, DUPLICATE]


def test_events_without_a_business_key_are_told_apart_by_their_id() -> None:
    one = event("overdue", 0, loan_id="L1", dpd=3)

    after = told(one, again(one, received_at=moment(5)), again(one, dpd=4), again(one, event_id="x", dpd=4))

    assert after.verdicts == [TAKEN, DUPLICATE, CONFLICT, TAKEN]


def test_an_event_older_than_the_memory_of_repeats_never_plans_a_delivery() -> None:
    many = [event("app_opened", minute) for minute in range(RECENT + 1)]

    after = told(login(-9, "a"), *many, event("overdue", -5, loan_id="L1", dpd=70, arrives=999))
    fresh = told(login(-9, "a"), *many, event("overdue", 500, loan_id="L1", dpd=70))

    (old,) = after.planned("default")
    (new,) = fresh.planned("default")
    assert old.conversion.history
    assert not old.entries
    assert new.entries


# binding


def test_a_conversion_is_bound_to_the_device_of_the_last_login_and_sent_to_its_apps_account() -> None:
    apple = Device(appsflyer_id="af-apple", idfa="idfa-1")

    after = told(login(0, "droid"), login(30, apple, app="acme-ios"), loan(29), loan(31, "L2"))

    first, second = after.planned("disbursement")
    assert [entry.destination for entry in first.entries] == ["appsflyer-ng"]
    assert [entry.destination for entry in second.entries] == ["appsflyer-ios"]
    assert second.binding is not None
    assert second.binding.snapshot.device == apple


def test_a_login_by_an_agent_is_no_touch() -> None:
    after = told(login(0, "own"), login(10, "call centre", actor="agent"), loan(20))

    assert after.device("disbursement") == "af-own"


def test_a_login_without_a_device_is_no_touch() -> None:
    after = told(login(0, "own"), event("logged_in", 10, app="acme-ng"), loan(20))

    assert after.device("disbursement") == "af-own"


def test_the_first_install_is_stored_beside_the_last_login() -> None:
    after = told(login(0, "first"), login(10, "second"), loan(20))

    (planned,) = after.planned("disbursement")
    assert after.device("disbursement") == "af-second"
    assert planned.first_install is not None
    assert planned.first_install.snapshot.device.appsflyer_id == "af-first"


def test_a_touch_of_no_named_app_belongs_to_the_brands_first() -> None:
    after = told(event("logged_in", 0, device=phone("a")), loan(5))

    (planned,) = after.planned("disbursement")
    assert planned.binding is not None
    assert planned.binding.snapshot.app == "acme-ng"


# late touches


def test_a_late_touch_moves_the_conversions_whose_device_it_changes_and_no_other() -> None:
    after = told(
        login(0, "old"),
        loan(5, "L1"),
        loan(15, "L2"),
        loan(25, "L3"),
        login(20, "newest", arrives=30),
        login(10, "new", arrives=31),
        policy=MONEY,
    )

    moved = [(one.conversion.loan_id, one.binding.snapshot.device.appsflyer_id) for one in after.rebound()]
    assert moved == [("L3", "af-newest"), ("L2", "af-new")]


def test_a_late_touch_of_the_same_installation_moves_nothing() -> None:
    after = told(
        login(0, "a"), loan(15), login(10, "a", arrives=20), login(12, Device(), arrives=21), policy=MONEY
    )

    assert not after.rebound()


def test_a_late_touch_that_only_completes_the_ids_gives_the_conversion_those_ids() -> None:
    bare = Device(appsflyer_id="af-a")

    after = told(login(5, bare), loan(15), login(1, "a", arrives=20), policy=MONEY)

    (moved,) = after.rebound()
    assert moved.binding.snapshot.device == Device(appsflyer_id="af-a", firebase_app_instance_id="fb-a")


def test_what_is_moved_once_is_not_moved_again_by_a_touch_that_changes_nothing() -> None:
    after = told(
        login(0, "old"),
        loan(15),
        login(10, "new", arrives=20),
        login(11, Device(model="blank"), arrives=21),
        login(5, "older", arrives=22),
        policy=MONEY,
    )

    assert len(after.rebound()) == 1


def test_a_touch_after_the_event_moves_nothing() -> None:
    after = told(login(0, "old"), loan(15), login(15.1, "new"))

    assert not after.rebound()


def test_a_late_touch_to_another_app_plans_the_entries_of_that_app() -> None:
    apple = Device(appsflyer_id="af-apple")

    after = told(login(0, "droid"), loan(15), login(10, apple, app="acme-ios", arrives=20), policy=MONEY)

    (moved,) = after.rebound()
    assert [(entry.destination, entry.name) for entry in moved.entries] == [("appsflyer-ios", "ev_ln")]


def test_a_late_touch_to_an_app_with_a_route_plans_what_the_first_app_had_no_route_for() -> None:
    policy = rules(send={"disbursement": "ev_ln"}, targets={"appsflyer-ios": TARGETS["appsflyer-ios"]})
    apple = login(10, Device(appsflyer_id="af-apple"), app="acme-ios", arrives=20)

    after = told(login(0, "droid"), loan(15), apple, policy=policy)

    assert not after.planned("disbursement")[0].entries
    assert [entry.destination for one in after.rebound() for entry in one.entries] == ["appsflyer-ios"]


def test_what_is_skipped_for_good_is_moved_by_no_touch() -> None:
    after = told(login(0, "old"), loan(15, test=True), login(10, "new", arrives=20))

    assert not after.rebound()


def test_a_late_touch_also_moves_what_the_pen_had_released() -> None:
    """Released to a phone seen after the loan; then the login before the loan comes in."""
    after = told(loan(0), login(20, "after"), login(-10, "before", arrives=25))

    assert after.device("disbursement") == "af-before"


def test_a_conversion_stays_open_for_late_touches_longer_than_any_destination_sends_it() -> None:
    late = login(-1, "b", arrives=14 * DAY - 1)
    too_late = login(-1, "b", arrives=14 * DAY + 1)
    other = event("app_opened", 14 * DAY + 1)

    assert told(login(-9, "a"), loan(0), late).rebound()
    assert not told(login(-9, "a"), loan(0), other, too_late).rebound()


def test_what_is_open_is_bounded() -> None:
    after = told(login(-9, "a"), *(loan(n, f"L{n}") for n in range(OPEN + 5)))

    assert len(after.state.opened) == OPEN


# the holding pen


def test_without_any_touch_a_conversion_waits_a_day() -> None:
    after = told(loan(0, arrives=3))

    (timer, _) = after.timers
    assert not after.records
    assert timer.due_us == us(3 + DAY)
    assert len(after.state.pen) == 2


def test_the_pen_is_released_by_a_touch_that_came_in_late() -> None:
    after = told(loan(0), login(-30, "a", arrives=10 * HOUR))

    assert after.device("disbursement") == "af-a"
    assert not after.state.pen


@pytest.mark.parametrize(("minutes", "released"), [(0, True), (59, True), (60, True), (60.1, False)])
def test_the_pen_is_released_by_an_installation_seen_within_an_hour(minutes: float, released: bool) -> None:
    after = told(loan(0), login(minutes, "a"))

    assert bool(after.planned("disbursement")) is released
    assert bool(after.state.pen) is not released


def test_the_pen_is_released_by_an_installation_that_existed_at_the_time() -> None:
    existed = phone("a", installed_at=moment(-3 * DAY))
    made_later = phone("b", installed_at=moment(1))

    assert told(loan(0), login(20 * HOUR, existed)).device("disbursement") == "af-a"
    assert not told(loan(0), login(20 * HOUR, made_later)).records


def test_a_reinstall_days_later_never_releases_the_pen() -> None:
    long = rules(resolve=type(POLICY.resolve)(pen_for=timedelta(days=9)))

    after = told(loan(0), login(3 * DAY, "reinstalled"), login(3 * DAY + 1, Device(os="14")), policy=long)

    assert not after.records


def test_the_word_of_one_phone_on_its_age_does_not_count_for_another() -> None:
    nameless = Device(model="no ids", installed_at=moment(-DAY))

    after = told(loan(0), login(20 * HOUR, "new"), login(20 * HOUR + 1, nameless))

    assert not after.records


def test_the_pen_binds_to_the_touch_that_released_it_not_to_a_later_one() -> None:
    after = told(loan(0), login(3 * HOUR, "too late"), login(30, "in time", arrives=4 * HOUR))

    assert after.device("disbursement") == "af-in time"


def test_what_waited_in_vain_is_skipped_as_no_login() -> None:
    before = told(loan(0))

    after = told(loan(0), *expired(before.timers))

    assert [one.conversion.name for one in after.planned()] == ["disbursement", "first_loan"]
    assert [entry.skip for one in after.planned() for entry in one.entries] == [SkipReason.NO_LOGIN] * 2
    assert not after.state.pen


def test_a_timer_of_what_was_released_does_nothing() -> None:
    before = told(loan(0), login(5, "a"))

    after = told(loan(0), login(5, "a"), *expired(before.timers))

    assert after.records == before.records


def test_a_touch_after_the_pens_time_does_not_release() -> None:
    after = told(loan(0), login(-5, "a", arrives=DAY + 1))

    assert not after.records


def test_a_conversion_that_no_route_takes_does_not_wait() -> None:
    after = told(loan(0, loan_number=1), policy=rules(send={"credit": "ev_c"}))

    assert after.names() == ["disbursement", "first_loan"]
    assert not after.timers
    assert all(is_not_routed(one) for one in after.planned())


def test_one_id_that_stands_for_nobody_cannot_fill_the_pen_without_bound() -> None:
    after = told(*(loan(n / 10, f"L{n}") for n in range(PENNED + 9)), policy=MONEY)

    routed = [one for one in after.planned("disbursement") if one.entries]
    assert len(after.state.pen) == PENNED
    assert [entry.skip for one in routed for entry in one.entries] == [SkipReason.NO_LOGIN] * 9
    after.tell(login(10, "a"))
    assert len(after.planned("disbursement")) == PENNED + 9


# reversals


@pytest.mark.parametrize("kind", ["disbursement_reversed", "loan_cancelled"])
def test_a_reversal_takes_back_what_is_open_of_its_loan_only(kind: str) -> None:
    after = told(login(-5, "a"), loan(0, "L1"), loan(1, "L2"), event(kind, 2, loan_id="L1"))

    loans = {
        number: one.conversion.loan_id for number, one in after.records.items() if isinstance(one, Planned)
    }
    assert {loans[one.record] for one in after.withdrawn()} == {"L1"}
    assert [(one.reason, one.skip) for one in after.withdrawn()] == [(kind, None)]


def test_a_reversed_repayment_takes_back_what_the_payment_made() -> None:
    paid = [
        event("repaid", 5, payment_id=name, loan_id="L1", outstanding=Decimal(left))
        for name, left in (("P1", 10), ("P2", 0))
    ]

    after = told(login(-5, "a"), *paid, event("repayment_reversed", 9, payment_id="P2"))

    taken_back = [after.records[one.record] for one in after.withdrawn()]
    assert [one.conversion.name for one in taken_back if isinstance(one, Planned)] == [
        "repayment",
        "loan_closed",
    ]


def test_a_reversal_takes_back_what_waits_in_the_pen_and_accounts_for_it() -> None:
    after = told(loan(0, "L1"), event("disbursement_reversed", 2, loan_id="L1"), login(5, "a"))

    planned = {number: one for number, one in after.records.items() if isinstance(one, Planned)}
    assert [one.conversion.name for one in planned.values()] == ["disbursement", "first_loan"]
    assert [one.record for one in after.withdrawn()] == list(planned)
    assert all(
        entry.skip in (None, SkipReason.FIRST_UNKNOWN) for one in planned.values() for entry in one.entries
    )
    assert not after.state.pen


# consent, contact, test users


def skips(found: Told) -> list[SkipReason | None]:
    return [entry.skip for one in found.planned("disbursement") for entry in one.entries]


def test_an_ended_consent_takes_back_what_is_open_and_skips_what_follows() -> None:
    after = told(
        login(-5, "a"), loan(0, "L1", loan_number=1), consent_of(5, False), loan(6, "L2", loan_number=2)
    )

    assert [one.skip for one in after.withdrawn()] == [SkipReason.NO_CONSENT] * 2
    assert skips(after) == [None, SkipReason.NO_CONSENT]


def test_the_consent_that_occurred_last_counts_in_whatever_order_they_arrive() -> None:
    after = told(login(-5, "a"), consent_of(10, True), consent_of(5, False, arrives=11), loan(12))
    other = told(
        login(-5, "a"), loan(0), consent_of(10, False), consent_of(5, True, arrives=11), loan(12, "L2")
    )

    assert skips(after) == [None]
    assert not after.withdrawn()
    assert skips(other) == [None, SkipReason.NO_CONSENT]


def test_who_was_never_asked_counts_as_the_country_says() -> None:
    strict = rules(consent_default={"NG": False})

    assert skips(told(login(-5, "a"), loan(0))) == [None]
    assert skips(told(login(-5, "a"), loan(0), policy=strict)) == [SkipReason.NO_CONSENT]
    assert skips(told(login(-5, "a"), consent_of(-1, True), loan(0), policy=strict)) == [None]
    assert skips(told(login(-5, "a"), consent_of(-1, None), loan(0), policy=strict)) == [
        SkipReason.NO_CONSENT
    ]


def test_consent_is_heard_on_release_from_the_pen() -> None:
    after = told(loan(0), consent_of(5, False), login(6, "a"))

    assert skips(after) == [SkipReason.NO_CONSENT]


def test_contact_and_consent_travel_with_what_is_planned_after_them() -> None:
    contact = Contact(email="0" * 64)

    after = told(
        login(-5, "a"), loan(0), event("kyc_passed", 1, contact=contact), consent_of(2, True), loan(3, "L2")
    )

    first, second = after.planned("disbursement")
    assert (first.contact, first.consent) == (None, None)
    assert (second.contact, second.consent) == (contact, Consent(ad_user_data=True))


def test_a_test_user_is_never_sent_valued_or_tiered() -> None:
    policy = rules(tiers=TIERS, value={"first_loan": "principal"})
    grant = event("credit_granted", 1, grant_id="G1", score=900.0, loan_number=1)

    after = told(login(-5, "a", test=True), grant, loan(2, loan_number=1), policy=policy)

    assert after.names() == ["credit", "first_credit", "disbursement", "first_loan"]
    assert {entry.skip for one in after.planned() for entry in one.entries} == {SkipReason.TEST_USER}
    assert {entry.value for one in after.planned() for entry in one.entries} == {None}


def test_a_test_user_is_sent_without_a_value_where_the_destination_takes_them() -> None:
    targets = {"appsflyer-ng": target("appsflyer-ng", "acme-ng", send_test=True)}
    policy = rules(targets=targets, value={"disbursement": "principal"})

    after = told(login(-5, "a"), loan(0, test=True), policy=policy)

    (planned,) = after.planned("disbursement")
    assert [(entry.skip, entry.value) for entry in planned.entries] == [(None, None)]


# history, firsts, tiers


def test_history_plans_nothing_to_send_and_counts_for_what_follows() -> None:
    past = [again(REGISTERED, history=True), loan(-HOUR, "L0", history=True)]

    after = told(login(-DAY, "a", history=True), *past, loan(0, "L1"))

    assert [(one.conversion.name, bool(one.entries)) for one in after.planned()] == [
        ("registration", False),
        ("disbursement", False),
        ("first_loan", False),
        ("disbursement", True),
        ("repeat_loan", True),
    ]


def test_history_without_a_touch_does_not_wait_in_the_pen() -> None:
    after = told(loan(0, history=True))

    assert not after.timers
    assert len(after.planned()) == 2


def test_the_live_event_of_a_loan_that_was_imported_is_a_duplicate() -> None:
    assert told(loan(0, history=True), loan(0, arrives=5)).verdicts == [TAKEN, DUPLICATE]


def test_a_first_we_cannot_prove_is_kept_and_not_sent() -> None:
    after = told(login(-5, "a"), loan(0))

    (first,) = after.planned("first_loan")
    assert [entry.skip for entry in first.entries] == [SkipReason.FIRST_UNKNOWN]


def test_tiers_are_planned_widest_first() -> None:
    grant = event("credit_granted", 0, grant_id="G1", score=700.0, loan_number=1)

    after = told(login(-5, "a"), grant, policy=rules(tiers=TIERS))

    assert after.names() == ["credit", "first_credit", "credit_top50", "credit_top30"]


# values


@pytest.mark.parametrize(
    ("rule", "fields", "value"),
    [
        ("principal", {}, Money(Decimal("25000"), "NGN")),
        ("fee", {}, Money(Decimal("1500"), "NGN")),
        (12.5, {}, Money(Decimal("12.5"), "NGN")),
        (0.1, {}, Money(Decimal("0.1"), "NGN")),
        ("fee", {"fee": Decimal(0)}, None),
        ("fee", {"fee": None}, None),
        ("principal", {"amount": None}, None),
        ("predicted", {}, None),
    ],
)
def test_a_conversion_is_worth_what_its_route_says(
    rule: str | float, fields: dict[str, Any], value: Money | None
) -> None:
    after = told(login(-5, "a"), loan(0, **fields), policy=rules(value={"disbursement": rule}))

    (entry,) = after.planned("disbursement")[0].entries
    assert entry.value == value
    assert entry.unvalued is (value is None)


def test_a_fixed_value_is_in_the_currency_of_the_bound_app() -> None:
    ios = login(-5, Device(appsflyer_id="1"), app="acme-ios")

    after = told(ios, loan(0), policy=rules(value={"disbursement": 3.0}))

    (entry,) = after.planned("disbursement")[0].entries
    assert entry.value == Money(Decimal("3.0"), "PHP")


def test_a_route_without_a_value_is_not_counted_as_unvalued() -> None:
    (entry,) = told(login(-5, "a"), loan(0)).planned("disbursement")[0].entries

    assert (entry.value, entry.unvalued) == (None, False)


def test_name_and_wait_of_an_entry_are_those_of_the_route() -> None:
    (entry,) = told(login(-5, "a"), loan(0)).planned("disbursement")[0].entries

    assert (entry.destination, entry.kind, entry.name) == ("appsflyer-ng", "appsflyer", SEND["disbursement"])
    assert entry.settle_us == 2_000_000


# records


def test_records_stand_in_the_stream_by_the_number_of_their_event() -> None:
    after = told(login(-5, "a"), loan(0, loan_number=1), loan(1, "L2", loan_number=2))

    assert list(after.records) == [record_id(2, 0), record_id(2, 1), record_id(3, 0), record_id(3, 1)]


def test_one_event_never_makes_more_records_than_have_room_before_the_next() -> None:
    """The worst: a reversal of what fills the pen and what is open, or a touch that moves and releases."""
    penned = [event("repaid", n, payment_id=f"P{n}", loan_id="L1") for n in range(PENNED + 9)]
    open_ = [event("repaid", 100 + n, payment_id=f"Q{n}", loan_id="L1") for n in range(OPEN + 9)]
    long = rules(resolve=type(POLICY.resolve)(pen_after=timedelta(0)))

    both = told(*penned, login(90, "a"), *open_, policy=long)
    assert (len(both.state.pen), len(both.state.opened)) == (PENNED, OPEN)
    before = len(both.records)
    both.tell(event("loan_cancelled", 300, loan_id="L1"))

    assert len(both.records) - before == 2 * PENNED + OPEN < record_id(1, 0) - record_id(0, 0)


def test_timers_name_the_conversion_they_wait_for() -> None:
    after = told(loan(0))

    assert [timer.conversion for timer in after.timers] == [one.conversion.id for one in after.state.pen]
    assert all(isinstance(timer, Timer) for timer in after.timers)


def test_no_two_users_share_a_state_though_they_share_a_phone() -> None:
    one = told(login(0, "shared"), loan(5))
    other = Told()
    other.tell(again(login(0, "shared"), user_id="u2"), again(loan(5), user_id="u2"))

    ids = {record.conversion.id for found in (one, other) for record in found.planned()}
    assert len(ids) == 4


def test_every_target_of_the_bound_app_gets_its_own_entry() -> None:
    targets = TARGETS | {"meta-ng": target("meta-ng", "acme-ng")}

    (planned,) = told(login(-5, "a"), loan(0), policy=rules(targets=targets)).planned("disbursement")

    assert [(entry.destination, entry.kind) for entry in planned.entries] == [
        ("appsflyer-ng", "appsflyer"),
        ("meta-ng", "meta"),
    ]
