"""The demo's folder: a made-up lender's configuration, secrets and tier cuts, and the accounts to match."""

import base64
import secrets
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np

from lendsignal.sandbox import MetaDataset, SandboxSettings
from lendsignal.simulate import World, demo, events, make

CONFIG = """\
# The made-up lender of `lendsignal demo`. Time is told by the replay clock; the sandboxes stand in for
# every platform.

[portfolio]
name = "acme"

[service]
data         = "data"
replay_clock = "clock"

[log]
keep_for = "3650d"   # weeks go by in minutes here, and the comparison at the end looks at all of them

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-ios]
brand     = "acme"
platform  = "ios"
bundle    = "id1234567890"
bundle_id = "com.acme.loans"
country   = "NG"
currency  = "NGN"
timezone  = "Africa/Lagos"

[source.backend]
key = { file = "secrets/backend" }

[tiers]
cut_table = "cuts.csv"

[feed.mmp]
kind = "generic"
mmp  = "appsflyer"

[spend.ads]
kind     = "generic"
timezone = "Africa/Lagos"
"""

OUTLETS = """
[destination.appsflyer-{os}]
kind     = "appsflyer"
app      = "acme-{os}"
token    = {{ file = "secrets/appsflyer" }}
forwards = ["google", "tiktok"]

[destination.firebase-{os}]
kind            = "ga4"
app             = "acme-{os}"
api_secret      = {{ file = "secrets/firebase" }}
firebase_app_id = "{firebase}"

[destination.meta-{os}]
kind       = "meta"
app        = "acme-{os}"
dataset_id = "{dataset}"
token      = {{ file = "secrets/meta" }}

[destination.webhook-{os}]
kind   = "webhook"
app    = "acme-{os}"
url    = "https://{os}.hooks.acme.example/loans"
secret = {{ file = "secrets/webhook" }}

[[route]]
to    = "appsflyer-{os}"
value = {{ disbursement = "fee" }}
[route.send]
registration = "ev_r"
application  = "ev_ap"
first_loan   = "ev_fl"
disbursement = "ev_ln"
credit_top20 = "ev_c2"
credit_top50 = "ev_c5"

[[route]]
to   = "firebase-{os}"
send = {{ first_credit = "ev_fc", credit_top30 = "ev_c3", repeat_loan = "ev_rl" }}

[[route]]
to    = "meta-{os}"
send  = {{ registration = "ev_r", first_loan = "ev_fl", repeat_loan = "ev_rl", credit_top50 = "ev_c5" }}
value = {{ first_loan = "fee", repeat_loan = "fee" }}

[[route]]
to   = "webhook-{os}"
send = {{ disbursement = "ev_ln", repayment = "ev_rp", loan_closed = "ev_lc" }}
"""

ACCOUNTS = {
    "android": {"firebase": "1:1234567890:android:0a1b2c3d4e5f6a7b", "dataset": "1234567890123456"},
    "ios": {"firebase": "1:1234567890:ios:7b6a5f4e3d2c1b0a", "dataset": "6543210987654321"},
}
BUNDLES = {"android": "com.acme.loans", "ios": "id1234567890"}
SECRETS = ("backend", "appsflyer", "firebase", "meta", "webhook")
HISTORY_DAYS = 28
SHARES = (20, 30, 50, 70)


def lender_of(folder: Path, seed: int, today: date) -> World:
    """The folder's made-up lender: four weeks of its life end today; a second start finds the same one."""
    begun = folder / "begun"
    folder.mkdir(parents=True, exist_ok=True)
    if not begun.exists():
        begun.write_text(f"{today - timedelta(days=HISTORY_DAYS)} {seed}")
    day, kept_seed = begun.read_text().split()
    parameters = demo()
    period = msgspec.structs.replace(parameters.period, start=date.fromisoformat(day), users=3_000)
    phones = msgspec.structs.replace(parameters.phones, reinstall=0.35, new_phone=0.12)
    return make(msgspec.structs.replace(parameters, period=period, phones=phones), int(kept_seed))


def prepared(folder: Path, world: World) -> SandboxSettings:
    """Writes what is missing in the demo's folder; the sandbox accounts that match its secrets."""
    kept = folder / "secrets"
    kept.mkdir(parents=True, exist_ok=True)
    for name in SECRETS:
        file = kept / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(_secret(name))
    (folder / "lendsignal.toml").write_text(
        CONFIG + "".join(OUTLETS.format(os=os, **facts) for os, facts in ACCOUNTS.items())
    )
    (folder / "cuts.csv").write_text(cuts(world))
    secret = {name: (kept / name).read_text() for name in SECRETS}
    return SandboxSettings(
        appsflyer=dict.fromkeys(BUNDLES.values(), secret["appsflyer"]),
        ga4={facts["firebase"]: secret["firebase"] for facts in ACCOUNTS.values()},
        meta={facts["dataset"]: MetaDataset(token=secret["meta"]) for facts in ACCOUNTS.values()},
        webhooks={f"{os}.hooks.acme.example": secret["webhook"] for os in ACCOUNTS},
    )


def accounts() -> dict[str, tuple[str, str]]:
    """The platform and account that the sandbox knows each destination by."""
    found: dict[str, tuple[str, str]] = {}
    for os, facts in ACCOUNTS.items():
        found[f"appsflyer-{os}"] = ("appsflyer", BUNDLES[os])
        found[f"firebase-{os}"] = ("ga4", facts["firebase"])
        found[f"meta-{os}"] = ("meta", facts["dataset"])
        found[f"webhook-{os}"] = ("webhook", f"{os}.hooks.acme.example")
    return found


def cuts(world: World) -> str:
    """The cut table: the scores above which the best 20, 30, 50 and 70 % of the lender's grants lie."""
    scores: Sequence[float] = [event["score"] for event in events(world) if event.get("score") is not None]
    marks = np.quantile(np.array(scores), [1 - share / 100 for share in SHARES])
    rows = [f"{share},{mark:.4f}" for share, mark in zip(SHARES, marks, strict=True)]
    return "\n".join(["share,cut", *rows]) + "\n"


def _secret(name: str) -> str:
    if name == "webhook":
        return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(24)
