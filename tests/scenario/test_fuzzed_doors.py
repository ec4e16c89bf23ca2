"""Whatever is sent to any path of the running door is answered, without a 5xx, a traceback or a secret."""

import http.client
import json
import random
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.fuzz.house import MMP, SECRETS, house
from tests.running import KEY, call, drawn_seed

REQUESTS = 1_500
AT, AT_THE_MMP = "2026-11-22T10:00:00Z", "2026-11-22 10:00:00.123"

NAMES = (
    "type brand user_id occurred_at event_id amount currency loan_id device app properties schedule score "
    "consent sent_at email phone received_at flags contact source revision history userId anonymousId "
    "messageId "
    "timestamp context integrations event traits batch sentAt writeKey appsflyer_id event_time install_time "
    "event_name media_source campaign activity_kind app_id created_at adid idfa kind happened_at "
    "conversion_type "
    "installation relay ids os locale timezone __class__"
).split()

VALUES: tuple[Any, ...] = (
    *"registered disbursed logged_in acme acme-ng u1 NGN 25000 install track com.acme.loans".split(),
    *"NaN 1e999999".split(),
    *(
        AT,
        AT_THE_MMP,
        "2026-11-22T10:00:00+25:00",
        "0001-01-01T00:00:00+23:59",
    ),
    *(1763626530, "1763626530", 253402300799999, -1, 0, True, None, 2**63, 10**30, 1.5, 1e308, ""),
    *(
        "\0",
        "\N{GRINNING FACE}",
        "a" * 300,
        "9" * 5_000,
        "1500000000000-1234567",
        "+2348012345678",
        "ada@acme.example",
    ),
)

SEGMENT = "track identify page screen group alias batch b import".split()
OTHERS = (
    "/",
    "/v1/",
    "/v1/pulled",
    "/v1/eventsx",
    "/v1/events/",
    "/v1/events/%00",
    "/v1/events/%ff",
    "/healthz",
)


class Chance:
    """Draws requests: half-right documents, bent bytes, wrong headers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        drawn = self._random.random()
        if depth < 4 and drawn < 0.12:
            return self.document(depth + 1)
        if depth < 4 and drawn < 0.2:
            return [self.value(depth + 1) for _ in range(self._random.randrange(4))]
        return self._random.choice(VALUES)

    def document(self, depth: int = 0, **right: Any) -> dict[str, Any]:
        """The right fields, with some others or some of them spoilt."""
        spoilt = {self._random.choice(NAMES): self.value(depth) for _ in range(self._random.randrange(5))}
        return {**right, **spoilt}

    def bytes_of(self, found: Any) -> bytes:
        """As JSON, now and then bent, cut off or nested without end."""
        raw, drawn = json.dumps(found).encode(), self._random.random()
        if drawn < 0.08:
            place = self._random.randrange(len(raw))
            return raw[:place] + self._random.randbytes(1) + raw[place + 1 :]
        if drawn < 0.14:
            return self._random.choice(
                (raw[: len(raw) // 2], b"[" * 100_000, b'{"a":' * 50_000, b"1" * 6_000, b"")
            )
        return raw

    def request(self) -> tuple[str, str, bytes, dict[str, str]]:
        """Method, path, body and headers."""
        made = self._random.choice(
            (self._events, self._segment, self._feed, self._feed, self._relay, self._other)
        )
        method, path, body, headers = made()
        if self._random.random() < 0.05:
            method = self._random.choice(("GET", "PUT", "HEAD", "OPTIONS", "DELETE"))
        if self._random.random() < 0.05:
            headers["Content-Encoding"] = self._random.choice(("gzip", "deflate", ""))
        if self._random.random() < 0.05:
            headers["Authorization"] = self._random.choice(
                ("", "Bearer", "Basic !", "Bearer \xff", "x" * 5_000)
            )
        return method, path, body, headers

    def _events(self) -> tuple[str, str, bytes, dict[str, str]]:
        right: dict[str, Any] = {
            "type": "disbursed",
            "brand": "acme",
            "user_id": "u1",
            "loan_id": "L1",
            "occurred_at": AT,
        }
        one = self.document(**right)
        body = self.bytes_of(self._random.choice((one, [one, self.document(**right)], [self.value()])))
        return "POST", "/v1/events", body, {"Authorization": f"Bearer {KEY}"}

    def _segment(self) -> tuple[str, str, bytes, dict[str, str]]:
        name = self._random.choice(SEGMENT)
        one = self.document(
            type="track", event="disbursed", userId="u1", messageId="m1", properties=self.value()
        )
        several = self.document(batch=[one, self.value()], sentAt=self.value(), context=self.value())
        found = several if name in ("batch", "b", "import") else one
        signed = {"Authorization": "Basic " + b64encode(f"{KEY}:".encode()).decode()}
        if self._random.random() < 0.2:
            found, signed = {**found, "writeKey": self._random.choice((KEY, self.value()))}, {}
        return "POST", f"/v1/{name}", self.bytes_of(found), signed

    def _feed(self) -> tuple[str, str, bytes, dict[str, str]]:
        kind = self._random.choice(("appsflyer", "adjust", "generic"))
        path = f"/v1/attribution/{kind}/{kind}/{self._random.choice((MMP, MMP, MMP, '%ff', ''))}"
        one = self.document(
            appsflyer_id="1500000000000-1234567",
            event_name="install",
            app_id="com.acme.loans",
            event_time=AT_THE_MMP,
            activity_kind="install",
            created_at="1763626530",
            adid="a1",
        )
        form = urlencode({**one, **{f"f{n}": n for n in range(self._random.choice((0, 0, 0, 500)))}})
        how: Callable[[], tuple[str, str, bytes, dict[str, str]]] = self._random.choice(
            (
                lambda: (
                    "POST",
                    path,
                    self.bytes_of(self._random.choice((one, [one, one], self.value()))),
                    {},
                ),
                lambda: ("GET", f"{path}?{form}", b"", {}),
                lambda: ("POST", path, form.encode(), {"Content-Type": "application/x-www-form-urlencoded"}),
            )
        )
        return how()

    def _relay(self) -> tuple[str, str, bytes, dict[str, str]]:
        path = self._random.choice(("/v1/relay/token", "/v1/relay/events", "/v1/relay/acknowledged"))
        word = self._random.choice((KEY, "a.b.c.d", "....", "relay-ng.x.99.y"))
        found = self.document(user_id="u1", installation="x")
        return "POST", path, self.bytes_of(found), {"Authorization": f"Bearer {word}"}

    def _other(self) -> tuple[str, str, bytes, dict[str, str]]:
        return (
            self._random.choice(("GET", "POST")),
            self._random.choice(OTHERS),
            b"{}",
            {"Authorization": f"Bearer {KEY}"},
        )


def status_of(
    connection: http.client.HTTPConnection, request: tuple[str, str, bytes, Mapping[str, str]]
) -> int:
    """The status of an answer; a connection that the server closed behind it is opened again."""
    method, path, body, headers = request
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    response.read()
    return response.status


def test_whatever_is_sent_to_any_path_is_answered_and_tells_no_secret(tmp_path: Path) -> None:
    chance = Chance(drawn_seed())
    with house(tmp_path) as one:
        connection = http.client.HTTPConnection(one.address, timeout=20)
        failed = []
        for _ in range(REQUESTS):
            request = chance.request()
            try:
                status = status_of(connection, request)
            except (http.client.RemoteDisconnected, ConnectionError):
                connection.close()  # it was closed behind the answer before: asked once more
                status = status_of(connection, request)
            if status >= 500:
                failed.append((status, *request))
        connection.close()
        ready = call(one.address, "GET", "/readyz")[0]
        said = one.said

    assert failed == []
    assert ready == 200
    assert "Traceback" not in said
    for secret in (KEY, *SECRETS.values(), "8012345678", "ada@acme"):
        assert secret not in said
