"""Reports for programs, over HTTP: made by the role that makes the pages, so that none delays a delivery.

They need more than tables: of the configuration, of the log, and of the rooms above `report`.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec.structs import replace
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import clock_at, from_us
from lendsignal.config import Config
from lendsignal.deliver import Body, Outlet
from lendsignal.deliver.body import encoded
from lendsignal.errors import InputError, LendsignalError, NotYet
from lendsignal.log import DataFolder, Log, open_alerts, open_deliveries, open_log
from lendsignal.model import App, Skip, SkipReason
from lendsignal.plan import Entry
from lendsignal.report import (
    Known,
    Limits,
    Paid,
    Reach,
    Report,
    Tables,
    bindings,
    coverage,
    delay,
    delivery,
    devices,
    funnel,
    load,
    read_ledger,
    reconcile,
    spend,
)
from lendsignal.report import attribution as attribution_report
from lendsignal.report import installations as installations_report
from lendsignal.report.arrivals import BY_WEEK
from lendsignal.report.catalog import REPORTS, SLICED, words_of
from lendsignal.report.coverage import DAYS
from lendsignal.report.earnings import Purse
from lendsignal.report.health import Facts, Health, health
from lendsignal.report.ledger import FIELDS
from lendsignal.report.reconcile import CHECKS
from lendsignal.report.slices import Slice, limited, nearest, slice_of
from lendsignal.settings import duration
from lendsignal.source import Access, Keyring
from lendsignal.source.answers import Problem, Refusal, headers_of

PATH = "/v1/reports/{name}"

LEDGER_BYTES = 32_000_000
"""Of a ledger that is sent to be reconciled: some 500,000 loans."""

Asked: TypeAlias = Mapping[str, str]
"""A report's own words."""

Maker: TypeAlias = Callable[[Config, Tables, Slice, Asked], Report]


def tiers_of(config: Config, tables: Tables, one: Slice, what_if: Sequence[int] = ()) -> Report:
    """The report of tiers, with how today's cuts do and every table of cuts in the log."""
    from lendsignal.decide.cuts import look  # here: they reckon with numpy
    from lendsignal.report.tiers import tiers

    per_grant = config.policy.derive.tiers.per_grant
    try:
        log = open_log(DataFolder(config.data).log, read_only=True)
    except NotYet:
        return tiers(tables, one, per_grant=per_grant, what_if=what_if)
    try:
        own = bool(config.policy.derive.tiers.rolling)
        now_us = clock_at(config.replay_clock).now_us()
        seen = look(log, config.policy, config.tiers, now_us).found.watched if own else ()
        return tiers(
            tables,
            one,
            watched=seen,
            history=log.cut_tables(),
            in_force=log.cuts(),
            per_grant=per_grant,
            what_if=what_if,
        )
    finally:
        log.close()


def purse_of(config: Config, currency: str | None) -> Purse:
    """How money is told: in the currency that was asked for, else in the configured one."""
    wanted = config.currency if currency is None else currency.upper()
    return Purse(currency=wanted, rates=config.rates)


@contextmanager
def _log_of(config: Config) -> Iterator[Log | None]:
    """The log, read-only; `None` where there is none yet."""
    try:
        log = open_log(DataFolder(config.data).log, read_only=True)
    except NotYet:
        yield None
        return
    with closing(log):
        yield log


def coverage_of(config: Config, tables: Tables, one: Slice, days: int = DAYS) -> Report:
    """Which ids users are known by, and whom each destination with a route could be told of."""
    default = config.policy.consent_default
    unasked = {name: default.get(app.country, True) for name, app in config.apps.items()}
    with _log_of(config) as log:
        return coverage(tables, one, days=days, log=log, destinations=_reaches(config), unasked=unasked)


def _reaches(config: Config) -> dict[str, Reach]:
    """What each destination with a route would make of a user, under the first name that it is sent."""
    names: dict[str, str] = {}
    for route in config.policy.routes:
        for name in route.send.values():
            names.setdefault(route.to, name)
    return {
        name: Reach(outlet.common.kind, outlet.app.name, _tried(outlet, config.apps, names[name]))
        for name, outlet in config.outlets.items()
        if name in names
    }


def _tried(outlet: Outlet, apps: Mapping[str, App], name: str) -> Callable[[Known], SkipReason | None]:
    entry = Entry(outlet.name, outlet.common.kind, name, None, 0)

    def tried(who: Known) -> SkipReason | None:
        body = Body(
            entry=entry,
            conversion_id="0" * 32,
            conversion="",
            occurred_at=from_us(who.at_us),
            user_id=who.user_id,
            binding=who.binding,
            contact=who.contact,
            consent=who.consent,
            occurred_us=who.at_us,
            received_us=who.at_us,
        )
        item = encoded(outlet, apps, body)
        return item.reason if isinstance(item, Skip) else None

    return tried


def proxy_of(
    config: Config,
    tables: Tables,
    one: Slice,
    *,
    after: timedelta | None = None,
    within: timedelta = timedelta(days=7),
    precision: float = 0.9,
) -> Report:
    """How well a grant can be told while the review lasts; `after` is by default the configured one."""
    from lendsignal.report.proxy import proxy  # here: its library is for this report alone

    with closing(open_log(DataFolder(config.data).log, read_only=True)) as log:
        asked_after = config.proxy.after if after is None else after
        found = proxy(log, after=asked_after, within=within, precision=precision, tables=tables, one=one)
    return found.report


def zone_of(config: Config, name: str | None) -> tzinfo:
    """The lender's books' own time zone: the one that is named, else that of all apps.

    Raises `InputError` where the apps are in several, and where there is none of that name.
    """
    zones = sorted({app.timezone for app in config.apps.values()})
    if name is None and len(zones) != 1:
        raise InputError("timezone", f"is needed: the apps are in {', '.join(zones) or 'none'}")
    try:
        return ZoneInfo(name or zones[0])
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError("timezone", "must be a name such as Africa/Lagos") from None


def limits_of(given: Iterable[str]) -> Limits:
    """Limits from words such as "missing=0.5", in per cent. Raises `InputError`."""
    found: dict[str, float] = {}
    for word in given:
        check, _, share = word.partition("=")
        if check.strip() not in CHECKS:
            raise InputError(
                "limit",
                f"must be one of {', '.join(CHECKS)}, then = and per cent",
                nearest=nearest(check, CHECKS),
            )
        try:
            found[check.strip()] = float(share.strip().removesuffix("%")) / 100
        except ValueError:
            raise InputError("limit", "must be a number of per cent, such as missing=0.5") from None
    return Limits(**found)


def health_of(config: Config) -> Health:
    """Every count beside its band, the delays of the last day, and what is alarming now.

    Before the service has looked for the first time it knows of no count.
    """
    from lendsignal.role.watcher import facts_of  # here: it knows this module's neighbours

    folder = DataFolder(config.data)
    now_us = clock_at(config.replay_clock).now_us()
    with ExitStack() as opened:
        try:
            store = opened.enter_context(closing(open_alerts(folder.alerts, read_only=True)))
            log = opened.enter_context(closing(open_log(folder.log, read_only=True)))
        except NotYet:
            nothing = health(Facts(now_us=now_us), config.health.delay)
            return replace(nothing, notes=("Nobody has looked yet: `lendsignal run` does, every minute.",))
        try:
            sent = opened.enter_context(closing(open_deliveries(folder.deliveries, read_only=True)))
        except NotYet:
            sent = None
        return health(facts_of(config, store, log, sent, now_us), config.health.delay)


def _funnel(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    cohort = asked.get("cohort")
    purse = purse_of(config, asked.get("currency"))
    return funnel(tables, one, cohort=cohort, purse=purse)  # type: ignore[arg-type]


def _bindings(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    switched = asked.get("switched")
    return bindings(tables, one, switched=None if switched is None else date.fromisoformat(switched))


def _installations(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    one = replace(one, by=one.by or BY_WEEK.by, every=one.every or BY_WEEK.every)
    return installations_report(tables, one)


def _devices(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    return devices(tables, one, top=int(asked.get("top", "50")))


def _delivery(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    return delivery(tables, one)


def _delay(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    return delay(tables, {name: outlet.spec for name, outlet in config.outlets.items()}, one)


def _vintages(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    from lendsignal.report.vintages import BY_CAMPAIGN, vintages

    return vintages(tables, replace(one, by=one.by or BY_CAMPAIGN.by))


def _tiers(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    words = [word.strip() for word in asked.get("what_if", "").split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise InputError("what_if", "write shares in per cent, such as 25 or 15,25")
    return tiers_of(config, tables, one, [int(word) for word in words])


def _attribution(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    return attribution_report(tables, one, level=asked.get("level", "campaign"))  # type: ignore[arg-type]


def _spend(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    purse = purse_of(config, asked.get("currency"))
    return spend(tables, purse.rates, purse.currency, one)


def _coverage(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    days = int(asked.get("days", DAYS))
    if not 1 <= days <= 3_650:
        raise InputError("days", "must be a number from 1 to 3650")
    return coverage_of(config, tables, one, days)


def _reconcile(
    config: Config, tables: Tables, one: Slice, asked: Asked, ledger: Iterable[Paid] | None = None
) -> Report:
    return reconcile(
        tables,
        ledger,
        one,
        zone=zone_of(config, asked.get("timezone")),
        limits=limits_of(filter(None, asked.get("limit", "").split(","))),
        late_after=_span("late_after", asked.get("late_after", "3h")),
        brand=asked.get("brand"),
    )


def _proxy(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    try:
        precision = float(asked.get("precision", "0.9"))
    except ValueError:
        precision = 0.0
    if not 0.5 <= precision <= 0.999:
        raise InputError("precision", "must be a number from 0.5 to 0.999")
    return proxy_of(
        config,
        tables,
        one,
        after=_span("after", asked["after"]) if "after" in asked else None,
        within=_span("within", asked.get("within", "7d")),
        precision=precision,
    )


def _audiences(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    from lendsignal.console.pages.audiences import brought_of

    eligible = asked.get("eligible", "borrowers")
    horizon = _span("horizon", asked.get("horizon", "28d"))
    return brought_of(config, tables, horizon, eligible)  # type: ignore[arg-type]


def _span(word: str, text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError:
        raise InputError(word, "must be a span such as 30m or 7d") from None


def _health(config: Config, tables: Tables, one: Slice, asked: Asked) -> Report:
    if "as_of" in asked:
        raise InputError("as_of", "health is always that of now")
    return health_of(config)


MAKERS: Mapping[str, Maker] = {
    "funnel": _funnel,
    "bindings": _bindings,
    "installations": _installations,
    "devices": _devices,
    "delivery": _delivery,
    "delay": _delay,
    "vintages": _vintages,
    "tiers": _tiers,
    "attribution": _attribution,
    "spend": _spend,
    "coverage": _coverage,
    "reconcile": _reconcile,
    "proxy": _proxy,
    "audiences": _audiences,
    "health": _health,
}
"""One for each name in `REPORTS`."""


BY_APP = ("funnel", "vintages", "attribution")
"""Reports that say nothing of other apps where they are asked for some: what a limited key may ask for."""


def report_of(
    config: Config,
    name: str,
    query: QueryParams,
    ledger: str | None = None,
    apps: Sequence[str] | None = None,
) -> Report:
    """The report that a query asks for; `ledger` is the CSV of the lender's books, to be reconciled, and
    `apps` are all that may be told of.

    Raises `InputError` that names the word and what it may be, or the ledger's line and field.
    """
    words = words_of(name)
    for word in query:
        if word not in words:
            raise InputError(word, f"{name} has no such word", nearest=nearest(word, words))
    asked = {word: query[word] for word in query if word not in SLICED}
    for word in ("cohort", "level", "eligible", "format"):
        if word in asked and asked[word] not in words[word]:
            raise InputError(word, f"must be one of {', '.join(words[word])}")
    one = slice_of(
        by=query.getlist("by"),
        where=query.getlist("where"),
        since=query.get("from"),
        until=query.get("to"),
        every=query.get("every"),
        binding=query.get("binding"),
    )
    if apps is not None:
        one = limited(one, {"app": apps})
    as_of = None if "as_of" not in asked else _moment(asked["as_of"])
    for word, read in (("switched", date.fromisoformat), ("top", int), ("days", int)):
        try:
            read(asked.get(word, "2026-01-01" if word == "switched" else "1"))
        except ValueError:
            raise InputError(word, f"must be {words[word][0]}") from None
    paid = None if ledger is None else _books(config, ledger, asked)
    with load(DataFolder(config.data), as_of=as_of) as tables:
        if paid is not None:
            return _reconcile(config, tables, one, asked, paid)
        return MAKERS[name](config, tables, one, asked)


def _books(config: Config, text: str, asked: Asked) -> list[Paid]:
    named = [word.partition("=") for word in asked.get("column", "").split(",") if word.strip()]
    names = {field.strip(): name.strip() for field, _, name in named}
    for field, name in names.items():
        if field not in FIELDS or not name:
            raise InputError(
                "column",
                f"must be one of {', '.join(FIELDS)}, then = and its name",
                nearest=nearest(field, FIELDS),
            )
    zone = zone_of(config, asked.get("timezone"))
    return read_ledger(text.splitlines(), columns=names, zone=zone, currency=asked.get("currency"))


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError("as_of", "must be a moment like 2026-03-10T18:00:00Z") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)


def report_routes(config: Config, keys: Keyring) -> list[Route]:
    """`GET /v1/reports` and `/v1/reports/{name}`, with a key of the scope `read`; `POST` reconciles a ledger.

    One report is made at a time: whoever asks for several waits, and nobody else does.
    """
    one_at_a_time = asyncio.Semaphore(1)

    def admitted(request: Request) -> Access:
        return keys.admit(request.headers.get("authorization", "").encode("latin-1"), "read")

    async def listed(request: Request) -> Response:
        try:
            admitted(request)
        except Refusal as refusal:
            return _refused(refusal)
        return _json({name: named.summary for name, named in REPORTS.items()})

    async def made(request: Request) -> Response:
        return await answered(request, request.path_params["name"])

    async def reconciled(request: Request) -> Response:
        return await answered(request, "reconcile", with_ledger=True)

    async def answered(request: Request, name: str, *, with_ledger: bool = False) -> Response:
        apps: Sequence[str] | None = None
        try:
            access = admitted(request)
            if name not in REPORTS:
                words = f"there is {', '.join(REPORTS)}"
                return _problem(404, "unknown report", words, close=nearest(name, REPORTS))
            apps = access.reaches(config.apps) if access.is_limited else None
            if apps is not None and name not in BY_APP:
                words = f"this API key is for some apps alone: of reports it has {', '.join(BY_APP)}"
                return _problem(403, "forbidden", words)
            ledger = await _text(request) if with_ledger else None
            async with one_at_a_time:
                query = request.query_params
                found = await asyncio.to_thread(report_of, config, name, query, ledger, apps)
            return _answered(found, request.query_params)
        except Refusal as refusal:
            return _refused(refusal)
        except InputError as error:
            return _problem(400, "bad query", error.rule, field=error.field, close=error.nearest)
        except LendsignalError as error:
            return _problem(503, "not readable", str(error))

    return [
        Route("/v1/reports", listed),
        Route("/v1/reports/reconcile", reconciled, methods=["POST"]),
        Route(PATH, made),
    ]


async def _text(request: Request) -> str:
    """The body, of a bounded size. Raises `Refusal`, and `InputError` where it is no UTF-8."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LEDGER_BYTES:
            raise Refusal(413, "too large", f"the ledger must have {LEDGER_BYTES:,} bytes or fewer")
        parts.append(part)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise InputError("ledger", "must be CSV in UTF-8") from None


def _answered(found: Report, query: QueryParams) -> Response:
    """The report as JSON; as CSV one table of it, the first unless `table` names another."""
    tables = found.tables()
    table = query.get("table")
    if table is not None and table not in tables:
        raise InputError("table", f"there is {', '.join(tables)}", nearest=nearest(table, tables))
    if query.get("format") == "csv":
        chosen = tables[table] if table is not None else next(iter(tables.values()))
        return Response(chosen.to_csv(), media_type="text/csv")
    told = found.to_data()
    if table is not None:
        told["tables"] = {table: told["tables"][table]}
    return _json(told)


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _refused(refusal: Refusal) -> Response:
    response = _problem(refusal.status, refusal.title, refusal.detail)
    for name, value in headers_of(refusal.status, refusal.retry_after):
        response.headers[name.decode()] = value.decode()
    return response


def _problem(
    status: int, title: str, detail: str, *, field: str | None = None, close: str | None = None
) -> Response:
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    told = Problem(type=kind, title=title, status=status, detail=detail, field=field, nearest=close)
    return Response(msgspec.json.encode(told), status, media_type="application/problem+json")
