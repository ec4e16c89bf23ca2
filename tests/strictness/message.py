"""A destination's request taken apart, so that one place of it can be changed, and put together again."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from msgspec import Struct

from lendsignal.deliver.wire import Wire
from lendsignal.sandbox import Asked


class Inside(dict[str, Any]):
    """A JSON object that stands in a request as text."""


class Message(Struct, frozen=True, kw_only=True):
    """A request taken apart. `body` is JSON with the text that holds JSON opened; `form` says how it goes."""

    host: str
    method: str
    path: str
    query: dict[str, Any]
    headers: dict[str, str]
    body: Any = None
    form: bool = False
    raw: bytes | None = None


def taken_apart(sent: Wire) -> Message:
    """What was about to be put on the wire. What is signed over its bytes keeps them."""
    url = urlsplit(sent.url)
    headers = {name.lower(): value for name, value in sent.headers}
    form = headers.get("content-type", "").startswith("application/x-www-form")
    body = dict(parse_qsl(sent.body.decode())) if form else msgspec.json.decode(sent.body or b"null")
    return Message(
        host=url.hostname or "",
        method=sent.method,
        path=url.path,
        query=dict(parse_qsl(url.query)),
        headers=headers,
        body=opened(body),
        form=form,
        raw=sent.body if "webhook-signature" in headers else None,
    )


def opened(value: Any) -> Any:
    """JSON with every text that holds a JSON object opened."""
    match value:
        case dict():
            return {key: opened(inner) for key, inner in value.items()}
        case list():
            return [opened(inner) for inner in value]
        case str() if value.startswith("{"):
            return Inside(opened(msgspec.json.decode(value)))
        case _:
            return value


def closed(value: Any) -> Any:
    """The other way round."""
    match value:
        case Inside():
            return msgspec.json.encode({key: closed(inner) for key, inner in value.items()}).decode()
        case dict():
            return {key: closed(inner) for key, inner in value.items()}
        case list():
            return [closed(inner) for inner in value]
        case _:
            return value


def asked(message: Message) -> Asked:
    """The message as a stand-in is asked it."""
    if message.raw is not None:
        body = message.raw
    elif message.form:
        body = urlencode({key: as_text(value) for key, value in message.body.items()}).encode()
    else:
        body = b"" if message.body is None else msgspec.json.encode(closed(message.body))
    return Asked(
        host=message.host,
        method=message.method,
        path=message.path,
        query=urlencode({key: as_text(value) for key, value in message.query.items()}),
        headers=message.headers,
        body=body,
    )


def as_text(value: Any) -> str:
    """A value in a form or an address, where everything is text."""
    plain = closed(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
