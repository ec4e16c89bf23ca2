"""Lists as CSV files: written beside, then put in place whole."""

import csv
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from lendsignal.archive.place import place_at
from lendsignal.deliver.audiences.ledger import Ledger
from lendsignal.deliver.audiences.settings import AccountPlan
from lendsignal.deliver.wire import secrets_of
from lendsignal.destination.audiences.shape import problem_with_code
from lendsignal.errors import TransportError
from lendsignal.model.audience import Sync

TIMEOUT_SECONDS = 600
"""The longest that an SFTP transfer may take."""


def write_file(ledger: Ledger, plan: AccountPlan, one: Sync) -> int | None:
    """The whole list as `<code>.csv`, where anything changed; the members in it, `None` where nothing did.

    Raises `TransportError`, `LogError` or `ConfigError` where the place does not take it.
    """
    wrong = problem_with_code(one.code)
    if wrong is not None:
        raise TransportError(f"the name {one.code!r} {wrong}")
    counts = ledger.counts(one)
    known = one.remote is not None and not one.replace_asked
    if known and not counts.adds and not counts.removes:
        return None
    ledger.freeze(one)
    refused: dict[int, str] = {}
    rows = 0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / f"{one.code}.csv"
        with made.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(plan.own.columns)
            after: int | None = None
            while members := ledger.everyone(one, after, plan.chunk):
                for member in members:
                    row = plan.module.row(member, one, plan.own)
                    if row is None:
                        refused[member.key] = "no_identifier"
                    else:
                        out.writerow(row)
                        rows += 1
                after = members[-1].key
        if plan.own.to.startswith("sftp://"):
            _by_sftp(plan, made)
        else:
            place_at(plan.own.to, plan.folder).put(made.name, made)
    if one.remote is None:
        ledger.set_remote(one, made.name)
    ledger.replaced(one, refused)
    return rows


def _by_sftp(plan: AccountPlan, made: Path) -> None:
    """Uploads under another name and renames, so that nobody reads half a list."""
    import pycurl

    address = urlsplit(plan.own.to)
    folder = address.path.rstrip("/")
    secrets: Mapping[str, str | None] = secrets_of(plan.own)
    curl = pycurl.Curl()
    try:
        with made.open("rb") as file:
            curl.setopt(pycurl.NOSIGNAL, 1)
            curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_SFTP)
            curl.setopt(
                pycurl.URL, f"sftp://{address.hostname}:{address.port or 22}{folder}/{made.name}.part"
            )
            curl.setopt(pycurl.USERNAME, address.username or "")
            curl.setopt(pycurl.SSH_HOST_PUBLIC_KEY_SHA256, plan.own.host_key_sha256)
            if secrets.get("password"):
                curl.setopt(pycurl.PASSWORD, secrets["password"])
            if plan.own.key_file:
                curl.setopt(pycurl.SSH_PRIVATE_KEYFILE, str(plan.folder / plan.own.key_file))
            curl.setopt(pycurl.UPLOAD, 1)
            curl.setopt(pycurl.READDATA, file)
            curl.setopt(pycurl.INFILESIZE, made.stat().st_size)
            # An asterisk lets the command fail: the first time there is nothing to take away.
            part, whole = f"{folder}/{made.name}.part", f"{folder}/{made.name}"
            curl.setopt(pycurl.POSTQUOTE, [f'*rm "{whole}"', f'rename "{part}" "{whole}"'])
            curl.setopt(pycurl.WRITEDATA, BytesIO())
            curl.setopt(pycurl.CONNECTTIMEOUT, 20)
            curl.setopt(pycurl.TIMEOUT, TIMEOUT_SECONDS)
            curl.perform()
    except pycurl.error as error:
        raise TransportError(f"the SFTP server does not take it: libcurl error {error.args[0]}") from None
    finally:
        curl.close()
