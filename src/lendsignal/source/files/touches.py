"""A lender's table user ↔ device, read by what its columns are called: each row is a login of the past.

For the first day: who logs in again tomorrow shows his phone himself, who does not is bound by this table.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from lendsignal.errors import InputError
from lendsignal.model import INSTALL_SCOPED, Device, IdKind
from lendsignal.source.files.map import Constant, EventRule, FileRule, ImportMap
from lendsignal.source.files.rows import Format
from lendsignal.source.files.values import TimeColumn

USER = (
    "user_id",
    "customer_user_id",
    "customer_id",
    "cuid",
    "external_id",
    "external_user_id",
    "uid",
    "user",
)
SEEN = (
    "occurred_at",
    "seen_at",
    "last_seen_at",
    "last_seen",
    "last_login_at",
    "last_login",
    "event_time",
    "updated_at",
    "install_time",
    "installed_at",
    "created_at",
)
"""When the row was true, the latest first: the time of an install is the least that can be known."""

OTHERS: Mapping[str, Sequence[str]] = {
    "device.appsflyer_id": ("af_id", "appsflyer_device_id", "appsflyer_uid"),
    "device.adjust_adid": ("adid", "adjust_id", "adjust_device_id"),
    "device.firebase_app_instance_id": ("app_instance_id", "user_pseudo_id", "ga_app_instance_id"),
    "device.branch_identity": ("branch_id", "branch_identity_id"),
    "device.singular_sdid": ("sdid", "singular_id"),
    "device.kochava_device_id": ("kochava_id",),
    "device.gaid": ("advertising_id", "google_ad_id", "aaid", "gps_adid", "adid_android"),
    "device.idfa": ("ios_idfa",),
    "device.idfv": ("ios_idfv",),
    "device.os": ("platform", "os_name"),
    "device.model": ("device_model",),
    "person_id": (),
    "app": ("app_name",),
}
"""What else columns with our fields are called in MMPs' exports and lenders' tables."""


def touch_map(
    columns: Sequence[str],
    *,
    brand: str,
    app: str | None = None,
    as_of: datetime | None = None,
    timezone: str | None = None,
    form: Format | None = None,
) -> ImportMap:
    """The map for a table of users and devices with these columns. Each row becomes a `logged_in`.

    `as_of` is when the table was true, where no column tells it; `timezone` is that of times without an
    offset. Raises `InputError` where no column names the user, an installation or device, or the time.
    """
    known = {_plain(name): name for name in columns}
    found: dict[str, str] = {}
    user = next((known[name] for name in USER if name in known), None)
    if user is None:
        raise InputError("header", f"has no column for the user: one of {', '.join(USER)}")
    found["user_id"] = user
    for field in (*(f"device.{name}" for name in Device.__struct_fields__), *OTHERS):
        names = (_plain(field.removeprefix("device.")), *OTHERS.get(field, ()))
        column = next((known[name] for name in names if name in known), None)
        if column is not None and column != user:
            found.setdefault(field, column)
    ids = [f"device.{kind.value}" for kind in IdKind]
    if not any(field in found for field in ids):
        wanted = ", ".join(kind.value for kind in INSTALL_SCOPED)
        raise InputError("header", f"has no column for an installation or a device, such as {wanted}, gaid")
    constants: dict[str, Constant] = {"brand": brand}
    if app is not None:
        found.pop("app", None)
        constants["app"] = app
    seen = next((known[name] for name in SEEN if name in known), None)
    if as_of is not None:
        constants["occurred_at"] = as_of.isoformat()
    elif seen is not None:
        found["occurred_at"] = seen
    else:
        raise InputError("header", f"has no column for the time: one of {', '.join(SEEN)}; or say --as-of")
    if found.get("device.installed_at") == seen:
        found.pop("device.installed_at", None)
    return ImportMap(
        file={"touches": FileRule(match="*", format=form, empty=("", "NULL", "null", "None", "N/A"))},
        event=(EventRule(type="logged_in", columns=found, constants=constants),),
        column={} if seen is None else {seen: TimeColumn(timezone=timezone)},
    )


def _plain(name: str) -> str:
    """A heading as we compare it: `AppsFlyer ID` and `appsflyer_id` are one."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
