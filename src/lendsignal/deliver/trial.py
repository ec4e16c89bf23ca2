"""One request to a platform beside the queue: a test event, or a dry run. Nothing of it is kept here."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.sender import NO_AUTH, Network
from lendsignal.deliver.tokens import HOST as TOKEN_HOST
from lendsignal.deliver.tokens import Tokens
from lendsignal.deliver.transport import Transport
from lendsignal.deliver.wire import NoAnswer, kept, secrets_of, wire, without_secrets
from lendsignal.destination.spec import Auth, Request, Response, Trial
from lendsignal.errors import TransportError
from lendsignal.model import (
    Accepted,
    Consent,
    Contact,
    Delivery,
    Device,
    Money,
    Pending,
    Skip,
    contact_of,
    conversion_id,
)

LOOK_SECONDS = 0.25
"""How long one look for an answer takes at most; the request's own timeout ends the looking."""

TEST_USER = "lendsignal-test"
"""The user that made-up events belong to."""

LONG_AGO = timedelta(seconds=30)
"""How old a made-up event is: its device was there before, and no clock makes it lie ahead."""

MADE_UP_IDS: Mapping[str, str] = {
    "appsflyer_id": "1577836800000-7057057",
    "adjust_adid": "7e57" * 8,
    "firebase_app_instance_id": "7e57" * 8,
    "branch_identity": "757757757757757757",
    "singular_sdid": "7e577e57-7e57-4e57-8e57-7e577e577e57",
    "kochava_device_id": "KA-lendsignal-test",
    "meta_anon_id": "XZ7E577E57-7E57-4E57-8E57-7E577E577E57",
    "kwai_click_id": "lendsignal-test",
}
"""Ids in each platform's form that belong to nobody."""

ANDROID_IDS = {"gaid": "7e577e57-7e57-4e57-8e57-7e577e577e59", "android_id": "7e577e577e577e57"}
IOS_IDS = {
    "idfa": "7E577E57-7E57-4E57-8E57-7E577E577E5A",
    "idfv": "7E577E57-7E57-4E57-8E57-7E577E577E58",
}

Mode = Literal["test", "validate"]


class Tried(Struct, frozen=True, kw_only=True):
    """What came of a test event or a dry run.

    `outcome` is `accepted` or `pending` (the platform has it), `clean` or `problems` (a dry run), else the
    outcome that a delivery would have had, or `no_answer`. `status` is 0 without an answer. `request` and
    `answer` hold no secret and no hash of a contact. `look` and `sees` say where a person finds it now; they
    are empty where it was refused. `sandbox`: what stood in for the platform, which then saw nothing.
    """

    destination: str
    kind: str
    mode: Mode
    name: str
    id: str
    request: dict[str, Any]
    status: int
    answer: str
    seconds: float
    outcome: str
    reason: str
    problems: tuple[str, ...] = ()
    look: str = ""
    sees: str = ""
    may_count: bool = False
    sandbox: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether the platform took it, or found nothing wrong with it."""
        return self.outcome in ("accepted", "pending", "clean")


class NoSuchMode(TransportError):
    """The platform has no such mode; the message says what to do instead."""


def trial_of(outlet: Outlet) -> Trial:
    """What a test event is at a destination."""
    found = getattr(outlet.module, "trial", None)
    if found is None:
        instead = "let an event of a user marked test through, with send_test = true in the destination"
        return Trial(way="none", instead=f"no mode for tests is known: {instead}")
    made: Trial = found(outlet.own)
    return made


def made_up(outlet: Outlet, name: str, now_us: int, ids: Mapping[str, str], *, valued: bool) -> Delivery:
    """A delivery of nobody's: half a minute old, with every fact a platform may want, worth 1 or nothing.

    `ids` are a real phone's, which take the place of the made-up ones: without them an advertising id of
    nobody would stand beside a real installation.
    """
    app = outlet.app
    ios = app.platform == "ios"
    device = Device(
        os=app.platform,
        os_version="17.4.1" if ios else "14",
        model=TEST_USER,
        locale="en_US",
        timezone=app.timezone,
        app_version="1.0.0",
        ip="203.0.113.7",
        user_agent=TEST_USER,
        att_status=3 if ios else None,
        limit_ad_tracking=False,
    )
    shown = ids or {**MADE_UP_IDS, **(IOS_IDS if ios else ANDROID_IDS)}
    device = msgspec.structs.replace(device, **shown)
    contact, _ = contact_of("lendsignal-test@example.com", "+15005550006")
    return Delivery(
        id=trial_id(name, now_us),
        name=name,
        occurred_at=from_us(now_us) - LONG_AGO,
        user_id=TEST_USER,
        app=app,
        device=device,
        value=Money(Decimal(1), app.currency) if valued else None,
        contact=contact if outlet.common.share_contact else None,
        consent=Consent(ad_user_data=True, ad_personalization=True, gdpr_applies=False),
    )


def trial_id(name: str, now_us: int) -> str:
    """An id of its own for each trial: a real conversion's would make the platform drop the real one."""
    return conversion_id(TEST_USER, TEST_USER, str(now_us), name)


def tried(
    outlet: Outlet,
    delivery: Delivery,
    mode: Mode,
    clock: Clock,
    *,
    code: str | None = None,
    sandbox: str | None = None,
    network: Network | None = None,
) -> Tried:
    """Sends one delivery as a test event, or to the platform's validation call.

    `sandbox` stands in for every host. Raises `NoSuchMode` where the platform has none, and `TransportError`
    where nothing can be sent: no secret, another host, or a delivery without what the platform needs.
    """
    trial, module = trial_of(outlet), outlet.module
    problems_found = getattr(module, "problems_found", None)
    validation_request = getattr(module, "validation_request", None)
    if mode == "test" and trial.way == "none":
        raise NoSuchMode(trial.instead)
    if mode == "validate" and (validation_request is None or problems_found is None):
        other = "" if trial.way == "none" else "; `--test` sends a test event there"
        raise NoSuchMode(f"{outlet.spec.label} has no call that only checks an event{other}")
    closes_at = outlet.too_old_from(delivery.occurred_at)
    if mode == "test" and closes_at is not None and from_us(clock.now_us()) >= closes_at:
        raise TransportError("it would never be sent: too_old; --validate has the platform look at it")
    item = module.encode(delivery, outlet.own)
    if isinstance(item, Skip):
        hint = "give an id of your own phone with --id, or an event with --event"
        raise TransportError(f"it would never be sent: {item.reason.value}; {hint}")
    if mode == "validate":
        assert validation_request is not None
        request: Request = validation_request([item], outlet.own)
    else:
        trial_request: Callable[..., Request] = module.trial_request  # type: ignore[attr-defined]
        request = trial_request([item], outlet.own, _code(outlet, trial, code))
    ended = _exchange(outlet, request, clock, sandbox, network)
    checked = mode == "validate" or trial.way == "dry_run"
    outcome, reason, problems = _meaning(outlet, ended, checked=checked)
    response = ended.response
    is_well = outcome in ("accepted", "pending", "clean")
    shows = is_well and mode == "test"
    return Tried(
        destination=outlet.name,
        kind=outlet.common.kind,
        mode=mode,
        name=delivery.name,
        id=delivery.id,
        request=msgspec.json.decode(_masked(kept(request).decode(), delivery.contact)),
        status=0 if response is None else response.status,
        answer=""
        if response is None
        else _masked(response.body.decode("utf-8", "replace"), delivery.contact),
        seconds=ended.seconds,
        outcome=outcome,
        reason=reason,
        problems=problems,
        look=trial.look if shows else "",
        sees=trial.sees if shows else "",
        may_count=trial.may_count and shows,
        sandbox=sandbox,
    )


def _masked(text: str, contact: Contact | None) -> str:
    """The text without the hashes of a phone number or an e-mail address, as `explain` shows it."""
    for digest in () if contact is None else msgspec.structs.astuple(contact):
        if digest:
            text = text.replace(digest, "(contact)")
    return text


def _code(outlet: Outlet, trial: Trial, given: str | None) -> str:
    """The platform's code for tests: the one given, else the one in the settings."""
    if trial.code is None:
        return ""
    code = given or getattr(outlet.own, "test_event_code", None)
    if not code:
        raise TransportError(f"{outlet.spec.label} asks for its {trial.code}: give it with --code")
    return str(code)


class _Ended(Struct, frozen=True, kw_only=True):
    """`response`: the answer without secrets; `None`: there was none. `why`: it never got as far as that."""

    response: Response | None
    seconds: float
    why: str = ""


def _meaning(outlet: Outlet, ended: _Ended, *, checked: bool) -> tuple[str, str, tuple[str, ...]]:
    """Outcome, reason, and what a dry run complained of."""
    response = ended.response
    if ended.why:
        return ("no_answer" if response is None else "refused"), ended.why, ()
    assert response is not None
    if checked:
        found: tuple[str, ...] | None = outlet.module.problems_found(response)  # type: ignore[attr-defined]
        if found is not None:
            return ("problems" if found else "clean"), "", found
    (outcome,) = outlet.module.classify(response, 1)
    match outcome:
        case Accepted(confirmed, reason):
            # A dry run that tells nothing of its findings found nothing out.
            word = reason or ("confirmed" if confirmed else "unconfirmed")
            return ("no_verdict" if checked else "accepted"), word, ()
        case Pending():
            return "pending", "the platform says later what became of it", ()
        case other:
            return type(other).__name__.lower(), other.reason, ()


def _exchange(
    outlet: Outlet, request: Request, clock: Clock, sandbox: str | None, network: Network | None
) -> _Ended:
    """Sends a request, after fetching the token that it needs."""
    name, began = outlet.name, time.monotonic()
    secrets = {name: secrets_of(outlet.own)}
    through: Network = Transport() if network is None else network

    def answer_to(asked: Request, auth: Auth, hosts: tuple[str, ...]) -> Response | NoAnswer:
        ready = wire(asked, auth, secrets[name], hosts=hosts, sandbox=sandbox, now_us=clock.now_us())
        timeout = outlet.common.timeout.total_seconds()
        through.start(ready, None, timeout, private=sandbox is not None or outlet.allows_private)
        while True:
            for done in through.wait(LOOK_SECONDS):
                return done.result

    try:
        why = ""
        tokens = Tokens({name: outlet}, secrets, time.monotonic)
        if tokens.missing(name):
            asked = tokens.request(name, clock.now_us())
            found = answer_to(asked, NO_AUTH, (TOKEN_HOST,))
            refused = tokens.took(name, None if isinstance(found, NoAnswer) else found)
            why = "" if refused is None else getattr(refused, "reason", "no_token")
        if not why:
            found = answer_to(request, outlet.spec.auth, outlet.hosts)
    finally:
        if network is None:
            through.close()
    seconds = round(time.monotonic() - began, 3)
    if isinstance(found, NoAnswer):
        return _Ended(response=None, seconds=seconds, why=why or found.reason)
    return _Ended(response=without_secrets(found, secrets[name]), seconds=seconds, why=why)
