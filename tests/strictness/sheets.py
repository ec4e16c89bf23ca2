"""What each platform's pages demand of a request, by the destination's kind."""

from collections.abc import Mapping
from datetime import timedelta

from tests.strictness.mutants import Sheet

from lendsignal.model import ZERO_ID

RFC3339 = "%Y-%m-%dT%H:%M:%SZ"
EXTINFO = ("", "A2", "a1", "android")
ADDRESSES = ("203.0.113", "203.0.113.256", "203.0.113.7:80", "localhost", "")
REVENUES = ("1,000.00", "$9", "9.123456", "", " 9", "1e3")


def rows(prefix: str, paths: str) -> tuple[str, ...]:
    """Paths of one row, each behind the row's own."""
    return tuple(f"{prefix}.{path}" for path in paths.split())


SHEETS: Mapping[str, Sheet] = {
    "adjust": Sheet(
        name="f0ob4r",
        required=("s2s", "app_token", "event_token", "os_name"),
        together=(("adid", "gps_adid", "oaid", "android_id"),),
        times={"created_at_unix": "s"},
        oldest=timedelta(days=58),
        # Nothing is said of later times.
        future=False,
        uuids=("gps_adid",),
        zero=True,
        enums=("s2s", "app_token", "environment", "os_name"),
        flags=("eea", "ad_user_data", "ad_personalization"),
        currencies={"currency": "revenue"},
        decimals=("revenue",),
        negative=False,
        most_bytes=1_000_000,
        once=True,
        also={
            "event_token": ("f0ob4", "f0ob4rx", "f0 b4r", ""),
            "adid": ("18546f6171f67e29", "z" * 32, ""),
            "revenue": ("0", "0.0009", "100000000001"),
            "ip_address": (*ADDRESSES, "2001:db8::1"),
            "callback_params": ("text", "[]", {"n": 7}, {"deep": {"n": "7"}}),
        },
        credentials=("headers.authorization",),
    ),
    "appsflyer": Sheet(
        required=("appsflyer_id", "eventName", "eventValue"),
        times={"eventTime": "%Y-%m-%d %H:%M:%S.000"},
        # Late and early times are taken and dated anew.
        future=False,
        uuids=("advertising_id",),
        digests=("email_hashed", "phone_number_hashed", "phone_number_e164_hashed"),
        currencies={"eventCurrency": "", "eventValue.af_currency": ""},
        decimals=("eventValue.af_revenue",),
        longest={"eventName": 100},
        most_bytes=1024,
        also={
            "appsflyer_id": ("", "1763712345678", "176371234567-4312502203727572307", "1763712345678-431250"),
            "eventName": ("", " "),
            "eventValue": ("text", "[]", "7", "{"),
            "eventValue.af_revenue": REVENUES,
            "ip": (*ADDRESSES, "2001:db8::1"),
            "consent_data": ({}, {"other": {}}, {"manual": {}}),
        },
        credentials=("headers.authentication",),
        # A number is as good as its text there.
        loose=(r"eventValue\.af_revenue",),
    ),
    "branch": Sheet(
        name="PURCHASE:ev_fl",
        required=("name", "user_data", "branch_key"),
        together=(rows("user_data", "aaid android_id developer_identity"),),
        uuids=("user_data.aaid",),
        zero=True,
        enums=("name", "user_data.os"),
        currencies={"event_data.currency": "event_data.revenue"},
        numbers=("event_data.revenue",),
        negative=False,
        also={"user_data.ip": ADDRESSES},
        credentials=("body.branch_key",),
        lets_pass={"event_data.currency dropped": "Branch says nothing of revenue alone: a warning"},
    ),
    "ga4": Sheet(
        rows="events",
        required=("app_instance_id", "events", *rows("events.0", "name params.value params.currency")),
        times={"events.0.timestamp_micros": "us"},
        enums=("consent.ad_user_data", "consent.ad_personalization"),
        currencies={"events.0.params.currency": "events.0.params.value"},
        numbers=("events.0.params.value",),
        longest={
            "events.0.name": 40,
            **dict.fromkeys(rows("events.0.params", "transaction_id conversion_id"), 100),
        },
        most_rows=25,
        most_bytes=130_000,
        also={
            "app_instance_id": ("4f" * 15, "4f" * 17, "g" * 32, ""),
            "user_id": ("",),
            "events.0.name": ("", "9x", "_x", "ev-x", "ev x", "first_open", "ga_x", "firebase_x"),
            "events.0.params": (
                {f"p{n}": n for n in range(26)},
                {"k" * 41: 1},
                {"_p": 1},
                {"ga_p": 1},
                {"p-q": 1},
                {"firebase_conversion": 1},
                {"value": 27.5},
                {"currency": "KES"},
            ),
        },
        # A parameter of the lender's own is a text or a number, whichever it was before.
        loose=(r"events\.0\.params\.conversion_id",),
        credentials=("query.api_secret", "query.firebase_app_id"),
    ),
    "google_ads": Sheet(
        rows="conversions",
        required=(
            "conversions",
            "partialFailure",
            *rows("conversions.0", "conversionAction conversionDateTime"),
        ),
        together=(rows("conversions.0", "gclid userIdentifiers"),),
        times={"conversions.0.conversionDateTime": "%Y-%m-%d %H:%M:%S+00:00"},
        oldest=timedelta(days=90),
        digests=rows("conversions.0", "userIdentifiers.0.hashedEmail userIdentifiers.1.hashedPhoneNumber"),
        enums=rows(
            "conversions.0",
            "conversionAction userIdentifiers.0.userIdentifierSource consent.adUserData "
            "consent.adPersonalization",
        ),
        # Without one the conversion action's own currency counts.
        currencies={"conversions.0.currencyCode": ""},
        numbers=("conversions.0.conversionValue",),
        negative=False,
        most_rows=2000,
        once=True,
        also={
            "partialFailure": (False,),
            "conversions.0.orderId": ("", "person@example.com"),
            "conversions.0.gclid": ("", " "),
            "conversions.0.conversionDateTime": (
                "2026-11-22T09:14:07+00:00",
                "2026-11-22 09:14:07",
                "2026-11-22 09:14:07Z",
            ),
            "conversions.0.userIdentifiers": ([{"hashedEmail": "b2" * 32}] * 6, [{}], [{"email": "b2" * 32}]),
            "conversions.0.colour": ("red",),
        },
        credentials=("headers.authorization", "headers.developer-token"),
    ),
    "google_app": Sheet(
        part="query",
        required=tuple(
            "dev_token link_id app_event_type app_event_name rdid id_type lat app_version os_version "
            "sdk_version timestamp".split()
        ),
        times={"timestamp": "s"},
        uuids=("rdid",),
        zero=True,
        enums=("app_event_type", "id_type"),
        flags=("lat", "eea", "ad_user_data", "ad_personalization"),
        currencies={"currency_code": "value"},
        decimals=("value",),
        negative=False,
        also={"app_event_name": ("",), "app_version": ("",), "os_version": (" ",), "sdk_version": ("",)},
        credentials=("query.dev_token", "query.link_id", "headers.user-agent", "headers.x-forwarded-for"),
        empty_body=True,
    ),
    "google_data_manager": Sheet(
        rows="events",
        required=(
            "destinations",
            "events",
            "encoding",
            *rows("destinations.0", "operatingAccount productDestinationId operatingAccount.accountType"),
            *rows("events.0", "eventTimestamp eventSource"),
        ),
        together=(rows("events.0", "adIdentifiers userData"),),
        times={"events.0.eventTimestamp": RFC3339},
        oldest=timedelta(days=90),
        digests=rows("events.0.userData.userIdentifiers", "0.emailAddress 1.phoneNumber"),
        enums=(
            "encoding",
            "events.0.eventSource",
            "events.0.consent.adUserData",
            "destinations.0.operatingAccount.accountType",
            "destinations.0.productDestinationId",
        ),
        currencies={"events.0.currency": ""},
        numbers=("events.0.conversionValue",),
        most_rows=2000,
        once=True,
        also={
            "events.0.transactionId": ("",),
            "events.0.adIdentifiers": ({"gclid": ""}, {"click": "x"}),
            "events.0.colour": ("red",),
            "colour": ("red",),
            "destinations.0.operatingAccount.accountId": ("444-555-6666", "4445556667", "444555666", ""),
        },
        credentials=("headers.authorization",),
    ),
    "kochava": Sheet(
        required=(
            "action",
            "kochava_app_id",
            "kochava_device_id",
            "data",
            *rows("data", "device_ids event_name origination_ip device_ua device_ver"),
        ),
        together=(rows("data.device_ids", "adid android_id"),),
        times={"data.usertime": "s"},
        # Nothing is said of any window.
        future=False,
        uuids=("data.device_ids.adid",),
        zero=True,
        enums=("action",),
        currencies={"data.currency": ""},
        numbers=("data.event_data.sum",),
        also={
            "data.event_name": ("", " "),
            "data.origination_ip": ADDRESSES,
            "data.device_ver": (
                "SM-A145F",
                "SM_A145F-Android",
                "SM_A145F-Windows-14",
                "SM_A145F-Android-Tiramisu",
            ),
            "data.device_ua": ("Mozilla/5.0 (Linux)", ""),
            "data.event_data": ({"deep": {"n": 7}}, {"list": [7]}),
        },
        # What an event says of itself is the lender's own.
        loose=(r"data\.event_data\.(order_id|user_id)", "kochava_device_id"),
        credentials=("body.kochava_app_id",),
    ),
    "kwai": Sheet(
        name="EVENT_PURCHASE",
        required=tuple(
            "clickid event_name pixelId is_attributed mmpcode pixelSdkVersion access_token".split()
        ),
        enums=("event_name", "mmpcode", "is_attributed"),
        currencies={"currency": "value"},
        decimals=("value",),
        negative=False,
        also={"clickid": ("", " "), "properties": ("text", "[]", "{")},
        # Inside the text that `properties` is, public implementations put what they like.
        loose=(r"properties\..*",),
        credentials=("body.access_token", "body.pixelId"),
    ),
    "meta": Sheet(
        rows="data",
        required=(
            "data",
            *rows("data.0", "event_name event_time action_source user_data app_data"),
            *rows("data.0", "app_data.advertiser_tracking_enabled app_data.extinfo app_data.extinfo.8"),
            "data.0.custom_data.currency",
        ),
        together=(rows("data.0.user_data", "external_id madid anon_id em ph client_ip_address"),),
        times={"data.0.event_time": "s"},
        oldest=timedelta(days=7),
        uuids=("data.0.user_data.madid",),
        digests=("data.0.user_data.em.0", "data.0.user_data.ph.0"),
        enums=rows(
            "data.0",
            "action_source app_data.advertiser_tracking_enabled app_data.application_tracking_enabled",
        ),
        currencies={"data.0.custom_data.currency": "data.0.custom_data.value"},
        numbers=("data.0.custom_data.value",),
        most_rows=1000,
        most_bytes=1_000_000,
        also={
            "data.0.event_name": ("", " "),
            "data.0.event_id": ("",),
            "data.0.user_data.client_ip_address": ADDRESSES,
            "data.0.app_data.extinfo": ([], ["a2"] * 15, ["a2"] * 17),
            "data.0.app_data.extinfo.0": EXTINFO,
            "data.0.app_data.extinfo.4": ("",),
            "data.0.custom_data.order_id": ("",),
        },
        credentials=("query.access_token",),
        lets_pass={"data.0.custom_data.currency = 'usd'": "Meta's own SDK writes currencies in lower case"},
        # One text may stand where several may.
        loose=(r"data\.0\.user_data\.external_id", r"data\.0\.user_data\.(em|ph)"),
    ),
    "singular": Sheet(
        settings={"api": "v1"},
        required=("a", "p", "i", "n", "ve"),
        together=(("aifa", "oaid"), ("ip", "country")),
        times={"umilisec": "ms"},
        # Nothing is said of any window.
        future=False,
        uuids=("aifa",),
        zero=True,
        enums=("p", "is_revenue_event"),
        currencies={"cur": "amt"},
        decimals=("amt",),
        longest={"n": 32},
        also={
            "n": ("", "événement"),
            "ip": (*ADDRESSES[:4], "2001:db8::1"),
            "e": ("text", "[]", {"k": "v" * 501}, {"k" * 501: "v"}, {"k": "é"}),
            "data_sharing_options": ("text", "[]", {"limit_data_sharing": "no"}),
        },
        credentials=("body.a", "body.i"),
    ),
    "snap": Sheet(
        name="CUSTOM_EVENT_1",
        rows="data",
        required=(
            "data",
            *rows("data.0", "event_name event_time action_source user_data app_data event_source_url"),
            *rows("data.0.app_data", "app_id advertiser_tracking_enabled extinfo extinfo.8"),
            "data.0.custom_data.currency",
        ),
        together=(rows("data.0.user_data", "madid em ph client_ip_address"),),
        times={"data.0.event_time": "s"},
        oldest=timedelta(days=37),
        uuids=("data.0.user_data.madid",),
        digests=rows("data.0.user_data", "em.0 ph.0 external_id.0"),
        enums=rows(
            "data.0",
            "event_name action_source app_data.advertiser_tracking_enabled "
            "app_data.application_tracking_enabled",
        ),
        currencies={"data.0.custom_data.currency": "data.0.custom_data.value"},
        numbers=("data.0.custom_data.value",),
        most_rows=2000,
        most_bytes=2_000_000,
        also={
            "data.0.event_id": ("",),
            "data.0.event_source_url": ("", "loan.example.com", "ftp://loan.example.com"),
            "data.0.user_data.client_ip_address": ADDRESSES,
            "data.0.app_data.extinfo": ([], ["a2"] * 15, ["a2"] * 17),
            "data.0.app_data.extinfo.0": EXTINFO,
            "data.0.app_data.extinfo.4": ("",),
        },
        credentials=("query.access_token",),
        loose=(r"data\.0\.user_data\.(em|ph|external_id)",),
    ),
    "tiktok": Sheet(
        rows="data",
        required=(
            "event_source",
            "event_source_id",
            "data",
            *rows("data.0", "event event_time user"),
            "data.0.properties.currency",
        ),
        together=(rows("data.0.user", "gaid email phone ttclid external_id"),),
        times={"data.0.event_time": "s"},
        oldest=timedelta(days=28),
        uuids=(),
        digests=rows("data.0.user", "gaid email phone external_id"),
        enums=("event_source", "data.0.user.att_status", "data.0.properties.content_type"),
        currencies={"data.0.properties.currency": "data.0.properties.value"},
        numbers=("data.0.properties.value",),
        most_rows=1000,
        also={
            "data.0.event": ("", " "),
            "data.0.event_id": ("",),
            "data.0.user.ip": ADDRESSES,
            "data.0.user.locale": ("en_NG", "english please", ""),
            "data.0.user.gaid": (ZERO_ID,),
        },
        credentials=("headers.access-token",),
        loose=(r"data\.0\.user\.(email|phone|external_id)",),
    ),
    "webhook": Sheet(
        # Every byte of the body is signed: whatever is changed in it, the signature tells.
        required=("type", "id", "occurred_at", "ids"),
        times={"occurred_at": RFC3339},
        credentials=("headers.webhook-id", "headers.webhook-timestamp", "headers.webhook-signature"),
        any_path=True,
    ),
}
"""Every platform's demands, by the destination's kind."""

NO_STAND_IN = frozenset(("kafka", "relay"))
"""Destinations whose receiver is not played: a topic takes any bytes, and the relay's is the lender's app."""
