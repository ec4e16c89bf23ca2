"""One human behind several users: firsts by brand or over the portfolio, and what a later link joins."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.acme import ANDROID, APPS, SEND, consent_of, event, loan, login, source, target

from lendsignal.derive import Cut, Tiers
from lendsignal.model import Event, SkipReason, person_key
from lendsignal.plan import (
    Planned,
    Policy,
    PolicySource,
    UserState,
    compile_policy,
    decide,
    people_of,
    person_state_key,
)

LITE = msgspec.structs.replace(ANDROID, name="lite-ng", brand="lite", bundle="com.lite.loans")
TIERS = Tiers(cuts=(Cut(share=20, cut=700),))


def two_brands(tiers: Tiers | None = None, **derive: Any) -> PolicySource:
    """The brands acme and lite, each with a route of everything."""
    both = {one.name: one for one in (target("appsflyer-ng", "acme-ng"), target("appsflyer-lite", "lite-ng"))}
    apps = {**APPS, "lite-ng": LITE}
    plain = source(send=SEND)
    wanted = msgspec.structs.replace(
        plain.derive,
        apps=apps,
        default_app={"acme": "acme-ng", "lite": "lite-ng"},
        tiers=tiers or Tiers(),
        **derive,
    )
    routes = tuple(msgspec.structs.replace(plain.routes[0], to=name) for name in both)
    return msgspec.structs.replace(plain, derive=wanted, routes=routes, targets=both)


PER_BRAND = compile_policy(two_brands())
OVER_ALL = compile_policy(two_brands(first="portfolio", history="whole"))
OVER_ALL_IN_PART = compile_policy(two_brands(first="portfolio"))


class Town:
    """Several users' states, decided one event after the other."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.states: dict[str, UserState] = {}
        self.planned: list[Planned] = []
        self.sequence = 0

    def tell(self, *events: Event) -> "Town":
        for one in events:
            self.sequence += 1
            state = self.states.get(person_key(one)) or UserState(person_key(one))
            people = {key: self.states[key] for key in people_of(state, one) if key in self.states}
            decision = decide(state, self.sequence, one, self.policy, {}, people)
            for after in (decision.state, *decision.people):
                self.states[after.key] = after
            self.planned += [record for _, record in decision.records if isinstance(record, Planned)]
        return self

    def of(self, name: str) -> list[tuple[str, str, SkipReason | None]]:
        """Brand, user and skip of the planned conversions of a name."""
        return [
            (one.conversion.brand, one.conversion.user_id, entry.skip)
            for one in self.planned
            if one.conversion.name == name
            for entry in one.entries
        ]


def town(*events: Event, policy: Policy = PER_BRAND) -> Town:
    return Town(policy).tell(*events)


def user(at: float, user_id: str, brand: str = "acme", **fields: Any) -> list[Event]:
    """A user who registers and logs in on a phone of his own."""
    app = "acme-ng" if brand == "acme" else "lite-ng"
    who = {"user_id": user_id, "brand": brand, **fields}
    return [event("registered", at, **who), login(at, user_id, app=app, event_id=f"in-{user_id}", **who)]


def borrowed(at: float, name: str, user_id: str, brand: str = "acme", **fields: Any) -> Event:
    return loan(at, name, user_id=user_id, brand=brand, **fields)


ANNA = [*user(0, "a1", person_id="P1"), *user(1, "a2", person_id="P1")]
BOTH = [*user(0, "a1", person_id="P1"), *user(1, "b1", "lite", person_id="P1")]


def test_a_person_with_two_users_of_one_brand_has_one_first_loan() -> None:
    after = town(*ANNA, borrowed(2, "L1", "a1"), borrowed(3, "L2", "a2"))

    assert after.of("first_loan") == [("acme", "a1", None)]
    assert after.of("repeat_loan") == [("acme", "a2", None)]
    assert len(after.of("disbursement")) == 2


def test_two_users_without_a_person_in_common_stay_two() -> None:
    after = town(
        *user(0, "a1", person_id="P1"), *user(1, "a2"), borrowed(2, "L1", "a1"), borrowed(3, "L2", "a2")
    )

    assert after.of("first_loan") == [("acme", "a1", None), ("acme", "a2", None)]


def test_by_brand_a_person_has_a_first_loan_with_each_brand() -> None:
    after = town(*BOTH, borrowed(2, "L1", "a1"), borrowed(3, "L1", "b1", "lite"))

    assert after.of("first_loan") == [("acme", "a1", None), ("lite", "b1", None)]
    assert after.of("repeat_loan") == []


def test_by_portfolio_a_loan_with_the_second_brand_is_a_repeat_loan() -> None:
    after = town(*BOTH, borrowed(2, "L1", "a1"), borrowed(3, "L1", "b1", "lite"), policy=OVER_ALL)

    assert after.of("first_loan") == [("acme", "a1", None)]
    assert after.of("repeat_loan") == [("lite", "b1", None)]


def test_by_portfolio_the_number_of_a_loan_only_counts_within_its_brand() -> None:
    after = town(
        *BOTH,
        borrowed(2, "L1", "a1", loan_number=1),
        borrowed(3, "L9", "b1", "lite", loan_number=1),
        policy=OVER_ALL,
    )

    assert after.of("first_loan") == [("acme", "a1", None)]
    assert after.of("repeat_loan") == [("lite", "b1", None)]


@pytest.mark.parametrize(
    "told",
    [
        borrowed(2, "L7", "a1", loan_number=7),
        borrowed(2, "L7", "a1", purpose="analytics"),
        borrowed(2, "L7", "a1", history=True),
    ],
)
def test_whatever_tells_of_a_loan_of_one_user_takes_the_first_from_the_other(told: Event) -> None:
    after = town(*ANNA, told, borrowed(3, "L2", "a2"))

    assert after.of("first_loan") == []
    assert after.of("repeat_loan")[-1] == ("acme", "a2", None)


def test_first_grants_their_tiers_and_first_applications_are_the_persons_too() -> None:
    asked = [
        event(
            kind, at, user_id=name, brand=brand, score=800.0, grant_id=f"G-{name}", application_id=f"A-{name}"
        )
        for at, name, brand in ((2, "a1", "acme"), (3, "b1", "lite"))
        for kind in ("applied", "credit_granted")
    ]
    policy = compile_policy(two_brands(TIERS, first="portfolio", history="whole"))
    after = town(*BOTH, *asked, policy=policy)

    once = [("acme", "a1", None)]
    assert [after.of(name) for name in ("first_application", "first_credit", "credit_top20")] == [once] * 3
    assert len(after.of("credit")) == len(after.of("application")) == 2


def test_a_tier_of_each_grant_stays_one_of_each_grant() -> None:
    asked = [event("credit_granted", 2, user_id=name, score=800.0, grant_id=name) for name in ("a1", "a2")]
    after = town(*ANNA, *asked, policy=compile_policy(two_brands(Tiers(cuts=TIERS.cuts, per_grant=True))))

    assert len(after.of("credit_top20")) == 2


def test_at_go_live_an_old_borrowers_new_account_makes_no_false_first_loan() -> None:
    """The user a1 was there before us: nobody saw a registration, so a1 may have had loans."""
    old = login(0, "a1", user_id="a1", person_id="P1")

    after = town(old, *user(1, "a2", person_id="P1"), borrowed(2, "L2", "a2"))

    assert after.of("first_loan") == [("acme", "a2", SkipReason.FIRST_UNKNOWN)]


def test_over_the_portfolio_no_first_is_certain_before_the_lender_says_that_the_history_is_whole() -> None:
    """Not of a person with one brand only either: an old account with the other may turn up tomorrow."""
    alone = [*user(0, "c1"), borrowed(2, "L1", "c1", loan_number=1)]

    assert town(*alone, policy=OVER_ALL_IN_PART).of("first_loan") == [
        ("acme", "c1", SkipReason.FIRST_UNKNOWN)
    ]
    assert town(*alone, policy=OVER_ALL).of("first_loan") == [("acme", "c1", None)]


def test_over_a_portfolio_of_one_brand_firsts_are_the_brands() -> None:
    policy = compile_policy(
        msgspec.structs.replace(source(), derive=msgspec.structs.replace(source().derive, first="portfolio"))
    )

    after = town(*user(0, "c1"), borrowed(2, "L1", "c1"), policy=policy)

    assert [
        entry.skip for one in after.planned if one.conversion.name == "first_loan" for entry in one.entries
    ] == [None]


def test_who_has_no_loan_in_a_whole_history_had_none() -> None:
    """Existing users were imported with all their loans; who never registered before us has none."""
    seen = [login(0, "c1", user_id="c1"), borrowed(2, "L1", "c1")]
    whole = compile_policy(two_brands(history="whole"))

    assert town(*seen).of("first_loan") == [("acme", "c1", SkipReason.FIRST_UNKNOWN)]
    assert town(*seen, policy=whole).of("first_loan") == [("acme", "c1", None)]


def test_a_later_link_unites_the_histories_from_its_place_on() -> None:
    """What was planned before the link stands; what comes after it knows of both."""
    apart = [*user(0, "a1"), *user(1, "a2"), borrowed(2, "L1", "a1")]
    link = [
        event("person_linked", 3, user_id=name, person_id="P1", event_id=f"link-{name}")
        for name in ("a1", "a2")
    ]

    after = town(*apart, *link, borrowed(4, "L2", "a2"))

    assert after.of("first_loan") == [("acme", "a1", None)]
    assert after.of("repeat_loan") == [("acme", "a2", None)]


def test_both_firsts_stand_where_the_link_came_after_them() -> None:
    apart = [*user(0, "a1"), *user(1, "a2"), borrowed(2, "L1", "a1"), borrowed(2, "L2", "a2")]
    link = [
        event("person_linked", 3, user_id=name, person_id="P1", event_id=f"link-{name}")
        for name in ("a1", "a2")
    ]

    after = town(*apart, *link, borrowed(4, "L3", "a1"))

    assert [one[1] for one in after.of("first_loan")] == ["a1", "a2"]
    assert [one[1] for one in after.of("repeat_loan")] == ["a1"]


def test_an_event_without_the_person_belongs_to_who_the_user_was_said_to_be() -> None:
    after = town(*ANNA, borrowed(2, "L1", "a1"), borrowed(3, "L2", "a2"))

    assert after.states["acme:a2"].person == "P1"
    assert after.states[person_state_key("P1")].ledger.fired == {"acme:a1\tfirst_loan", "acme:a2\tfirst_loan"}


def test_a_user_who_turns_out_to_be_somebody_else_leaves_the_person() -> None:
    corrected = event("person_linked", 4, user_id="a1", person_id="P2")

    after = town(*ANNA, borrowed(2, "L1", "a1"), corrected, borrowed(5, "L2", "a2"))

    assert after.of("first_loan") == [("acme", "a1", None), ("acme", "a2", None)]
    assert after.states[person_state_key("P2")].ledger.fired == {"acme:a1\tfirst_loan"}


def test_a_repeat_of_an_old_event_does_not_link_again() -> None:
    first = event("person_linked", 2, user_id="a1", person_id="P1", event_id="old")
    after = town(*user(0, "a1"), first, event("person_linked", 3, user_id="a1", person_id="P2"), first)

    assert after.states["acme:a1"].person == "P2"


def test_phones_contacts_and_consent_stay_each_users_own() -> None:
    after = town(*BOTH, consent_of(2, False, user_id="a1"), borrowed(3, "L1", "b1", "lite"))

    assert after.of("disbursement") == [("lite", "b1", None)]
    (paid,) = [one for one in after.planned if one.conversion.name == "disbursement"]
    assert paid.binding is not None
    assert paid.binding.snapshot.device.appsflyer_id == "af-b1"


def test_a_loan_of_two_brands_with_one_number_makes_two_conversions() -> None:
    after = town(*BOTH, borrowed(2, "L1", "a1"), borrowed(3, "L1", "b1", "lite"), policy=OVER_ALL)

    ids = [one.conversion.id for one in after.planned]
    assert len(ids) == len(set(ids))


def test_the_firsts_of_a_person_are_asked_of_nobody_else() -> None:
    known: Mapping[str, UserState] = town(*ANNA).states

    assert people_of(known["acme:a1"], borrowed(2, "L1", "a1")) == [":P1"]
    assert people_of(known["acme:a1"], borrowed(2, "L1", "a1", person_id="P2")) == [":P1", ":P2"]
    assert people_of(UserState("acme:u1"), loan(2)) == ()
