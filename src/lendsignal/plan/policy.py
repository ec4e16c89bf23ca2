"""The rules in force, compiled so that a decision is a look-up. A policy changes only as a whole."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive import (
    BUILT_IN,
    LIKELY_CREDIT,
    CutTable,
    DerivePolicy,
    Expression,
    Rules,
    compiled,
    is_tier,
    rules_of,
    with_table,
)
from lendsignal.model.rates import Rate, Rates
from lendsignal.plan.holdout import Holdout
from lendsignal.plan.live import ALWAYS, NEVER, Live, gaps, live_of
from lendsignal.plan.settings import RouteSettings, ValueRule
from lendsignal.resolve import ResolveSettings
from lendsignal.value import Valuer

Corrects = Literal["nothing", "value", "everything"]
"""What a destination lets us change of a conversion later: its value, or also that there is none."""


class Target(Struct, frozen=True, kw_only=True):
    """What planning needs to know of a destination.

    `platform` is where conversions end up (`meta`, `firebase`, …), `account` what is counted together there;
    `forwards` are the platforms it passes conversions on to; `send_test` lets marked test users through.
    `corrects` is what can be changed there later.
    """

    name: str
    kind: str
    app: str
    account: str
    forwards: tuple[str, ...] = ()
    send_test: bool = False
    corrects: Corrects = "nothing"


class Step(Struct, frozen=True, array_like=True):
    """One line of a route: the conversion's name and value rule at one destination.

    `currency` is that of the app; `unasked` tells whether a user of its country who was never asked counts
    as consenting; `live` when it is sent and not only watched; `held` names the holdouts that keep it back.
    """

    destination: str
    kind: str
    name: str
    rule: ValueRule | None
    settle_us: int
    send_test: bool
    currency: str | None
    unasked: bool
    live: Live = ALWAYS
    held: frozenset[str] = frozenset()


class People(Struct, frozen=True, kw_only=True):
    """Who is no customer: `test` are person keys (`brand:user_id`), `test_rule` an expression in CEL."""

    test: frozenset[str] = frozenset()
    test_rule: str | None = None


class PolicySource(Struct, frozen=True, kw_only=True):
    """A policy as the log keeps it: plain data, from which `compile_policy` always makes the same policy.

    `consent_default` tells, by country, whether a user who was never asked counts as consenting; `True` where
    a country is not named.
    """

    derive: DerivePolicy
    resolve: ResolveSettings
    routes: tuple[RouteSettings, ...]
    targets: Mapping[str, Target]
    consent_default: Mapping[str, bool] = {}
    people: People = People()
    rates: tuple[Rate, ...] = ()
    rates_good_for: timedelta = timedelta(days=7)
    holdouts: tuple[Holdout, ...] = ()


class Policy(Struct, frozen=True, kw_only=True):
    """Everything decisions depend on beside the state and the event.

    `steps` lists what a conversion is sent as, by the app it is bound to; `routed` the (brand, conversion)
    pairs that some route takes. `per_event` are the conversions that a revision of their event never fires
    again, tiers beside them. `test` is who is no customer, `test_rule` how others are found out.
    `across_brands`: a loan with one brand is no first after one with another. `history_is_whole`: who has no
    loan in the log had none. `holdouts` are those that keep some delivery back. `corrects`
    are the destinations whose conversions can be changed later.
    """

    version: str
    derive: DerivePolicy
    rules: Rules
    resolve: ResolveSettings
    steps: Mapping[tuple[str, str], tuple[Step, ...]]
    routed: frozenset[tuple[str, str]]
    rates: Rates
    per_event: frozenset[str]
    test: frozenset[str] = frozenset()
    test_rule: Expression | None = None
    across_brands: bool = False
    history_is_whole: bool = False
    holdouts: tuple[Holdout, ...] = ()
    corrects: Mapping[str, Target] = {}


def version_of(source: PolicySource) -> str:
    """A name for the policy that follows from its content."""
    return blake2b(msgspec.json.encode(source, order="sorted"), digest_size=6).hexdigest()


def compile_policy(source: PolicySource, valuer: Valuer | None = None) -> Policy:
    """The policy that routes and targets make together, with the value model in force.

    `double_counting` has found nothing in routes and targets.

    Raises `InputError` where an expression cannot be compiled: `check` has refused it before.
    """
    steps: dict[tuple[str, str], list[Step]] = {}
    for route in source.routes:
        target = source.targets[route.to]
        app = source.derive.apps[target.app]
        settle = route.settle if route.settle is not None else source.resolve.settle
        for conversion, name in route.send.items():
            step = Step(
                destination=target.name,
                kind=target.kind,
                name=name,
                rule=route.value.get(conversion),
                settle_us=settle // timedelta(microseconds=1),
                send_test=target.send_test,
                currency=app.currency,
                unasked=source.consent_default.get(app.country, True),
                live=live_of(route, conversion),
                held=frozenset(one.name for one in source.holdouts if one.concerns(conversion, target.name)),
            )
            steps.setdefault((target.app, conversion), []).append(step)
    brands = {app.name: app.brand for app in source.derive.apps.values()}
    return Policy(
        version=version_of(source),
        derive=source.derive,
        rules=rules_of(source.derive, valuer),
        resolve=source.resolve,
        steps={key: tuple(found) for key, found in steps.items()},
        routed=frozenset((brands[app], conversion) for app, conversion in steps),
        rates=Rates(source.rates, source.rates_good_for),
        per_event=PER_EVENT
        | {name for name, custom in source.derive.custom.items() if custom.once_per == "event"},
        test=source.people.test,
        test_rule=None if source.people.test_rule is None else compiled(source.people.test_rule, "bool"),
        across_brands=source.derive.across_brands,
        history_is_whole=source.derive.history == "whole",
        holdouts=tuple(one for one in source.holdouts if not one.sends),
        corrects={name: one for name, one in source.targets.items() if one.corrects != "nothing"},
    )


def with_cuts(source: PolicySource, table: CutTable | None) -> PolicySource:
    """The policy with the cuts of a table, where its tiers are cut out of the lender's own grants."""
    tiers = with_table(source.derive.tiers, table)
    if tiers is source.derive.tiers:
        return source
    return replace(source, derive=replace(source.derive, tiers=tiers))


PER_EVENT = frozenset({"registration", "application", "credit", "disbursement", "repeat_loan", "repayment"})
"""Built-in conversions that fire with every event of their kind; the others fire once by themselves."""

FIRSTS = frozenset({"registration", "application", "first_application", "first_credit", "first_loan"})


class Reach(Struct, frozen=True):
    """One way a conversion gets to a platform; `account` is `None` where an MMP forwards it."""

    key: str
    app: str
    conversion: str
    platform: str
    account: str | None
    by: str
    live: Live


def double_counting(routes: Sequence[RouteSettings], targets: Mapping[str, Target]) -> list[tuple[str, str]]:
    """What would be counted twice: (key of the route, why), for every case.

    One route per conversion, platform, account and app: an MMP that forwards to Meta and a direct Meta
    route are two. And one valued conversion per loan (for acquisition: per user) in an account, whether
    it comes there directly or is passed on. What a route only watches does not count.
    """
    found: list[tuple[str, str]] = []
    reaches: list[Reach] = []
    valued: list[Reach] = []
    for number, route in enumerate(routes):
        target = targets.get(route.to)
        if target is None:
            continue
        if route.also_sent_by and any(live_of(route, one) != NEVER for one in route.send):
            found.append(
                (f"route[{number}].also_sent_by", f"the app's SDK already sends these to {target.kind}")
            )
        for conversion in route.send:
            key = f"route[{number}].send.{conversion}"
            fresh = _reaches(key, conversion, target, live_of(route, conversion))
            for reach in fresh:
                found += [
                    (
                        key,
                        f"{conversion} already reaches {reach.platform} by {other.by} ({other.key})"
                        + _while_both(reach, other),
                    )
                    for other in reaches
                    if _twice(reach, other)
                ]
            reaches += fresh
        for conversion in route.value:
            key = f"route[{number}].value.{conversion}"
            fresh = _reaches(key, conversion, target, live_of(route, conversion))
            found += {
                (key, f"{other.conversion} is valued too ({other.key}): one loan would count twice"): None
                for reach in fresh
                for other in valued
                if _same_account(reach, other) and _same_money(conversion, other.conversion)
            }
            valued += fresh
    return found


def gaps_in_sending(
    routes: Sequence[RouteSettings], targets: Mapping[str, Target]
) -> list[tuple[str, str, str, str]]:
    """Conversions that stop being sent: (app, conversion, platform, since when and until when).

    A route that takes over from another, or from one whose MMP passes on to the same platform, leaves none.
    """
    lives: dict[tuple[str, str, str], list[Live]] = {}
    for route in routes:
        target = targets.get(route.to)
        for conversion in route.send if target is not None else ():
            assert target is not None
            for reach in _reaches("", conversion, target, live_of(route, conversion)):
                lives.setdefault((reach.app, conversion, reach.platform), []).append(reach.live)
    return [(*whose, words) for whose, words in gaps(lives)]


def _reaches(key: str, conversion: str, target: Target, live: Live) -> list[Reach]:
    """Where a conversion ends up that goes to this destination: there, and wherever it is passed on to."""
    direct = Reach(key, target.app, conversion, target.kind, target.account, target.name, live)
    passed_on = (
        Reach(key, target.app, conversion, platform, None, target.name, live) for platform in target.forwards
    )
    return [direct, *passed_on]


def _twice(one: Reach, other: Reach) -> bool:
    return one.conversion == other.conversion and _same_account(one, other)


def _while_both(one: Reach, other: Reach) -> str:
    """When two ways are open at once, where that is not always."""
    shared = one.live.both(other.live)
    return "" if shared == ALWAYS else f", both live {shared.told}"


def _same_account(one: Reach, other: Reach) -> bool:
    """Whether both are counted together: where one is passed on we do not know, so it may be."""
    same = (one.app, one.platform) == (other.app, other.platform) and one.live.both(other.live) != NEVER
    return same and (one.account is None or other.account is None or one.account == other.account)


def _same_money(one: str, other: str) -> bool:
    """Whether one loan, or one new user, could fire both: only a repeat loan stands apart from firsts."""
    if one == other:  # told of as sent twice already
        return False
    pair = {one, other}
    if "repeat_loan" not in pair:
        return True
    (rest,) = pair - {"repeat_loan"}
    return rest not in FIRSTS and not is_tier(rest)


def known_conversions(derive: DerivePolicy) -> list[str]:
    """Every conversion a route may name, tiers and the lender's own included."""
    predicted = [] if derive.likely is None else [LIKELY_CREDIT]
    return [*BUILT_IN, *predicted, *derive.tiers.names(), *derive.custom]
