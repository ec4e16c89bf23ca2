"""A lender with a destination of every kind, and the sandbox process that plays all of their accounts."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lender_file import ACME
from tests.running import call

CANARY = "canary-7d1e40b2-secret"
"""Every secret of this lender: it must turn up nowhere."""

HOOK_SECRET = "whsec_Y2FuYXJ5LTdkMWU0MGIyLXNlY3JldC1vZi1hLWhvb2s="
SIGNING = f"{CANARY}-that-is-long-enough"
CREDENTIALS = json.dumps(
    {
        "type": "authorized_user",
        "client_id": "client-acme",
        "client_secret": CANARY,
        "refresh_token": f"1//{CANARY}",
    }
)
ENVIRONMENT = {"CANARY": CANARY, "HOOK": HOOK_SECRET, "SIGNING": SIGNING, "GOOGLE": CREDENTIALS}

FIREBASE_APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"
LINK = "0123456789ABCDEF0123456789ABCDEF"
ACCOUNTS = {
    "adjust": {"4w565xzmb54d": CANARY},
    "appsflyer": {"com.acme.loans": CANARY},
    "branch": {"acme": CANARY},
    "kochava": {"acme": CANARY},
    "singular": {"com.acme.loans": CANARY},
    "ga4": {FIREBASE_APP: CANARY},
    "meta": {"1234567890123456": {"token": CANARY}},
    "webhooks": {"hooks.acme.example": HOOK_SECRET},
    "tiktok": {"7000000000000000001": CANARY},
    "snap": {"snap-app-1": CANARY},
    "kwai": {"270123456789012": CANARY},
    "google_ads": {"4445556666": {"token": CANARY, "developer_token": CANARY, "actions": ["987654321"]}},
    "google_tokens": {"client-acme": CANARY},
    "google_app": {LINK: CANARY},
}

SECRET = '{ env = "CANARY" }'
OWN = {
    "adjust": f'app_id = "4w565xzmb54d"\ntoken = {SECRET}',
    "appsflyer": f"token = {SECRET}",
    "branch": f"branch_key = {SECRET}",
    "ga4": f'firebase_app_id = "{FIREBASE_APP}"\napi_secret = {SECRET}',
    "google_ads": f'customer_id = "4445556666"\nconversion_actions = {{ ev_fl = "987654321" }}\n'
    f'credentials = {{ env = "GOOGLE" }}\ndeveloper_token = {SECRET}\nshare_contact = true',
    "google_app": f'link_id = "{LINK}"\ndev_token = {SECRET}',
    "google_data_manager": 'account_id = "4445556666"\nconversion_actions = { ev_fl = "987654321" }\n'
    'credentials = { env = "GOOGLE" }\nshare_contact = true',
    "kochava": f"app_guid = {SECRET}",
    "kwai": f'pixel_id = "270123456789012"\ntoken = {SECRET}',
    "meta": f'dataset_id = "1234567890123456"\ntoken = {SECRET}',
    "relay": 'secret = { env = "SIGNING" }',
    "singular": f"sdk_key = {SECRET}",
    "snap": f'snap_app_id = "snap-app-1"\ntoken = {SECRET}',
    "tiktok": f'app_id = "7000000000000000001"\ntoken = {SECRET}',
    "webhook": 'url = "https://hooks.acme.example/in"\nsecret = { env = "HOOK" }',
}
"""What each kind of destination is told beside its app."""

NAMES = {"adjust": "f0ob4r", "kwai": "EVENT_PURCHASE", "snap": "CUSTOM_EVENT_1"}
"""What its route calls the conversion, where a code such as `ev_fl` will not do."""

KINDS = tuple(OWN)
HEAD = (
    ACME
    + """
[resolve]
settle = "0s"

[deliver]
sandbox     = "{sandbox}"
first_retry = "50ms"
"""
)


def name_of(kind: str) -> str:
    """What a destination's route calls a first loan."""
    return NAMES.get(kind, "ev_fl")


def configuration(sandbox: str, *, kinds: tuple[str, ...] = KINDS) -> str:
    """The file of that lender; each destination is called by its kind."""
    parts = [HEAD.format(sandbox=sandbox)]
    for kind in kinds:
        parts.append(f'[destination.{kind}]\nkind = "{kind}"\napp = "acme-ng"\nlinger = "0s"\n{OWN[kind]}\n')
        value = "" if kind == "relay" else 'value = { first_loan = "fee" }\n'
        parts.append(f'[[route]]\nto = "{kind}"\nsend = {{ first_loan = "{name_of(kind)}" }}\n{value}')
    return "\n".join(parts)


class Played:
    """The sandbox process; `look` asks it what it received."""

    def __init__(self, address: str) -> None:
        self.address = address

    def look(self, path: str) -> Any:
        """A page of the sandbox's own."""
        return json.loads(call(self.address, "GET", f"/_sandbox/{path}")[2])

    def taken(self, kind: str) -> list[dict[str, Any]]:
        """What a platform took, in full, oldest first."""
        found: list[dict[str, Any]] = self.look(f"received?platform={kind}")["items"]
        return found

    def faults(self, *script: Mapping[str, Any]) -> None:
        """What goes wrong from now on."""
        status, _, body = call(self.address, "POST", "/_sandbox/faults", json.dumps(script).encode())
        assert status == 200, body

    def reset(self) -> None:
        """Forgets everything, and what was to go wrong."""
        call(self.address, "POST", "/_sandbox/reset")


@contextmanager
def sandbox(folder: Path) -> Iterator[Played]:
    """The sandbox with all of this lender's accounts, while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "accounts.json").write_text(json.dumps(ACCOUNTS))
    process = subprocess.Popen(
        [sys.executable, "-m", "lendsignal.sandbox", "--settings", "accounts.json", "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Played(process.stdout.readline().split()[-1])
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
