"""The service that is fuzzed: every kind of call has an address, a secret and somewhere to go."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import ENVIRONMENT, Service, service

KEY_OF_ALL = "ls_made-up-key-of-the-hail"
MMP = "made-up-secret-of-the-mmp"
RELAY = "made-up-signing-secret-of-32-chars"
SECRETS = {"ACME_FUZZ": KEY_OF_ALL, "ACME_MMP": MMP, "ACME_RELAY": RELAY}
FURTHER = """
[source.hail]
key    = { env = "ACME_FUZZ" }
scopes = ["events", "segment", "attribution", "relay", "read", "admin"]

[feed.appsflyer]
kind   = "appsflyer"
secret = { env = "ACME_MMP" }

[feed.adjust]
kind   = "adjust"
secret = { env = "ACME_MMP" }

[feed.generic]
kind   = "generic"
secret = { env = "ACME_MMP" }

[destination.relay-ng]
kind   = "relay"
app    = "acme-ng"
secret = { env = "ACME_RELAY" }

[[route]]
to   = "relay-ng"
send = { disbursement = "ev_ln" }
"""


@contextmanager
def house(folder: Path) -> Iterator[Service]:
    """The running service, which says everything that it has to say."""
    before = {name: ENVIRONMENT.get(name) for name in SECRETS}
    ENVIRONMENT.update(SECRETS)
    try:
        with service(folder, start=False) as (one, _):
            with (one.folder / "lendsignal.toml").open("a") as settings:
                settings.write(FURTHER)
            yield one.start("-v")
    finally:
        for name, word in before.items():
            ENVIRONMENT.pop(name) if word is None else ENVIRONMENT.update({name: word})
