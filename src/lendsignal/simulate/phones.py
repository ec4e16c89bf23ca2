"""Phones of the market and the identifiers they and their installations carry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lendsignal.model import ZERO_ID
from lendsignal.simulate.chance import Flags, Ints
from lendsignal.simulate.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Model:
    """A phone model as its system names it: OS version, screen in pixels, dots per pixel, cores, GB."""

    name: str
    os_version: str
    screen: tuple[int, int, float]
    cores: int
    storage_gb: int


ANDROID = (
    Model("TECNO BG6", "13", (720, 1612, 2.0), 8, 64),
    Model("TECNO KJ5", "13", (720, 1612, 2.0), 8, 128),
    Model("TECNO CK6", "13", (1080, 2400, 3.0), 8, 128),
    Model("Infinix X6525", "13", (720, 1612, 2.0), 8, 64),
    Model("Infinix X6716B", "14", (1080, 2400, 3.0), 8, 256),
    Model("itel A665L", "13", (720, 1612, 2.0), 8, 64),
    Model("itel S665L", "12", (720, 1612, 2.0), 8, 128),
    Model("SM-A057F", "14", (1080, 2400, 2.8), 8, 128),
    Model("SM-A155F", "14", (1080, 2340, 2.8), 8, 128),
    Model("SM-A225F", "12", (720, 1600, 1.8), 8, 64),
    Model("22120RN86G", "13", (720, 1650, 2.0), 8, 64),
    Model("23106RN0DA", "14", (1080, 2460, 2.8), 8, 128),
    Model("CPH2471", "14", (720, 1612, 2.0), 8, 128),
    Model("RMX3710", "13", (1080, 2400, 3.0), 8, 128),
    Model("vivo 2120", "11", (720, 1600, 2.0), 8, 32),
)
IOS = (
    Model("iPhone10,4", "16.7.10", (750, 1334, 2.0), 6, 64),
    Model("iPhone11,8", "17.6.1", (828, 1792, 2.0), 6, 64),
    Model("iPhone12,1", "18.3.1", (828, 1792, 2.0), 6, 128),
    Model("iPhone13,2", "18.5", (1170, 2532, 3.0), 6, 128),
    Model("iPhone14,5", "18.5", (1170, 2532, 3.0), 6, 256),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phones:
    """One row a phone. `advertising_id` is GAID or IDFA, all zeros where the owner switched it off.

    `att_status` is that of an iPhone (0 not determined, 2 denied, 3 authorised), -1 on Android.
    """

    ios: Flags
    model: Ints
    advertising_id: tuple[str, ...]
    idfv: tuple[str, ...]
    att_status: Ints
    limited: Flags
    carrier: Ints
    ip: tuple[str, ...]
    free_gb: Ints


def phones_of(parameters: Parameters, rng: np.random.Generator, ios: Flags) -> Phones:
    """A phone for each entry of `ios`, with ids of the platform's form (iOS writes them in capitals)."""
    settings, count = parameters.phones, len(ios)
    model = np.where(ios, rng.integers(0, len(IOS), count), rng.integers(0, len(ANDROID), count))
    asked = rng.random(count)
    att = np.where(asked < settings.att_authorised, 3, 0)
    att = np.where(
        (asked >= settings.att_authorised) & (asked < settings.att_authorised + settings.att_denied), 2, att
    )
    limited = np.where(ios, att != 3, rng.random(count) < settings.limit_ad_tracking)
    ids = uuids(rng, count)
    vendor = uuids(rng, count)
    apple = ios.tolist()
    advertising = (
        ZERO_ID if off else (text.upper() if i else text)
        for off, text, i in zip(limited.tolist(), ids, apple, strict=True)
    )
    # Addresses of the three documentation networks (RFC 5737): nobody's.
    nets = ("192.0.2", "198.51.100", "203.0.113")
    net, host = rng.integers(0, 3, count).tolist(), rng.integers(1, 255, count).tolist()
    storage = np.where(
        ios,
        np.array([m.storage_gb for m in IOS])[np.where(ios, model, 0)],
        np.array([m.storage_gb for m in ANDROID])[np.where(ios, 0, model)],
    )
    return Phones(
        ios=ios,
        model=model.astype(np.int64),
        advertising_id=tuple(advertising),
        idfv=tuple(text.upper() if i else "" for text, i in zip(vendor, apple, strict=True)),
        att_status=np.where(ios, att, -1).astype(np.int64),
        limited=np.asarray(limited),
        carrier=rng.integers(0, max(1, len(parameters.lender.carriers)), count),
        ip=tuple(f"{nets[n]}.{h}" for n, h in zip(net, host, strict=True)),
        free_gb=np.maximum(1, np.floor(storage * rng.uniform(0.02, 0.6, count))).astype(np.int64),
    )


def uuids(rng: np.random.Generator, count: int) -> list[str]:
    """Random (version 4) UUIDs, lower case."""
    high, low = rng.integers(0, 2**64, (2, count), dtype=np.uint64)
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    texts = (f"{h:016x}{w:016x}" for h, w in zip(high.tolist(), low.tolist(), strict=True))
    return [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts]


def firebase_ids(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """App instance ids: 32 hex digits."""
    high, low = rng.integers(0, 2**64, (2, count), dtype=np.uint64).tolist()
    return tuple(f"{h:016x}{w:016x}" for h, w in zip(high, low, strict=True))


def appsflyer_ids(rng: np.random.Generator, at: Ints, ios: Flags) -> tuple[str, ...]:
    """The install's milliseconds, a hyphen, and 19 random digits on Android or 7 on iOS."""
    long = rng.integers(0, 10**19, len(at), dtype=np.uint64).tolist()
    return tuple(
        f"{ms:013d}-{number % 10**7:07d}" if apple else f"{ms:013d}-{number:019d}"
        for ms, number, apple in zip(at.tolist(), long, ios.tolist(), strict=True)
    )


def models_of(ios: bool) -> Sequence[Model]:
    """The models of one platform."""
    return IOS if ios else ANDROID
