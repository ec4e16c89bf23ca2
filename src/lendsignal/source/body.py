"""The bodies of requests: unpacked, and never more in memory than allowed, one by one and together."""

import asyncio
import zlib
from collections.abc import Mapping

from lendsignal.source.answers import Receive, Refusal

SECONDS = 60.0
"""How long a body may take: who dribbles would keep from others what may be held together."""


class Held:
    """The bytes of all requests that are being answered: at the limit, who comes is told to come again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.now = 0

    def add(self, size: int) -> None:
        """Counts bytes that came in. Raises `Refusal` where that is too many, unless there are no others."""
        if self.now and self.now + size > self._limit:
            raise Refusal(429, "too many requests", "come again in a second", why="held", retry_after=1)
        self.now += size

    def let_go(self, size: int) -> None:
        """Counts bytes whose request is answered."""
        self.now -= size


class Body:
    """One request's body. What it holds of `held` is let go when the block ends."""

    def __init__(
        self, headers: Mapping[bytes, bytes], limit: int, held: Held, *, seconds: float = SECONDS
    ) -> None:
        self._headers = headers
        self._seconds = seconds
        self._limit = limit
        self._held = held
        self._size = 0

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.let_go(self._size)

    async def read(self, receive: Receive) -> bytes:
        """All of it, unpacked. Raises `Refusal`, also where it takes too long."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._whole(receive)
        except TimeoutError:
            raise Refusal(408, "too slow", f"a body may take {self._seconds:g} seconds", why="slow") from None

    async def _whole(self, receive: Receive) -> bytes:
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large()
        encoding = self._headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"gzip", b""):
            raise Refusal(415, "unsupported encoding", "content-encoding may be gzip or absent")
        unpacker = _Unpacker() if encoding == b"gzip" else None
        parts: list[bytes] = []
        arrived = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "request ended early", "the connection closed before the body was whole")
            part: bytes = message.get("body", b"")
            arrived += len(part)
            if arrived > self._limit:
                raise self._too_large()
            if unpacker is not None:
                try:
                    part = unpacker.unpacked(part, self._limit + 1 - self._size)
                except zlib.error:
                    raise Refusal(400, "malformed gzip", "the body is not whole gzip data") from None
            if self._size + len(part) > self._limit:
                raise self._too_large()
            self._held.add(len(part))
            self._size += len(part)
            parts.append(part)
            more = message.get("more_body", False)
        if unpacker is not None and not unpacker.whole:
            raise Refusal(400, "malformed gzip", "the body is not whole gzip data")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> Refusal:
        return Refusal(413, "too large", f"a request may have {self._limit} bytes", why="size")


class _Unpacker:
    """Gzip, unpacked part by part. A body may be several members, one behind the other (RFC 1952, 2.2)."""

    MEMBERS = 1_000

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._members = 1

    @property
    def whole(self) -> bool:
        """Whether the data so far ends where a member ends."""
        return self._member.eof

    def unpacked(self, part: bytes, limit: int) -> bytes:
        """What the next part unpacks to, cut off at `limit` bytes; raises `zlib.error`."""
        found = b""
        while part and len(found) < limit:
            if self._member.eof:
                self._members += 1
                if self._members > self.MEMBERS:
                    raise zlib.error("too many members")
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += self._member.decompress(part, limit - len(found))
            part = self._member.unused_data
        return found
