"""A device snapshot: one installation of an app on one phone, as seen at one login."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct


class IdKind(StrEnum):
    """The identifiers a snapshot may carry; each value is also the field's name in `Device`."""

    APPSFLYER_ID = "appsflyer_id"
    ADJUST_ADID = "adjust_adid"
    FIREBASE_APP_INSTANCE_ID = "firebase_app_instance_id"
    BRANCH_IDENTITY = "branch_identity"
    SINGULAR_SDID = "singular_sdid"
    KOCHAVA_DEVICE_ID = "kochava_device_id"
    GAID = "gaid"
    IDFA = "idfa"
    IDFV = "idfv"
    OAID = "oaid"
    ANDROID_ID = "android_id"
    META_ANON_ID = "meta_anon_id"


INSTALL_SCOPED = (
    IdKind.APPSFLYER_ID,
    IdKind.FIREBASE_APP_INSTANCE_ID,
    IdKind.ADJUST_ADID,
    IdKind.BRANCH_IDENTITY,
    IdKind.SINGULAR_SDID,
    IdKind.KOCHAVA_DEVICE_ID,
    IdKind.META_ANON_ID,
)
"""Ids that change when the app is installed again: they tell one installation from another."""

DEVICE_SCOPED = (IdKind.GAID, IdKind.IDFA, IdKind.IDFV, IdKind.OAID, IdKind.ANDROID_ID)
"""Ids that stay with the phone over a reinstall."""

ZERO_ID = "00000000-0000-0000-0000-000000000000"
"""What Android and iOS hand out for "tracking is off": it names nobody."""


Text = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=2048)]


Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """What one login showed of the phone and the installation. Everything is optional.

    `att_status`: iOS ATTrackingManager, 0 not determined, 1 restricted, 2 denied, 3 authorised.
    `limit_ad_tracking`: true where the user switched ad tracking off.
    `installed_at`: when this installation was made, where the app knows it (UTC).
    Screen width and height in pixels, density in dots per pixel, storage in GB.
    """

    os: Text | None = None
    os_version: Text | None = None
    model: Text | None = None
    locale: Text | None = None
    timezone: Text | None = None
    carrier: Text | None = None
    screen_width: Count | None = None
    screen_height: Count | None = None
    screen_density: float | None = None
    cpu_cores: Count | None = None
    storage_gb: Count | None = None
    free_storage_gb: Count | None = None
    app_version: Text | None = None
    app_build: Text | None = None
    ip: Text | None = None
    user_agent: LongText | None = None
    att_status: Annotated[int, Meta(ge=0, le=3)] | None = None
    limit_ad_tracking: bool | None = None
    emulator: bool | None = None
    installed_at: datetime | None = None
    appsflyer_id: Text | None = None
    adjust_adid: Text | None = None
    firebase_app_instance_id: Text | None = None
    branch_identity: Text | None = None
    singular_sdid: Text | None = None
    kochava_device_id: Text | None = None
    meta_anon_id: Text | None = None
    gaid: Text | None = None
    idfa: Text | None = None
    idfv: Text | None = None
    oaid: Text | None = None
    android_id: Text | None = None
    gclid: Text | None = None
    gbraid: Text | None = None
    fbc: Text | None = None
    ttclid: Text | None = None
    sc_click_id: Text | None = None
    kwai_click_id: Text | None = None
    install_referrer: LongText | None = None


def id_of(device: Device, kind: IdKind) -> str | None:
    """The id of that kind, or `None`: an empty or all-zero id names nobody and counts as missing."""
    value: str | None = getattr(device, kind)
    return None if not value or value == ZERO_ID else value
