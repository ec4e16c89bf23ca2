"""Google Ads API: click conversions, and what is changed about them later.

Up to 2,000 conversions of one account a request. Times are `yyyy-mm-dd hh:mm:ss+00:00`, in UTC; the value is
a number. A click id or a hashed contact names the user: Google Ads takes no advertising id here. Google
answers 200 to a request of which it took some rows and says row by row what was wrong with the others.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Corrections,
    GoogleAuth,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    body_json,
    by_status,
    limits_tracking,
    present,
    retry_after,
)
from lendsignal.model import (
    Accepted,
    Delivery,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for a Google Ads account.

    `customer_id`, `login_customer_id`: ten digits without hyphens; the second is the manager account that
    the credentials belong to. `conversion_actions`: name in the route → id of the conversion action, of
    the type UPLOAD_CLICKS. The names stay in the house.
    """

    customer_id: Annotated[
        str, Meta(pattern=r"^[0-9]{10}$", description="the account, ten digits", examples=["4445556666"])
    ]
    credentials: Annotated[Secret, Meta(description="a service account or authorized user, as JSON")]
    developer_token: Annotated[Secret, Meta(description="the developer token of the manager account")]
    conversion_actions: Annotated[
        dict[str, Annotated[str, Meta(pattern=r"^[0-9]+$")]],
        Meta(
            description="name in the route → id of the conversion action", examples=[{"ev_fl": "987654321"}]
        ),
    ]
    login_customer_id: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]{10}$")] | None,
        Meta(description="the manager account, where access comes through one"),
    ] = None
    version: Annotated[str, Meta(pattern=r"^v[0-9]+$", description="API version")] = "v25"


SPEC = Spec(
    name="google_ads",
    label="Google Ads",
    docs="https://developers.google.com/google-ads/api/docs/conversions/upload-offline",
    docs_read="2026-11-22",
    hosts=("googleads.googleapis.com",),
    auth=GoogleAuth(
        field="credentials",
        scope="https://www.googleapis.com/auth/adwords",
        headers={"developer-token": "developer_token"},
    ),
    any_of_ids=(),
    # The click-through window of the conversion action decides, and no action has a longer one.
    max_age=timedelta(days=90),
    per_second=1,
    batch=2000,
    # Conversions and what is changed about them go to different addresses; a conversion lacks this key.
    batch_by="adjustmentType",
    # Basic access has 15,000 operations a day: a request every six seconds stays below.
    linger=timedelta(seconds=6),
    # `orderId` is taken once for each conversion action, and no end of that is stated.
    dedupe=timedelta(days=90),
    tries_on={"conversion_not_found": 5},
    # What is sent is the id of the conversion action: the name in the route is the lender's own.
    neutral_names=False,
    # CONVERSION_EXPIRED after 54 days; one that Google has not is not found and counts as nothing.
    corrections=Corrections(within=timedelta(days=54), retracts=True),
)

FIELDS = frozenset(
    "conversionAdjustments[].adjustmentDateTime conversionAdjustments[].adjustmentType "
    "conversionAdjustments[].conversionAction conversionAdjustments[].orderId "
    "conversionAdjustments[].restatementValue.adjustedValue "
    "conversionAdjustments[].restatementValue.currencyCode "
    "conversions[].consent.adPersonalization conversions[].consent.adUserData "
    "conversions[].conversionAction conversions[].conversionDateTime conversions[].conversionValue "
    "conversions[].currencyCode conversions[].gbraid conversions[].gclid conversions[].orderId "
    "conversions[].userIdentifiers[].hashedEmail conversions[].userIdentifiers[].hashedPhoneNumber "
    "conversions[].userIdentifiers[].userIdentifierSource header:login-customer-id partialFailure".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

NO_ACTION = "0"
"""Stands for a name without a conversion action: Google does not find it, and a person is told."""

SOON = timedelta(hours=6)
"""How long Google wants left alone what it calls too recent."""

_REFUSED = (
    "EXPIRED_EVENT CONVERSION_PRECEDES_EVENT UNPARSEABLE_GCLID UNPARSEABLE_GBRAID UNPARSEABLE_WBRAID "
    "EVENT_NOT_FOUND CLICK_NOT_FOUND INVALID_CUSTOMER_FOR_CLICK GBRAID_WBRAID_BOTH_SET "
    "INVALID_USER_IDENTIFIER UNSUPPORTED_USER_IDENTIFIER ORDER_ID_CONTAINS_PII "
    "CONVERSION_NOT_COMPLIANT_WITH_ATT_POLICY CONVERSION_EXPIRED ADJUSTMENT_PRECEDES_CONVERSION "
    "TOO_MANY_ADJUSTMENTS"
).split()

BY_NAME: Mapping[str, Outcome] = {
    **dict.fromkeys(
        (
            "ORDER_ID_ALREADY_IN_USE CLICK_CONVERSION_ALREADY_EXISTS DUPLICATE_ORDER_ID "
            "DUPLICATE_CLICK_CONVERSION_IN_REQUEST CONVERSION_ALREADY_RETRACTED RESTATEMENT_ALREADY_EXISTS "
            "MORE_RECENT_RESTATEMENT_FOUND DUPLICATE_ADJUSTMENT_IN_REQUEST"
        ).split(),
        Accepted(reason="already_known"),
    ),
    "TOO_RECENT_EVENT": Retry("too_recent", after=SOON),
    "TOO_RECENT_CONVERSION_ACTION": Retry("too_recent", after=SOON),
    "TOO_RECENT_CONVERSION": Retry("too_recent", after=SOON),
    # The conversion may still be on its way into the account: a day of tries, then no more.
    "CONVERSION_NOT_FOUND": Retry("conversion_not_found", after=SOON),
    "TOO_MANY_CONVERSIONS_IN_REQUEST": Split("too_many_rows"),
    "TOO_MANY_ADJUSTMENTS_IN_REQUEST": Split("too_many_rows"),
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": Paused("not_allowlisted"),
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": Paused("terms_not_signed"),
    "CUSTOMER_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": Paused("enhanced_conversions_off"),
    "UNAUTHORIZED_CUSTOMER": Paused("permission_missing"),
    "NO_CONVERSION_ACTION_FOUND": Paused("no_such_conversion_action"),
    "INVALID_CONVERSION_ACTION": Paused("no_such_conversion_action"),
    "INVALID_CONVERSION_ACTION_TYPE": Paused("wrong_conversion_action_type"),
    # The action counts a value of its own, whatever is told: its settings would have to change first.
    "CANNOT_RESTATE_CONVERSION_ACTION_THAT_ALWAYS_USES_DEFAULT_CONVERSION_VALUE": Rejected("fixed_value"),
    **{name: Rejected(name.lower()) for name in _REFUSED},
}
"""Google's error names (conversion_upload_error.proto and conversion_adjustment_upload_error.proto of v25,
read 2026-11-22) and what becomes of the row."""

BY_FAMILY: Mapping[str, Outcome] = {
    "authenticationError": Paused("bad_token"),
    "authorizationError": Paused("permission_missing"),
    "notAllowlistedError": Paused("not_allowlisted"),
    "quotaError": Retry("throttled", counts=False),
    "databaseError": Retry("platform_error"),
    "internalError": Retry("platform_error"),
}
"""An error whose name is not in `BY_NAME`; in a family that is not here Google refuses a field of the row."""


def problem_with_name(name: str) -> str | None:
    """Why this cannot be a name in the route, or `None`; `unmapped` says whether it has an action."""
    return None if name.strip() else "is empty"


def unmapped(name: str, settings: Settings) -> str | None:
    """Why nothing of this name could be counted, or `None`: a name needs a conversion action."""
    return without_action(name, settings.conversion_actions)


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as a `ClickConversion`, a correction of one as a `ConversionAdjustment`.

    Skipped with `no_device_id` where neither a click id nor a hashed contact may be told, and with
    `no_consent` for a user who does not let ad platforms have data. A loss is not told, the conversion is:
    Google then counts the default value of the action. A correction tells nothing of the user.
    """
    if delivery.corrected_at is not None:
        return _adjustment(delivery, delivery.corrected_at, settings)
    consent, value = delivery.consent, delivery.value
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    click, (email, phone) = click_of(delivery), contacts_of(delivery)
    if not click and email is None and phone is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    item: dict[str, Any] = {
        "conversionAction": action_name(delivery.name, settings),
        "conversionDateTime": moment(delivery.occurred_at),
        "orderId": delivery.id,
        **click,
    }
    if email is not None or phone is not None:
        item["userIdentifiers"] = [
            {field: digest, "userIdentifierSource": "FIRST_PARTY"}
            for field, digest in (("hashedEmail", email), ("hashedPhoneNumber", phone))
            if digest is not None
        ]
    if value is not None and value.amount >= 0:
        item["conversionValue"] = float(value.amount)
        item["currencyCode"] = value.currency
    if said := consent_of(delivery, "GRANTED", "DENIED"):
        item["consent"] = said
    return item


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 2,000 conversions, or as many corrections, in one POST; the sender adds the bearer token and the
    developer token.

    `partialFailure` must be true: Google refuses the request otherwise.
    """
    if "adjustmentType" in items[0]:
        body = {"conversionAdjustments": list(items), "partialFailure": True}
        return _upload("uploadConversionAdjustments", body, settings)
    return _upload("uploadClickConversions", {"conversions": list(items), "partialFailure": True}, settings)


DRY_RUN = Trial(
    way="dry_run",
    look="nowhere: Google shows nothing of a dry run",
    sees="no problem named below: credentials, account, conversion action and event are right",
)
"""Google has no mark for tests: what comes nearest is a dry run."""


def trial(settings: Settings) -> Trial:
    """A dry run."""
    return DRY_RUN


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The dry run."""
    return validation_request(items, settings)


def validation_request(items: Sequence[Item], settings: Settings) -> Request:
    """The same as a dry run: Google checks every row and keeps none."""
    body = {"conversions": list(items), "partialFailure": True, "validateOnly": True}
    return _upload("uploadClickConversions", body, settings)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """Row by row: a 200 may hold a partial failure, whose errors name the rows by their index.

    Rows without an error are taken. An error without a row concerns them all. Of several errors of a row
    the one that a person must act on counts first, then the one that is for good. A conversion that Google
    does not find to correct is looked for again for a day.
    """
    return _by_rows(response, count)


def problems_found(response: Response) -> tuple[str, ...] | None:
    """What a dry run found wrong, a line each: empty for nothing; `None` where the answer tells nothing."""
    body = body_json(response)
    if not isinstance(body, dict):
        return None
    failure = body.get("error" if "error" in body else "partialFailureError")
    if failure is None:
        return () if 200 <= response.status < 300 else None
    found = [f"{_place(error)}{_family_and_name(error)[1]}" for error in _errors(failure)]
    return tuple(found) or ("refused without a reason",)


def action_name(name: str, settings: Settings) -> str:
    """The resource name of the conversion action that a name in the route stands for."""
    action = settings.conversion_actions.get(name, NO_ACTION)
    return f"customers/{settings.customer_id}/conversionActions/{action}"


def without_action(name: str, actions: Mapping[str, str]) -> str | None:
    """Why a name stands for no conversion action, or `None`."""
    if name in actions:
        return None
    return f"has no id in conversion_actions; there are: {', '.join(actions) or 'none'}"


def moment(at: datetime) -> str:
    """`yyyy-mm-dd hh:mm:ss+00:00`: a space and an offset with a colon, as Google reads them."""
    return at.astimezone(UTC).isoformat(sep=" ", timespec="seconds")


def click_of(delivery: Delivery) -> dict[str, str]:
    """The one click id that may be told, or none.

    `gclid` names a person's click. On an iPhone that does not allow tracking only `gbraid`, which names a
    crowd, may leave: Google refuses the other (CONVERSION_NOT_COMPLIANT_WITH_ATT_POLICY).
    """
    device = delivery.device
    if device.gclid and not _is_closed(delivery):
        return {"gclid": device.gclid}
    return {"gbraid": device.gbraid} if device.gbraid else {}


def contacts_of(delivery: Delivery) -> tuple[str | None, str | None]:
    """The digests of e-mail and phone by Google's normalisation, as far as they may be told.

    An iPhone that does not allow tracking keeps them in the house: Apple means these too.
    """
    contact = delivery.contact
    if contact is None or _is_closed(delivery):
        return None, None
    return contact.email_google, contact.phone_e164


def consent_of(delivery: Delivery, granted: str, denied: str) -> dict[str, str]:
    """What the user said, in Google's words; limit-ad-tracking on the phone is a no to personalised ads."""
    consent, said = delivery.consent, {}
    if consent is not None and consent.ad_user_data is not None:
        said["adUserData"] = granted if consent.ad_user_data else denied
    personal = None if consent is None else consent.ad_personalization
    if personal is not None or delivery.device.limit_ad_tracking is True:
        allowed = personal is not False and delivery.device.limit_ad_tracking is not True
        said["adPersonalization"] = granted if allowed else denied
    return said


def _adjustment(delivery: Delivery, corrected_at: datetime, settings: Settings) -> Item:
    """A restatement with its new value, or a retraction without one.

    The original was sent with an `orderId`, so Google demands that it is found by that. A new value below
    zero is told as zero: Google takes no negative one.
    """
    value = delivery.value
    item: dict[str, Any] = {
        "conversionAction": action_name(delivery.name, settings),
        "adjustmentType": "RETRACTION" if value is None else "RESTATEMENT",
        "orderId": delivery.id,
        "adjustmentDateTime": moment(corrected_at),
    }
    if value is not None:
        item["restatementValue"] = {
            "adjustedValue": max(0.0, float(value.amount)),
            "currencyCode": value.currency,
        }
    return item


def _is_closed(delivery: Delivery) -> bool:
    """An iPhone that does not allow tracking; one that did not say counts as such."""
    return delivery.app.platform == "ios" and limits_tracking(delivery.device, "ios") is not False


def _upload(call: str, body: dict[str, Any], settings: Settings) -> Request:
    url = f"https://googleads.googleapis.com/{settings.version}/customers/{settings.customer_id}:{call}"
    return Request(
        method="POST",
        url=url,
        json=body,
        headers=present(**{"login-customer-id": settings.login_customer_id}),
    )


def _by_rows(response: Response, count: int) -> list[Outcome]:
    body = body_json(response)
    fields = body if isinstance(body, dict) else {}
    taken = 200 <= response.status < 300
    failure = fields.get("partialFailureError" if taken else "error")
    if response.status == 429:
        return [_slow_down(response, failure)] * count
    if taken and not isinstance(failure, dict):
        return [_without_failure(fields, count)] * count
    by_row, common = _sorted(_errors(failure), count)
    if taken:
        results = fields.get("results")
        return _partly(by_row, common, results if isinstance(results, list) else [], count)
    return _refused(response, by_row, common, count)


def _without_failure(fields: dict[str, Any], count: int) -> Outcome:
    """All is well where Google lists a result for each row; a dry run lists none."""
    results = fields.get("results")
    if isinstance(results, list) and len(results) == count:
        return Accepted()
    if "partialFailureError" in fields or results:
        return Retry("unreadable_answer")
    return Accepted(confirmed=False, reason="validated_not_recorded" if fields else "unexpected_answer")


def _partly(
    by_row: Mapping[int, Outcome], common: Outcome | None, results: list[Any], count: int
) -> list[Outcome]:
    """One outcome a row. What nothing is said of is sent again, which `orderId` makes safe."""
    if isinstance(common, Rejected):
        common = Split(common.reason)
    outcomes: list[Outcome] = []
    for row in range(count):
        if (found := by_row.get(row) or common) is not None:
            outcomes.append(found)
        elif by_row or (row < len(results) and results[row]):
            outcomes.append(Accepted())
        else:
            outcomes.append(Retry("unreadable_answer"))
    return [_alone(outcome, count) for outcome in outcomes]


def _refused(
    response: Response, by_row: Mapping[int, Outcome], common: Outcome | None, count: int
) -> list[Outcome]:
    """A request of which nothing was taken: the rows named as bad fall, the others are sent again."""
    by_itself = by_status(response)
    if isinstance(common, Paused | Retry):
        return [common] * count
    if not isinstance(by_itself, Rejected) or not 400 <= response.status < 500:
        return [by_itself] * count
    if by_row:
        others = Split("refused_with_others")
        return [_alone(by_row.get(row, others), count) for row in range(count)]
    reason = common.reason if isinstance(common, Rejected | Split) else by_itself.reason
    return [_alone(Split(reason), count)] * count


def _alone(outcome: Outcome, count: int) -> Outcome:
    """One row cannot be halved: it is the bad one."""
    return Rejected(outcome.reason) if isinstance(outcome, Split) and count == 1 else outcome


def _slow_down(response: Response, failure: Any) -> Retry:
    delays = [outcome.after for error in _errors(failure) if isinstance(outcome := _meaning(error), Retry)]
    longest = max((delay for delay in delays if delay is not None), default=retry_after(response))
    return Retry("throttled", after=longest, counts=False)


def _sorted(errors: Iterator[dict[str, Any]], count: int) -> tuple[dict[int, Outcome], Outcome | None]:
    """The outcome of each row that an error names, and the one of errors that name none."""
    by_row: dict[int, Outcome] = {}
    common: Outcome | None = None
    for error in errors:
        row, outcome = _row(error), _meaning(error)
        if row is None:
            common = _graver(common, outcome)
        elif 0 <= row < count:
            by_row[row] = _graver(by_row.get(row), outcome)
    return by_row, common


def _graver(one: Outcome | None, other: Outcome) -> Outcome:
    return other if one is None or _GRAVITY[type(other)] > _GRAVITY[type(one)] else one


_GRAVITY: Mapping[type, int] = {Accepted: 0, Retry: 1, Split: 2, Rejected: 3, Paused: 4}


def _errors(failure: Any) -> Iterator[dict[str, Any]]:
    """The `GoogleAdsError`s in a status, whatever else it carries."""
    details = failure.get("details") if isinstance(failure, dict) else None
    for detail in details if isinstance(details, list) else ():
        errors = detail.get("errors") if isinstance(detail, dict) else None
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict):
                yield error


def _family_and_name(error: dict[str, Any]) -> tuple[str, str]:
    """`errorCode` holds one key: the family, with the error's name."""
    code = error.get("errorCode")
    if isinstance(code, dict):
        for family, name in code.items():
            if isinstance(name, str):
                return family, name
    return "", "UNKNOWN"


def _meaning(error: dict[str, Any]) -> Outcome:
    family, name = _family_and_name(error)
    outcome = BY_NAME.get(name) or BY_FAMILY.get(family) or Rejected("invalid_field")
    if family == "quotaError":
        return Retry("throttled", after=_retry_delay(error), counts=False)
    return outcome


def _retry_delay(error: dict[str, Any]) -> timedelta | None:
    """How long a quota error asks us to wait, at most a day; `None` where it does not say."""
    details = error.get("details")
    quota = details.get("quotaErrorDetails") if isinstance(details, dict) else None
    return seconds_of(quota.get("retryDelay")) if isinstance(quota, dict) else None


_SECONDS = re.compile(r"(\d{1,9})(?:\.\d+)?s", re.ASCII)


def seconds_of(text: Any) -> timedelta | None:
    """A protobuf duration in JSON, `900s` or `1.5s`, in whole seconds and at most a day."""
    found = _SECONDS.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else timedelta(seconds=min(int(found[1]), 86_400))


def _row(error: dict[str, Any]) -> int | None:
    location = error.get("location")
    path = location.get("fieldPathElements") if isinstance(location, dict) else None
    for step in path if isinstance(path, list) else ():
        if isinstance(step, dict) and step.get("fieldName") in _ROWS:
            index = step.get("index")
            return index if type(index) is int else None
    return None


_ROWS = ("conversions", "conversionAdjustments", "conversion_adjustments")
"""What the rows of a request are called; Google's own errors spell fields as the proto does."""


def _place(error: dict[str, Any]) -> str:
    row = _row(error)
    return "" if row is None else f"conversions[{row}]: "
