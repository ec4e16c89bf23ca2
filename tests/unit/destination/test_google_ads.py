"""Google Ads click conversions: expected values are from Google's protos and pages, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.google_ads import (
    SPEC,
    Settings,
    classify,
    encode,
    problem_with_name,
    problems_found,
    request,
    unmapped,
    validation_request,
)
from lendsignal.destination.spec import GoogleAuth, Item, Response
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Delivery,
    Device,
    Money,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Secret,
    Skip,
    SkipReason,
    Split,
    contact_of,
)

SETTINGS = Settings(
    customer_id="4445556666",
    credentials=Secret(file="google.json"),
    developer_token=Secret(env="GOOGLE_DEVELOPER_TOKEN"),
    conversion_actions={"ev_disb1": "987654321", "ev_r": "123450000"},
)
ANDROID = App(
    name="acme-ph",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="PH",
    currency="PHP",
    timezone="Asia/Manila",
)
IOS = msgspec.structs.replace(ANDROID, name="acme-ios", platform="ios", bundle="id123456789")
CONTACT, _ = contact_of(" Person@Example.com ", "+63 917-123-4567")

PHONE_DIGEST = "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a"
"""What Google's own formatter gives for `+63 917-123-4567`."""


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_disb1",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 900_000, tzinfo=UTC),
        user_id="u-88231",
        app=ANDROID,
        device=Device(gclid="EXAMPLE_GCLID", gbraid="EXAMPLE_GBRAID"),
        value=Money(Decimal("125.5"), "PHP"),
        contact=CONTACT,
        consent=Consent(ad_user_data=True, ad_personalization=True),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def answered(body: Any, status: int = 200, count: int = 1) -> list[Outcome]:
    return list(classify(Response(status=status, body=msgspec.json.encode(body)), count))


def error(
    name: str, row: int | None = None, *, family: str = "conversionUploadError", **more: Any
) -> dict[str, Any]:
    path = [] if row is None else [{"fieldName": "conversions", "index": row}, {"fieldName": "gclid"}]
    return {"errorCode": {family: name}, "location": {"fieldPathElements": path}, **more}


def failure(*errors: dict[str, Any]) -> dict[str, Any]:
    return {"code": 3, "message": "m", "details": [{"@type": "…GoogleAdsFailure", "errors": list(errors)}]}


def partly(*errors: dict[str, Any], rows: int) -> dict[str, Any]:
    bad = {
        step["index"] for each in errors for step in each["location"]["fieldPathElements"] if "index" in step
    }
    results = [{} if row in bad else {"conversionAction": "a"} for row in range(rows)]
    return {"partialFailureError": failure(*errors), "results": results}


def test_one_conversion_has_the_documented_body() -> None:
    # 2026-11-20 11:15:07+08:00 of Google's form is 03:15:07 in UTC; the fraction of a second is cut off.
    # The digest of the e-mail is the one Google's own formatter gives for " Person@Example.com ".
    assert request([item_of(delivery())], SETTINGS).json == {
        "partialFailure": True,
        "conversions": [
            {
                "conversionAction": "customers/4445556666/conversionActions/987654321",
                "gclid": "EXAMPLE_GCLID",
                "conversionDateTime": "2026-11-20 03:15:07+00:00",
                "conversionValue": 125.5,
                "currencyCode": "PHP",
                "orderId": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "userIdentifiers": [
                    {
                        "hashedEmail": "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345",
                        "userIdentifierSource": "FIRST_PARTY",
                    },
                    {
                        "hashedPhoneNumber": PHONE_DIGEST,
                        "userIdentifierSource": "FIRST_PARTY",
                    },
                ],
                "consent": {"adUserData": "GRANTED", "adPersonalization": "GRANTED"},
            }
        ],
    }


def test_the_address_names_version_and_account_and_the_manager_stands_in_a_header() -> None:
    managed = msgspec.structs.replace(SETTINGS, login_customer_id="1112223333", version="v26")
    made = request([item_of(delivery())], managed)

    assert made.url == "https://googleads.googleapis.com/v26/customers/4445556666:uploadClickConversions"
    assert made.headers == {"login-customer-id": "1112223333"}
    assert request([item_of(delivery())], SETTINGS).headers == {}


def test_token_and_developer_token_are_asked_for_by_the_facts() -> None:
    assert isinstance(SPEC.auth, GoogleAuth)
    assert SPEC.auth.scope == "https://www.googleapis.com/auth/adwords"
    assert SPEC.auth.headers == {"developer-token": "developer_token"}


@pytest.mark.parametrize(
    ("email", "digest"),
    [
        (" Person@Example.com ", "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"),
        ("A.B+x@Gmail.com", "86ca2ad27318696b41cfc650acfad97bb32194c43e119e465a16359ea74c7105"),
    ],
)
def test_an_email_is_the_digest_of_googles_normalisation(email: str, digest: str) -> None:
    contact, _ = contact_of(email, None)

    assert item_of(delivery(contact=contact))["userIdentifiers"][0]["hashedEmail"] == digest


def test_one_click_id_is_told_and_the_personal_one_comes_first() -> None:
    assert "gbraid" not in item_of(delivery())
    only = item_of(delivery(device=Device(gbraid="EXAMPLE_GBRAID")))
    assert (only["gbraid"], "gclid" in only) == ("EXAMPLE_GBRAID", False)


@pytest.mark.parametrize("status", [None, 0, 1, 2])
def test_an_iphone_that_does_not_allow_tracking_tells_only_the_click_of_a_crowd(status: int | None) -> None:
    device = Device(gclid="EXAMPLE_GCLID", gbraid="EXAMPLE_GBRAID", os_version="17.4.1", att_status=status)
    item = item_of(delivery(app=IOS, device=device))

    assert item["gbraid"] == "EXAMPLE_GBRAID"
    assert not {"gclid", "userIdentifiers"} & set(item)
    without = delivery(app=IOS, device=msgspec.structs.replace(device, gbraid=None))
    assert encode(without, SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_an_iphone_that_allows_tracking_tells_click_and_contact() -> None:
    device = Device(gclid="EXAMPLE_GCLID", os_version="17.4.1", att_status=3)
    item = item_of(delivery(app=IOS, device=device))

    assert item["gclid"] == "EXAMPLE_GCLID"
    assert len(item["userIdentifiers"]) == 2


def test_nothing_that_names_the_user_is_no_device_id_and_a_contact_alone_is_enough() -> None:
    assert encode(delivery(device=Device(), contact=None), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)
    assert "gclid" not in item_of(delivery(device=Device()))


def test_a_user_who_says_no_to_ads_is_skipped() -> None:
    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)


@pytest.mark.parametrize(
    ("consent", "limited", "said"),
    [
        (None, None, None),
        (Consent(ad_user_data=True), None, {"adUserData": "GRANTED"}),
        (Consent(ad_personalization=False), None, {"adPersonalization": "DENIED"}),
        (None, True, {"adPersonalization": "DENIED"}),
        (Consent(ad_personalization=True), True, {"adPersonalization": "DENIED"}),
        (Consent(ad_personalization=True), False, {"adPersonalization": "GRANTED"}),
    ],
)
def test_limit_ad_tracking_is_a_no_to_personalised_ads(
    consent: Consent | None, limited: bool | None, said: dict[str, str] | None
) -> None:
    device = Device(gclid="EXAMPLE_GCLID", limit_ad_tracking=limited)

    assert item_of(delivery(consent=consent, device=device)).get("consent") == said


def test_a_loss_is_not_told_and_the_conversion_is() -> None:
    item = item_of(delivery(value=Money(Decimal(-3), "PHP")))

    assert not {"conversionValue", "currencyCode"} & set(item)


def test_a_name_needs_a_conversion_action_and_never_leaves_the_house() -> None:
    item = item_of(delivery(name="ev_other"))

    assert unmapped("ev_disb1", SETTINGS) is None
    assert "ev_disb1, ev_r" in (unmapped("ev_other", SETTINGS) or "")
    assert item["conversionAction"] == "customers/4445556666/conversionActions/0"
    assert problem_with_name("ev_other") is None
    assert problem_with_name(" ") is not None


@pytest.mark.parametrize("customer", ["444-555-6666", "444555666", ""])
def test_an_account_has_ten_digits(customer: str) -> None:
    values = {"customer_id": customer, "credentials": {"env": "C"}, "developer_token": {"env": "D"}}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**values, "conversion_actions": {}}, Settings)


# answers


def test_a_partial_failure_is_told_row_by_row() -> None:
    body = partly(error("CLICK_NOT_FOUND", 1), error("TOO_RECENT_EVENT", 3), rows=5)

    assert answered(body, count=5) == [
        Accepted(),
        Rejected("click_not_found"),
        Accepted(),
        Retry("too_recent", after=timedelta(hours=6)),
        Accepted(),
    ]


@pytest.mark.parametrize(
    "name",
    (
        "ORDER_ID_ALREADY_IN_USE CLICK_CONVERSION_ALREADY_EXISTS DUPLICATE_ORDER_ID "
        "DUPLICATE_CLICK_CONVERSION_IN_REQUEST"
    ).split(),
)
def test_what_google_has_already_is_accepted(name: str) -> None:
    assert answered(partly(error(name, 0), rows=1)) == [Accepted(reason="already_known")]


@pytest.mark.parametrize(
    "name",
    (
        "EXPIRED_EVENT CONVERSION_PRECEDES_EVENT UNPARSEABLE_GCLID UNPARSEABLE_GBRAID UNPARSEABLE_WBRAID "
        "EVENT_NOT_FOUND CLICK_NOT_FOUND INVALID_CUSTOMER_FOR_CLICK GBRAID_WBRAID_BOTH_SET "
        "INVALID_USER_IDENTIFIER UNSUPPORTED_USER_IDENTIFIER ORDER_ID_CONTAINS_PII "
        "CONVERSION_NOT_COMPLIANT_WITH_ATT_POLICY"
    ).split(),
)
def test_what_will_never_be_taken_is_rejected_under_googles_name(name: str) -> None:
    assert answered(partly(error(name, 0), rows=1)) == [Rejected(name.lower())]


@pytest.mark.parametrize(
    ("family", "name", "outcome"),
    [
        ("notAllowlistedError", "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE", Paused("not_allowlisted")),
        ("conversionUploadError", "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS", Paused("terms_not_signed")),
        (
            "conversionUploadError",
            "CUSTOMER_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS",
            Paused("enhanced_conversions_off"),
        ),
        ("conversionUploadError", "UNAUTHORIZED_CUSTOMER", Paused("permission_missing")),
        ("conversionUploadError", "NO_CONVERSION_ACTION_FOUND", Paused("no_such_conversion_action")),
        ("conversionUploadError", "INVALID_CONVERSION_ACTION_TYPE", Paused("wrong_conversion_action_type")),
        ("authenticationError", "DEVELOPER_TOKEN_PROHIBITED", Paused("bad_token")),
        ("authorizationError", "CUSTOMER_NOT_ENABLED", Paused("permission_missing")),
        ("databaseError", "CONCURRENT_MODIFICATION", Retry("platform_error")),
        ("internalError", "TRANSIENT_ERROR", Retry("platform_error")),
        ("quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", Retry("throttled", counts=False)),
        ("fieldError", "INVALID_VALUE", Rejected("invalid_field")),
    ],
)
def test_each_family_of_errors_has_its_outcome(family: str, name: str, outcome: Outcome) -> None:
    body = partly(error(name, 1, family=family), rows=2)

    assert answered(body, count=2) == [Accepted(), outcome]


def test_of_several_errors_of_a_row_the_one_a_person_must_act_on_counts() -> None:
    errors = [
        error("ORDER_ID_ALREADY_IN_USE", 0),
        error("UNAUTHORIZED_CUSTOMER", 0),
        error("EXPIRED_EVENT", 0),
    ]

    assert answered(partly(*errors, rows=1)) == [Paused("permission_missing")]
    assert answered(partly(errors[0], errors[2], rows=1)) == [Rejected("expired_event")]


def test_a_quota_error_waits_as_long_as_google_says_whatever_the_status() -> None:
    exhausted = error(
        "RESOURCE_EXHAUSTED", family="quotaError", details={"quotaErrorDetails": {"retryDelay": "900s"}}
    )
    waits = Retry("throttled", after=timedelta(minutes=15), counts=False)

    assert answered({"error": failure(exhausted)}, 429, count=2) == [waits, waits]
    assert answered({"partialFailureError": failure(exhausted), "results": [{}, {}]}, count=2) == [waits] * 2
    assert answered({}, 429) == [Retry("throttled", counts=False)]


def test_a_whole_request_refused_for_one_row_keeps_the_others() -> None:
    body = {"error": failure(error("INVALID_VALUE", 1, family="fieldError"))}

    assert answered(body, 400, count=3) == [
        Split("refused_with_others"),
        Rejected("invalid_field"),
        Split("refused_with_others"),
    ]


def test_too_many_rows_and_a_refusal_without_a_row_are_halved() -> None:
    many = {"error": failure(error("TOO_MANY_CONVERSIONS_IN_REQUEST"))}

    assert answered(many, 400, count=2) == [Split("too_many_rows")] * 2
    assert answered({"error": {"code": 400}}, 400, count=2) == [Split("http_400")] * 2
    assert answered({"error": {"code": 400}}, 400, count=1) == [Rejected("http_400")]


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, {"error": failure(error("OAUTH_TOKEN_EXPIRED", family="authenticationError"))}, "bad_token"),
        (403, {"error": failure(error("USER_PERMISSION_DENIED", family="authorizationError"))},
         "permission_missing"),
        (403, {"error": {"code": 403}}, "http_403"),
    ],
)  # fmt: skip
def test_a_refused_credential_waits_for_a_person(status: int, body: Any, outcome: str) -> None:
    assert answered(body, status, count=2) == [Paused(outcome)] * 2


def test_googles_own_trouble_is_tried_again() -> None:
    assert answered({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503, 2) == [Retry("http_503")] * 2
    internal = failure(error("INTERNAL_ERROR", family="internalError"))
    assert answered({"error": internal}, 500, 2) == [Retry("platform_error")] * 2


def test_a_failure_that_names_no_row_is_not_taken_for_a_yes() -> None:
    body = {"partialFailureError": {"code": 3, "message": "m"}, "results": [{"gclid": "g"}, {}]}

    assert answered(body, count=2) == [Accepted(), Retry("unreadable_answer")]


def test_a_row_beyond_the_request_is_no_rows_error() -> None:
    body = {"partialFailureError": failure(error("EXPIRED_EVENT", 9)), "results": [{"gclid": "g"}, {}]}

    assert answered(body, count=2) == [Accepted(), Retry("unreadable_answer")]


def test_a_dry_run_asks_google_to_keep_nothing_and_its_answer_is_no_confirmation() -> None:
    body = validation_request([item_of(delivery())], SETTINGS).json

    assert body["validateOnly"] is True
    assert body["partialFailure"] is True
    assert answered({"jobId": "1"}) == [Accepted(confirmed=False, reason="validated_not_recorded")]


def test_what_a_dry_run_found_is_listed_by_row() -> None:
    found = partly(error("EXPIRED_EVENT", 1), rows=2)

    def asked(body: Any, status: int = 200) -> tuple[str, ...] | None:
        return problems_found(Response(status=status, body=msgspec.json.encode(body)))

    assert asked(found) == ("conversions[1]: EXPIRED_EVENT",)
    assert asked({}) == ()
    assert asked({"error": failure(error("OAUTH_TOKEN_INVALID", family="authenticationError"))}, 401) == (
        "OAUTH_TOKEN_INVALID",
    )
    assert problems_found(Response(status=502, body=b"<html>")) is None


# adjustments


def change(value: str | None) -> Delivery:
    money = None if value is None else Money(Decimal(value), "PHP")
    return delivery(corrected_at=datetime(2026, 12, 20, 1, tzinfo=UTC), value=money)


def test_a_restatement_has_the_documented_body() -> None:
    made = request([item_of(change("80"))], SETTINGS)

    # 2026-12-20 09:00:00+08:00 is 01:00:00 in UTC.
    assert made.url.endswith("/v25/customers/4445556666:uploadConversionAdjustments")
    assert made.json == {
        "partialFailure": True,
        "conversionAdjustments": [
            {
                "conversionAction": "customers/4445556666/conversionActions/987654321",
                "adjustmentType": "RESTATEMENT",
                "orderId": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "adjustmentDateTime": "2026-12-20 01:00:00+00:00",
                "restatementValue": {"adjustedValue": 80.0, "currencyCode": "PHP"},
            }
        ],
    }


def test_a_retraction_has_no_value_and_a_loss_is_restated_as_nothing() -> None:
    retracted, lost = item_of(change(None)), item_of(change("-40"))

    assert retracted == {
        "conversionAction": "customers/4445556666/conversionActions/987654321",
        "adjustmentType": "RETRACTION",
        "orderId": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "adjustmentDateTime": "2026-12-20 01:00:00+00:00",
    }
    assert lost["restatementValue"] == {"adjustedValue": 0.0, "currencyCode": "PHP"}


def test_a_loan_is_taken_back_though_the_user_forbids_everything_for_nothing_is_told_of_him() -> None:
    refused = msgspec.structs.replace(change(None), consent=Consent(ad_user_data=False), device=Device())

    assert item_of(refused) == item_of(change(None))


def test_a_batch_never_mixes_conversions_and_corrections() -> None:
    items = [item_of(delivery()), item_of(change("80")), item_of(change(None))]

    keys = [str(item.get(SPEC.batch_by or "", "")) for item in items]
    assert keys == ["", "RESTATEMENT", "RETRACTION"]


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("CONVERSION_NOT_FOUND", Retry("conversion_not_found", after=timedelta(hours=6))),
        ("CONVERSION_EXPIRED", Rejected("conversion_expired")),
        ("CONVERSION_ALREADY_RETRACTED", Accepted(reason="already_known")),
        ("RESTATEMENT_ALREADY_EXISTS", Accepted(reason="already_known")),
        ("MORE_RECENT_RESTATEMENT_FOUND", Accepted(reason="already_known")),
        ("DUPLICATE_ADJUSTMENT_IN_REQUEST", Accepted(reason="already_known")),
        ("TOO_RECENT_CONVERSION", Retry("too_recent", after=timedelta(hours=6))),
        ("ADJUSTMENT_PRECEDES_CONVERSION", Rejected("adjustment_precedes_conversion")),
        ("TOO_MANY_ADJUSTMENTS", Rejected("too_many_adjustments")),
        (
            "CANNOT_RESTATE_CONVERSION_ACTION_THAT_ALWAYS_USES_DEFAULT_CONVERSION_VALUE",
            Rejected("fixed_value"),
        ),
    ],
)
@pytest.mark.parametrize("field", ["conversionAdjustments", "conversion_adjustments"])
def test_an_adjustment_is_judged_row_by_row(name: str, outcome: Outcome, field: str) -> None:
    one = {
        "errorCode": {"conversionAdjustmentUploadError": name},
        "location": {"fieldPathElements": [{"fieldName": field, "index": 1}]},
    }
    body = {"partialFailureError": failure(one), "results": [{"orderId": "a"}, {}]}

    assert classify(Response(status=200, body=msgspec.json.encode(body)), 2) == [
        Accepted(),
        outcome,
    ]


def test_a_conversion_google_does_not_find_is_looked_for_for_a_day() -> None:
    # Five tries six hours apart: 0, 6, 12, 18 and 24 hours after the first.
    assert SPEC.tries_on["conversion_not_found"] == 1 + timedelta(days=1) // timedelta(hours=6)
