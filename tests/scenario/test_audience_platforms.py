"""Every platform's list through additions, removals, a replace, a kill, a refused row and a throttle: what is
intended, what is confirmed and what the platform remembers are the same at the end."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace
from tests.running import Stand, until
from tests.telling import build, data_folder, digits, e164, email, email_google, gaid, hashed

from lendsignal.audience.membership import Membership, Planned
from lendsignal.clock import SystemClock
from lendsignal.config import Config, load
from lendsignal.deliver.audiences import Synced, sync
from lendsignal.deliver.audiences.calls import Calls
from lendsignal.deliver.transport import Transport
from lendsignal.log import DataFolder
from lendsignal.model.audience import AudienceMember, Counts, Sync
from lendsignal.model.contact import Contact

BAD = 777
"""Somebody whom every platform finds unusable."""

STRANGER = 888
"""Somebody who stands on the platform's list, and not because of us."""

CONTACT_OF, PHONE_OF = {100: 10}, {110: 20, 30: 220}
"""Who has the number and address of another, or another's phone: of each pair one leaves, and one stays or
comes later."""

CONFIG = """\
[portfolio]
name = "acme"

[brand.acme]

[app.acme-ph]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "PH"
currency = "PHP"
timezone = "Asia/Manila"

[deliver]
sandbox = "{sandbox}"

[audience_account.there]
first_retry   = "10ms"
patience      = "10s"
verdict_after = "0s"
chunk         = 40
per_second    = 500
{account}
"""


class Case(Struct, frozen=True):
    """A platform: its host, its keys in the configuration, and by which ids it knows whoever has the phone of
    the one and the contact of the other."""

    host: str
    account: str
    known: Callable[[int, int], set[str]]
    valued: bool = False
    drops_strangers: bool = True


CASES: dict[str, Case] = {
    "meta": Case(
        "graph.facebook.com",
        'kind = "meta"\nad_account = "111222333"\ntoken = { file = "token" }',
        lambda phone, contact: {gaid(phone), digits(contact), email(contact)},
        valued=True,
    ),
    "google-contact": Case(
        "datamanager.googleapis.com",
        'kind = "google"\naccount_id = "4445556666"\ncredentials = { file = "google.json" }',
        lambda _, contact: {email_google(contact), e164(contact)},
    ),
    "google-mobile": Case(
        "datamanager.googleapis.com",
        'kind = "google"\naccount_id = "4445556666"\ncredentials = { file = "google.json" }\n'
        'data = "mobile"\nkey_space = "ANDROID"\napp_id = "com.acme.loans"',
        lambda phone, _: {gaid(phone)},
    ),
    "tiktok-mapping": Case(
        "business-api.tiktok.com",
        'kind = "tiktok"\nadvertiser_id = "7000000000000000001"\ntoken = { file = "token" }\n'
        'ids = ["gaid", "phone"]',
        lambda phone, contact: {hashed(phone), e164(contact)},
        drops_strangers=False,
    ),
    "tiktok-file": Case(
        "business-api.tiktok.com",
        'kind = "tiktok"\nadvertiser_id = "7000000000000000001"\ntoken = { file = "token" }\n'
        'by = "file"\nids = ["gaid"]',
        lambda phone, _: {hashed(phone)},
    ),
    "snap": Case(
        "adsapi.snapchat.com",
        'kind = "snap"\nad_account = "8adc3db7"\nclient_id = { file = "client" }\n'
        'client_secret = { file = "token" }\nrefresh_token = { file = "token" }',
        lambda phone, _: {hashed(phone)},
    ),
    "appsflyer": Case(
        "hq1.appsflyer.com",
        'kind = "appsflyer"\napp_id = "com.acme.loans"\nplatform = "android"\ntoken = { file = "token" }\n'
        '[audience_account.there.lists]\ngood = "IMPORTKEY1"',
        lambda phone, _: {gaid(phone)},
    ),
}


def sandbox_settings() -> Mapping[str, Any]:
    return {
        "google_ads": {"4445556666": {"token": "made-up-google", "actions": []}},
        "google_tokens": {"made-up-client": "made-up-google"},
        "audiences": {
            "meta": {"111222333": "made-up-token"},
            "tiktok": {"7000000000000000001": "made-up-token"},
            "snap": {"8adc3db7": "made-up-snap"},
            "snap_clients": {"made-up-client": "made-up-snap"},
            "appsflyer": {
                "IMPORTKEY1": {"token": "made-up-token", "platform": "android", "app_id": "com.acme.loans"}
            },
            "bad_ids": [gaid(BAD), hashed(BAD), email_google(BAD)],
        },
    }


class World:
    """One platform with one list of ours."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.stand = Stand(folder / "sandbox", more=sandbox_settings())
        home = folder / "home"
        home.mkdir()
        (home / "token").write_text("made-up-token")
        (home / "client").write_text("made-up-client")
        credentials = {
            "type": "authorized_user",
            "client_id": "made-up-client",
            "client_secret": "made-up",
            "refresh_token": "made-up",
        }
        (home / "google.json").write_text(json.dumps(credentials))
        self.path = home / "lendsignal.toml"
        self.path.write_text(CONFIG.format(sandbox=self.stand.address, account=case.account))
        self.config: Config = load(self.path)
        self.data: DataFolder = data_folder(self.config.data)
        self.plan = [
            Planned(
                audience="good", account="there", code="ls-0a1b", use="retargeting", with_value=case.valued
            )
        ]

    def intend(self, *keys: int) -> None:
        """The list is to have these members; each is worth twice its number."""
        values = {key: key * 2.0 for key in keys}
        build(self.data, "good", values, contact_of=CONTACT_OF, phone_of=PHONE_OF)

    def tell(self) -> Synced:
        """Runs until nothing is left that could be done at once; what they did together."""
        added = removed = refused = 0
        with closing(Membership(self.data, self.plan, SystemClock())) as membership:
            for _ in range(6):
                (found,) = sync(
                    membership,
                    self.config.audience_accounts,
                    SystemClock(),
                    sandbox=self.stand.address,
                )
                added, removed = added + found.added, removed + found.removed
                refused += found.refused
                if found.outcome != "waiting":
                    break
        return replace(found, added=added, removed=removed, refused=refused)

    def counts(self) -> Counts:
        with closing(Membership(self.data, self.plan, SystemClock())) as membership:
            return membership.counts(membership.syncs()[0])

    def ask_replace(self) -> None:
        with closing(Membership(self.data, self.plan, SystemClock())) as membership:
            membership.ask_replace(membership.syncs()[0])

    def there(self) -> dict[str, float | None]:
        """Every single id that the platform remembers."""
        lists = [one for one in self.stand.look("audiences") if one["name"] in ("ls-0a1b", "IMPORTKEY1")]
        assert len(lists) == 1, "one list, however often it was begun"
        found: dict[str, float | None] = lists[0]["members"]
        return found

    def expected(self, *keys: int) -> dict[str, float | None]:
        return {
            one: key * 2.0 if self.case.valued else None
            for key in keys
            for one in self.case.known(PHONE_OF.get(key, key), CONTACT_OF.get(key, key))
        }

    def killed_in_the_middle(self, requests: int) -> None:
        """A process that tells the list is killed while the platform hangs, after so many requests."""
        self.stand.faults(
            {"kind": "accept", "host": self.case.host, "times": requests},
            {"kind": "hang", "host": self.case.host},
        )
        words = [str(self.path), msgspec.json.encode(self.plan).decode()]
        process = subprocess.Popen([sys.executable, "-m", "tests.list_sender", *words])
        until(lambda: self.stand.look("faults")[1]["fired"] > 0, "the platform is asked")
        process.kill()
        process.wait(30)
        self.stand.faults()

    def put_stranger(self) -> None:
        """Somebody else's tool adds a member by the platform's own call."""
        account = self.config.audience_accounts["there"]
        member = AudienceMember(
            key=STRANGER,
            user="0" * 64,
            os="android",
            gaid=gaid(STRANGER),
            contact=Contact(
                email=email(STRANGER),
                email_google=email_google(STRANGER),
                phone_digits=digits(STRANGER),
                phone_e164=e164(STRANGER),
            ),
            value=1.0,
        )
        with closing(Membership(self.data, self.plan, SystemClock())) as membership:
            one: Sync = membership.syncs()[0]
        module: Any = account.module
        row = module.row(member, one, account.own)
        with closing(Transport()) as network:
            calls = Calls(account, SystemClock(), network, self.stand.address, Event())
            request = module.request("add", [row], one, account.own)
            response, _ = calls.tell(request, lambda said: module.classify(said, 1))
            following = module.then(response, "add", one, account.own) if hasattr(module, "then") else None
            if following is not None:
                calls.tell(following, lambda said: module.classify(said, 1))
        assert self.case.known(STRANGER, STRANGER) <= self.there().keys()


@pytest.fixture(params=sorted(CASES))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, CASES[request.param])
    yield made
    made.stand.close()


def test_a_list_is_the_same_on_every_side_after_all_that_can_happen(world: World) -> None:
    first = range(1, 201)
    world.intend(*first)
    world.killed_in_the_middle(4)
    begun = world.tell()
    assert (begun.outcome, begun.refused) == ("in_step", 0)
    assert world.there() == world.expected(*first)

    second = range(61, 241)
    world.intend(*second, BAD)
    world.stand.faults(
        {"kind": "throttle", "host": world.case.host, "times": 2, "headers": {"Retry-After": "0"}},
        {"kind": "close_after_accept", "host": world.case.host, "times": 1},
        {"kind": "status", "status": 503, "host": world.case.host, "every": 3, "times": 2},
    )
    changed = world.tell()
    assert (changed.outcome, changed.added, changed.removed, changed.refused) == ("in_step", 40, 60, 1)
    assert world.there() == world.expected(*second)
    assert world.counts() == Counts(intended=181, confirmed=180, adds=0, removes=0, refused=1)

    world.put_stranger()
    third = range(61, 261)
    world.intend(*third)
    world.ask_replace()
    world.killed_in_the_middle(2)
    anew = world.tell()
    left = set() if world.case.drops_strangers else world.case.known(STRANGER, STRANGER)
    assert (anew.outcome, anew.replaced) == ("in_step", True)
    assert world.there() == world.expected(*third) | dict.fromkeys(left)
    assert world.counts() == Counts(intended=200, confirmed=200, adds=0, removes=0, refused=0)

    assert world.tell() == Synced(audience="good", account="there", outcome="in_step")
