"""Shadow and cut-over: what a route watches, from which minute on it sends, and what `check` says of it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import T0, Told, loan, login, moment, source, target, told

from lendsignal.model import SkipReason
from lendsignal.plan import (
    ALWAYS,
    NEVER,
    Live,
    Policy,
    PolicySource,
    RouteSettings,
    Target,
    compile_policy,
    double_counting,
    gaps_in_sending,
    live_of,
    version_of,
    wrong_moments,
)

SHADOW = SkipReason.SHADOW
LAGOS = timezone(timedelta(hours=1))


def route(**fields: Any) -> RouteSettings:
    return RouteSettings(**{"to": "appsflyer-ng", "send": {"disbursement": "ev_ln"}, **fields})


def rules(*routes: RouteSettings, **changes: Any) -> Policy:
    return compile_policy(policy(*routes, **changes))


def policy(*routes: RouteSettings, **changes: Any) -> PolicySource:
    return replace(source(**changes), routes=routes)


def skips(done: Told) -> list[SkipReason | None]:
    return [entry.skip for one in done.planned("disbursement") for entry in one.entries]


# planning


def test_a_route_in_shadow_plans_everything_and_sends_nothing() -> None:
    watching = told(
        login(-5, "a"), loan(0), policy=rules(route(mode="shadow", value={"disbursement": "fee"}))
    )
    sending = told(login(-5, "a"), loan(0), policy=rules(route(value={"disbursement": "fee"})))

    (watched,), (sent,) = watching.planned("disbursement"), sending.planned("disbursement")
    assert watched.entries == tuple(replace(one, skip=SHADOW) for one in sent.entries)
    assert (watched.conversion, watched.binding) == (sent.conversion, sent.binding)


@pytest.mark.parametrize(("minutes", "skip"), [(59.99, SHADOW), (60, None), (119.99, None), (120, SHADOW)])
def test_a_conversion_is_live_from_its_minute_on_and_until_the_roll_back(
    minutes: float, skip: SkipReason | None
) -> None:
    one = route(live_from={"disbursement": moment(60)}, live_until={"disbursement": moment(120)})

    assert skips(told(login(-5, "a"), loan(minutes), policy=rules(one))) == [skip]


def test_the_events_own_time_decides_and_not_its_arrival() -> None:
    live = rules(route(mode="shadow", live_from={"disbursement": moment(60)}))

    late = told(login(-5, "a"), loan(59, "L1", arrives=90), loan(61, "L2", arrives=90), policy=live)

    assert skips(late) == [SHADOW, None]


def test_each_conversion_has_its_own_minute_and_the_others_go_by_the_mode() -> None:
    both = {"disbursement": "ev_ln", "first_loan": "ev_fl"}
    live = rules(route(send=both, mode="shadow", live_from={"disbursement": moment(0)}))

    done = told(login(-5, "a"), loan(1, loan_number=1), policy=live)

    assert {one.conversion.name: one.entries[0].skip for one in done.planned() if one.entries} == {
        "disbursement": None,
        "first_loan": SHADOW,
    }


def test_what_would_not_be_sent_anyway_keeps_its_own_reason_in_shadow() -> None:
    done = told(login(-5, "a"), loan(0, test=True), policy=rules(route(mode="shadow")))

    assert skips(done) == [SkipReason.TEST_USER]


def test_what_is_planned_stays_as_it_is_when_the_route_is_switched() -> None:
    before = told(login(-5, "a"), loan(0), policy=rules(route(mode="shadow")))
    before.policy = rules(route())
    after = before.tell(loan(10, "L2"))

    assert skips(after) == [SHADOW, None]


def test_a_late_login_moves_what_is_only_watched_as_well() -> None:
    done = told(login(-50, "a"), loan(0), login(-5, "b", arrives=0.02), policy=rules(route(mode="shadow")))

    assert done.device("disbursement") == "af-b"
    assert [entry.skip for entry in done.rebound()[0].entries] == [SHADOW]


def test_a_conversion_without_a_login_waits_in_the_pen_for_a_shadow_as_for_a_route() -> None:
    done = told(loan(0), login(5, "a"), policy=rules(route(mode="shadow")))

    assert skips(done) == [SHADOW]
    assert done.device("disbursement") == "af-a"


# moments


@pytest.mark.parametrize(
    ("fields", "live"),
    [
        ({}, ALWAYS),
        ({"mode": "shadow"}, NEVER),
        ({"mode": "shadow", "live_from": {"disbursement": T0}}, Live(1_773_133_200_000_000, 1 << 62)),
        ({"live_until": {"disbursement": T0}}, Live(-(1 << 62), 1_773_133_200_000_000)),
        (
            {"live_from": {"disbursement": datetime(2026, 3, 10, 10, tzinfo=LAGOS)}},
            Live(1_773_133_200_000_000, 1 << 62),
        ),
    ],
)
def test_when_a_route_is_live(fields: dict[str, Any], live: Live) -> None:
    """`date -u -d 2026-03-10T09:00:00Z +%s` says 1773133200."""
    assert live_of(route(**fields), "disbursement") == live


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"live_from": {"credit": T0}}, "route[0].live_from.credit"),
        ({"live_until": {"credit": T0}}, "route[0].live_until.credit"),
        ({"mode": "shadow", "live_until": {"disbursement": T0}}, "route[0].live_until.disbursement"),
        (
            {"live_from": {"disbursement": T0}, "live_until": {"disbursement": T0}},
            "route[0].live_until.disbursement",
        ),
    ],
)
def test_moments_that_cannot_be_meant_are_refused(fields: dict[str, Any], key: str) -> None:
    assert [found for found, _, _ in wrong_moments([route(**fields)])] == [key]


def test_another_minute_is_another_policy() -> None:
    first = policy(route(live_from={"disbursement": T0}))

    assert version_of(first) != version_of(policy(route(live_from={"disbursement": moment(1)})))
    assert version_of(first) != version_of(policy(route()))


# twice, and nowhere

APPSFLYER = target("appsflyer-ng", "acme-ng", forwards=("meta",))
META = target("meta-ng", "acme-ng")


def twice(*routes: RouteSettings, targets: tuple[Target, ...] = (APPSFLYER, META)) -> list[str]:
    return [why for _, why in double_counting(routes, {one.name: one for one in targets})]


def test_a_shadow_beside_a_live_route_is_no_double() -> None:
    assert twice(route(), route(to="meta-ng", mode="shadow")) == []
    assert len(twice(route(), route(to="meta-ng"))) == 1


def test_the_apps_sdk_may_go_on_sending_what_a_route_only_watches() -> None:
    assert twice(route(mode="shadow", also_sent_by=("sdk",))) == []
    assert len(twice(route(live_from={"disbursement": T0}, also_sent_by=("sdk",)))) == 1


def test_a_route_that_takes_over_at_the_minute_another_ends_is_neither_a_double_nor_a_gap() -> None:
    ends = route(live_until={"disbursement": T0})
    begins = route(to="meta-ng", live_from={"disbursement": T0})

    assert twice(ends, begins) == []
    assert gaps_of(ends, begins) == [("appsflyer", "live nowhere from 2026-03-10T09:00:00Z on")]


def test_an_hour_in_which_both_are_live_is_named() -> None:
    (why,) = twice(
        route(live_until={"disbursement": moment(60)}), route(to="meta-ng", live_from={"disbursement": T0})
    )

    assert why.endswith("both live from 2026-03-10T09:00:00Z until 2026-03-10T10:00:00Z")


def gaps_of(*routes: RouteSettings) -> list[tuple[str, str]]:
    found = gaps_in_sending(routes, {one.name: one for one in (APPSFLYER, META)})
    assert all((app, conversion) == ("acme-ng", "disbursement") for app, conversion, _, _ in found)
    return [(platform, when) for _, _, platform, when in found]


def test_an_hour_in_which_nobody_is_live_is_named_and_so_is_the_time_after_an_end() -> None:
    ends = route(live_until={"disbursement": T0})
    begins = route(to="meta-ng", live_from={"disbursement": moment(60)})
    nowhere = "live nowhere from 2026-03-10T09:00:00Z"

    assert gaps_of(ends, begins) == [
        ("appsflyer", f"{nowhere} on"),
        ("meta", f"{nowhere} until 2026-03-10T10:00:00Z"),
    ]


def test_what_is_only_watched_or_begins_later_leaves_no_gap() -> None:
    assert gaps_of(route(mode="shadow")) == []
    assert gaps_of(route(live_from={"disbursement": datetime(2030, 1, 1, tzinfo=UTC)})) == []
    assert gaps_of(route()) == []


def test_one_destination_may_change_a_conversions_name_at_a_minute() -> None:
    old = route(live_until={"disbursement": T0})
    new = route(send={"disbursement": "ev_l2"}, live_from={"disbursement": T0})
    done = told(login(-50, "a"), loan(-1, "L1"), loan(0, "L2"), policy=rules(old, new))

    assert (twice(old, new), gaps_of(old, new)) == ([], [])
    sent = [
        [entry.name for entry in one.entries if entry.skip is None] for one in done.planned("disbursement")
    ]
    assert sent == [["ev_ln"], ["ev_l2"]]
