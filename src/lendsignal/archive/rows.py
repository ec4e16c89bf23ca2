"""What the log and the deliveries keep, as rows of the archive's tables. Pure: same record, same row."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from operator import attrgetter
from typing import Any

import msgspec

from lendsignal.archive.layout import Row
from lendsignal.log import Fact, Receipt
from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, Device, IdKind, id_of, is_touch, key_of, to_us
from lendsignal.plan import Corrected, Planned, Rebound, Withdrawn, delivery_id, event_of
from lendsignal.resolve import Binding

_IDS = tuple(kind for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED) if kind is not IdKind.META_ANON_ID)
"""The ids in the order of their columns."""

_ORDER = (
    "appsflyer_id adjust_adid firebase_app_instance_id branch_identity singular_sdid kochava_device_id "
    "gaid idfa idfv oaid android_id"
).split()
assert sorted(_ORDER) == sorted(kind.value for kind in _IDS), "every id has its column"

_KINDS = tuple(IdKind(name) for name in _ORDER)
_NO_IDS = (None,) * len(_KINDS)
_EVERY_KIND = (*_KINDS, IdKind.META_ANON_ID)
SEPARATOR = "\x1f"
"""What stands between the parts of what is hashed."""

_json = msgspec.json.Encoder(order="sorted").encode

_shown: Callable[[Device], tuple[Any, ...]] = attrgetter(
    *"os os_version model app_version locale timezone carrier att_status limit_ad_tracking emulator".split()
)
_said = attrgetter(
    *"application_id grant_id loan_id payment_id loan_number product amount currency fee principal limit "
    "term_days due_date outstanding closes_loan dpd score score_version".split()
)


def event_row(fact: Fact, verdict: str) -> Row:
    """An event with what was decided of it. Contacts and consents stay in the log; devices are touches."""
    event = fact.event
    user = key_number(event.brand, event.user_id)
    key = event.user_id if event.type == "registered" else key_of(event)
    return (
        fact.seq,
        event.event_id,
        event.type,
        event.brand,
        event.user_id,
        event.person_id,
        event.app,
        event.source,
        to_us(event.occurred_at),
        to_us(event.received_at),
        event.time_precision,
        verdict,
        event.revision,
        event.actor,
        event.purpose,
        event.test,
        event.history,
        " ".join(event.flags),
        *_said(event),
        _json(event.properties).decode() if event.properties else None,
        user,
        None if key is None else key_number(user, event.type, key),
        None if event.loan_id is None else key_number(user, event.loan_id),
    )


def touch_row(fact: Fact, verdict: str, default_app: Callable[[str], str | None]) -> Row | None:
    """A touch that was taken; `None`: it is none. `default_app` names the app of a brand that has one."""
    event = fact.event
    if verdict != "taken" or not is_touch(event) or event.device is None:
        return None
    app = event.app or default_app(event.brand)
    return (
        fact.seq,
        event.event_id,
        event.type,
        event.brand,
        event.user_id,
        app,
        to_us(event.occurred_at),
        to_us(event.received_at),
        event.test,
        *_shown(event.device),
        *_ids_of(event.device),
        id_of(event.device, IdKind.META_ANON_ID),
        shown_by(app or "", event.device),
        key_number(event.brand, event.user_id),
    )


def instalment_rows(fact: Fact) -> Iterator[Row]:
    """What a loan is to bring, one row for each day it is due."""
    event = fact.event
    for place, one in enumerate(event.schedule):
        yield (
            fact.seq,
            place,
            event.brand,
            event.user_id,
            event.loan_id,
            one.due_date,
            one.amount,
            event.currency,
            to_us(event.received_at),
        )


def conversion_row(number: int, record: Planned | Rebound) -> Row:
    """A derived conversion, on the device of the last login and on that of the first installation."""
    conversion, origin = record.conversion, record.conversion.origin
    amount, fee = origin.amount, origin.fee
    return (
        number,
        record.record if isinstance(record, Rebound) else None,
        conversion.id,
        conversion.name,
        event_of(number)[0],
        origin.event_id,
        origin.brand,
        origin.user_id,
        origin.loan_id,
        origin.payment_id,
        origin.loan_number,
        origin.occurred_us,
        origin.received_us,
        record.at_us,
        None if amount is None else amount.amount,
        None if amount is None else amount.currency,
        None if fee is None else fee.amount,
        conversion.certain,
        conversion.predicted,
        conversion.tier_version,
        origin.test,
        conversion.history,
        *_place(record.binding),
        *_place(record.first_install),
        *_bound_ids(record.binding),
        *_bound_ids(record.first_install),
        origin.event_type,
        _meta_of(record.binding),
        _meta_of(record.first_install),
        _shown_of(record.binding),
        _shown_of(record.first_install),
        len(record.entries),
        key_number(origin.brand, origin.user_id),
        origin.app,
    )


def delivery_rows(number: int, record: Planned | Rebound | Corrected) -> Iterator[Row]:
    """The deliveries that a decision planned, those that are skipped at once included.

    A correction's are no rebinding's and have no row in `conversions`: nothing new happened.
    """
    for place, entry in enumerate(record.entries):
        value = entry.value
        yield (
            delivery_id(number, place),
            number,
            record.record if isinstance(record, Rebound) else None,
            record.conversion.id,
            record.conversion.name,
            entry.destination,
            entry.kind,
            entry.name,
            None if value is None else value.amount,
            None if value is None else value.currency,
            entry.unvalued,
            None if entry.skip is None else entry.skip.value,
            record.at_us,
            entry.settle_us,
        )


def withdrawal_row(number: int, record: Withdrawn) -> Row:
    """A plan that was taken back."""
    skip = None if record.skip is None else record.skip.value
    return (number, record.record, record.reason, skip, record.at_us)


def outcome_row(pack: int, place: int, receipt: Receipt) -> Row:
    """What came of a try. The answer stays with the deliveries: platforms may repeat what is personal."""
    return (
        pack,
        place,
        receipt.id,
        receipt.destination,
        receipt.what,
        receipt.reason,
        receipt.attempt,
        receipt.sent_us or None,
        receipt.answered_us,
        receipt.status or None,
    )


def _ids_of(device: Device) -> Row:
    return tuple([id_of(device, kind) for kind in _KINDS])


def _bound_ids(binding: Binding | None) -> Row:
    return _NO_IDS if binding is None else _ids_of(binding.snapshot.device)


def shown_by(app: str, device: Device) -> int | None:
    """A number for what a snapshot shows, the same in every archive: a hash of its app and its ids."""
    ids = [id_of(device, kind) for kind in _EVERY_KIND]
    if not any(ids):
        return None
    return key_number(app, *(one or "" for one in ids))


def key_number(*parts: str | int) -> int:
    """A number that is equal where all parts are, the same in every archive: the beginning of a hash."""
    return int.from_bytes(sha256(SEPARATOR.join(map(str, parts)).encode()).digest()[:8], "big", signed=True)


def _meta_of(binding: Binding | None) -> str | None:
    return None if binding is None else id_of(binding.snapshot.device, IdKind.META_ANON_ID)


def _shown_of(binding: Binding | None) -> int | None:
    return None if binding is None else shown_by(binding.snapshot.app, binding.snapshot.device)


def _place(binding: Binding | None) -> Row:
    return (None, None) if binding is None else (binding.snapshot.app, binding.at_us)
