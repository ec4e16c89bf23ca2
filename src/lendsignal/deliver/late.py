"""The door to the network before anything went through it: libcurl is loaded with the first request."""

import select
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lendsignal.deliver.wire import Done, Wire

if TYPE_CHECKING:
    from lendsignal.deliver.transport import Transport


class LateTransport:
    """A `Transport` that takes no memory until something is to be sent: until then only bells end a wait."""

    def __init__(
        self,
        bells: Iterable[tuple[Any, Callable[[], None]]] = (),
        may_leave: Callable[[], bool] | None = None,
    ) -> None:
        self._bells = tuple(bells)
        self._may_leave = may_leave
        self._transport: Transport | None = None
        self._epoll = select.epoll()
        self._quiet: dict[int, Callable[[], None]] = {}
        for bell, quiet in self._bells:
            fd = bell if isinstance(bell, int) else bell.fileno()
            self._quiet[fd] = quiet
            self._epoll.register(fd, select.EPOLLIN)

    def __len__(self) -> int:
        return 0 if self._transport is None else len(self._transport)

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None:
        """As `Transport.start`."""
        if self._transport is None:
            from lendsignal.deliver.transport import Transport

            self._transport = Transport(self._bells, self._may_leave)
        self._transport.start(wire, token, timeout_seconds, private=private)

    def wait(self, seconds: float) -> list[Done]:
        """As `Transport.wait`."""
        if self._transport is not None:
            return self._transport.wait(seconds)
        for fd, _ in self._epoll.poll(seconds):
            self._quiet[fd]()
        return []

    def close(self) -> None:
        """As `Transport.close`."""
        self._epoll.close()
        if self._transport is not None:
            self._transport.close()
