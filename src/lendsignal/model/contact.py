"""Hashed contacts. Raw e-mails and phone numbers are hashed at the door and never written.

Platforms normalise differently before they hash, so each variant is kept beside the others
(rules and vectors: Meta and Snap "parameters" pages, Google "customer match" formatting page).
"""

import re
from hashlib import sha256

from msgspec import Struct


class Contact(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """SHA-256 hex digests of one person's contacts, one per normalisation.

    `email`: trimmed, lower case (Meta, Snap, TikTok). `email_google`: dots and +suffix of Gmail gone.
    `phone_digits`: country code and digits (Meta, Snap). `phone_e164`: with a leading + (Google, TikTok).
    """

    email: str | None = None
    email_google: str | None = None
    phone_digits: str | None = None
    phone_e164: str | None = None


def contact_of(email: str | None, phone: str | None) -> tuple[Contact | None, tuple[str, ...]]:
    """The hashed contact, and the names of what was given but cannot be used.

    A phone number must be in E.164 (`+63…`) or start with 00: a national number would be hashed
    into a stranger's, so it is left out.
    """
    unusable: list[str] = []
    hashes: dict[str, str] = {}
    if email:
        plain, google = normal_email(email), google_email(email)
        if plain is None or google is None:
            unusable.append("email")
        else:
            hashes["email"], hashes["email_google"] = digest(plain), digest(google)
    if phone:
        digits = normal_phone(phone)
        if digits is None:
            unusable.append("phone")
        else:
            hashes["phone_digits"], hashes["phone_e164"] = digest(digits), digest("+" + digits)
    return (Contact(**hashes) if hashes else None), tuple(unusable)


def normal_email(email: str) -> str | None:
    """Trimmed and lower case; `None` where it is no address."""
    text = email.strip().lower()
    return text if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else None


def google_email(email: str) -> str | None:
    """As Google matches it: dots and a +suffix mean nothing before @gmail.com and @googlemail.com."""
    text = normal_email(email)
    if text is None:
        return None
    name, _, domain = text.partition("@")
    if domain in ("gmail.com", "googlemail.com"):
        name = name.partition("+")[0].replace(".", "")
    return f"{name}@{domain}"


def normal_phone(phone: str) -> str | None:
    """Country code and digits; `None` unless the number is international and 8 to 15 digits long."""
    text = phone.strip()
    digits = re.sub(r"\D", "", text)
    if not text.startswith("+"):
        if not digits.startswith("00"):
            return None
        digits = digits[2:]
    return digits if 8 <= len(digits) <= 15 and digits[0] != "0" else None


def digest(text: str) -> str:
    """SHA-256 of the UTF-8 text, lower-case hex."""
    return sha256(text.encode()).hexdigest()
