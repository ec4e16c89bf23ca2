"""When the tokens of destinations end, and who is to be warned of it.

Most platforms do not tell, so the day stands in the configuration (`token_expires`). What they do tell is on
docs/how-to/watch-tokens.md, read 2026-11-22.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from msgspec import Struct

from lendsignal.deliver.outlet import Outlet


class TokenEnd(Struct, frozen=True, kw_only=True):
    """When one destination's token ends. `left_seconds` is below zero once it has ended.

    `state`: `fine`, `soon` (within the warning time) or `ended`.
    """

    destination: str
    expires: date
    left_seconds: float
    state: Literal["fine", "soon", "ended"]

    def told(self) -> str:
        """That for people."""
        if self.state == "ended":
            return f"the token of {self.destination} ended on {self.expires}"
        days = int(self.left_seconds // 86_400)
        left = "less than a day" if days < 1 else "a day" if days == 1 else f"{days} days"
        return f"the token of {self.destination} ends on {self.expires}, in {left}"


def ends_at(expires: date) -> datetime:
    """The moment from which a token is counted as ended: the beginning of that day in UTC."""
    return datetime.combine(expires, time(), UTC)


def token_ends(outlets: Mapping[str, Outlet], warning: timedelta, now: datetime) -> list[TokenEnd]:
    """Every destination whose end of token is known, the first to end first."""
    found: list[TokenEnd] = []
    for name, outlet in outlets.items():
        expires = outlet.common.token_expires
        if expires is None:
            continue
        left = ends_at(expires) - now
        state: Literal["fine", "soon", "ended"] = (
            "ended" if left <= timedelta(0) else "soon" if left <= warning else "fine"
        )
        found.append(
            TokenEnd(destination=name, expires=expires, left_seconds=left.total_seconds(), state=state)
        )
    return sorted(found, key=lambda one: (one.expires, one.destination))
