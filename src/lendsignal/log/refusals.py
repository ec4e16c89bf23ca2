"""What doors refused, wherever an install keeps it: in its log, or in the store that its nodes share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

from lendsignal.log.folder import DataFolder
from lendsignal.log.log import open_log
from lendsignal.log.quarantine import Kind, Mended, Quarantined, Wanted
from lendsignal.log.store import StoreSettings


class Refusals(Protocol):
    """The refused: looked at, mended, taken after all, or forgotten. See `quarantine.Quarantine`."""

    def find(self, wanted: Wanted, limit: int) -> list[Quarantined]: ...

    def one(self, id_: int) -> Quarantined | None: ...

    def count(self, wanted: Wanted) -> int: ...

    def kinds(self, wanted: Wanted | None = None) -> list[Kind]: ...

    def ask(self, wishes: Mapping[int, bytes], who: str, at_us: int) -> int: ...

    def drop(self, ids: Iterable[int], who: str, at_us: int) -> int: ...

    def asked(self, limit: int) -> list[Quarantined]: ...

    def settle(self, mended: Sequence[Mended]) -> int: ...

    def expire(self, before_us: int) -> int: ...


class Refusing(Protocol):
    """What has them beside it: a log, or the store."""

    @property
    def quarantine(self) -> Refusals: ...


@contextmanager
def refusing(
    folder: DataFolder, store: StoreSettings | None, *, read_only: bool = False
) -> Iterator[Refusing]:
    """What an install's doors refused, while the block runs; `store` is its configuration's.

    Raises `NotYet` where nothing came in yet, `LogError` where the folder or the store does not answer.
    """
    if store is None:
        with closing(open_log(folder.log, read_only=read_only)) as log:
            yield log
        return
    # With the store's client, which no other install has.
    from lendsignal.log.postgres.refused import stored_refusals

    with stored_refusals(store) as found:
        yield found
