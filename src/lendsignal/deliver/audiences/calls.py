"""One account's way to its platform: paced, signed, tried again, and ended by a decision.

A call either ends with outcomes, or the account can do nothing for now (`NotNow`), or a person must act
(`MustAct`). Lists are sets: what may have arrived is sent again without harm.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from lendsignal.clock import Clock
from lendsignal.deliver.audiences.settings import AccountPlan
from lendsignal.deliver.pace import Pace
from lendsignal.deliver.tokens import HOST as GOOGLE_HOST
from lendsignal.deliver.tokens import SPARE_SECONDS, token_request
from lendsignal.deliver.wire import (
    FETCHED_TOKEN,
    Done,
    MissingSecret,
    NoAnswer,
    Wire,
    secrets_of,
    wire,
)
from lendsignal.destination.audiences.shape import FileAuth, RefreshAuth, Upload
from lendsignal.destination.spec import Bearer, GoogleAuth, Request, Response, body_json, by_status
from lendsignal.errors import LendsignalError
from lendsignal.model import Outcome, Paused, Rejected, Retry

LOOK_SECONDS = 0.25
"""How long one look for an answer takes at most; the request's own timeout ends the looking."""

TRIES = 5
"""Times that a call is tried within one run before the account waits for the next."""

BOUNDARY = "lendsignal-7d1f0c6a5b3e4f"
"""Between the parts of a form with a file: no line of a list looks like it."""


class NotNow(LendsignalError):
    """The account can do nothing for so many seconds; what is open stays open."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class MustAct(LendsignalError):
    """Token, permission, set-up or terms: a person must act."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Network(Protocol):
    """What puts a request on the wire (`deliver.transport.Transport`)."""

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None: ...

    def wait(self, seconds: float) -> list[Done]: ...

    def close(self) -> None: ...


class Calls:
    """The calls of one account, one after the other."""

    def __init__(
        self, plan: AccountPlan, clock: Clock, network: Network, sandbox: str | None, stopping: Event
    ) -> None:
        spec = plan.module.SPEC
        self._plan = plan
        self._spec = spec
        self._clock = clock
        self._network = network
        self._sandbox = sandbox
        self._stopping = stopping
        self._secrets: dict[str, str | None] = secrets_of(plan.own)
        self._token_until = 0.0
        self._pace = Pace(plan.common.per_second or spec.per_second, spec.burst, time.monotonic())

    def tell(
        self, request: Request | Upload, read: Callable[[Response], Sequence[Outcome]]
    ) -> tuple[Response, Sequence[Outcome]]:
        """Sends a request until it is decided; what was read holds no retry and no pause.

        Raises `NotNow` where the platform wants to be left alone or does not answer, `MustAct` where a
        person must act.
        """
        again = False
        for number in range(TRIES):
            self._wait_for_turn()
            answer = self._exchange(request)
            if isinstance(answer, NoAnswer):
                self._rest(number, Retry(answer.reason))
                continue
            outcomes = read(answer)
            first = next((one for one in outcomes if isinstance(one, Retry | Paused)), None)
            if answer.status == 401 and self._token_until and not again:
                again, self._token_until = True, 0.0  # ended before its time: another is fetched once
                continue
            if isinstance(first, Paused):
                raise MustAct(first.reason)
            if isinstance(first, Retry):
                self._rest(number, first)
                continue
            self._pace.taken()
            return answer, outcomes
        raise NotNow("no_answer", self._plan.common.patience.total_seconds())

    def _wait_for_turn(self) -> None:
        while not self._pace.take(time.monotonic()):
            self._sleep(self._pace.ready_in(time.monotonic()))

    def _rest(self, number: int, retry: Retry) -> None:
        """Waits before the next try, or gives the run up where that takes too long."""
        common = self._plan.common
        if retry.counts:
            seconds = common.first_retry.total_seconds() * 2**number
            if retry.after is not None:
                seconds = max(seconds, retry.after.total_seconds())
        else:
            now = time.monotonic()
            self._pace.slow_down(retry.after, now, int(now * 1e6))
            seconds = self._pace.waits_until_us / 1e6 - now
        if seconds > common.patience.total_seconds() or number + 1 == TRIES:
            raise NotNow(retry.reason, max(seconds, common.first_retry.total_seconds()))
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(max(0.0, seconds)):
            raise NotNow("stopping", 0.0)

    def _exchange(self, request: Request | Upload) -> Response | NoAnswer:
        spec = self._spec
        auth: Any = spec.auth
        try:
            if isinstance(auth, GoogleAuth | RefreshAuth):
                refused = self._fetched(auth)
                if refused is not None:
                    return refused
            if isinstance(auth, RefreshAuth):
                auth = Bearer(FETCHED_TOKEN)
            ready = self._wire(request, auth, spec.hosts)
        except MissingSecret as error:
            raise MustAct("bad_credentials") from error
        answer = self._answer_to(ready)
        if isinstance(answer, Response) and spec.used_percent is not None:
            used = spec.used_percent(answer)
            if used is not None:
                self._pace.used(used, time.monotonic())
        return answer

    def _wire(self, request: Request | Upload, auth: Any, hosts: tuple[str, ...]) -> Wire:
        bare = Request(method="POST", url=request.url) if isinstance(request, Upload) else request
        if isinstance(auth, FileAuth):
            raise MissingSecret("a file has no address")
        secrets: Mapping[str, str | None] = self._secrets
        ready = wire(bare, auth, secrets, hosts=hosts, sandbox=self._sandbox, now_us=self._clock.now_us())
        if not isinstance(request, Upload):
            return ready
        kind = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        return msgspec.structs.replace(ready, headers=(*ready.headers, kind), body=multipart(request))

    def _answer_to(self, ready: Wire) -> Response | NoAnswer:
        self._network.start(ready, None, self._plan.common.timeout.total_seconds())
        while True:
            for done in self._network.wait(LOOK_SECONDS):
                return done.result

    def _fetched(self, auth: GoogleAuth | RefreshAuth) -> NoAnswer | None:
        """A token that lives, fetched where there is none."""
        if time.monotonic() < self._token_until:
            return None
        if isinstance(auth, GoogleAuth):
            asked = token_request(self._secrets.get(auth.field) or "", auth.scope, self._clock.now_us())
            host = GOOGLE_HOST
        else:
            fields = {
                name: self._secrets.get(field) or ""
                for name, field in (
                    ("client_id", auth.client_id),
                    ("client_secret", auth.client_secret),
                    ("refresh_token", auth.refresh_token),
                )
            }
            asked = Request(method="POST", url=auth.url, form={**fields, "grant_type": "refresh_token"})
            host = urlsplit(auth.url).hostname or ""
        answer = self._answer_to(self._wire(asked, Bearer("", optional=True), (host,)))
        if isinstance(answer, NoAnswer):
            return answer
        said = body_json(answer)
        if answer.status == 200 and isinstance(said, dict) and isinstance(said.get("access_token"), str):
            lifetime = float(said.get("expires_in") or 1800)
            self._token_until = time.monotonic() + max(1.0, lifetime - SPARE_SECONDS)
            self._secrets[FETCHED_TOKEN] = said["access_token"]
            return None
        if isinstance(by_status(answer), Rejected | Paused):
            raise MustAct("bad_credentials")
        return NoAnswer("no_token", left=False)


def multipart(upload: Upload) -> bytes:
    """A form with one file, as RFC 7578 has it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in upload.fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{upload.name}"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    )
    return b"".join([*parts, head.encode(), upload.content, f"\r\n--{BOUNDARY}--\r\n".encode()])
