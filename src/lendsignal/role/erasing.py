"""Erasure over HTTP: asked for here, carried out by the job of that name, so that the door never waits."""

import asyncio
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.erase.asking import ask, subject_of
from lendsignal.erase.receipt import receipt_of
from lendsignal.errors import InputError, LogError
from lendsignal.log.erasures import About
from lendsignal.source import Access, Keyring
from lendsignal.source.answers import Problem, Refusal, headers_of

SCOPE: Literal["admin"] = "admin"


def erasing_routes(config: Config, keys: Keyring, clock: Clock) -> list[Route]:
    """`DELETE /v1/users/{id}` and `GET /v1/erasures/{receipt}`, with a key of the scope `admin`.

    `id` is `user_id` with `?brand=`, or `brand:user_id`; `?person=` means every user of that person and takes
    `-` in place of the id. 202 with the receipt: it is noted durably, and carried out within seconds.
    503: the store is away, and nothing was noted.
    """

    async def erased(request: Request) -> Response:
        try:
            access = keys.admit(request.headers.get("authorization", "").encode("latin-1"), SCOPE)
            query = request.query_params
            person = query.get("person")
            user = None if person is not None else request.path_params["user"]
            about = subject_of(config, user, brand=query.get("brand"), person=person)
            _refuse_others(about, access, config)
            job = await asyncio.to_thread(ask, config, about, access.source, clock)
        except Refusal as refusal:
            return _refused(refusal)
        except InputError as error:
            return _problem(400, "bad request", error.rule, field=error.field)
        except LogError:
            return _not_now()
        found = {"receipt": job.receipt, "see": f"/v1/erasures/{job.receipt}"}
        return Response(msgspec.json.encode(found), 202, media_type="application/json")

    async def shown(request: Request) -> Response:
        try:
            access = keys.admit(request.headers.get("authorization", "").encode("latin-1"), SCOPE)
            found = await asyncio.to_thread(receipt_of, config, request.path_params["receipt"])
            if access.is_limited and found.by != access.source:
                raise InputError("receipt", "there is none of that number")
        except Refusal as refusal:
            return _refused(refusal)
        except InputError as error:
            return _problem(404, "unknown receipt", error.rule)
        except LogError:
            return _not_now()
        return Response(msgspec.json.encode(found), media_type="application/json")

    return [
        Route("/v1/users/{user}", erased, methods=["DELETE"]),
        Route("/v1/erasures/{receipt}", shown, methods=["GET"]),
    ]


def _refuse_others(about: About, access: Access, config: Config) -> None:
    """Raises `Refusal` where the key is not for the brand; a person may have users of every brand."""
    if access.is_limited and about.person is not None:
        detail = "this API key is for some brands alone, and a person may have users of others"
        raise Refusal(403, "forbidden", detail, why="limit", source=access.source)
    for brand, _ in about.users:
        if access.apps and brand in {config.apps[name].brand for name in access.apps if name in config.apps}:
            detail = "this API key is for some apps alone, and a user may have been on others of the brand"
            raise Refusal(403, "forbidden", detail, why="limit", source=access.source)
        beyond = access.beyond(brand, None, config.apps)
        if beyond is not None:
            raise Refusal(403, "forbidden", beyond[1], why="limit", source=access.source)


def _refused(refusal: Refusal) -> Response:
    response = _problem(refusal.status, refusal.title, refusal.detail)
    for name, value in headers_of(refusal.status, refusal.retry_after):
        response.headers[name.decode()] = value.decode()
    return response


def _not_now() -> Response:
    """Nothing was noted, or nobody can say: the disk, or the store of a cluster, does not answer."""
    response = _problem(503, "not durable", "ask again: until it is answered with 202 nobody is erased")
    response.headers["retry-after"] = "5"
    return response


def _problem(status: int, title: str, detail: str, **more: Any) -> Response:
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    told = Problem(type=kind, title=title, status=status, detail=detail, **more)
    return Response(msgspec.json.encode(told), status, media_type="application/problem+json")
