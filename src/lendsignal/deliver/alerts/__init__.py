"""Telling people that something is wrong, and that it is well again: whom, when, and how.

What sends is in `telling`, apart from the rest so that no role loads a mail client to read its settings.
"""

from lendsignal.deliver.alerts.settings import AlertSettings, HealthSettings

__all__ = ["AlertSettings", "HealthSettings"]
