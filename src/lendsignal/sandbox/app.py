"""The stand-ins over HTTP: the first path segment is the platform's host, `/_sandbox` is for looking in.

https://api3.appsflyer.com/inappevent/x  →  http://127.0.0.1:8900/api3.appsflyer.com/inappevent/x
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lendsignal.clock import Clock, SystemClock
from lendsignal.sandbox import (
    adjust,
    appsflyer,
    branch,
    forgetting,
    ga4,
    google,
    google_ads,
    google_app,
    google_data_manager,
    kochava,
    kwai,
    meta,
    singular,
    snap,
    tiktok,
    webhook,
)
from lendsignal.sandbox.allowance import Allowance
from lendsignal.sandbox.audiences import Lists
from lendsignal.sandbox.audiences import appsflyer as appsflyer_audiences
from lendsignal.sandbox.audiences import google as google_audiences
from lendsignal.sandbox.audiences import meta as meta_audiences
from lendsignal.sandbox.audiences import snap as snap_audiences
from lendsignal.sandbox.audiences import tiktok as tiktok_audiences
from lendsignal.sandbox.audiences.lists import PLATFORMS as LIST_PLATFORMS
from lendsignal.sandbox.chaos import chaos
from lendsignal.sandbox.fault import Fault, Faults, from_header
from lendsignal.sandbox.memory import Memory
from lendsignal.sandbox.order import Latest
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused

MAX_BODY = 4_000_000
DROP = "lendsignal.drop"
DEFAULT_DELAY_MS = 1000
DEFAULT_PORT = 8900
MAX_PAGE = 10_000
NO_SUCH_HOST = b'{"error":"no stand-in for this host; declare it in settings.webhooks"}'

Judge = Callable[[Asked, SandboxSettings, int], Answer]
Broken = Callable[[int], Answer]


class Sandbox:
    """The ASGI application: judges, fails on purpose, remembers."""

    def __init__(self, settings: SandboxSettings, clock: Clock, memory: Memory, faults: Faults) -> None:
        self.settings = settings
        self.clock = clock
        self.memory = memory
        self.faults = faults
        self.latest = Latest()
        self.allowance = Allowance()
        self.lists = Lists()
        self.forgotten = forgetting.Forgotten()
        for platform in sorted(LIST_PLATFORMS):
            for taken in memory.taken(platform):
                self.lists.apply(taken)
        self.stand_ins: dict[str, tuple[Judge, Broken]] = {
            adjust.HOST: (partial(adjust.judge, self.latest), adjust.broken),
            **dict.fromkeys(appsflyer.HOSTS, (appsflyer.judge, appsflyer.broken)),
            branch.HOST: (branch.judge, branch.broken),
            kochava.HOST: (kochava.judge, kochava.broken),
            singular.HOST: (partial(singular.judge, self.latest), singular.broken),
            meta.HOST: (partial(meta_audiences.beside, self.lists, meta.judge), meta.broken),
            **dict.fromkeys(ga4.HOSTS, (ga4.judge, ga4.broken)),
            tiktok.HOST: (partial(tiktok_audiences.beside, self.lists, tiktok.judge), tiktok.broken),
            snap.HOST: (snap.judge, snap.broken),
            kwai.HOST: (kwai.judge, kwai.broken),
            google.HOST: (google.judge, google.broken),
            google_ads.HOST: (partial(google_ads.judge, memory.has, last=memory.last), google_ads.broken),
            google_app.HOST: (google_app.judge, google_app.broken),
            google_data_manager.HOST: (
                partial(
                    google_audiences.beside,
                    self.lists,
                    partial(google_data_manager.paced, self.allowance, memory.has, last=memory.last),
                ),
                google_data_manager.broken,
            ),
            snap_audiences.HOST: (partial(snap_audiences.judge, self.lists), snap_audiences.broken),
            snap_audiences.TOKEN_HOST: (snap_audiences.token, snap_audiences.broken),
            appsflyer_audiences.HOST: (
                forgetting.beside(self.forgotten, appsflyer_audiences.judge),
                appsflyer_audiences.broken,
            ),
            forgetting.ADJUST_HOST: (partial(forgetting.adjust, self.forgotten), forgetting.broken),
            **dict.fromkeys(settings.webhooks, (webhook.judge, webhook.broken)),
        }
        if settings.chaos is not None:
            faults.play(chaos(settings.chaos, self.stand_ins, late_ms=settings.chaos_late_ms))
        self.inspection = inspection(self)
        self.ending = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        raw: bytes = scope["raw_path"]
        if raw.startswith(b"/_sandbox"):
            await self.inspection(scope, receive, send)
            return
        host, slash, path = raw[1:].decode("latin-1").partition("/")
        host = unquote(host).lower()
        host = host if host in self.stand_ins else host.partition(":")[0]
        body = await whole_body(receive)
        if body is None:
            return
        asked = Asked(
            host=host,
            method=scope["method"],
            path=unquote(slash + path),
            query=scope["query_string"].decode("latin-1"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
        )
        if self.settings.latency_ms:
            await self.wait(self.settings.latency_ms)
        await self.answer(asked, scope, receive, send)

    async def answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, keep and answer, unless the script or the request's own header says otherwise."""
        if asked.host not in self.stand_ins:
            self.memory.keep(unknown_host(asked.host, self.clock.now_us()))
            await say(Answer(status=404, body=NO_SUCH_HOST, headers=JSON), send)
            return
        judge, broken = self.stand_ins[asked.host]
        word = asked.headers.get("x-mock-fault")
        fault = self.faults.next(asked.host) if word is None else from_header(word)
        if word is not None:
            if fault is None:
                await say(Answer(status=400, body=b'{"error":"unknown X-Mock-Fault"}', headers=JSON), send)
                return
            self.faults.by_header[fault.kind] += 1
        fault = fault or Fault(kind="accept")
        match fault.kind:
            case "status":
                await say(scripted(fault, broken(fault.status or 503)), send)
            case "throttle":
                await say(scripted(fault, throttled(asked.host, broken)), send)
            case "error_in_200":
                await say(scripted(fault, broken(200 if asked.host in ERRORS_IN_A_200 else 503)), send)
            case "garbage":
                page = Answer(status=fault.status or 200, body=b"<html><body>Bad gateway", headers=HTML)
                await say(scripted(fault, page), send)
            case "hang":
                await self.hang(fault.delay_ms, scope, receive)
            case "close_before":
                await drop(scope, receive)
            case "lie":
                await say(judge(asked, self.settings, self.clock.now_us()), send)
            case "accept" | "slow" | "truncate" | "close_after_accept":
                answer = judge(asked, self.settings, self.clock.now_us())
                self.memory.keep(answer)
                self.lists.keep(answer)
                await self.deliver(answer, fault, scope, receive, send)

    async def deliver(self, answer: Answer, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer whose work is done, on its way back; the fault may still spoil that way."""
        match fault.kind:
            case "close_after_accept":
                await drop(scope, receive)
            case "truncate":
                await say(answer, send, share=0.5)
                await drop(scope, receive, after_flush=True)
            case "slow":
                delay = DEFAULT_DELAY_MS if fault.delay_ms is None else fault.delay_ms
                await self.wait(delay)
                await say(answer, send)
            case _:
                await say(answer, send)

    async def wait(self, delay_ms: float) -> None:
        """Real time goes by, unless the process is to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), delay_ms / 1000)

    async def hang(self, delay_ms: int | None, scope: Scope, receive: Receive) -> None:
        """Say nothing until the sender gives up or the process is to end; or for `delay_ms`, then drop."""
        ends = [asyncio.ensure_future(gone(receive)), asyncio.ensure_future(self.ending.wait())]
        timeout = None if delay_ms is None else delay_ms / 1000
        done, waiting = await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        if ends[0] not in done:
            await drop(scope, receive)


HTML = (("content-type", "text/html"),)

ERRORS_IN_A_200 = frozenset({meta.HOST, tiktok.HOST, kwai.HOST})
"""Whose documents show errors of their own making under a 200: codes 2, 50000 and result -2."""


def throttled(host: str, broken: Broken) -> Answer:
    """Slow down, as the platform says it: TikTok by a code under a 200, the others by 429."""
    answer = broken(429)
    return msgspec.structs.replace(answer, status=200) if host == tiktok.HOST else answer


def unknown_host(host: str, now_us: int) -> Answer:
    """A request for a host nobody plays here."""
    refused = Refused(
        platform="unknown", account=host[:80], reason="host: no stand-in", received_us=now_us, status=404
    )
    return Answer(status=404, refused=(refused,))


def scripted(fault: Fault, answer: Answer) -> Answer:
    """The platform's own failure with the script's body and headers put over it."""
    body = answer.body if fault.body is None else fault.body.encode()
    headers = {**dict(answer.headers), **{name.lower(): value for name, value in fault.headers.items()}}
    return Answer(status=answer.status, body=body, headers=tuple(headers.items()))


async def whole_body(receive: Receive) -> bytes | None:
    """The request's body, cut where no platform reads on; `None` where the sender went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        if size <= MAX_BODY:
            parts.append(part)
        size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def say(answer: Answer, send: Send, *, share: float = 1.0) -> None:
    """Send the answer; with a `share` below one only so much of its body, under its full length."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    start: Message = {"type": "http.response.start", "status": answer.status, "headers": headers}
    await send(start)
    part = answer.body[: int(len(answer.body) * share)]
    await send({"type": "http.response.body", "body": part, "more_body": share < 1})


async def drop(scope: Scope, receive: Receive, *, after_flush: bool = False) -> None:
    """Close the connection without (the rest of) an answer, and wait until it is closed."""
    ways: MutableMapping[str, Any] = scope.get("extensions", {}).get(DROP, {})
    close = ways.get("close" if after_flush else "abort")
    if close is not None:
        close()
        await gone(receive)


async def gone(receive: Receive) -> None:
    """Returns when the sender has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def inspection(sandbox: Sandbox) -> Starlette:
    """The pages for looking in: summary, received, refused, ids, audiences, faults, chaos, reset."""
    memory, faults = sandbox.memory, sandbox.faults

    async def summary(_: Request) -> Response:
        return as_json(
            {"accounts": memory.summary(), "faults": faults.counts(), "faults_by_header": faults.by_header}
        )

    async def received(request: Request) -> Response:
        return pages(request, "taken")

    async def refused(request: Request) -> Response:
        return pages(request, "refused")

    def pages(request: Request, kind: str) -> Response:
        query = request.query_params
        after, limit = query.get("after", "0"), query.get("limit", "1000")
        if not after.isdecimal() or not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
            return problem(f"after must be a position and limit 1 to {MAX_PAGE}")
        page = memory.page(
            kind,
            platform=query.get("platform"),
            account=query.get("account"),
            conversion_id=query.get("id"),
            after=int(after),
            limit=int(limit),
        )
        body = b'{"items":[' + b",".join(page.lines) + b'],"next":' + msgspec.json.encode(page.next) + b"}"
        return Response(body, media_type="application/json")

    async def ids(request: Request) -> Response:
        query = request.query_params
        found = memory.ids(query.get("platform"), query.get("account"))
        if query.get("format") == "text":
            return PlainTextResponse("".join(f"{each}\t{count}\n" for each, count in found.items()))
        return as_json(found)

    async def audiences(_: Request) -> Response:
        return as_json(sandbox.lists.shown())

    async def show_faults(_: Request) -> Response:
        return as_json(faults.counts())

    async def play_faults(request: Request) -> Response:
        try:
            script = msgspec.json.decode(await request.body(), type=list[Fault])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(str(error))
        faults.play(script)
        return as_json(faults.counts())

    async def play_chaos(request: Request) -> Response:
        query = request.query_params
        seed, late_ms = query.get("seed", ""), query.get("late_ms", str(sandbox.settings.chaos_late_ms))
        if not seed.isdecimal() or not late_ms.isdecimal():
            return problem("seed must be a whole number, and late_ms milliseconds if given")
        faults.play(chaos(int(seed), sandbox.stand_ins, late_ms=int(late_ms)))
        return as_json(faults.counts())

    async def reset(_: Request) -> Response:
        memory.reset()
        sandbox.latest.forget()
        sandbox.allowance.forget()
        sandbox.lists.forget()
        sandbox.forgotten.forget()
        faults.play(())
        return as_json({"reset": True})

    return Starlette(
        routes=[
            Route("/_sandbox/summary", summary),
            Route("/_sandbox/received", received),
            Route("/_sandbox/refused", refused),
            Route("/_sandbox/ids", ids),
            Route("/_sandbox/audiences", audiences),
            Route("/_sandbox/faults", show_faults),
            Route("/_sandbox/faults", play_faults, methods=["POST"]),
            Route("/_sandbox/chaos", play_chaos, methods=["POST"]),
            Route("/_sandbox/reset", reset, methods=["POST"]),
        ]
    )


def as_json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def problem(detail: str) -> Response:
    """What was wrong with a call of ours, as RFC 9457 has it."""
    body = msgspec.json.encode({"title": "Bad Request", "status": 400, "detail": detail})
    return Response(body, status_code=400, media_type="application/problem+json")


class Droppable(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, with a way for the application to drop the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        ways: dict[object, object] = {"close": self.transport.close, "abort": self.transport.abort}
        self.scope["extensions"] = {DROP: ways}


class Server(uvicorn.Server):
    """Uvicorn's server, which lets go of hanging requests before it waits for the others."""

    def __init__(self, config: uvicorn.Config, sandbox: Sandbox) -> None:
        super().__init__(config)
        self.sandbox = sandbox

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.sandbox.ending.set()
        await super().shutdown(sockets=sockets)


def build(settings: SandboxSettings, clock: Clock, store: Memory, faults: Faults | None = None) -> ASGIApp:
    """The sandbox as an ASGI application over a memory; every time check asks `clock`."""
    return Sandbox(settings, clock, store, faults or Faults())


def serve(
    settings: SandboxSettings,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    folder: Path | None = None,
    clock: Clock | None = None,
    faults: Iterable[Fault] = (),
    announce: Callable[[str], None] | None = None,
) -> None:
    """Run the sandbox until SIGTERM or SIGINT.

    `port` 0 takes a free one; `announce` is told the address once connections are taken.
    With a `folder` what was received is remembered over restarts.
    """
    memory = Memory(folder)
    try:
        app = Sandbox(settings, clock or SystemClock(), memory, Faults(faults))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=2048) as listener:
            if announce is not None:
                name = f"[{host}]" if ":" in host else host
                announce(f"http://{name}:{listener.getsockname()[1]}")
            config = uvicorn.Config(
                app, http=Droppable, loop="uvloop", lifespan="off", ws="none", log_level="error",
                access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=75, timeout_graceful_shutdown=1,
            )  # fmt: skip
            Server(config, app).run(sockets=[listener])
    finally:
        memory.close()
