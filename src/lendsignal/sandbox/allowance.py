"""How many requests a sender made within the last minute: what some platforms keep a bucket of."""

from collections import deque

MINUTE_US = 60_000_000


class Allowance:
    """Remembers, while the sandbox runs, the requests that each sender was allowed. A reset forgets all."""

    def __init__(self) -> None:
        self._allowed: dict[str, deque[int]] = {}

    def takes(self, who: str, now_us: int, most: int) -> bool:
        """Whether one more goes at `now_us` where `most` go in any minute; if so it is counted."""
        allowed = self._allowed.setdefault(who, deque())
        while allowed and allowed[0] <= now_us - MINUTE_US:
            allowed.popleft()
        if len(allowed) >= most:
            return False
        allowed.append(now_us)
        return True

    def forget(self) -> None:
        """Nothing was ever asked."""
        self._allowed.clear()
