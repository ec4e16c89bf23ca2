"""Requests made from the API's own description, right ones and wrong ones, and some of them bent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import Any
from urllib.parse import urlencode

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from msgspec import Struct
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

RIGHT: Mapping[str, Sequence[Any]] = {
    "brand": ("acme",),
    "app": ("acme-ng", None),
    "type": ("registered", "logged_in", "disbursed", "repaid", "credit_granted", "opened_a_letter"),
    "occurred_at": ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00+25:00", 1_763_626_530_000, -1, 10**30),
}
"""Of an event: without the right brand and a time that can be read, few would come past the first check."""


class Asked(Struct, frozen=True, kw_only=True):
    """One request as it leaves."""

    operation: str
    method: str
    path: str
    headers: Mapping[str, str | bytes]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path[:300]} {self.body[:300]!r}"


class Right(Struct, frozen=True, kw_only=True):
    """What a request needs to come past the first check, by the path that wants it."""

    headers: Mapping[str, Mapping[str, str]]
    """Of a path that is not named here: those of `/`."""
    parameters: Mapping[str, Mapping[str, str]]
    """Words in the path itself."""

    def headers_of(self, path: str) -> Mapping[str, str]:
        return self.headers.get(path, self.headers["/"])


def described(openapi: Mapping[str, Any]) -> dict[str, Any]:
    """The description with the made-up lender's own words where events of theirs are told."""
    found = deepcopy(dict(openapi))
    event = found["components"]["schemas"]["Event"]["properties"]
    for field, words in RIGHT.items():
        event[field] = {"enum": list(words)}
    return found


QUOTED = "X' UNION SELECT 1; --"
"""Ends a text in SQL, where somebody's word became part of it."""


def quoted(openapi: Mapping[str, Any], right: Right) -> Iterator[Asked]:
    """A request for each word of each query, with a quote in it and nothing else said."""
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            for word in operation.get("parameters", ()):
                if word["in"] == "query":
                    yield Asked(
                        operation=f"{method.upper()} {path}",
                        method=method.upper(),
                        path=f"{path.replace('{', '').replace('}', '')}?{urlencode({word['name']: QUOTED})}",
                        headers=right.headers_of(path),
                        body=b"",
                    )


def requests_of(
    openapi: Mapping[str, Any],
    seed: int,
    number: int,
    right: Right,
    send: Callable[[Asked], None],
) -> int:
    """Makes so many requests and hands each to `send`; how many it were.

    The same seed and description make the same requests. A description that can be followed in too few ways
    to get there ends with what there was.
    """
    made = 0
    schema = schemathesis.openapi.from_dict(described(openapi))
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    ways = [(operation, mode) for operation in operations for mode in GenerationMode]
    Random(seed).shuffle(ways)  # a short hail meets some of them, with more than each one's simplest case
    each = max(4, min(100, number // len(ways)))
    for turn in range(1, 2 + number):
        before = made
        for operation, mode in ways:

            def hand_over(case: Case[Any], bend: tuple[str, bytes]) -> None:
                nonlocal made
                asked = bent(case, right.headers_of(case.operation.path), bend)
                if asked is not None and made < number:
                    made += 1
                    send(asked)

            drawn(_cases(operation, mode, right), seed + turn, each, hand_over)
            if made >= number:
                return made
        if made == before:
            break
    return made


def _cases(operation: Any, mode: GenerationMode, right: Right) -> st.SearchStrategy[Case[Any]]:
    """Cases of an operation; where its path wants a secret, half of them know it."""
    some: st.SearchStrategy[Case[Any]] = operation.as_strategy(mode)
    known = right.parameters.get(operation.path)
    return (
        some if known is None else st.one_of(some, operation.as_strategy(mode, path_parameters=dict(known)))
    )


BENDS = st.one_of(
    st.tuples(st.just("none"), st.just(b"")),
    st.tuples(st.just("none"), st.just(b"")),
    st.tuples(
        st.sampled_from(["body", "tail", "cut", "gzip", "key", "type", "query"]), st.binary(max_size=40)
    ),
)


def drawn(
    cases: st.SearchStrategy[Case[Any]],
    seed: int,
    number: int,
    each: Callable[[Case[Any], tuple[str, bytes]], None],
) -> None:
    """Up to so many cases, each with a bend; none where there are no such cases."""

    @seeded(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, BENDS)
    def one(case: Case[Any], bend: tuple[str, bytes]) -> None:
        each(case, bend)

    try:
        one()
    except Unsatisfiable:  # such as a wrong request where nothing can be wrong
        return


def bent(case: Case[Any], right: Mapping[str, str], bend: tuple[str, bytes]) -> Asked | None:
    """The case as bytes, with a key that is right, and bent; `None` where HTTP itself forbids to send it."""
    try:
        words = case.as_transport_kwargs(base_url="http://door")
        words["headers"] = {**words["headers"], **right}
        del words["cookies"]
        prepared = requests.Request(**words).prepare()
    except (ValueError, TypeError, requests.RequestException):
        return None
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytes) else b""
    headers, path = dict(prepared.headers), prepared.path_url
    kind, noise = bend
    match kind:
        case "body":
            body = noise
        case "tail":
            body += noise
        case "cut":
            body = body[: len(body) // 2]
        case "gzip":
            headers["Content-Encoding"] = "gzip"
        case "key":
            headers["Authorization"] = noise.hex()
        case "type":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        case "query":
            path += "&" if "?" in path else "?"
            path += "".join(f"%{byte:02x}" for byte in noise) + "=" + noise.hex()
        case _:
            pass
    headers = {name: word for name, word in headers.items() if name.lower() not in ("content-length", "host")}
    return Asked(
        operation=case.operation.label, method=prepared.method or "GET", path=path, headers=headers, body=body
    )
