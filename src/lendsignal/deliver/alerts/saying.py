"""What a target is to be told at a moment: each alarm once, again after a while, and its end.

A pure function of what is open, what the target knows, and the time.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from zoneinfo import ZoneInfo

from lendsignal.clock import from_us
from lendsignal.deliver.alerts.forms import Message
from lendsignal.deliver.alerts.settings import AlertSettings
from lendsignal.log import Raised, Told


def due(
    raised: Iterable[Raised],
    told: Iterable[Told],
    target: AlertSettings,
    silenced: Collection[str],
    now_us: int,
) -> list[Message]:
    """What the target is to be told now. `told` is what it knows; times are microseconds since 1970.

    In quiet hours only what is critical is told; the rest, if it is still open, when they end. Silenced
    alarms are not told at all; that they ended is.
    """
    known = {one.key: one for one in told}
    is_open = {one.key for one in raised}
    hushed = is_quiet(target, now_us)
    repeat_us = (target.repeat or timedelta(0)) // timedelta(microseconds=1)
    found: list[Message] = []
    for one in raised:
        before = known.get(one.key)
        if one.key in silenced or not wanted(one.kind, one.severity, target):
            continue
        if hushed and one.severity != "critical":
            continue
        worse = before is not None and before.severity != one.severity == "critical"
        again = before is not None and repeat_us > 0 and now_us - before.at_us >= repeat_us
        if before is None or worse or again:
            found.append(
                Message(
                    key=one.key,
                    state="again" if before is not None else "open",
                    kind=one.kind,
                    severity=one.severity,
                    said=one.said,
                    do=one.do,
                    since_us=one.since_us,
                    at_us=now_us,
                )
            )
    for before in known.values():
        if before.key not in is_open and not (hushed and before.severity != "critical"):
            found.append(
                Message(
                    key=before.key,
                    state="well",
                    kind=before.kind,
                    severity=before.severity,
                    said=before.said,
                    do="",
                    since_us=before.since_us,
                    at_us=now_us,
                )
            )
    return found


def wanted(kind: str, severity: str, target: AlertSettings) -> bool:
    """Whether such alarms are for this target."""
    urgent = target.severity == "warning" or severity == "critical"
    return target.enabled and urgent and (not target.only or kind in target.only)


def is_quiet(target: AlertSettings, now_us: int) -> bool:
    """Whether the target's quiet hours last at that moment; they may reach over midnight."""
    hours = target.quiet_minutes()
    if hours is None:
        return False
    begin, end = hours
    local = from_us(now_us).astimezone(ZoneInfo(target.timezone))
    minute = local.hour * 60 + local.minute
    return begin <= minute < end if begin <= end else minute >= begin or minute < end
