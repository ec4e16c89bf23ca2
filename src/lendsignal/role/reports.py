"""Reports for programs, over HTTP: made by the role that makes the pages, so that none delays a delivery.

They need more than tables: of the configuration, of the log, and of the rooms above `report`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias

import msgspec
from msgspec.structs import replace
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.errors import InputError, LendsignalError, NotYet
from lendsignal.log import DataFolder, open_log
from lendsignal.report import Report, Tables, bindings, delay, delivery, devices, funnel, load, spend
from lendsignal.report import attribution as attribution_report
from lendsignal.report import installations as installations_report
from lendsignal.report.arrivals import BY_WEEK
from lendsignal.report.catalog import REPORTS, SLICED, words_of
from lendsignal.report.earnings import Purse
from lendsignal.report.slices import Slice, nearest, slice_of
from lendsignal.source import Keyring
from lendsignal.source.answers import Problem, Refusal, headers_of

PATH = "/v1/reports/{name}"

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
}
"""One for each name in `REPORTS`."""


def report_of(config: Config, name: str, query: QueryParams) -> Report:
    """The report that a query asks for. Raises `InputError` that names the word and what it may be."""
    words = words_of(name)
    for word in query:
        if word not in words:
            raise InputError(word, f"{name} has no such word", nearest=nearest(word, words))
    asked = {word: query[word] for word in query if word not in SLICED}
    for word in ("cohort", "level", "format"):
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
    as_of = None if "as_of" not in asked else _moment(asked["as_of"])
    for word, read in (("switched", date.fromisoformat), ("top", int)):
        try:
            read(asked.get(word, "2026-01-01" if word == "switched" else "1"))
        except ValueError:
            raise InputError(word, f"must be {words[word][0]}") from None
    with load(DataFolder(config.data), as_of=as_of) as tables:
        return MAKERS[name](config, tables, one, asked)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError("as_of", "must be a moment like 2026-03-10T18:00:00Z") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)


def report_routes(config: Config, keys: Keyring) -> list[Route]:
    """`GET /v1/reports` and `GET /v1/reports/{name}`, with a key of the scope `read`.

    One report is made at a time: whoever asks for several waits, and nobody else does.
    """
    one_at_a_time = asyncio.Semaphore(1)

    def admitted(request: Request) -> None:
        keys.admit(request.headers.get("authorization", "").encode("latin-1"), "read")

    async def listed(request: Request) -> Response:
        try:
            admitted(request)
        except Refusal as refusal:
            return _refused(refusal)
        return _json({name: named.summary for name, named in REPORTS.items()})

    async def made(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            admitted(request)
            if name not in REPORTS:
                words = f"there is {', '.join(REPORTS)}"
                return _problem(404, "unknown report", words, close=nearest(name, REPORTS))
            async with one_at_a_time:
                found = await asyncio.to_thread(report_of, config, name, request.query_params)
            return _answered(found, request.query_params)
        except Refusal as refusal:
            return _refused(refusal)
        except InputError as error:
            return _problem(400, "bad query", error.rule, field=error.field, close=error.nearest)
        except LendsignalError as error:
            return _problem(503, "not readable", str(error))

    return [Route("/v1/reports", listed), Route(PATH, made)]


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
