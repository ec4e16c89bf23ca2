"""What decisions make of a phone that too many users showed."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import (
    DAY,
    POLICY,
    Told,
    consent_of,
    event,
    expired,
    loan,
    login,
    phone,
    source,
    target,
)

from lendsignal.model import Device, Event, SkipReason
from lendsignal.plan import (
    NEVER,
    Decision,
    Planned,
    Policy,
    Verdict,
    compile_policy,
    decide,
    phones_asked,
    phones_shown,
    reopened,
)
from lendsignal.resolve import ResolveSettings, Snapshot, phone_keys

SHARED = SkipReason.SHARED_DEVICE


def policy(users: int = 3, then: Any = "skip", **parts: Any) -> Policy:
    return compile_policy(
        source(resolve=ResolveSettings(shared_device_users=users, shared_device=then), **parts)
    )


SKIP = policy()


class OnPhones(Told):
    """A user some of whose phones are shared from now on."""

    def __init__(self, *names: str, by: Policy = SKIP) -> None:
        super().__init__(by)
        self.shared = set(names)

    def _decision(self, one: Event) -> Decision:
        keys = {key for name in self.shared for key in phone_keys("acme", Snapshot("", phone(name)))}
        wanted = reopened(self.state, one)
        opened = {n: found for n in wanted if isinstance(found := self.records[n], Planned)}
        asked = phones_asked(self.state, one, self.policy)
        return decide(self.state, self.sequence, one, self.policy, opened, shared=keys & asked)

    def told(self, *events: Event) -> "OnPhones":
        self.tell(*events)
        return self

    def skips(self) -> set[SkipReason | None]:
        return {entry.skip for record in self.planned() for entry in record.entries}


def test_a_loan_on_a_shared_phone_is_skipped_and_says_why() -> None:
    after = OnPhones("a").told(login(0, "a"), loan(5, loan_number=1))

    assert after.names() == ["disbursement", "first_loan"]
    assert after.skips() == {SHARED}
    assert after.device("first_loan") == "af-a"


def test_a_loan_on_the_users_own_phone_is_sent_although_an_earlier_one_is_shared() -> None:
    after = OnPhones("shop").told(login(0, "shop"), login(2, "own"), loan(5, loan_number=1))

    assert after.skips() == {None}


def test_what_was_planned_before_the_phone_was_shared_stays() -> None:
    after = OnPhones().told(login(0, "a"), loan(5, "L1", loan_number=1))
    after.shared.add("a")
    after.tell(loan(6, "L2", loan_number=2))

    by_loan = {(one.conversion.loan_id, entry.skip) for one in after.planned() for entry in one.entries}
    assert by_loan == {("L1", None), ("L2", SHARED)}


def test_one_id_in_common_is_enough() -> None:
    after = OnPhones("a").told(login(0, Device(appsflyer_id="af-a", gaid="gaid-new")), loan(5, loan_number=1))

    assert after.skips() == {SHARED}


def test_what_the_pen_releases_to_a_shared_phone_is_skipped() -> None:
    after = OnPhones("a").told(loan(0, loan_number=1), login(2, "a"))

    assert after.names() == ["disbursement", "first_loan"]
    assert after.skips() == {SHARED}


def test_what_never_had_a_phone_is_no_login_and_not_a_shared_phone() -> None:
    after = OnPhones("a").told(loan(0, loan_number=1))
    after.tell(*expired(after.timers[:1]))

    assert after.skips() == {SkipReason.NO_LOGIN}


def test_a_late_touch_of_a_shared_phone_takes_back_what_waits() -> None:
    after = OnPhones("shop").told(login(0, "own"), loan(5, loan_number=1), login(3, "shop", arrives=6))

    taken_back = {(one.reason, one.skip) for one in after.withdrawn()}
    assert taken_back == {("shared_device", SHARED)}
    assert {one.record for one in after.withdrawn()} == set(after.records) - {
        number for number, one in after.records.items() if not isinstance(one, Planned)
    }
    assert after.rebound() == []
    assert after.state.opened == ()


def test_what_was_skipped_on_a_shared_phone_stays_skipped_when_a_late_touch_shows_another() -> None:
    after = OnPhones("shop").told(login(0, "shop"), loan(5, loan_number=1), login(3, "own", arrives=6))

    assert after.skips() == {SHARED}
    assert after.rebound() == []


def test_history_has_no_deliveries_to_skip_on_a_shared_phone() -> None:
    after = OnPhones("a").told(login(0, "a", history=True), loan(5, history=True))

    assert after.skips() == set()


@pytest.mark.parametrize(
    ("marked", "reason"), [({"test": True}, SkipReason.TEST_USER), ({}, SkipReason.NO_CONSENT)]
)
def test_a_mark_of_the_user_comes_before_that_of_the_phone(
    marked: dict[str, Any], reason: SkipReason
) -> None:
    after = OnPhones("a").told(login(0, "a"), consent_of(1, bool(marked)), loan(5, loan_number=1, **marked))

    assert after.skips() == {reason}


def test_a_shadow_says_that_it_would_not_have_sent_from_a_shared_phone() -> None:
    quiet = {key: tuple(replace(one, live=NEVER) for one in steps) for key, steps in SKIP.steps.items()}
    after = OnPhones("a", by=replace(SKIP, steps=quiet)).told(login(0, "a"), loan(5, loan_number=1))

    assert after.skips() == {SHARED}


# who is asked


def test_a_touch_shows_its_phone_and_nothing_else_does() -> None:
    shown = [
        bool(phones_shown(one, SKIP))
        for one in (
            login(0, "a"),
            event("registered", 0, device=phone("a")),
            login(0, "a", actor="agent"),
            event("applied", 0, application_id="A1", device=phone("a")),
            event("app_opened", 0),
        )
    ]

    assert shown == [True, True, False, False, False]


def test_every_phone_of_the_user_is_asked_about_where_shared_ones_are_skipped() -> None:
    state = Told(SKIP).tell(login(0, "a"), login(1, "b")).state

    def asked(by: Policy) -> set[int]:
        return set(phones_asked(state, login(2, "c"), by))

    assert asked(SKIP) == {
        key for name in "abc" for key in phone_keys("acme", Snapshot("acme-ng", phone(name)))
    }
    assert asked(policy(then="bind")) == asked(POLICY) == set()


def test_without_the_option_no_phone_is_counted() -> None:
    assert phones_shown(login(0, "a"), POLICY) == ()
    assert phones_shown(login(0, "a"), policy(then="bind")) != ()


def test_a_repeat_decides_nothing_whatever_the_phone() -> None:
    after = OnPhones("a").told(login(0, "a"), loan(5, loan_number=1))
    before = dict(after.records)
    after.tell(loan(5, loan_number=1))

    assert after.verdicts[-1] is Verdict.DUPLICATE
    assert after.records == before


def test_two_apps_routes_are_judged_by_the_phone_of_the_login() -> None:
    targets = {"appsflyer-ng": target("appsflyer-ng", "acme-ng"), "meta-ng": target("meta-ng", "acme-ng")}
    after = OnPhones("a", by=policy(targets=targets)).told(login(0, "a"), loan(DAY, loan_number=1))

    assert {(entry.destination, entry.skip) for one in after.planned() for entry in one.entries} == {
        ("appsflyer-ng", SHARED),
        ("meta-ng", SHARED),
    }
