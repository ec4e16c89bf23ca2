"""Which accounts the sandbox plays, with the made-up secrets it expects. Never put real secrets here."""

import base64
import binascii
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal.errors import ConfigError, Problem
from lendsignal.sandbox.audience_settings import AudienceSettings
from lendsignal.sandbox.chaos import LATE_MS


class MetaDataset(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A Meta dataset: the token that may write to it; with an `app_secret`, the proof is demanded too."""

    token: str
    app_secret: str | None = None

    def __repr__(self) -> str:
        return "MetaDataset(…)"


class GoogleAccount(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A Google Ads account: the access token and developer token that may write to it, the ids of its
    conversion actions, the manager account that must be named, and whether uploads are allowed to it."""

    token: str
    actions: frozenset[str]
    developer_token: str = ""
    login_customer_id: str | None = None
    allowlisted: bool = True

    def __repr__(self) -> str:
        return "GoogleAccount(…)"


class SandboxSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The accounts, by platform.

    `adjust`: app token → token of S2S Security, empty where none is asked for. `adjust_events`,
    `adjust_devices`: the event tokens and device ids it knows; when given, others are refused.
    `adjust_unique_events`: event tokens that count once for a device. `adjust_opted_out`: device ids of users
    who opted out. `adjust_answers_202`: a wrong token is answered with 202, as one of its pages says.
    `appsflyer`: app id → S2S key. `appsflyer_dev_keys`: keys of the other kind, which api3 refuses and api2
    wants.
    `appsflyer_zero_package`: app ids whose plan has no server-to-server events.
    `appsflyer_installs`, `ga4_instances`: the installations the platform knows; when given, events of
    others are answered as usual and kept with `recorded = false`.
    `appsflyer_api_tokens`: V2 API token → the app ids whose users it may have erased;
    `appsflyer_erasure_seconds`: how long an erasure takes.
    `branch`, `kochava`: a name of your own → Branch key, app GUID; the name is the account.
    `singular`: app id → SDK key. `singular_devices`: the device ids it knows, as `ga4_instances`.
    `ga4`: Firebase app id → api secret. `meta`: dataset id → token and app secret.
    `webhooks`: host → Standard Webhooks secret (`whsec_` + base64).
    `tiktok`: TikTok App ID → access token. `tiktok_partial`: good rows of a bad batch are taken (20001).
    `snap`: Snap App ID → token. `kwai`: pixel → Events API token.
    `google_ads`: customer id → account, for the Google Ads and the Data Manager API. `google_clicks`: the
    click ids Google knows; when given, others are not found. `google_tokens`: client id, or e-mail of a
    service account → the access token it gets. `google_verdict_seconds`: how long a Data Manager request is
    processed. `google_per_minute`: how many Data Manager requests a minute a project has; 300 by Google's
    page. `google_app`: link id → developer token.
    `audiences`: the accounts with lists of people (`AudienceSettings`).
    `latency_ms`: added to every answer. `chaos`: the seed of a mix of every fault, played from the start;
    `chaos_late_ms`: after how long its late answers come.
    """

    adjust: dict[str, str] = {}
    adjust_events: frozenset[str] | None = None
    adjust_devices: frozenset[str] | None = None
    adjust_unique_events: frozenset[str] = frozenset()
    adjust_opted_out: frozenset[str] = frozenset()
    adjust_answers_202: bool = False
    appsflyer: dict[str, str] = {}
    appsflyer_dev_keys: frozenset[str] = frozenset()
    appsflyer_zero_package: frozenset[str] = frozenset()
    appsflyer_installs: frozenset[str] | None = None
    appsflyer_api_tokens: dict[str, frozenset[str]] = {}
    appsflyer_erasure_seconds: float = 0
    branch: dict[str, str] = {}
    kochava: dict[str, str] = {}
    singular: dict[str, str] = {}
    singular_devices: frozenset[str] | None = None
    ga4: dict[str, str] = {}
    ga4_instances: frozenset[str] | None = None
    meta: dict[str, MetaDataset] = {}
    webhooks: dict[str, str] = {}
    tiktok: dict[str, str] = {}
    tiktok_partial: bool = False
    snap: dict[str, str] = {}
    kwai: dict[str, str] = {}
    google_ads: dict[str, GoogleAccount] = {}
    google_clicks: frozenset[str] | None = None
    google_tokens: dict[str, str] = {}
    google_verdict_seconds: float = 0
    google_per_minute: int | None = None
    google_app: dict[str, str] = {}
    audiences: AudienceSettings = AudienceSettings()
    latency_ms: float = 0
    chaos: int | None = None
    chaos_late_ms: int = LATE_MS

    def __repr__(self) -> str:
        return "SandboxSettings(…)"


def settings_at(path: Path, *, chaos: int | None = None) -> SandboxSettings:
    """The settings in a `.toml` or `.json` file; a `ConfigError` names what is wrong, never a secret.

    `chaos` goes before the file's own.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(str(path), error.strerror or "no file", "a readable file")]) from error
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        settings = decode(text, type=SandboxSettings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        allowed = "the keys of docs/reference/sandbox.md"
        raise ConfigError([Problem(str(path), str(error), allowed)]) from error
    problems = [
        Problem(f"webhooks.{host}", "a secret that is no base64", "whsec_ and base64", str(path))
        for host, secret in settings.webhooks.items()
        if signing_key(secret) is None
    ]
    if problems:
        raise ConfigError(problems)
    return settings if chaos is None else msgspec.structs.replace(settings, chaos=chaos)


def signing_key(secret: str) -> bytes | None:
    """The HMAC key behind a Standard Webhooks secret; `None` where it is no base64."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except (binascii.Error, ValueError):
        return None
