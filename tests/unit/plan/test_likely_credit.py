"""`likely_credit`: told of while the review lasts and only then; predicted, never valued beside credit."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import DAY, HOUR, Told, event, loan, login, moment, source, target, told, us

from lendsignal.derive import LikelyPolicy
from lendsignal.model import Event, SkipReason
from lendsignal.plan import (
    LIKELY,
    Policy,
    PolicySource,
    RouteSettings,
    Timer,
    compile_policy,
    double_counting,
    known_conversions,
)
from lendsignal.value import LikelyModel, Number, Word, facts_of

MODEL = LikelyModel(
    numbers=(Number("loans", 0.0, 1.0, 3.0, 0.0),),
    words=(Word("product", {"again": 4.0, "first": -4.0}),),
    intercept=0.0,
    slope=1.0,
    shift=0.0,
    threshold=0.9,
)
"""P is 0.98 for the product `again`, 0.02 for `first`; 0.89 for who had one loan before, 0.96 for two."""


def policy(**fields: Any) -> PolicySource:
    known = source()
    likely = LikelyPolicy(timedelta(minutes=30), MODEL)
    route = RouteSettings(to="appsflyer-ng", send={"likely_credit": "ev_p1", "credit": "ev_c"}, **fields)
    return replace(known, derive=replace(known.derive, likely=likely), routes=(route,))


LIKELY_POLICY: Policy = compile_policy(policy())


def applied(minutes: float, name: str = "A1", product: str | None = "again", **fields: Any) -> Event:
    return event(
        "applied", minutes, event_id=f"applied-{name}", application_id=name, product=product, **fields
    )


def due(timer: Timer) -> Event:
    """The event that this timer puts into the log."""
    return event(
        "lendsignal.decision_due",
        (timer.due_us - us(0)) / 60e6,
        event_id=timer.conversion.replace(":", "-"),
        actor="system",
    )


def after(*events: Event, rules: Policy = LIKELY_POLICY) -> Told:
    """These events, and whatever falls due when all of them are decided."""
    done = told(login(-5, "a"), *events, policy=rules)
    return done.tell(*[due(one) for one in done.timers if one.conversion.startswith(LIKELY)])


def fired(done: Told) -> list[str]:
    return [one.conversion.event_id for one in done.planned("likely_credit")]


def test_a_likely_application_without_a_decision_is_told_of_when_its_time_has_come() -> None:
    done = after(applied(0))
    (timer,), (one,) = done.timers, done.planned("likely_credit")

    assert timer.due_us == us(30)
    assert one.conversion.predicted
    assert (one.conversion.occurred_at, one.conversion.received_at) == (moment(0), moment(30))
    assert [(entry.name, entry.value, entry.skip) for entry in one.entries] == [("ev_p1", None, None)]


def test_it_belongs_to_the_device_of_the_application_and_not_of_the_moment_it_is_told() -> None:
    assert after(applied(0), login(20, "b")).device("likely_credit") == "af-a"


@pytest.mark.parametrize("decision", ["credit_granted", "credit_denied"])
@pytest.mark.parametrize("minutes", [5, -1])
def test_a_decision_ends_the_wait_also_where_it_came_in_before_the_application(
    decision: str, minutes: float
) -> None:
    ends = event(decision, 5, application_id="A1", grant_id="G1")
    events = [applied(0), ends] if minutes > 0 else [ends, applied(0)]

    assert fired(after(*events)) == []


def test_a_decision_about_another_application_ends_nothing_and_one_about_none_ends_all() -> None:
    other = event("credit_denied", 5, application_id="A2")
    unnamed = event("credit_granted", 5, grant_id="G1")

    assert fired(after(applied(0), other)) == ["applied-A1"]
    assert fired(after(applied(0), unnamed)) == []


@pytest.mark.parametrize(
    "one",
    [
        applied(0, product="first"),
        applied(0, product=None),
        applied(0, history=True),
        applied(0, purpose="analytics"),
    ],
)
def test_what_is_not_likely_enough_or_only_told_waits_for_nothing(one: Event) -> None:
    done = after(one)

    assert done.timers == []
    assert fired(done) == []


@pytest.mark.parametrize(("loans", "likely"), [(1, False), (2, True)])
def test_the_users_own_loans_make_an_application_likely(loans: int, likely: bool) -> None:
    """ln 2 · 3 is a P of 0.889, ln 3 · 3 of 0.964."""
    lent = [loan(-DAY + n, f"L{n}") for n in range(loans)]

    assert bool(fired(after(*lent, applied(0, product=None)))) == likely


def test_an_application_is_told_of_once_however_often_it_is_revised() -> None:
    revised = replace(applied(0), revision=1, event_id="again", product="again", received_at=moment(40))

    assert fired(after(applied(0), revised)) == ["applied-A1"]
    done = after(applied(0)).tell(revised)
    assert [one for one in done.timers if one.due_us != us(30)] == []


def test_a_test_users_application_is_planned_and_skipped() -> None:
    (one,) = after(applied(0, test=True)).planned("likely_credit")

    assert [entry.skip for entry in one.entries] == [SkipReason.TEST_USER]


def test_each_application_falls_due_at_its_own_time() -> None:
    done = told(login(-5, "a"), applied(0, "A1"), applied(10, "A2"), policy=LIKELY_POLICY)
    first, second = done.timers

    assert fired(done.tell(due(first))) == ["applied-A1"]
    assert fired(done.tell(due(second))) == ["applied-A1", "applied-A2"]


def test_without_a_login_it_waits_in_the_pen_like_any_other() -> None:
    done = told(applied(0), policy=LIKELY_POLICY)
    done.tell(due(done.timers[0]), login(50, "a"))

    assert done.device("likely_credit") == "af-a"


def test_without_a_model_nothing_waits_and_no_route_can_name_it() -> None:
    plain = compile_policy(source())

    assert told(login(-5, "a"), applied(0), policy=plain).timers == []
    assert "likely_credit" not in known_conversions(source().derive)
    assert "likely_credit" in known_conversions(policy().derive)


def test_it_is_never_valued_beside_credit() -> None:
    both = RouteSettings(
        to="appsflyer-ng",
        send={"likely_credit": "ev_p1", "credit": "ev_c"},
        value={"likely_credit": 5.0, "credit": 10.0},
    )

    ((key, why),) = double_counting([both], {"appsflyer-ng": target("appsflyer-ng", "acme-ng")})

    assert key == "route[0].value.credit"
    assert "likely_credit is valued too" in why


def test_what_is_known_of_an_application_is_what_it_says_itself_and_the_loans_before() -> None:
    one = applied(0, score=640.0, score_version="v3", term_days=30, app="acme-ng")

    assert facts_of(one, 0) == {
        "loans": 0.0,
        "app": "acme-ng",
        "product": "again",
        "term_days": 30.0,
        "score v3": 640.0,
    }


def test_a_decision_that_comes_when_it_was_told_of_changes_nothing_of_it() -> None:
    done = after(applied(0)).tell(event("credit_granted", 3 * HOUR, application_id="A1", grant_id="G1"))

    assert fired(done) == ["applied-A1"]
    assert [one.conversion.name for one in done.planned() if one.entries] == ["likely_credit", "credit"]
