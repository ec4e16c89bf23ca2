"""The console as an ASGI application: pages from `pages/`, their panels and acts, sign-in, what is fresh."""

import asyncio
import pkgutil
import secrets
from collections.abc import AsyncIterator, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lendsignal import __version__
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import pages as folder_of_pages
from lendsignal.console.copying import copy_note
from lendsignal.console.filters import filters
from lendsignal.console.gate import (
    COOKIE,
    HANDSHAKE_COOKIE,
    HEADERS,
    Gate,
    WithHeaders,
    gate,
    is_behind_tls,
    is_our_form,
)
from lendsignal.console.page import Asked, Group, Look, Page, Panel, Went
from lendsignal.console.provider import CALLBACK, Provider
from lendsignal.console.room import InStep, Maker, Market, Room
from lendsignal.console.words import LANGUAGES, Words, language_of, words_of
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, LendsignalError
from lendsignal.log.people import HANDSHAKE_FOR, SIGNED_IN_FOR, Handshake, People, Session
from lendsignal.model.member import Member, MemberRole

HERE = Path(__file__).parent
A_YEAR = 365 * 24 * 3600
LONGEST_FORM = 256 * 1024
MOST_FIELDS = 2_000
THEMES = ("auto", "light", "dark")
DAY_US = 86_400_000_000
FORM_HERE = secrets.token_urlsafe(24)
"""Stands in what is kept where each session's own secret belongs; nobody else can have written it."""

FRESH_EVERY = 5.0
"""Seconds between two signs that something changed."""


@cache
def every_page() -> tuple[Page, ...]:
    """Every page, in the order of the navigation."""
    names = sorted(found.name for found in pkgutil.iter_modules(folder_of_pages.__path__))
    found = [import_module(f"{folder_of_pages.__name__}.{name}").PAGE for name in names]
    order = list(Group)
    return tuple(sorted(found, key=lambda page: (order.index(page.group) if page.group else 99, page.place)))


def console(
    config: Config,
    people: People | None = None,
    makers: Mapping[str, Maker] | None = None,
    in_step: InStep | None = None,
    provider: Provider | None = None,
    market: Market | None = None,
) -> Starlette:
    """The console of one data folder; without `people` an open one, for this machine alone.

    `makers` make the reports, by the name that `report.catalog` has for them. `in_step` tells the platforms
    what changed in lists; without it no page offers that. `provider` is by default the configuration's.
    `market` compares strategies in made-up worlds.
    """
    web = config.web
    if provider is None and people is not None and web.oidc is not None and web.address is not None:
        provider = Provider(web.oidc, web.address, config.security)
    house = Console(Room(config, makers or {}, in_step, market), gate(people), provider)
    routes = [
        Route("/sign-in", house.sign_in, methods=["GET", "POST"]),
        Route("/sign-in/provider", house.to_provider),
        Route(CALLBACK, house.from_provider),
        Route("/sign-out", house.sign_out, methods=["POST"]),
        Route("/welcome", house.welcome, methods=["GET", "POST"]),
        Route("/taste", house.taste, methods=["POST"]),
        Route("/fresh", house.fresh),
        # Pages themselves are not packed: they hold a session's secret beside what an address says.
        Mount("/static", GZipMiddleware(_Kept(directory=HERE / "static"))),
    ]
    for page in every_page():
        routes.append(Route(page.path, partial(house.show, page)))
        under = page.path.rstrip("/")
        routes.append(Route(under + "/panel/{name}", partial(house.panel, page)))
        routes.append(Route(under + "/file/{name}", partial(house.file, page)))
        routes.append(Route(under + "/act/{name}", partial(house.act, page), methods=["POST"]))
    app = Starlette(routes=routes, exception_handlers={404: house.not_found, Exception: house.broken})
    app.add_middleware(WithHeaders, behind_tls=is_behind_tls(config))
    app.state.room = house.room
    return app


class Console:
    """The requests of one console."""

    def __init__(self, room: Room, gate: Gate, provider: Provider | None = None) -> None:
        self.room = room
        self._gate = gate
        self._provider = provider
        self._local = room.config.web.local_accounts
        self._emergency = room.config.web.emergency
        self._behind_tls = is_behind_tls(room.config)
        self._in_one_piece = room.config.store is None
        self._said: dict[str, tuple[str, bool]] = {}
        self._templates = {language: _templates(words_of(language)) for language in LANGUAGES}

    async def show(self, page: Page, request: Request) -> Response:
        """A page, with what the last act said."""
        session = await self._session(request)
        if session is None:
            return self._to_sign_in(request)
        if not page.is_open_to(session.member):
            return self._trouble(request, session, 403, "Your role does not open this page.")
        said = self._said.pop(session.form, None)
        return await run_in_threadpool(self._rendered, request, session, page, page.template, page.look, said)

    async def panel(self, page: Page, request: Request) -> Response:
        """One part of a page, that came after it."""
        session = await self._session(request)
        panel = page.panels.get(request.path_params["name"])
        if session is None:
            return Response(status_code=401, headers={"HX-Refresh": "true"})
        if panel is None or not page.is_open_to(session.member):
            return Response(status_code=404 if panel is None else 403)
        return await run_in_threadpool(self._part, request, session, page, panel)

    async def file(self, page: Page, request: Request) -> Response:
        """Something of a page to keep."""
        session = await self._session(request)
        if session is None:
            return self._to_sign_in(request)
        file = page.files.get(request.path_params["name"])
        if file is None or not page.is_open_to(session.member):
            return Response(status_code=404 if file is None else 403)
        asked = self._asked(request, session.member)
        try:
            name, media, body = await run_in_threadpool(file.make, self.room, asked)
        except LendsignalError as error:
            return self._trouble(request, session, 503, asked.words.error(error), page)
        attached = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(body, media_type=media, headers=attached)

    async def act(self, page: Page, request: Request) -> Response:
        """What a form asks for; then the page again, saying what came of it."""
        session = await self._session(request)
        if session is None:
            return self._to_sign_in(request)
        fields = await _fields(request)
        act = page.acts.get(request.path_params["name"])
        if fields is None or not is_our_form(request, fields, session):
            return self._trouble(
                request, session, 403, "This form is not from this session: open the page again."
            )
        if act is None or not page.is_open_to(session.member) or not session.member.may(act.may):
            return self._trouble(request, session, 403, "Your role does not allow this.")
        asked = self._asked(request, session.member)
        try:
            went = await run_in_threadpool(act.do, self.room, asked, fields)
            said, to = (went.said, went.to) if isinstance(went, Went) else (went, _back(request, page.path))
            if act.audited:
                await run_in_threadpool(self._note, asked, page, request.path_params["name"], said)
            self._said[session.form] = (said, True)
        except LendsignalError as error:
            self._said[session.form] = (asked.words.error(error), False)
            to = _back(request, page.path)
        return RedirectResponse(to, 303)

    async def sign_in(self, request: Request) -> Response:
        """Name and password for a session."""
        people = self._gate.people
        to = _inside(request.query_params.get("to", "/"))
        if people is None:
            return RedirectResponse("/", 303)
        wrong = ""
        if request.method == "POST":
            fields = await _fields(request) or {}
            try:
                if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                    raise InputError("login", _("come to this page itself to sign in"))
                if not self._may_have_password(fields.get("login", "").strip()):
                    raise InputError("login", _("names and passwords do not count here"))
                token = await run_in_threadpool(
                    people.sign_in,
                    fields.get("login", "").strip(),
                    fields.get("password", ""),
                    _address(request),
                    self.room.now_us(),
                )
                return self._with_session(RedirectResponse(to, 303), request, token)
            except InputError as error:
                wrong = error.rule
        return await self._sign_in_page(request, to, wrong)

    async def _sign_in_page(self, request: Request, to: str, wrong: str) -> Response:
        ends_at, out = None, "out" in request.query_params
        if out and self._provider is not None:
            ends_at = await run_in_threadpool(self._provider.ends_at)
        shown = {
            "to": to,
            "wrong": wrong,
            "out": out,
            "ends_at": ends_at,
            "provider": None if self._provider is None else self._provider.settings.label,
            "local": self._local,
        }
        return self._bare(request, "sign_in.html", 403 if wrong else 200, **shown)

    def _may_have_password(self, login: str) -> bool:
        """Whether that name may come in with a password: all, or the one for a bad day."""
        return self._local or login == self._emergency

    async def to_provider(self, request: Request) -> Response:
        """Sends somebody to the company's own sign-in; a cookie ties the answer to this browser."""
        people, provider = self._gate.people, self._provider
        to = _inside(request.query_params.get("to", "/"))
        if people is None or provider is None:
            return RedirectResponse("/sign-in", 303)
        browser = secrets.token_urlsafe(32)
        try:
            begun = await run_in_threadpool(provider.begin, to)
            now = self._machine_now_us()
            await run_in_threadpool(people.begin, begun.state, browser, begun.handshake, now)
        except InputError as error:
            return await self._sign_in_page(request, to, error.rule)
        answer = RedirectResponse(begun.url, 303)
        answer.set_cookie(
            HANDSHAKE_COOKIE,
            browser,
            max_age=int(HANDSHAKE_FOR.total_seconds()),
            path="/sign-in",
            httponly=True,
            samesite="lax",
            secure=self._is_secure(request),
        )
        return answer

    async def from_provider(self, request: Request) -> Response:
        """Somebody comes back from there: once, in the same browser, and as the provider's token says."""
        people, provider = self._gate.people, self._provider
        if people is None or provider is None:
            return RedirectResponse("/sign-in", 303)
        query = dict(request.query_params)
        state, browser = query.get("state", ""), request.cookies.get(HANDSHAKE_COOKIE, "")
        to = "/"
        try:
            handshake = await run_in_threadpool(people.take, state, browser, self._machine_now_us())
            if handshake is None:
                said = _("this sign-in was begun elsewhere, was used, or took too long: begin again")
                raise InputError("provider", said)
            to = handshake.leads_to
            token = await run_in_threadpool(self._come_in, people, provider, query, handshake)
        except InputError as error:
            answer = await self._sign_in_page(request, to, error.rule)
        else:
            answer = self._with_session(RedirectResponse(to, 303), request, token)
        answer.delete_cookie(HANDSHAKE_COOKIE, path="/sign-in", httponly=True, samesite="lax")
        return answer

    def _come_in(
        self, people: People, provider: Provider, query: Mapping[str, str], handshake: Handshake
    ) -> str:
        """A session's token for whom the provider let in, with the role that their groups give."""
        settings, now = provider.settings, self.room.now_us()
        who = provider.came_back(query, handshake)
        seen = settings.member_of(who.login, who.groups) if settings.gives_roles else None
        if settings.gives_roles and seen is None:
            people.turn_away(settings.issuer, who.subject, now, "no group with a role")
            raise InputError("provider", _("none of your groups has a role here: ask an admin"))
        return people.come_in(
            settings.issuer,
            who.subject,
            who.login,
            now,
            role=None if seen is None else seen.role,
            seen=seen,
            anybody=settings.members == "anybody",
        )

    def _machine_now_us(self) -> int:
        """The machine's own clock: a sign-in under way ends when it ends, also while history is replayed."""
        return SystemClock().now_us()

    async def welcome(self, request: Request) -> Response:
        """An invitation: a name and a password of one's own."""
        people = self._gate.people
        if people is None:
            return RedirectResponse("/", 303)
        code, now = request.query_params.get("code", ""), self.room.now_us()
        invited = await run_in_threadpool(people.invited, code, now)
        wrong = "" if invited else "This invitation was used, or has ended: ask for another."
        if request.method == "POST" and invited:
            fields = await _fields(request) or {}
            login, password = fields.get("login", ""), fields.get("password", "")
            try:
                if password != fields.get("again", ""):
                    raise InputError("password", "the two passwords differ")
                if not self._may_have_password(invited[0] or login.strip()):
                    raise InputError("login", _("names and passwords do not count here"))
                member = await run_in_threadpool(people.welcome, code, login, password, now)
                token = await run_in_threadpool(
                    people.sign_in, member.login, password, _address(request), now
                )
                return self._with_session(RedirectResponse("/", 303), request, token)
            except InputError as error:
                wrong = error.rule
        renews, role = invited or (None, MemberRole.VIEWER)
        shown = {"code": code, "renews": renews, "role": role, "wrong": wrong, "good": invited is not None}
        return self._bare(request, "welcome.html", 403 if wrong else 200, **shown)

    async def sign_out(self, request: Request) -> Response:
        """Ends the session."""
        token, people = request.cookies.get(COOKIE), self._gate.people
        session = await self._session(request)
        fields = await _fields(request) or {}
        if people is not None and token and session and is_our_form(request, fields, session):
            await run_in_threadpool(people.sign_out, token)
        answer = RedirectResponse("/sign-in?out=1", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=self._is_secure(request))
        return answer

    async def taste(self, request: Request) -> Response:
        """Keeps the visitor's language and theme; a member's language for wherever he signs in, too."""
        fields = await _fields(request) or {}
        answer = RedirectResponse(_back(request, "/"), 303)
        if fields.get("language") in LANGUAGES:
            session, people = await self._session(request), self._gate.people
            if people is not None and session is not None and is_our_form(request, fields, session):
                await run_in_threadpool(
                    people.change,
                    session.member.login,
                    self.room.now_us(),
                    by=session.member.login,
                    language=fields["language"],
                )
            self._keep_taste(answer, request, "language", fields["language"])
        if fields.get("theme") in THEMES:
            self._keep_taste(answer, request, "theme", fields["theme"])
        return answer

    def _keep_taste(self, answer: Response, request: Request, name: str, value: str) -> None:
        secure = self._is_secure(request)
        answer.set_cookie(name, value, max_age=A_YEAR, samesite="lax", httponly=True, secure=secure)

    async def fresh(self, request: Request) -> Response:
        """Server-sent events: one line whenever something was written since the last."""
        if await self._session(request) is None:
            return Response(status_code=401)

        async def lines() -> AsyncIterator[str]:
            written = self._newest()
            yield "retry: 3000\n\n"
            while not await request.is_disconnected():
                await asyncio.sleep(FRESH_EVERY)
                latest = self._newest()
                yield "event: fresh\ndata: .\n\n" if latest != written else ": still here\n\n"
                written = latest

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def not_found(self, request: Request, error: Exception) -> Response:
        """An address that no page has."""
        session = await self._session(request)
        if session is None:
            return self._to_sign_in(request) if request.method == "GET" else PlainTextResponse("", 404)
        return self._trouble(request, session, 404, "There is no such page.")

    async def broken(self, request: Request, error: Exception) -> Response:
        """Our own mistake: nothing of it is shown. This answer passes no middleware any more."""
        said = "Something broke here; it is in the log of the service.\n"
        return PlainTextResponse(said, 500, headers=dict(HEADERS))

    def _newest(self) -> tuple[object, ...]:
        """What changes when something was written, and when reports are told of it."""
        return self.room.folder.last_written(), self.room.position()

    def _note(self, asked: Asked, page: Page, act: str, said: str) -> None:
        with self.room.people() as people:
            people.note(self.room.now_us(), asked.member.login, act.replace("_", " "), page.title, said)

    async def _session(self, request: Request) -> Session | None:
        return await run_in_threadpool(self._gate.visitor, request, self.room.now_us())

    def _to_sign_in(self, request: Request) -> Response:
        if self._gate.people is None:
            return PlainTextResponse(
                "An open console answers on this machine only: ask for it as localhost.\n", 421
            )
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/sign-in" + ("" if path == "/" else "?" + urlencode({"to": path})), 303)

    def _rendered(
        self,
        request: Request,
        session: Session,
        page: Page,
        template: str,
        look: Look,
        said: tuple[str, bool] | None,
    ) -> Response:
        asked = self._asked(request, session.member)
        try:
            found = look(self.room, asked)
        except LendsignalError as error:
            return self._trouble(request, session, 503, asked.words.error(error), page)
        html = self._template(asked.words, template).render(
            **self._frame(request, session, asked.words), page=page, asked=asked, said=said, **found
        )
        return HTMLResponse(html)

    def _part(self, request: Request, session: Session, page: Page, panel: Panel) -> Response:
        """A panel; one that is `kept` only where nobody was shown the same a moment ago."""
        if not panel.kept:
            return self._rendered(request, session, page, panel.template, panel.look, None)
        member, words = session.member, self._words(request, session.member.language)
        kept = Session(member=member, form=FORM_HERE)
        what = (page.path, panel.template, tuple(sorted(request.query_params.multi_items())))
        who = (member.role, tuple(member.limits.items()), words.language)
        day = self.room.now_us() // DAY_US

        def made() -> str:
            shown = self._rendered(request, kept, page, panel.template, panel.look, None)
            if shown.status_code != 200:
                raise _Unkept(shown)
            return bytes(shown.body).decode()

        try:
            found = self.room.answers.of((*what, *who, self.room.position(), day), made)
        except _Unkept as trouble:
            return trouble.shown
        return HTMLResponse(found.replace(FORM_HERE, session.form))

    def _trouble(
        self, request: Request, session: Session, status: int, why: str, page: Page | None = None
    ) -> Response:
        asked = self._asked(request, session.member)
        frame = self._frame(request, session, asked.words)
        whole = "HX-Request" not in request.headers
        html = self._template(asked.words, "trouble.html" if whole else "parts/trouble.html").render(
            **frame, page=page, asked=asked, said=None, why=asked.words(why)
        )
        return HTMLResponse(html, status)

    def _bare(self, request: Request, template: str, status: int, **found: object) -> Response:
        words = self._words(request, "")
        frame = {"lender": self.room.config.portfolio, "theme": _theme(request), "words": words}
        return HTMLResponse(self._template(words, template).render(**frame, **found), status)

    def _frame(self, request: Request, session: Session, words: Words) -> Mapping[str, Any]:
        member = session.member
        nav = [
            (group, [page for page in every_page() if page.group is group and page.is_open_to(member)])
            for group in Group
        ]
        return {
            "lender": self.room.config.portfolio,
            "version": __version__,
            "words": words,
            "languages": LANGUAGES,
            "theme": _theme(request),
            "themes": THEMES,
            "member": member,
            "form_secret": session.form,
            "is_open": self._gate.people is None,
            "here": request.url.path,
            "query": request.url.query,
            "nav": [(group, pages) for group, pages in nav if pages],
            "now_us": self.room.now_us(),
            "copy": None if self._in_one_piece else copy_note(self.room.folder, self._machine_now_us()),
        }

    def _with_session(self, answer: Response, request: Request, token: str) -> Response:
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(SIGNED_IN_FOR.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self._is_secure(request),
        )
        return answer

    def _is_secure(self, request: Request) -> bool:
        """Whether browsers come by TLS, here or at the proxy before us: cookies then go by nothing else."""
        return self._behind_tls or request.url.scheme == "https"

    def _asked(self, request: Request, member: Member) -> Asked:
        return Asked(
            member=member,
            words=self._words(request, member.language),
            query=dict(request.query_params),
            many={name: tuple(request.query_params.getlist(name)) for name in request.query_params},
            now_us=self.room.now_us(),
            address=_address(request),
        )

    def _words(self, request: Request, own: str) -> Words:
        wished = request.cookies.get("language", "")
        return words_of(language_of(own, wished, accepted=request.headers.get("accept-language", "")))

    def _template(self, words: Words, name: str) -> Any:
        return self._templates[words.language].get_template(name)


class _Unkept(Exception):
    """A panel that could not be shown: nothing to keep."""

    def __init__(self, shown: Response) -> None:
        self.shown = shown
        super().__init__()


class _Kept(StaticFiles):
    """Files that a browser asks for again only where they changed."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        response = super().file_response(*given, **named)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _templates(words: Words) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(words.catalogue, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(filters(words))
    environment.globals["lang"] = words.tag
    return environment


async def _fields(request: Request) -> dict[str, str] | None:
    """A form's fields; those that come more than once are lines of one text. `None`: no form, or too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            return None
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS):
            found.setdefault(name, []).append(value)
    except ValueError:
        return None
    return {name: "\n".join(values) for name, values in found.items()}


def _theme(request: Request) -> str:
    wished = request.cookies.get("theme", "auto")
    return wished if wished in THEMES else "auto"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _back(request: Request, otherwise: str) -> str:
    """The page that a form was sent from, with its state, where that is one of ours."""
    came = urlsplit(request.headers.get("referer", ""))
    if came.netloc != request.url.netloc:
        return otherwise
    return _inside(came.path + (f"?{came.query}" if came.query else ""))


def _inside(path: str) -> str:
    """The path itself where it stays on this site."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path
    return path if safe and not path.startswith(("/sign-in", "/welcome")) else "/"
