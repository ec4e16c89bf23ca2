"""A made-up lender's days through every destination there is: the real service and strict sandboxes.

One configuration, written once for an Android and an iOS app; one replay clock, so that every window and
verdict comes when it would. What people are called, where they can be reached and what they scored carries
marks, and every secret does: none of them may turn up where it has no business.
"""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.running import call, until
from tests.servers.kafka import Broker, kafka

from lendsignal.destination import registry
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.model import SkipReason
from lendsignal.plan import Corrected, Planned, Rebound, record_of
from lendsignal.replay import Player, Stage, chunks, received_us
from lendsignal.sandbox import GoogleAccount, MetaDataset, SandboxSettings
from lendsignal.simulate import Parameters, events, make
from lendsignal.simulate.parameters import Lender, Loans, People, Period, Phones

USERS, DAYS, SEED = 120, 3, 20261122
STEP_US = 2 * 3_600_000_000
KINDS = tuple(sorted(registry()))
APPS = {"acme-android": "android", "acme-ios": "ios"}

MARK = "markedperson"
"""Part of everybody's name and e-mail."""

SCORE_MARK = "7319317319"
"""The decimals of every score."""

CANARY = "canary7d1e40b2secret"
"""Part of every secret."""

KEY = f"ls_{CANARY}-key"
KEY_HEADER = f"Bearer {KEY}"

FIREBASE = {
    "acme-android": "1:1234567890:android:0a1b2c3d4e5f6a7b",
    "acme-ios": "1:1234567890:ios:7b6a5f4e3d2c1b0a",
}
ADJUST = {"acme-android": "4w565xzmb54d", "acme-ios": "9x121abcd77e"}
META = {"acme-android": "1234567890123456", "acme-ios": "6543210987654321"}
SNAP = {"acme-android": "snap-app-1", "acme-ios": "snap-app-2"}
TIKTOK = {"acme-android": "7000000000000000001", "acme-ios": "7000000000000000002"}
KWAI = {"acme-android": "270123456789012", "acme-ios": "270123456789013"}
LINK = {"acme-android": "0123456789ABCDEF0123456789ABCDEF", "acme-ios": "FEDCBA9876543210FEDCBA9876543210"}
CUSTOMER = {"acme-android": "4445556666", "acme-ios": "5556667777"}
BUNDLE = {"acme-android": "com.acme.loans", "acme-ios": "id1234567890"}
IDENTIFIER = {"acme-android": "com.acme.loans", "acme-ios": "com.acme.loans.ios"}
HOST = {app: f"{app}.hooks.example" for app in APPS}

CODES = {"registration": "ev_r", "first_application": "ev_ap", "first_credit": "ev_fc", "first_loan": "ev_fl"}
ACTIONS = {"ev_r": "987650001", "ev_ap": "987650002", "ev_fc": "987650003", "ev_fl": "987654321"}
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "adjust": ("abr001", "abp002", "abc003", "f0ob4r"),
    "branch": ("COMPLETE_REGISTRATION:ev_r", "ev_ap", "ev_fc", "PURCHASE:ev_fl"),
    "kwai": ("EVENT_COMPLETE_REGISTRATION", "EVENT_FORM_SUBMIT", "EVENT_BUTTON_CLICK", "EVENT_PURCHASE"),
    "meta": ("CompleteRegistration", "ev_ap", "ev_fc", "Purchase"),
    "snap": ("SIGN_UP", "START_CHECKOUT", "CUSTOM_EVENT_1", "PURCHASE"),
    "tiktok": ("Registration", "LoanApplication", "LoanApproval", "LoanDisbursal"),
}
"""What platforms with names of their own call the four conversions."""

HEAD = """\
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-ios]
brand     = "acme"
platform  = "ios"
bundle    = "id1234567890"
bundle_id = "com.acme.loans.ios"
country   = "NG"
currency  = "NGN"
timezone  = "Africa/Lagos"

[source.backend]
key = { env = "DAY_KEY" }

[service]
replay_clock = "clock"

[door]
port = 0

[resolve]
settle    = "2s"
pen_after = "1h"

[deliver]
first_retry = "50ms"
"""

SECRET_OF = {
    "adjust": "token", "appsflyer": "token", "branch": "branch_key", "ga4": "api_secret",
    "google_ads": "developer_token", "google_app": "dev_token", "kochava": "app_guid", "kwai": "token",
    "meta": "token", "relay": "secret", "singular": "sdk_key", "snap": "token", "tiktok": "token",
    "webhook": "secret",
}  # fmt: skip
"""The setting that holds each kind's secret."""

OWN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "adjust": ("app_id", ADJUST), "ga4": ("firebase_app_id", FIREBASE),
    "google_ads": ("customer_id", CUSTOMER), "google_app": ("link_id", LINK),
    "google_data_manager": ("account_id", CUSTOMER),
    "kwai": ("pixel_id", KWAI), "meta": ("dataset_id", META), "snap": ("snap_app_id", SNAP),
    "tiktok": ("app_id", TIKTOK),
}  # fmt: skip
"""The setting that names each app's account, and the accounts."""

GOOGLE = ("google_ads", "google_data_manager")
NO_STAND_IN = frozenset(("relay", "kafka"))
"""Kinds that no sandbox plays: the app fetches, and a topic is no platform."""


NO_BROKER = "no Kafka broker here, so the day is without its topic: bash tests/servers/install.sh"


def configuration(broker: Broker | None) -> str:
    """Every kind once, for both apps; the topic where there is a broker."""
    parts = [HEAD]
    for kind in KINDS:
        if kind == "kafka" and broker is None:
            continue
        lines = [f"[destination.{kind}]", f'kind = "{kind}"', 'apps = ["acme-*"]', 'linger = "0s"']
        lines += ["per_second = 2000", "burst = 2000", "share_contact = true"]
        if kind in SECRET_OF:
            lines.append(f'{SECRET_OF[kind]} = {{ env = "DAY_{kind.upper()}_{{APP}}" }}')
        if kind in GOOGLE:
            lines.append('credentials = { env = "DAY_GOOGLE_{APP}" }')
            actions = ", ".join(f'{name} = "{action}"' for name, action in ACTIONS.items())
            lines.append(f"conversion_actions = {{ {actions} }}")
        if kind == "webhook":
            lines.append('url = "https://{app}.hooks.example/in"')
        if kind == "kafka":
            assert broker is not None
            lines += [f'brokers = ["{broker.address}"]', 'topic = "{app}.conversions"', "tls = false"]
        if kind in OWN:
            field, accounts = OWN[kind]
            each = ", ".join(f'{app} = {{ {field} = "{account}" }}' for app, account in accounts.items())
            lines.append(f"per_app = {{ {each} }}")
        names = dict(zip(CODES, OTHER_NAMES.get(kind, tuple(CODES.values())), strict=True))
        send = ", ".join(f'{conversion} = "{name}"' for conversion, name in names.items())
        lines += ["", "[[route]]", f'to = "{kind}"', f"send = {{ {send} }}", 'value = { first_loan = "fee" }']
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def secret(kind: str, app: str) -> str:
    """One destination's secret, in the form of its kind."""
    plain = f"{CANARY}-{kind}-{app}-that-is-long-enough"
    return f"whsec_{b64encode(plain.encode()).decode()}" if kind == "webhook" else plain


def environment() -> dict[str, str]:
    """Every secret by the name that the configuration gives it."""
    named = {"DAY_KEY": KEY}
    for app in APPS:
        end = app.replace("-", "_").upper()
        named |= {f"DAY_{kind.upper()}_{end}": secret(kind, app) for kind in SECRET_OF}
        named[f"DAY_GOOGLE_{end}"] = json.dumps(
            {
                "type": "authorized_user",
                "client_id": f"client-{app}",
                "client_secret": f"{CANARY}-client",
                "refresh_token": f"1//{CANARY}-refresh",
            }
        )
    return named


def accounts() -> SandboxSettings:
    """The same accounts as the platforms have them."""

    def keys(kind: str, named: Mapping[str, str]) -> dict[str, str]:
        return {account: secret(kind, app) for app, account in named.items()}

    return SandboxSettings(
        adjust=keys("adjust", ADJUST),
        appsflyer=keys("appsflyer", BUNDLE),
        branch=keys("branch", {app: app for app in APPS}),
        ga4=keys("ga4", FIREBASE),
        google_ads={
            CUSTOMER[app]: GoogleAccount(
                token=f"{CANARY}-fetched-{app}",
                developer_token=secret("google_ads", app),
                actions=frozenset(ACTIONS.values()),
            )
            for app in APPS
        },
        google_tokens={f"client-{app}": f"{CANARY}-fetched-{app}" for app in APPS},
        google_app=keys("google_app", LINK),
        kochava=keys("kochava", {app: app for app in APPS}),
        kwai=keys("kwai", KWAI),
        meta={META[app]: MetaDataset(token=secret("meta", app)) for app in APPS},
        singular=keys("singular", IDENTIFIER),
        snap=keys("snap", SNAP),
        tiktok=keys("tiktok", TIKTOK),
        webhooks=keys("webhook", HOST),
    )


def sandbox_accounts(kind: str, app: str) -> list[str]:
    """What the sandbox calls a destination's account; Google's count by conversion action."""
    if kind in GOOGLE:
        return [f"{CUSTOMER[app]}/{action}" for action in ACTIONS.values()]
    named = {
        "appsflyer": BUNDLE, "branch": {app: app}, "kochava": {app: app}, "singular": IDENTIFIER,
        "webhook": HOST,
        **{kind: each for kind, (_, each) in OWN.items()},
    }  # fmt: skip
    return [named[kind][app]]


def lived() -> list[dict[str, Any]]:
    """The lender's events in the order of their arrival, with marks on what is personal."""
    parameters = Parameters(
        lender=Lender(ios_bundle=BUNDLE["acme-ios"]),
        period=Period(start=date(2026, 11, 16), days=DAYS, users=USERS, monthly_growth=0),
        people=People(consent_given=0.85, consent_withdrawn=0.05),
        loans=Loans(reversed=0.15),
        phones=Phones(ios=0.4, new_phone=0.6, reinstall=0.6, other_platform=0.1),
    )
    return [marked(event) for event in events(make(parameters, SEED))]


def marked(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with a marked person behind it, and a phone that shows every kind of id."""
    found = dict(event)
    user = int(found["user_id"][1:])
    if found["type"] == "registered":
        found["email"] = f"{MARK}.{user}@example.org"
        found["phone"] = phone_of(user)
        found["properties"] = {"full_name": f"Ada {MARK.title()} {user}"}
    if "score" in found:
        found["score"] = float(f"{int(found['score'])}.{SCORE_MARK}")
    if "device" in found:
        found["device"] = with_ids(found["device"])
    return found


def phone_of(user: int) -> str:
    return f"+23480355{user:05d}"


def with_ids(device: Mapping[str, Any]) -> dict[str, Any]:
    """The device with the ids of every SDK for its installation, and a click for some."""
    found = dict(device)
    ios = found["os"] == "ios"
    found["user_agent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)" if ios else (
        f"Mozilla/5.0 (Linux; Android {found['os_version']})"
    )  # fmt: skip
    if (installation := found.get("firebase_app_instance_id")) is not None:
        digits = sha256(installation.encode()).hexdigest()
        found["adjust_adid"] = digits[:32]
        found["branch_identity"] = str(int(digits[:15], 16))
        found["singular_sdid"] = str(UUID(digits[:32]))
        found["kochava_device_id"] = f"KA{digits[:30]}"
        found["meta_anon_id"] = f"XZ{digits[:32].upper()}"
        if int(digits[0], 16) < 8:
            found |= {"gclid": f"Cj{digits[:20]}", "kwai_click_id": f"Lw{digits[:16]}"}
            found |= {"ttclid": f"E.C.P.{digits[:12]}", "sc_click_id": digits[:18]}
    return found


class Day:
    """What is left of it, read once everything has ended. Conversion ids by destination."""

    def __init__(
        self,
        folder: Path,
        received: Mapping[tuple[str, str], Counter[str]],
        corrected: Mapping[str, Counter[str]],
    ) -> None:
        self.folder = folder
        self.received = received
        self.corrected = corrected
        self.has_topic = ("kafka", next(iter(APPS))) in received
        self.corrections: dict[str, dict[str, set[str]]] = {}
        data = DataFolder(folder / "data")
        self.planned: dict[str, set[str]] = {}
        self.event_of: dict[str, str] = {}
        self.ends: dict[str, dict[str, set[tuple[str, str]]]] = {}
        log = open_log(data.log, read_only=True)
        with closing(log), closing(open_deliveries(data.deliveries)) as deliveries:
            conversions: dict[int, str] = {}
            corrections: dict[int, str] = {}
            after = 0
            while found := log.records(after, 5_000):
                after = found[-1][0]
                for number, record in found:
                    if isinstance(record, Planned | Rebound):
                        conversions[number] = record.conversion.id
                        self._plan(record)
                    elif isinstance(record, Corrected):
                        corrections[number] = record.conversion.id
            for _, pack in deliveries.all_receipts():
                for receipt in pack:
                    number, _ = record_of(receipt.id)
                    if number in corrections:
                        told = self.corrections.setdefault(receipt.destination, {})
                        told.setdefault(receipt.what, set()).add(corrections[number])
                        continue
                    ended = self.ends.setdefault(receipt.destination, {}).setdefault(receipt.what, set())
                    ended.add((conversions[number], receipt.reason))
            self.waiting = {name: sum(stages.values()) for name, stages in deliveries.waiting().items()}

    def _plan(self, record: Planned | Rebound) -> None:
        self.event_of[record.conversion.id] = record.conversion.event_id
        for entry in record.entries:
            if entry.skip is None:
                self.planned.setdefault(entry.destination, set()).add(record.conversion.id)

    def knows(self, kind: str) -> None:
        """Skips the test of a topic where no broker is installed."""
        if kind.startswith("kafka") and not self.has_topic:
            pytest.skip(NO_BROKER)

    def ended(self, destination: str, what: str) -> set[str]:
        """The conversions that came to that end."""
        return {conversion for conversion, _ in self.ends.get(destination, {}).get(what, ())}

    def reasons(self, what: str) -> Counter[str]:
        """Why, over all destinations."""
        return Counter(reason for ends in self.ends.values() for _, reason in ends.get(what, ()))


DESTINATIONS = [f"{kind}-{app}" for kind in KINDS for app in APPS]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """The days, played through."""
    folder = tmp_path_factory.mktemp("day")
    with broker_or_none() as broker, pytest.MonkeyPatch.context() as patch, said_into(folder / "said"):
        (folder / "lendsignal.toml").write_text(configuration(broker))
        for app in APPS if broker is not None else ():
            assert broker is not None
            broker.make_topic(f"{app}.conversions", partitions=3)
        for name, value in environment().items():
            patch.setenv(name, value)
        stage = Stage(folder, accounts(), roles=("core", "send"))
        stream = lived()
        stage.clock.set_us(received_us(stream[0]))
        stage.start()
        try:
            play(stage, stream)
            platforms = [(kind, app) for kind in KINDS if kind not in NO_STAND_IN for app in APPS]
            received = {(kind, app): received_by(stage, kind, app) for kind, app in platforms}
            corrected = {f"{kind}-{app}": corrected_by(stage, kind, app) for kind in GOOGLE for app in APPS}
            for app in APPS if broker is not None else ():
                assert broker is not None
                received["kafka", app] = in_topic(folder, broker, f"{app}.conversions")
        finally:
            stage.stop()
    # Its accounts hold the secrets by design: it is the platforms.
    (folder / "sandbox.json").unlink()
    return Day(folder, received, corrected)


@contextmanager
def broker_or_none() -> Iterator[Broker | None]:
    """A genuine broker, or none where none is installed."""
    with ExitStack() as closing_last:
        try:
            broker = closing_last.enter_context(kafka())
        except pytest.skip.Exception:
            broker = None
        yield broker


def in_topic(folder: Path, broker: Broker, topic: str) -> Counter[str]:
    """Each conversion id in a topic, with how often; the messages are kept with what platforms received."""
    messages = [message.value() for message in broker.messages(topic)]
    (folder / "received" / topic).write_bytes(b"\n".join(messages))
    return Counter(json.loads(message)["id"] for message in messages)


def corrected_by(stage: Stage, kind: str, app: str) -> Counter[str]:
    """Each conversion id that a Google account has changed, with how often."""
    found: Counter[str] = Counter()
    for account in sandbox_accounts(kind, app):
        place = f"platform=google_ads_adjustment&account={account}%20RETRACTION"
        if kind == "google_data_manager":
            place = f"platform=google_data_manager_restatement&account={account}"
        found.update(json.loads(call(stage.sandbox, "GET", f"/_sandbox/ids?{place}")[2]))
    return found


@contextmanager
def said_into(path: Path) -> Iterator[None]:
    """All that this process and its children say goes into a file."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    sys.stdout.flush()
    with path.open("wb") as said:
        for number, _ in kept:
            os.dup2(said.fileno(), number)
        try:
            yield
        finally:
            for number, was in kept:
                os.dup2(was, number)
                os.close(was)


def play(stage: Stage, stream: list[dict[str, Any]]) -> None:
    """Everything in the order of arrival; then the apps open, and verdicts are waited for."""
    hour = timedelta(hours=1) // timedelta(microseconds=1)
    with closing(Player(stage.service, KEY, stage.clock, stage.tend)) as player:
        end = 0
        for end, batch in chunks(stream, STEP_US, received_us):
            player.play(batch, end)
        player.play([], end + 4 * hour)
        open_apps(stage, stream)
        until(lambda: not pending(stage, "relay"), "what the apps have logged is known")
        player.play([], end + 30 * hour)
        until(lambda: not pending(stage, "google_data_manager"), "every verdict is there")
        # What was reversed waited for that verdict before it was corrected: that has a verdict too.
        player.play([], end + 31 * hour)
        until(lambda: not waiting(stage, "google_data_manager"), "every correction has left")
        player.play([], end + 62 * hour)
        until(lambda: not pending(stage, "google_data_manager"), "and its verdict is there")
        assert player.refused == 0


def pending(stage: Stage, kind: str) -> int:
    """Deliveries of a kind whose verdict is still to come."""
    return in_stages(stage, kind, "pending")


def waiting(stage: Stage, kind: str) -> int:
    """Deliveries of a kind that are to leave, or on their way."""
    return in_stages(stage, kind, "waiting", "claimed")


def in_stages(stage: Stage, kind: str, *stages: str) -> int:
    found = json.loads(call(stage.service, "GET", "/v1/status", Authorization=KEY_HEADER)[2])["waiting"]
    return sum(found.get(f"{kind}-{app}", {}).get(one, 0) for app in APPS for one in stages)


def open_apps(stage: Stage, stream: list[dict[str, Any]]) -> None:
    """Every installation fetches what waits for it, and says that it has logged it."""
    installations = {
        (event["user_id"], event["app"], event["device"]["appsflyer_id"])
        for event in stream
        if "appsflyer_id" in event.get("device", {})
    }
    for user, app, installation in sorted(installations):
        asked = {"user_id": user, "installation": installation, "relay": f"relay-{app}"}
        status, _, answer = call(
            stage.service, "POST", "/v1/relay/token", json.dumps(asked).encode(), Authorization=KEY_HEADER
        )
        assert status == 200, answer
        bearer = f"Bearer {json.loads(answer)['token']}"
        status, _, answer = call(stage.service, "GET", "/v1/relay/events", Authorization=bearer)
        assert status == 200, answer
        found = [one["id"] for one in json.loads(answer)["events"]]
        if found:
            body = json.dumps({"ids": found}).encode()
            status, _, answer = call(
                stage.service, "POST", "/v1/relay/acknowledged", body, Authorization=bearer
            )
            assert (status, json.loads(answer)["acknowledged"]) == (200, len(found))


def received_by(stage: Stage, kind: str, app: str) -> Counter[str]:
    """Each conversion id that a destination's account holds, with how often."""
    found: Counter[str] = Counter()
    for account in sandbox_accounts(kind, app):
        page = call(stage.sandbox, "GET", f"/_sandbox/ids?platform={kind}&account={account}")[2]
        found.update(json.loads(page))
    return found


@pytest.mark.parametrize("destination", DESTINATIONS)
def test_what_was_planned_was_accepted_or_skipped_with_its_reason(day: Day, destination: str) -> None:
    day.knows(destination)
    accepted, skipped = day.ended(destination, "accepted"), day.ended(destination, "skipped")
    cancelled = day.ended(destination, "cancelled")

    assert len(day.planned[destination]) > 30
    assert accepted | skipped | cancelled == day.planned[destination]
    assert len(accepted) + len(skipped) + len(cancelled) == len(day.planned[destination])
    assert not cancelled or destination.startswith("relay"), "only the app comes hours later"
    assert day.ended(destination, "dead") == set()
    assert day.waiting.get(destination, 0) == 0


@pytest.mark.parametrize("destination", [name for name in DESTINATIONS if not name.startswith("relay")])
def test_the_platform_holds_just_what_was_accepted_and_each_once(day: Day, destination: str) -> None:
    day.knows(destination)
    kind, _, app = destination.partition("-")
    received = day.received[kind, app]

    assert received
    assert set(received) == day.ended(destination, "accepted")
    assert set(received.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_took_conversions_of_every_stage(day: Day, kind: str) -> None:
    day.knows(kind)
    assert sum(len(day.ended(f"{kind}-{app}", "accepted")) for app in APPS) > 10


@pytest.mark.parametrize("destination", [f"{kind}-{app}" for kind in GOOGLE for app in APPS])
def test_google_holds_just_the_corrections_of_reversed_loans_that_it_had_and_each_once(
    day: Day, destination: str
) -> None:
    ends = day.corrections.get(destination, {})

    assert len(day.corrected[destination]) >= 1
    assert day.corrected[destination] == Counter(ends["accepted"])
    assert ends["accepted"] <= day.ended(destination, "accepted")
    assert ends.get("dead", set()) == set()


def test_skips_have_reasons_from_the_list_and_the_day_had_several(day: Day) -> None:
    reasons = day.reasons("skipped")

    assert reasons.keys() <= {reason.value for reason in SkipReason}
    assert {"no_device_id", "no_consent"} <= reasons.keys()


def files(folder: Path) -> list[Path]:
    """Every file that is left."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_personal_is_in_clear_in_what_the_platforms_received(day: Day) -> None:
    text = b"".join(path.read_bytes() for path in files(day.folder / "received")).lower()
    digest = sha256(f"{MARK}.1@example.org".encode()).hexdigest()

    assert len(text) > 1_000_000
    assert digest.encode() in text, "the hashed contact is there: the test looks at the right place"
    assert MARK.encode() not in text
    assert SCORE_MARK.encode() not in text
    assert [user for user in range(1, USERS + 1) if phone_of(user)[1:].encode() in text] == []


def test_no_secret_is_in_any_file_of_the_data_folder_nor_in_what_was_said(day: Day) -> None:
    left = files(day.folder)

    assert {"log.sqlite", "deliveries.sqlite", "said"} <= {path.name for path in left}
    hidden = [CANARY, *(secret("webhook", app).removeprefix("whsec_")[:20] for app in APPS)]
    for path in left:
        text = path.read_bytes()
        assert [word for word in hidden if word.encode() in text] == [], path.name


def test_contacts_are_written_nowhere_in_clear(day: Day) -> None:
    for path in files(day.folder):
        text = path.read_bytes()
        assert f"{MARK}.1@example.org".encode() not in text.lower(), path.name
        assert phone_of(1).encode() not in text, path.name


def test_explain_shows_each_request_as_it_was_sent_and_the_answer_that_was_read(day: Day) -> None:
    kinds = set(KINDS) if day.has_topic else set(KINDS) - {"kafka"}
    everywhere = set.intersection(*(day.ended(f"{kind}-acme-android", "accepted") for kind in kinds))
    command = [sys.executable, "-m", "lendsignal", "explain", day.event_of[min(everywhere)], "--json"]
    done = subprocess.run(
        [*command, "--config", str(day.folder / "lendsignal.toml")],
        env={**os.environ, **environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    (life,) = json.loads(done.stdout)["lives"]
    shown = {
        one["kind"]: one
        for conversion in life["conversions"]
        for one in conversion["deliveries"]
        if conversion["id"] == min(everywhere) and one["corrects"] is None
    }

    assert shown.keys() == kinds
    for kind, one in shown.items():
        last = one["attempts"][-1]
        assert one["what"] == last["what"] == "accepted", kind
        assert one["request"]["body"] or one["request"]["url"], kind
        assert kind == "relay" or 200 <= last["status"] < 300, kind
    assert CANARY not in done.stdout
    assert MARK not in done.stdout.lower()
