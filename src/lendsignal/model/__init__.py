"""The nouns: events, devices, conversions, deliveries, outcomes."""

from lendsignal.model.app import App
from lendsignal.model.contact import Contact, contact_of
from lendsignal.model.conversion import Conversion, Delivery, Origin, Valued, conversion_id
from lendsignal.model.device import (
    DEVICE_SCOPED,
    INSTALL_SCOPED,
    ZERO_ID,
    Device,
    IdKind,
    id_of,
)
from lendsignal.model.event import (
    KEY_FIELD,
    ONCE_PER_KEY,
    TOUCH_TYPES,
    Consent,
    Event,
    EventType,
    Instalment,
    is_touch,
    key_of,
    person_key,
)
from lendsignal.model.moment import from_us, to_us
from lendsignal.model.money import ZERO_DECIMAL, Money, plain
from lendsignal.model.outcome import (
    Accepted,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
)
from lendsignal.model.secret import Secret, reveal

__all__ = [
    "DEVICE_SCOPED",
    "INSTALL_SCOPED",
    "KEY_FIELD",
    "ONCE_PER_KEY",
    "TOUCH_TYPES",
    "ZERO_DECIMAL",
    "ZERO_ID",
    "Accepted",
    "App",
    "Consent",
    "Contact",
    "Conversion",
    "Delivery",
    "Device",
    "Event",
    "EventType",
    "IdKind",
    "Instalment",
    "Money",
    "Origin",
    "Outcome",
    "Paused",
    "Pending",
    "Rejected",
    "Retry",
    "Secret",
    "Skip",
    "SkipReason",
    "Split",
    "Valued",
    "contact_of",
    "conversion_id",
    "from_us",
    "id_of",
    "is_touch",
    "key_of",
    "person_key",
    "plain",
    "reveal",
    "to_us",
]
