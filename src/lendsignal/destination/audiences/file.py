"""A list as a CSV file, whole every time: in a folder, at an address fsspec knows, or by SFTP.

For every platform and tool that takes a file. One row a member, a header line, UTF-8. Times and names of
products are not in it; its name is the list's neutral code.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import AudienceSpec, FileAuth, Row, mobile_id
from lendsignal.destination.spec import Request, Response
from lendsignal.errors import DataError
from lendsignal.model import Outcome
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.contact import digest
from lendsignal.model.secret import Secret

Column = Literal[
    "mobile_id", "mobile_id_sha256", "os", "country", "user_sha256", "appsflyer_id", "email_sha256",
    "email_google_sha256", "phone_digits_sha256", "phone_e164_sha256", "value",
]  # fmt: skip


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for lists as files.

    `to`: a folder from the configuration's own, an address such as `s3://bucket/lists`, or
    `sftp://user@host/folder`. `host_key_sha256`: the server's key in base64, as `ssh-keygen -lf` shows it
    after `SHA256:`; without it no SFTP connection is made.
    """

    to: Annotated[str, Meta(min_length=1, description="folder, fsspec address, or sftp://user@host/folder")]
    columns: Annotated[
        tuple[Column, ...], Meta(min_length=1, description="the columns of the file, in order")
    ] = ("mobile_id", "email_sha256", "phone_e164_sha256")
    password: Annotated[Secret | None, Meta(description="of the SFTP user")] = None
    key_file: Annotated[
        str | None, Meta(description="a private key for SFTP, from the configuration's folder")
    ] = None
    host_key_sha256: Annotated[str | None, Meta(description="the SFTP server's key, base64")] = None

    def __post_init__(self) -> None:
        if self.to.startswith("sftp://") and not self.host_key_sha256:
            raise ValueError("sftp needs host_key_sha256: without it any server could take the list")


SPEC = AudienceSpec(
    name="file",
    label="CSV file",
    docs="https://www.rfc-editor.org/rfc/rfc4180",
    docs_read="2026-11-22",
    hosts=(),
    auth=FileAuth(),
    chunk=50_000,
    per_second=1_000,
)

FIELDS: frozenset[str] = frozenset(get_args(Column))
"""All that may stand in the file."""


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """One member's cells; `None` where no column that names anybody has a value."""
    mobile, contact = mobile_id(member), member.contact
    known: dict[str, str | None] = {
        "mobile_id": mobile,
        "mobile_id_sha256": None if mobile is None else digest(mobile),
        "os": member.os,
        "country": member.country,
        "user_sha256": member.user,
        "appsflyer_id": member.appsflyer_id,
        "email_sha256": None if contact is None else contact.email,
        "email_google_sha256": None if contact is None else contact.email_google,
        "phone_digits_sha256": None if contact is None else contact.phone_digits,
        "phone_e164_sha256": None if contact is None else contact.phone_e164,
        "value": None if member.value is None else f"{member.value:.2f}",
    }
    names = [name for name in settings.columns if name not in ("os", "country", "value")]
    if not any(known[name] for name in names):
        return None
    return [known[name] or "" for name in settings.columns]


def find(sync: Sync, settings: Settings) -> Request | None:
    """Nothing is asked."""
    return None


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """Nothing is asked."""
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """Nothing is asked."""
    return None


def created(response: Response) -> str | Outcome:
    """Nothing is asked."""
    return ""


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    """A file is written whole: nothing is sent by differences."""
    raise DataError("a list that is a file is written whole")


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """Nothing is asked."""
    return ()
