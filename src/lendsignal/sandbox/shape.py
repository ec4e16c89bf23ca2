"""The shapes of values that platforms ask for: each knows what fits and how to say what does not."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from lendsignal.sandbox.verdict import decoded

ISO_4217 = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
    "CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW "
    "KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD "
    "NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE "
    "SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED "
    "VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL".split()
)
"""Currency codes of ISO 4217, with those that were replaced lately and that platforms still list."""

ZERO_UUID = "00000000-0000-0000-0000-000000000000"


class Shape(Struct, frozen=True):
    """What fits, and the words for it: `reason = f"{field}: must be {shape.says}"`."""

    says: str
    fits: Callable[[Any], bool]


def matching(pattern: str, says: str) -> Shape:
    """A string the whole of which matches."""
    match = re.compile(pattern).fullmatch
    return Shape(says, lambda value: isinstance(value, str) and match(value) is not None)


def one_of(*allowed: Any) -> Shape:
    """Exactly one of these, type included: `True` is not 1."""
    return Shape(
        "one of " + ", ".join(repr(value) for value in allowed),
        lambda value: any(type(value) is type(each) and value == each for each in allowed),
    )


def is_number(value: Any) -> bool:
    """A JSON number; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """A JSON integer; `true` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_address(value: Any) -> bool:
    """An IPv4 or IPv6 address in text."""
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def misfits(found: Mapping[str, Any], shapes: Mapping[str, Shape], prefix: str = "") -> Iterator[str]:
    """The rule for every field that is there and does not fit; fields without a shape are let be."""
    for key, value in found.items():
        shape = shapes.get(key)
        if shape is not None and not shape.fits(value):
            yield f"{prefix}{key}: must be {shape.says}"


TEXT = Shape("a string", lambda value: isinstance(value, str))
FILLED = Shape("a string that is not empty", lambda value: isinstance(value, str) and value.strip() != "")
FLAG = Shape("true or false", lambda value: isinstance(value, bool))
WHOLE = Shape("an integer", is_whole)
NUMBER = Shape("a number", is_number)
OBJECT = Shape("an object", lambda value: isinstance(value, dict))
TEXTS = Shape(
    "an array of strings",
    lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)
JSON_TEXT = Shape(
    "a string that holds JSON", lambda value: isinstance(value, str) and decoded(value.encode()) is not None
)
CURRENCY = Shape("an ISO 4217 code in upper case", lambda value: isinstance(value, str) and value in ISO_4217)
IPV4 = matching(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}", "an IPv4 address")
ADDRESS = Shape("an IPv4 or IPv6 address", is_address)
UUID = matching(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", "a UUID with hyphens")
UPPER_UUID = matching(r"[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12}", "a UUID in upper case")
SHA256 = matching(r"[0-9a-f]{64}", "a SHA-256 digest in lower-case hex")
DIGESTS = Shape(
    "SHA-256 in lower-case hex, one or an array of them",
    lambda value: (
        SHA256.fits(value)
        or (isinstance(value, list) and bool(value) and all(SHA256.fits(each) for each in value))
    ),
)
OBJECTS = Shape(
    "an array of objects",
    lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
)
