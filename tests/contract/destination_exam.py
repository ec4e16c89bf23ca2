"""The exam for destinations: each function takes one, and fails where it breaks a promise.

A destination is a module (or anything shaped like one) with `Settings`, `SPEC`, `problem_with_name`,
`FIELDS`, `encode`, `request` and `classify`. `EXAMS` lists the questions; a new destination sits all of them.
"""

import os
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from lendsignal.destination.spec import (
    SHELF,
    TOPIC_SCHEME,
    Bearer,
    BodyAuth,
    BrokerAuth,
    Destination,
    GoogleAuth,
    HeaderAuth,
    InstallAuth,
    Item,
    MetaAuth,
    QueryAuth,
    Response,
    WebhookAuth,
    fields_of,
    hosts_of,
)
from lendsignal.model import (
    ZERO_ID,
    Accepted,
    App,
    Consent,
    Contact,
    Delivery,
    Device,
    IdKind,
    Money,
    Paused,
    Pending,
    Rejected,
    Retry,
    Secret,
    Skip,
    SkipReason,
    Split,
)

ANDROID = App(
    name="acme-ng",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
IOS = App(
    name="acme-mx",
    brand="acme",
    platform="ios",
    bundle="id123456789",
    bundle_id="com.acme.prestamos",
    country="MX",
    currency="MXN",
    timezone="America/Mexico_City",
)
SAMPLE_IDS = {
    IdKind.APPSFLYER_ID: "1763712345678-4312502203727572307",
    IdKind.ADJUST_ADID: "18546f6171f67e29d1cb983322ad1329",
    IdKind.FIREBASE_APP_INSTANCE_ID: "4f2c1a9be07d4c6f8a315d2e9b7c6012",
    IdKind.BRANCH_IDENTITY: "1130415023876554921",
    IdKind.SINGULAR_SDID: "5f0c1d7e-40a3-4c8e-9b1d-7a2f63c9e811",
    IdKind.KOCHAVA_DEVICE_ID: "KA3501763712345t0c2f9e6d71b84a05",
    IdKind.GAID: "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    IdKind.IDFA: "9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
    IdKind.IDFV: "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
    IdKind.OAID: "3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730",
    IdKind.ANDROID_ID: "b1946ac92492d234",
    IdKind.META_ANON_ID: "XZ1E6D0A7F-2B5C-4913-8D4E-6A0B9F3C7E21",
}
"""One id of every kind, each different, so that a swap shows."""

CORRECTED = datetime(2026, 11, 22, 16, 8, 31, tzinfo=UTC)
"""When a correction was made."""

CANARY = "canary-4f1b0d7c2e"
"""The value of every secret while an exam runs: it must turn up nowhere."""

NEUTRAL_NAMES = ("ev_fl", "CUSTOM_EVENT_1", "EVENT_FORM_SUBMIT", "f0ob4r")
"""Names that tell nothing: a code of our own, or the like of it where a platform only takes its own names."""

WORDLESS = (
    b"",
    b"{}",
    b"null",
    b"[]",
    b"<html><body>502 Bad Gateway</body></html>",
    b"Internal Server Error",
)
"""Bodies that say nothing a platform means."""


def example_settings(destination: Destination) -> Any:
    """Settings with every secret set and every other required field filled by its own first example."""
    values: dict[str, Any] = {}
    fields = msgspec.inspect.type_info(destination.Settings)
    assert isinstance(fields, msgspec.inspect.StructType)
    for field in fields.fields:
        if _is_secret(field.type):
            values[field.name] = Secret(env=f"LENDSIGNAL_EXAM_{field.name.upper()}")
        elif field.required:
            schema = getattr(field.type, "extra_json_schema", None) or {}
            assert schema.get("examples"), (
                f"Settings.{field.name} is required: Meta(examples=[…]) must show one"
            )
            values[field.name] = schema["examples"][0]
    return msgspec.convert(values, destination.Settings)


def delivery_for(destination: Destination, **changes: Any) -> Delivery:
    """A delivery with every fact there is, on a platform where the destination finds an id."""
    ios = bool(destination.SPEC.any_of_ids) and destination.SPEC.any_of_ids[0] in (IdKind.IDFA, IdKind.IDFV)
    device = Device(
        os="ios" if ios else "android",
        os_version="17.4.1" if ios else "14",
        model="SM-A145F",
        locale="en_NG",
        timezone="Africa/Lagos",
        carrier="MTN",
        screen_width=1080,
        screen_height=2408,
        screen_density=2.6,
        cpu_cores=8,
        storage_gb=128,
        free_storage_gb=64,
        app_version="5.2.0",
        app_build="5.2.0.1187",
        ip="203.0.113.7",
        user_agent="Mozilla/5.0 (Linux; Android 14; SM-A145F)",
        att_status=3 if ios else None,
        limit_ad_tracking=False,
        ttclid="E.C.P.CrkBfNQG3mL5",
        sc_click_id="8f2d91c4-0b7e-4a65",
        kwai_click_id="Lw2HvYVkoj1MyzQwwNX4dg",
        **_by_field(SAMPLE_IDS),
    )
    delivery = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_fl",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC),
        user_id="u-88231",
        app=IOS if ios else ANDROID,
        device=device,
        value=Money(Decimal("41.25"), "USD"),
        contact=Contact(
            email="a1" * 32, email_google="b2" * 32, phone_digits="c3" * 32, phone_e164="d4" * 32
        ),
        consent=Consent(ad_user_data=True, ad_personalization=True, gdpr_applies=False),
    )
    return msgspec.structs.replace(delivery, **changes)


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """Any delivery the planner could make: every optional fact there or not."""

    def maybe(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | strategy)

    words = st.text("abcXYZ 019_.-ñ授", min_size=1, max_size=40)
    ids: dict[str, Any] = {
        kind.value: maybe(st.sampled_from((identifier, ZERO_ID, "")))
        for kind, identifier in SAMPLE_IDS.items()
    }
    device = Device(
        os_version=maybe(st.sampled_from(("14", "17.4.1", "13.7", "Tiramisu", ""))),
        model=maybe(words),
        locale=maybe(words),
        timezone=maybe(words),
        screen_width=maybe(st.integers(0, 5000)),
        screen_density=maybe(st.floats(0, 10)),
        app_version=maybe(words),
        ip=maybe(st.sampled_from(("203.0.113.7", "10.0.0.1", "2a00:1450:4001:81b::200e", "x"))),
        user_agent=maybe(st.text(max_size=300)),
        att_status=maybe(st.integers(-1, 5)),
        limit_ad_tracking=maybe(st.booleans()),
        **ids,
    )
    yes_no = st.none() | st.booleans()
    digest = st.just("e5" * 32)
    return Delivery(
        id=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        name=draw(st.sampled_from(("ev_fl", "ev_ap", "ev_c3"))),
        occurred_at=draw(
            st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
        ),
        user_id=draw(words),
        app=draw(st.sampled_from((ANDROID, IOS))),
        device=device,
        value=maybe(
            st.builds(
                Money,
                st.decimals(-(10**9), 10**9, places=draw(st.integers(0, 8))),
                st.sampled_from(("USD", "NGN")),
            )
        ),
        contact=maybe(st.builds(Contact, email=st.none() | digest, phone_digits=st.none() | digest)),
        consent=maybe(
            st.builds(Consent, ad_user_data=yes_no, ad_personalization=yes_no, gdpr_applies=yes_no),
        ),
    )


def bodies() -> st.SearchStrategy[bytes]:
    """Any body an answer may have: none, text, JSON of any shape, and the shapes platforms use."""
    keys = st.sampled_from(
        "error code error_subcode is_transient events_received messages status errors".split()
    )
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=6,
    )
    codes = st.sampled_from((0, 1, 2, 3, 4, 10, 17, 33, 100, 190, 200, 341, 368, 613, 5000, 21009, 80003))
    subcodes = st.sampled_from((None, 33, 460, 1996, 2804003, 2804009))
    platform_error = st.builds(
        lambda code, subcode, transient: {
            "error": {"code": code, "error_subcode": subcode, "is_transient": transient}
        },
        codes,
        subcodes,
        st.booleans(),
    )
    return st.one_of(
        st.sampled_from(WORDLESS),
        st.binary(max_size=40),
        (values | platform_error).map(msgspec.json.encode),
    )


def the_kind_is_the_name_of_the_file(destination: Destination) -> None:
    assert isinstance(destination, ModuleType)
    assert destination.__name__.rpartition(".")[2] == destination.SPEC.name


def facts_are_linked_and_dated(destination: Destination) -> None:
    spec = destination.SPEC
    link = urlsplit(spec.docs)
    assert link.scheme == "https"
    assert link.hostname
    assert date.fromisoformat(spec.docs_read) >= date(2026, 1, 1)
    assert spec.label
    assert destination.__doc__, "a destination's docstring says what its times and money look like"
    assert all(re.fullmatch(r"[a-z0-9.-]+\.[a-z]+", host) for host in spec.hosts)
    assert spec.per_second > 0
    assert spec.batch >= 1
    assert all(tries >= 1 for tries in spec.tries_on.values())


def the_window_is_a_window(destination: Destination) -> None:
    spec = destination.SPEC
    for hour in range(24):
        occurred_at = datetime(2026, 11, 22, hour, 59, 59, 999_999, tzinfo=UTC)
        assert timedelta(0) < spec.closes_at(occurred_at) - occurred_at <= spec.max_age


def settings_are_closed_and_secrets_are_references(destination: Destination) -> None:
    config = destination.Settings.__struct_config__
    assert config.forbid_unknown_fields
    assert config.frozen
    info = msgspec.inspect.type_info(destination.Settings)
    assert isinstance(info, msgspec.inspect.StructType)
    secrets = {field.name for field in info.fields if _is_secret(field.type)}
    telling = re.compile("token|secret|password|credentials|key$")
    assert {field.name for field in info.fields if telling.search(field.name)} <= secrets
    assert _auth_fields(destination) <= secrets


def names_are_judged(destination: Destination) -> None:
    assert any(destination.problem_with_name(name) is None for name in NEUTRAL_NAMES)
    assert destination.problem_with_name("")


def the_same_delivery_gives_the_same_item(destination: Destination) -> None:
    chosen = example_settings(destination)

    @given(deliveries())
    @settings(max_examples=50, deadline=None, database=None)
    def holds(delivery: Delivery) -> None:
        item = destination.encode(delivery, chosen)
        assert destination.encode(deepcopy(delivery), chosen) == item
        if not isinstance(item, Skip):
            again = msgspec.json.decode(msgspec.json.encode(item))
            assert destination.request([again], chosen) == destination.request([item], chosen)

    holds()


def a_delivery_without_a_usable_id_is_skipped(destination: Destination) -> None:
    if not destination.SPEC.any_of_ids:
        return
    zeros = Device(**_by_field(dict.fromkeys(IdKind, ZERO_ID)))
    for device in (Device(), zeros):
        delivery = delivery_for(destination, device=device)
        assert destination.encode(delivery, example_settings(destination)) == Skip(SkipReason.NO_DEVICE_ID)


def an_all_zero_id_never_leaves(destination: Destination) -> None:
    chosen = example_settings(destination)

    @given(deliveries())
    @settings(max_examples=50, deadline=None, database=None)
    def holds(delivery: Delivery) -> None:
        item = destination.encode(delivery, chosen)
        if not isinstance(item, Skip):
            assert ZERO_ID not in msgspec.json.encode(item).decode()

    holds()


def requests_go_over_https_to_a_declared_host(destination: Destination) -> None:
    """Or, where the facts say that they stay in the house, to the shelf and to no host at all; or, where they
    are messages for a topic, to the brokers of the settings."""
    chosen = example_settings(destination)
    request = destination.request([_item(destination)], chosen)
    if destination.SPEC.transport == "shelf":
        assert request.url == SHELF
        assert hosts_of(destination.SPEC, chosen) == destination.SPEC.hosts == ()
        return
    url = urlsplit(request.url)
    if destination.SPEC.transport == "topic":
        assert (request.method, url.scheme) == ("PRODUCE", TOPIC_SCHEME)
    else:
        assert (request.method, url.scheme) == ("POST", "https")
    assert url.hostname in hosts_of(destination.SPEC, chosen)
    assert url.username is None
    assert url.password is None


def only_listed_fields_leave(destination: Destination) -> None:
    """The firewall: whatever a delivery holds, a request tells nothing that `FIELDS` does not name."""
    chosen = example_settings(destination)
    corrects = destination.SPEC.corrections is not None

    @given(deliveries(), st.booleans())
    @settings(max_examples=100, deadline=None, database=None)
    def holds(delivery: Delivery, corrected: bool) -> None:
        if corrects and corrected:
            delivery = msgspec.structs.replace(delivery, corrected_at=CORRECTED)
        item = destination.encode(delivery, chosen)
        if not isinstance(item, Skip):
            assert fields_of(destination.request([item], chosen)) <= destination.FIELDS

    holds()
    told = fields_of(destination.request([_item(destination)], chosen))
    assert told <= destination.FIELDS
    assert len(told) >= len(destination.FIELDS) // 3, "a list of fields that hardly leave lists too much"


def every_conversion_id_is_inside_the_body(destination: Destination) -> None:
    ids = [f"{number:032x}" for number in range(1, destination.SPEC.batch + 1)]
    items = [_item(destination, id=identifier) for identifier in ids]
    body = _body(destination, items)
    assert all(identifier in body for identifier in ids)


def items_of_one_batch_share_their_batch_key(destination: Destination) -> None:
    key = destination.SPEC.batch_by
    if key is not None:
        first, second = _item(destination, id="01" * 16), _item(destination, id="02" * 16)
        assert isinstance(first.get(key, ""), str)
        assert first.get(key) == second.get(key)


def a_correction_finds_its_conversion_and_goes_where_corrections_go(
    destination: Destination,
) -> None:
    corrections, key = destination.SPEC.corrections, destination.SPEC.batch_by
    if corrections is None:
        return
    assert timedelta(0) < corrections.within
    chosen, identifier = example_settings(destination), "0a" * 16
    value = Money(Decimal("12.5"), "NGN")
    first = _item(destination, id=identifier, value=value)
    for changed in (value, None) if corrections.retracts else (value,):
        item = _item(destination, id=identifier, value=changed, corrected_at=CORRECTED)
        assert identifier in _body(destination, [item])
        alike = destination.request([item], chosen).url == destination.request([first], chosen).url
        assert alike or (key is not None and item.get(key, "") != first.get(key, ""))


def one_event_fits_the_limit(destination: Destination) -> None:
    limit = destination.SPEC.max_bytes
    if limit is None:
        return
    chosen = example_settings(destination)

    @given(deliveries())
    @settings(max_examples=50, deadline=None, database=None)
    def holds(delivery: Delivery) -> None:
        item = destination.encode(delivery, chosen)
        if not isinstance(item, Skip):
            assert len(_body(destination, [item]).encode()) <= limit

    holds()


def no_secret_is_inside(destination: Destination) -> None:
    chosen = example_settings(destination)
    environment = {
        f"LENDSIGNAL_EXAM_{name.upper()}": CANARY for name in destination.Settings.__struct_fields__
    }
    with patch.dict(os.environ, environment):
        request = destination.request([_item(destination)], chosen)
        assert CANARY not in repr(request)
        assert CANARY not in msgspec.json.encode(request).decode()


def a_trial_says_what_to_do_and_goes_where_everything_goes(destination: Destination) -> None:
    """A test event and a dry run keep the promises of every request; without them a person is told."""
    chosen = example_settings(destination)
    made = []
    if (trial := getattr(destination, "trial", None)) is not None:
        found = trial(chosen)
        told = (found.instead,) if found.way == "none" else (found.look, found.sees)
        assert all(told), "a person must be told what to do, or where to look and what for"
        if found.way != "none":
            made.append(destination.trial_request([_item(destination)], chosen, "TEST-4711"))  # type: ignore[attr-defined]
            assert (found.code is None) == ("TEST-4711" not in repr(made[0]))
    if (validation := getattr(destination, "validation_request", None)) is not None:
        made.append(validation([_item(destination)], chosen))
        assert destination.problems_found(Response(status=502, body=b"<html>")) is None  # type: ignore[attr-defined]
    for request in made:
        assert urlsplit(request.url).scheme == "https"
        assert urlsplit(request.url).hostname in hosts_of(destination.SPEC, chosen)
        assert delivery_for(destination).id in repr(request)
        assert request != destination.request([_item(destination)], chosen), "nothing tells it apart"


def every_answer_gives_one_outcome_an_item(destination: Destination) -> None:
    kinds = (Accepted, Retry, Rejected, Paused, Split, Pending)

    @given(st.integers(100, 599), bodies(), st.integers(1, destination.SPEC.batch))
    @settings(max_examples=200, deadline=None, database=None)
    def holds(status: int, body: bytes, count: int) -> None:
        outcomes = destination.classify(Response(status=status, body=body), count)
        assert len(outcomes) == count
        assert all(isinstance(outcome, kinds) for outcome in outcomes)
        if count == 1:
            assert not isinstance(outcomes[0], Split), "one item cannot be halved"

    holds()


def a_servers_own_trouble_is_never_our_rejection(destination: Destination) -> None:
    for status in set(range(500, 600)) - {501, 505}:
        for body in WORDLESS:
            for count in {1, destination.SPEC.batch}:
                outcomes = destination.classify(Response(status=status, body=body), count)
                assert all(isinstance(outcome, Retry) for outcome in outcomes), f"{status} {body!r}"


def slow_down_uses_up_no_try(destination: Destination) -> None:
    @given(bodies(), st.integers(1, destination.SPEC.batch))
    @settings(max_examples=100, deadline=None, database=None)
    def holds(body: bytes, count: int) -> None:
        for outcome in destination.classify(Response(status=429, body=body), count):
            assert isinstance(outcome, Retry)
            assert not outcome.counts

    holds()


def a_refused_credential_waits_for_a_person(destination: Destination) -> None:
    for status in (401, 403):
        for body in WORDLESS:
            outcomes = destination.classify(Response(status=status, body=body), 1)
            assert all(isinstance(outcome, Paused) for outcome in outcomes), f"{status} {body!r}"


EXAMS: tuple[Callable[[Destination], None], ...] = (
    the_kind_is_the_name_of_the_file,
    facts_are_linked_and_dated,
    the_window_is_a_window,
    settings_are_closed_and_secrets_are_references,
    names_are_judged,
    the_same_delivery_gives_the_same_item,
    a_delivery_without_a_usable_id_is_skipped,
    an_all_zero_id_never_leaves,
    requests_go_over_https_to_a_declared_host,
    only_listed_fields_leave,
    every_conversion_id_is_inside_the_body,
    items_of_one_batch_share_their_batch_key,
    a_correction_finds_its_conversion_and_goes_where_corrections_go,
    one_event_fits_the_limit,
    no_secret_is_inside,
    a_trial_says_what_to_do_and_goes_where_everything_goes,
    every_answer_gives_one_outcome_an_item,
    a_servers_own_trouble_is_never_our_rejection,
    slow_down_uses_up_no_try,
    a_refused_credential_waits_for_a_person,
)


def _item(destination: Destination, **changes: Any) -> Item:
    item = destination.encode(delivery_for(destination, **changes), example_settings(destination))
    assert not isinstance(item, Skip), f"a delivery with every fact was skipped: {item.reason}"
    return item


def _body(destination: Destination, items: list[Item]) -> str:
    request = destination.request(items, example_settings(destination))
    return msgspec.json.encode(request.json if request.form is None else request.form).decode()


def _by_field(ids: Mapping[IdKind, str]) -> dict[str, Any]:
    return {kind.value: identifier for kind, identifier in ids.items()}


def _is_secret(kind: msgspec.inspect.Type) -> bool:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            return _is_secret(inner)
        case msgspec.inspect.UnionType(types=members):
            return any(_is_secret(member) for member in members)
        case msgspec.inspect.StructType(cls=cls):
            return cls is Secret
        case _:
            return False


def _auth_fields(destination: Destination) -> set[str]:
    match destination.SPEC.auth:
        case MetaAuth(token_field=token, app_secret_field=app_secret):
            return {token, app_secret}
        case GoogleAuth(field=field, headers=headers):
            return {field, *headers.values()}
        case BrokerAuth(fields=fields):
            return set(fields)
        case (
            Bearer(field=field)
            | BodyAuth(field=field)
            | HeaderAuth(field=field)
            | InstallAuth(field=field)
            | QueryAuth(field=field)
            | WebhookAuth(field=field)
        ):
            return {field}
