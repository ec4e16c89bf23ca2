"""What a destination asks so that a platform forgets somebody, its strict stand-in takes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest
from tests.contract import destination_exam as exam

from lendsignal.clock import to_us
from lendsignal.deliver.wire import wire
from lendsignal.destination import registry
from lendsignal.destination.spec import Erasing, Request, Response, Subject
from lendsignal.model import Accepted, App, Device, IdKind, Outcome, Paused, Pending, Rejected, Retry, Secret
from lendsignal.sandbox import Asked, SandboxSettings, forgetting

SECRET = "made-up-secret"
ADJUST_APP = "4w565xzmb54d"
STAND_INS = SandboxSettings(
    adjust={ADJUST_APP: SECRET},
    appsflyer_api_tokens={SECRET: frozenset((exam.ANDROID.bundle, exam.IOS.bundle))},
    appsflyer_erasure_seconds=3_600,
)
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ID = "6f1c0d7e-40a3-4c8e-9b1d-7a2f63c9e811"

OWN: dict[str, dict[str, Any]] = {
    "adjust": {"app_id": ADJUST_APP, "token": Secret(env="X")},
    "appsflyer": {"token": Secret(env="X"), "api_token": Secret(env="X")},
}
KINDS = sorted(name for name, one in registry().items() if hasattr(one, "ERASING"))


class Office:
    """A destination and its stand-in, which remembers what it was asked."""

    def __init__(self, kind: str, settings: SandboxSettings = STAND_INS) -> None:
        self.module = cast(Any, registry()[kind])
        self.own = self.module.Settings(**OWN[kind])
        self.erasing: Erasing = self.module.ERASING
        self.forgotten = forgetting.Forgotten()
        self.kind = kind
        self.settings = settings
        self.now_us = to_us(NOW)

    def put(self, request: Request) -> Response:
        """The request on the wire, with its secrets, and the stand-in's answer."""
        secrets: dict[str, str | None] = dict.fromkeys(("token", "api_token"), SECRET)
        made = wire(
            request, self.erasing.auth, secrets, hosts=self.erasing.hosts, sandbox=None, now_us=self.now_us
        )
        parts = urlsplit(made.url)
        asked = Asked(
            host=parts.netloc,
            method=made.method,
            path=parts.path,
            query=parts.query,
            headers={name.lower(): value for name, value in made.headers},
            body=made.body,
        )
        judges: dict[str, Callable[..., Any]] = {
            "adjust": forgetting.adjust,
            "appsflyer": forgetting.appsflyer,
        }
        answer = judges[self.kind](self.forgotten, asked, self.settings, self.now_us)
        return Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    def ask(self, app: App, device: Device, request: str = ID) -> Outcome:
        """Asks for one installation."""
        found = self.module.erasure_id(app, device)
        assert found is not None
        subject = Subject(app=app, kind=found[0], value=found[1], request=request, asked_at=NOW)
        outcome: Outcome = self.module.erased(self.put(self.module.erasure(subject, self.own)))
        return outcome

    def follow(self, request: str = ID) -> Outcome:
        """Asks whether it is done."""
        outcome: Outcome = self.module.erasure_verdict(self.put(self.module.erasure_ask(request, self.own)))
        return outcome


def phone(**ids: str) -> Device:
    return msgspec.convert(ids, Device)


def test_adjust_and_appsflyer_can_be_asked() -> None:
    assert KINDS == ["adjust", "appsflyer"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("app", [exam.ANDROID, exam.IOS], ids=["android", "ios"])
@pytest.mark.parametrize("known", list(IdKind))
def test_every_id_that_a_platform_may_be_asked_by_is_taken_and_no_other_is_used(
    kind: str, app: App, known: IdKind
) -> None:
    office, device = Office(kind), phone(**{known.value: exam.SAMPLE_IDS[known]})
    if office.module.erasure_id(app, device) is None:
        return
    outcome = office.ask(app, device)

    assert isinstance(outcome, Pending if kind == "appsflyer" else Accepted)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_are_linked_and_dated_and_no_secret_stands_in_the_request(kind: str) -> None:
    office = Office(kind)
    subject = Subject(app=exam.ANDROID, kind="adid", value="ab" * 16, request=ID, asked_at=NOW)
    request = office.module.erasure(subject, office.own)

    assert office.erasing.docs.startswith("https://")
    assert office.erasing.docs_read >= "2026-01-01"
    assert urlsplit(request.url).scheme == "https"
    assert urlsplit(request.url).hostname in office.erasing.hosts
    assert SECRET not in repr(request)
    assert UUID(request.key).version == 4


def test_appsflyer_is_asked_later_whether_it_is_done() -> None:
    office, device = Office("appsflyer"), phone(appsflyer_id=exam.SAMPLE_IDS[IdKind.APPSFLYER_ID])
    office.ask(exam.ANDROID, device)

    assert office.follow() == Pending("pending")
    office.now_us += 1_900 * 1_000_000
    assert office.follow() == Pending("in-progress")
    office.now_us += 1_900 * 1_000_000
    assert office.follow() == Accepted()
    assert office.follow("00000000-0000-4000-8000-000000000000") == Rejected("request_unknown")


def test_asking_once_more_after_a_lost_answer_asks_nothing_new() -> None:
    af, adj = Office("appsflyer"), Office("adjust")
    first, second = phone(appsflyer_id="1763712345678-4312502203727572307"), phone(adjust_adid="ab" * 16)
    af.ask(exam.ANDROID, first)
    adj.ask(exam.ANDROID, second)

    assert af.ask(exam.ANDROID, first) == Pending("e213")
    other = "0f1c0d7e-40a3-4c8e-9b1d-7a2f63c9e811"
    assert af.ask(exam.ANDROID, first, other) == Pending("e215")
    assert adj.ask(exam.ANDROID, second) == Accepted(reason="forgotten_before")


def test_adjust_takes_ten_a_minute_and_the_eleventh_later() -> None:
    office = Office("adjust")
    for n in range(10):
        assert isinstance(office.ask(exam.ANDROID, phone(adjust_adid=f"{n:032x}")), Accepted)

    refused = office.ask(exam.ANDROID, phone(adjust_adid="ff" * 16))
    assert isinstance(refused, Retry)
    assert not refused.counts
    office.now_us += 60_000_000
    assert isinstance(office.ask(exam.ANDROID, phone(adjust_adid="ff" * 16)), Accepted)


def test_a_wrong_account_waits_for_a_person_and_a_platform_in_trouble_is_asked_again() -> None:
    af = registry()["appsflyer"]
    said: dict[str, Any] = {"error": {"code": 400, "message": "…", "af_gdpr_code": "e411"}}

    def erased(code: str, status: int = 400) -> Outcome:
        said["error"]["af_gdpr_code"] = code
        outcome: Outcome = af.erased(Response(status=status, body=msgspec.json.encode(said)))  # type: ignore[attr-defined]
        return outcome

    assert erased("e411") == Paused("app_not_found")
    assert isinstance(erased("e511"), Retry)
    assert erased("e321") == Rejected("limits_ad_tracking")
    assert erased("e325") == Rejected("e325")
    assert isinstance(erased("", 401), Paused)
    assert isinstance(erased("", 200), Retry), "only 201 is a yes"


def test_without_the_api_token_appsflyer_cannot_be_asked() -> None:
    module = registry()["appsflyer"]
    assert module.no_erasure(module.Settings(token=Secret(env="X"))) == "api_token is not set"  # type: ignore[attr-defined]
