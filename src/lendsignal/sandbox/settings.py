"""Which accounts the sandbox plays, with the made-up secrets it expects. Never put real secrets here."""

import base64
import binascii
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal.errors import ConfigError, Problem


class MetaDataset(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A Meta dataset: the token that may write to it; with an `app_secret`, the proof is demanded too."""

    token: str
    app_secret: str | None = None

    def __repr__(self) -> str:
        return "MetaDataset(…)"


class SandboxSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The accounts, by platform.

    `appsflyer`: app id → S2S key. `appsflyer_dev_keys`: keys of the other kind, which api3 refuses.
    `appsflyer_zero_package`: app ids whose plan has no server-to-server events.
    `appsflyer_installs`, `ga4_instances`: the installations the platform knows; when given, events of
    others are answered as usual and kept with `recorded = false`.
    `ga4`: Firebase app id → api secret. `meta`: dataset id → token and app secret.
    `webhooks`: host → Standard Webhooks secret (`whsec_` + base64).
    `latency_ms`: added to every answer.
    """

    appsflyer: dict[str, str] = {}
    appsflyer_dev_keys: frozenset[str] = frozenset()
    appsflyer_zero_package: frozenset[str] = frozenset()
    appsflyer_installs: frozenset[str] | None = None
    ga4: dict[str, str] = {}
    ga4_instances: frozenset[str] | None = None
    meta: dict[str, MetaDataset] = {}
    webhooks: dict[str, str] = {}
    latency_ms: float = 0

    def __repr__(self) -> str:
        return "SandboxSettings(…)"


def settings_at(path: Path) -> SandboxSettings:
    """The settings in a `.toml` or `.json` file; a `ConfigError` names what is wrong, never a secret."""
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
    return settings


def signing_key(secret: str) -> bytes | None:
    """The HMAC key behind a Standard Webhooks secret; `None` where it is no base64."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except (binascii.Error, ValueError):
        return None
