"""The latest time a platform has seen for each key: what some of them want to rise."""

from collections.abc import Iterable


class Latest:
    """Remembers, while the sandbox runs, the latest moment of each key. A reset forgets all."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, ...], int] = {}

    def of(self, keys: Iterable[tuple[str, ...]]) -> int | None:
        """The latest moment seen under any of the keys, `None` where they are new."""
        return max((self._latest[key] for key in keys if key in self._latest), default=None)

    def note(self, keys: Iterable[tuple[str, ...]], moment: int) -> None:
        """A moment was seen under all of the keys: one device goes by many ids."""
        for key in keys:
            self._latest[key] = max(moment, self._latest.get(key, moment))

    def forget(self) -> None:
        """Nothing was ever seen."""
        self._latest.clear()
