"""A hail of requests on the running service: none is answered with a 5xx, and no secret is told."""

import http.client
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.fuzz.house import KEY_OF_ALL, MMP, SECRETS, house
from tests.fuzz.making import Asked, Right, quoted, requests_of
from tests.running import KEY, call

FEED = "/v1/attribution/{mmp}/{feed}/{secret}"
PAGES = "/v1/reports"
"""Answered by the role that makes the pages, at an address of its own."""


class Weather(Struct, kw_only=True):
    """What a hail came to."""

    seed: int
    sent: int = 0
    statuses: Counter[int]
    operations: Counter[str]
    undescribed: Counter[str]
    """Answers whose status the description does not know, by operation."""
    broken: list[str]

    def heard(self, asked: Asked, status: int, described: Container[str]) -> None:
        """Counts an answer; `described` holds the statuses that the description knows."""
        self.sent += 1
        self.statuses[status] += 1
        self.operations[asked.operation] += 1
        if status >= 500:
            self.broken.append(f"{status}: {asked}")
        if str(status) not in described:
            self.undescribed[f"{asked.operation} {status}"] += 1

    def told(self) -> dict[str, Any]:
        """As one line of JSON."""
        return {
            "seed": self.seed,
            "requests": self.sent,
            "operations": len(self.operations),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "undescribed": dict(self.undescribed.most_common()),
            "broken": self.broken[:20],
        }


class Sender:
    """Sends over connections that are kept, one to each address."""

    def __init__(self) -> None:
        self._lines: dict[str, http.client.HTTPConnection] = {}

    def status_of(self, address: str, asked: Asked) -> int:
        """The status; a connection that was closed behind the answer before is opened again, once."""
        try:
            return self._sent(address, asked)
        except (http.client.HTTPException, ConnectionError):
            self._lines.pop(address).close()
            return self._sent(address, asked)

    def _sent(self, address: str, asked: Asked) -> int:
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = http.client.HTTPConnection(address, timeout=60)
        line.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
        response = line.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


def hail(folder: Path, seed: int, number: int) -> Weather:
    """So many requests on a service of its own, made from what it says of itself."""
    basic = b64encode(f"{KEY_OF_ALL}:".encode()).decode()
    bearer = {"Authorization": f"Bearer {KEY_OF_ALL}"}
    weather = Weather(seed=seed, statuses=Counter(), operations=Counter(), undescribed=Counter(), broken=[])
    sender = Sender()
    try:
        with house(folder) as one:
            openapi = json.loads(call(one.address, "GET", "/openapi.json")[2])
            segment = {
                path: {"Authorization": f"Basic {basic}"}
                for path, kinds in openapi["paths"].items()
                if any({"writeKey": []} in kind.get("security", []) for kind in kinds.values())
            }
            right = Right(
                headers={"/": bearer, **segment},
                parameters={FEED: {"mmp": "appsflyer", "feed": "appsflyer", "secret": MMP}},
            )

            def at(path: str) -> str:
                return one.pages if path.startswith(PAGES) else one.address

            def send(asked: Asked) -> None:
                path = asked.operation.split()[1]
                try:
                    status = sender.status_of(at(path), asked)
                except (http.client.HTTPException, OSError) as error:
                    weather.broken.append(f"no answer ({type(error).__name__}): {asked}")
                    return
                except ValueError:  # HTTP itself forbids to send it
                    return
                operation = openapi["paths"][path][asked.operation.split()[0].lower()]
                weather.heard(asked, status, operation["responses"])

            for asked in quoted(openapi, right):
                send(asked)
            requests_of(openapi, seed, number, right, send)
            if call(one.address, "GET", "/readyz")[0] != 200:
                weather.broken.append("the service is not ready afterwards")
            said = one.said
            weather.broken += [f"it said: {line}" for line in said.splitlines() if "Traceback" in line]
            if any(secret in said for secret in (KEY, *SECRETS.values())):
                weather.broken.append("a secret was told")
    finally:
        sender.close()
    return weather
