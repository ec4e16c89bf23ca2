"""What keeps intended and confirmed members, as the sending loop sees it (`audience.membership` is it)."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lendsignal.model.audience import Action, AudienceMember, Chunk, Counts, Sync


class Ledger(Protocol):
    """Everything is durable when it returns, and may be said twice."""

    def syncs(self) -> Sequence[Sync]:
        """Every list in every account as it stands."""

    def set_remote(self, sync: Sync, remote: str | None) -> None:
        """The platform's id of the list; `None`: it is there no more."""

    def note(self, sync: Sync, name: str, body: bytes | None) -> None:
        """Keeps something small, or lets it go."""

    def noted(self, sync: Sync, name: str) -> bytes | None:
        """What was kept under that name."""

    def counts(self, sync: Sync) -> Counts:
        """How far the list is."""

    def next(self, sync: Sync, action: Action, limit: int) -> Chunk | None:
        """Claims the next members to add or remove; `None`: nobody for now."""

    def open(self, sync: Sync) -> Sequence[Chunk]:
        """What was claimed and did not end."""

    def pending(self, sync: Sync, number: int, handle: str) -> None:
        """The platform says later what became of a chunk; an empty handle: it is to be sent again."""

    def confirm(self, sync: Sync, number: int, refused: Mapping[int, str] | None = None) -> None:
        """The platform took a chunk, all but the refused members."""

    def refuse(self, sync: Sync, number: int, reason: str) -> None:
        """The platform took nobody of a chunk."""

    def freeze(self, sync: Sync) -> None:
        """Holds the list as it is intended until `replaced` or `thaw`; open chunks are over."""

    def thaw(self, sync: Sync) -> None:
        """A replace was given up."""

    def everyone(self, sync: Sync, after: int | None, limit: int) -> Sequence[AudienceMember]:
        """Intended members by rising key."""

    def replaced(self, sync: Sync, refused: Mapping[int, str] | None = None) -> None:
        """The platform has just the frozen members, but the refused."""

    def matched(self, sync: Sync, size: int | None, rate: float | None, at_us: int) -> None:
        """What the platform tells of size and match rate."""

    def pause(self, sync: Sync, reason: str) -> None:
        """The list waits for a person."""

    def resume(self, sync: Sync) -> None:
        """It goes on."""
