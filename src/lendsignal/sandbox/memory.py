"""What the stand-ins took and refused, in one append-only file; counts are kept beside it in memory."""

import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.sandbox.verdict import Answer, Refused, Taken

FILE = "received.jsonl"
ENCODE = msgspec.json.Encoder().encode
DECODER: msgspec.json.Decoder[Taken | Refused] = msgspec.json.Decoder(Taken | Refused)


CHANGED_LATER = frozenset(
    ("google_ads", "google_ads_adjustment", "google_data_manager", "google_data_manager_restatement")
)
"""What Google has once can be changed later: of these the last that was told is remembered."""


class Account:
    """The counts of one account on one platform."""

    def __init__(self, platform: str, account: str) -> None:
        self.platform = platform
        self.account = account
        self.received = self.no_id = self.unrecorded = self.redated = 0
        self.ids: dict[str, int] = {}
        self.names: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.last: dict[str, tuple[str | None, int | None]] = {}

    def add(self, entry: Taken | Refused) -> None:
        if isinstance(entry, Refused):
            self.refused[entry.reason] += entry.rows
            return
        self.received += 1
        self.names[entry.name] += 1
        self.unrecorded += not entry.recorded
        self.redated += entry.occurred_us is not None and entry.occurred_us != entry.stamped_us
        self.warnings.update(entry.warnings)
        if entry.conversion_id is None:
            self.no_id += 1
        else:
            self.ids[entry.conversion_id] = self.ids.get(entry.conversion_id, 0) + 1
            if self.platform in CHANGED_LATER:
                self.last[entry.conversion_id] = (entry.value, entry.occurred_us)

    def summary(self) -> dict[str, Any]:
        return {
            "platform": self.platform,
            "account": self.account,
            "received": self.received,
            "distinct_ids": len(self.ids),
            "repeated_ids": sum(1 for count in self.ids.values() if count > 1),
            "repeats": self.received - self.no_id - len(self.ids),
            "without_id": self.no_id,
            "unrecorded": self.unrecorded,
            "redated": self.redated,
            "refused": sum(self.refused.values()),
            "names": dict(self.names),
            "reasons": dict(self.refused),
            "warnings": dict(self.warnings),
        }


class Page(Struct, frozen=True, kw_only=True):
    """Lines of the file as they stand, and where the next page starts; `None` at the end."""

    lines: list[bytes]
    next: int | None


class Memory:
    """Remembers every conversion taken and every refusal.

    With a folder, what was kept survives the process; without, it ends with it. A line half written by a
    process that was killed is dropped at the next start: its sender had no answer.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        else:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise LogError(f"{folder}: {error.strerror}") from error
        self._forget()
        self._load()

    def keep(self, answer: Answer) -> None:
        """Write down what an answer took and refused; it is in the file when this returns."""
        entries: tuple[Taken | Refused, ...] = (*answer.taken, *answer.refused)
        if not entries:
            return
        lines = [ENCODE(entry) + b"\n" for entry in entries]
        os.pwrite(self._fd, b"".join(lines), self._end)
        for entry, line in zip(entries, lines, strict=True):
            self._count(entry, len(line))

    def summary(self) -> list[dict[str, Any]]:
        """The counts of each account, by platform and account."""
        accounts = sorted(self._accounts, key=lambda each: (each.platform, each.account))
        return [account.summary() for account in accounts]

    def ids(self, platform: str | None = None, account: str | None = None) -> dict[str, int]:
        """Each conversion id with how often it was taken, over the accounts that match."""
        found: Counter[str] = Counter()
        for each in self._accounts:
            if platform in (None, each.platform) and account in (None, each.account):
                found.update(each.ids)
        return dict(found)

    def has(self, platform: str, account: str, conversion_id: str) -> bool:
        """Whether that account took a conversion of this id."""
        number = self._numbers.get((platform, account))
        return number is not None and conversion_id in self._accounts[number].ids

    def last(self, platform: str, account: str, conversion_id: str) -> tuple[str | None, int | None]:
        """The value and the time that were told last of this id, in one of `CHANGED_LATER`; nothing, where
        nothing was."""
        number = self._numbers.get((platform, account))
        known = None if number is None else self._accounts[number].last.get(conversion_id)
        return known or (None, None)

    def page(
        self,
        kind: str,
        *,
        platform: str | None = None,
        account: str | None = None,
        conversion_id: str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> Page:
        """Up to `limit` entries of a kind (`taken`, `refused`) from position `after` on, oldest first."""
        wanted = {
            number * 2 + (kind == "refused")
            for number, each in enumerate(self._accounts)
            if platform in (None, each.platform) and account in (None, each.account)
        }
        part = None if conversion_id is None else b'"conversion_id":' + ENCODE(conversion_id)
        lines: list[bytes] = []
        for at in range(after, len(self._owner)):
            if self._owner[at] not in wanted:
                continue
            if len(lines) == limit:
                return Page(lines=lines, next=at)
            line = os.pread(self._fd, self._start[at + 1] - self._start[at] - 1, self._start[at])
            if part is None or part in line:
                lines.append(line)
        return Page(lines=lines, next=None)

    def taken(self, platform: str | None = None, account: str | None = None) -> Iterator[Taken]:
        """Every conversion taken, oldest first."""
        for line in self.page("taken", platform=platform, account=account, limit=len(self._owner)).lines:
            entry = DECODER.decode(line)
            assert isinstance(entry, Taken)
            yield entry

    def reset(self) -> None:
        """Forget everything."""
        os.ftruncate(self._fd, 0)
        self._forget()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _forget(self) -> None:
        self._accounts: list[Account] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._start = array("Q", [0])
        self._owner = array("L")

    @property
    def _end(self) -> int:
        return self._start[-1]

    def _load(self) -> None:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = DECODER.decode(line)
                except msgspec.DecodeError as error:
                    raise LogError(f"{FILE}: line {len(self._owner) + 1} cannot be read") from error
                self._count(entry, len(line))
        os.ftruncate(self._fd, self._end)

    def _count(self, entry: Taken | Refused, size: int) -> None:
        key = (entry.platform, entry.account)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._accounts)
            self._accounts.append(Account(*key))
        self._accounts[number].add(entry)
        self._owner.append(number * 2 + isinstance(entry, Refused))
        self._start.append(self._end + size)
