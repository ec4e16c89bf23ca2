"""A lender's data folder with a user in every place that can know of one, and who looks for what is left."""

import zlib
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from tests.lender_file import ACME

from lendsignal import config as configuration
from lendsignal.archive.keeper import brought_up
from lendsignal.clock import SystemClock, to_us
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.deliver.sender import Sender
from lendsignal.erase.places import scrubbed
from lendsignal.log import DataFolder, Quarantined, open_deliveries, open_feeds, open_log
from lendsignal.model import Consent, Contact, Device, Event
from lendsignal.model.attribution import Ad, Attribution, Recorded
from lendsignal.source.mending import kept_of

CONFIG = (
    ACME
    + """
[resolve]
settle = "0s"
shared_device_users = 5

[deliver]
sandbox     = "{sandbox}"
first_retry = "50ms"

[destination.appsflyer-ng]
kind      = "appsflyer"
app       = "acme-ng"
token     = {{ env = "ACME_TOKEN" }}
api_token = {{ env = "ACME_TOKEN" }}

[destination.adjust-ng]
kind   = "adjust"
app    = "acme-ng"
app_id = "4w565xzmb54d"

[destination.warehouse]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = {{ env = "ACME_HOOK" }}

[[route]]
to   = "appsflyer-ng"
send = {{ disbursement = "ev_ln" }}

[[route]]
to   = "adjust-ng"
send = {{ disbursement = "f0ob4r" }}

[[route]]
to   = "warehouse"
send = {{ disbursement = "ev_ln", application = "ev_ap" }}

[audience.borrowers]
rule = "user.open_loans >= 1"
"""
)

ENVIRONMENT = {"ACME_TOKEN": "sesame-4c1f", "ACME_HOOK": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

USER, OTHER, SHARES = "u-marked-7f3a", "u-bystander-51", "u-neighbour-90"
PERSON = "P-marked-3301"
NUMBERS = {USER: 1, OTHER: 2, SHARES: 3}


def digits(user: str, length: int, what: int) -> str:
    """Digits that are that user's alone."""
    return (str(NUMBERS[user]) + str(what)) * (length // 2)


def device_of(user: str) -> Device:
    """A phone with ids of its own."""
    return Device(
        os="android",
        os_version="14",
        appsflyer_id=f"17000000000{NUMBERS[user]}0-{digits(user, 18, 7)}",
        adjust_adid=digits(user, 32, 8),
        gaid=f"{digits(user, 8, 4)}-aaaa-4bbb-8ccc-{digits(user, 12, 5)}",
        ip=f"203.0.113.{70 + NUMBERS[user]}",
        user_agent=f"Mozilla/{user}",
    )


def contact_of(user: str) -> Contact:
    """Hashes that are that user's alone."""
    return Contact(email=digits(user, 64, 6), phone_e164=digits(user, 64, 9))


def marks(user: str) -> list[bytes]:
    """Everything that tells of that user, as it may stand somewhere."""
    device, contact = device_of(user), contact_of(user)
    texts = [user, f"LN-{user}", f"AP-{user}", device.appsflyer_id, device.adjust_adid, device.gaid]
    texts += [device.ip, contact.email, contact.phone_e164]
    found = [text.encode() for text in texts if text]
    return [*found, *(bytes.fromhex(text) for text in (contact.email, contact.phone_e164) if text)]


class Lender:
    """The folder. `sandbox` is where its destinations really go."""

    def __init__(self, path: Path, sandbox: str = "http://127.0.0.1:9") -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.file = path / "lendsignal.toml"
        self.file.write_text(CONFIG.format(sandbox=sandbox))
        self.config: Config = configuration.load(self.file)
        self.folder = DataFolder(self.config.data)
        self.clock = SystemClock()
        self.start = datetime.now(UTC) - timedelta(hours=1)

    def events(self, user: str, phone: str | None = None, person: str | None = None) -> list[Event]:
        """The user logs in, applies and gets a loan."""

        def event(kind: str, minutes: float, **fields: Any) -> Event:
            at = self.start + timedelta(minutes=minutes)
            return Event(
                type=kind,
                brand="acme",
                user_id=user,
                person_id=person,
                event_id=f"{kind}-{user}",
                occurred_at=at,
                received_at=at,
                **fields,
            )

        money: dict[str, Any] = {"amount": Decimal(250) + NUMBERS[user], "currency": "NGN"}
        return [
            event("registered", 0, app="acme-ng", device=device_of(phone or user), contact=contact_of(user)),
            event("consent_changed", 1, consent=Consent(ad_user_data=True)),
            event("applied", 2, application_id=f"AP-{user}"),
            event("disbursed", 3, loan_id=f"LN-{user}", **money),
        ]

    def tell(self, *events: Event) -> "Lender":
        """Appends and decides."""
        with closing(open_log(self.folder.log)) as log:
            log.append(events)
            decider = Decider(log, self.config.policy, self.clock, lambda: None)
            while decider.turn() or decider.position < log.end():
                pass
        return self

    def refused(self, user: str) -> "Lender":
        """The door did not take an event of that user."""
        sent = {"type": "disbursed", "brand": "acme", "user_id": user, "loan_id": f"LN-{user}"}
        raw = msgspec.json.encode(sent)
        with closing(open_log(self.folder.log)) as log:
            one = Quarantined(
                received_us=to_us(self.start), source="backend", field="occurred_at", rule="is needed",
                body=raw, kept=kept_of(raw),
            )  # fmt: skip
            log.refuse([one])
        return self

    def attributed(self, user: str) -> "Lender":
        """An MMP told of the installation, and of an event that it recorded."""
        told: dict[str, Any] = {"feed": "mmp", "mmp": "appsflyer", "app": "acme-ng"}
        id_, ad, at = str(device_of(user).appsflyer_id), Ad(campaign="spring"), to_us(self.start)
        with closing(open_feeds(self.folder.feeds)) as feeds:
            feeds.take([Attribution(**told, id=id_, told_us=at, at_us=at, ad=ad)])
            feeds.take([Recorded(**told, id=id_, name="ev_ln", at_us=at, user_id=user, ad=ad)])
        return self

    def sent(self) -> "Lender":
        """The sender works until nothing is left to do at this moment, and ends well."""
        with (
            closing(open_log(self.folder.log)) as log,
            closing(open_deliveries(self.folder.deliveries)) as store,
        ):
            config = self.config
            sender = Sender(log, store, config.outlets, config.apps, config.deliver, self.clock)
            try:
                idle = 0
                while idle < 20:
                    busy = sender.turn(0.02) or sender.in_flight > 0
                    idle = 0 if busy else idle + 1
                sender.drain()
            finally:
                sender.close()
        return self

    def archived(self) -> "Lender":
        """Everything is in the archive too."""
        brought_up(self.folder, self.config.archive, self.clock.now_us())
        return self

    def listed(self) -> "Lender":
        """Lists are built of whom they mean."""
        from lendsignal.audience.planning import builder

        with closing(builder(self.config, self.clock)) as found:
            found.whole()
        return self

    # looking

    def left(self, user: str) -> list[str]:
        """Files of the data folder that tell of the user, packed ones unpacked: `file: what`."""
        scrubbed(self.folder)
        found = []
        for path in sorted(self.folder.path.rglob("*")):
            if path.is_file():
                for name, content in _contents(path):
                    found += [f"{name}: {mark!r}" for mark in marks(user) if mark in content]
        return found


def _contents(path: Path) -> Iterable[tuple[str, bytes]]:
    yield path.name, path.read_bytes()
    if path.suffix == ".parquet":
        with closing(duckdb.connect()) as db:
            columns = db.execute(f"describe select * from read_parquet('{path}')").fetchall()
            said = ", ".join(
                f'lower(hex("{name}"))' if kind == "BLOB" else f'"{name}"::varchar'
                for name, kind, *_ in columns
            )
            cells = db.execute(f"select {said} from read_parquet('{path}')").fetchall()
        yield (
            f"{path.parent.parent.name}/{path.name}",
            "\n".join(str(cell) for row in cells for cell in row).encode(),
        )
    if path.name == "deliveries.sqlite":
        import sqlite3

        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            for (body,) in db.execute("select body from receipt"):
                yield f"{path.name} receipts", zlib.decompress(body)
