"""What a lender sets about the store that the nodes of a cluster share. Nothing here needs its client."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta, Struct

from lendsignal.destination.kafka import problem_with_cluster
from lendsignal.log.slots import SLOTS
from lendsignal.model import Secret


class KafkaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The topic that is the log of a cluster, with a partition for each slot; PostgreSQL keeps the rest.

    `servers`: where to ask for the cluster; the brokers that it names itself are reached too. What is said of
    replicas and of keeping counts where `store prepare` makes the topic, and is asked of one that is there.
    """

    servers: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="addresses to start from", examples=[["kafka-1.acme.example:9093"]]),
    ]
    topic: Annotated[
        str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="the topic; nobody else writes into it")
    ] = "lendsignal.events"
    group: Annotated[str, Meta(min_length=1, description="the consumer group of the workers")] = (
        "lendsignal.work"
    )
    instance: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="this node's own lasting name in the group, another one on each node: who is back"
            " within `session` has its slots again, and nobody else takes them meanwhile"
        ),
    ] = None
    session: Annotated[
        timedelta,
        Meta(description="how long a silent worker keeps its slots: a killed one is missed so long"),
    ] = timedelta(seconds=10)
    timeout: Annotated[
        timedelta, Meta(description="how long an event may take to be durable before its sender hears no")
    ] = timedelta(seconds=10)
    replicas: Annotated[int, Meta(ge=1, le=9, description="copies of each partition")] = 3
    in_sync: Annotated[
        int, Meta(ge=1, le=9, description="copies that have an event before it counts as durable")
    ] = 2
    keep_for: Annotated[timedelta, Meta(description="how long the topic keeps events")] = timedelta(days=14)
    tls: Annotated[bool, Meta(description="whether the connection is encrypted")] = True
    sasl: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="how to sign in")
    ] = None
    username: Annotated[str | None, Meta(description="who signs in")] = None
    password: Annotated[Secret | None, Meta(description="the password of that user")] = None
    ca: Annotated[Secret | None, Meta(description="the authority that signed the brokers, in PEM")] = None
    certificate: Annotated[Secret | None, Meta(description="the client's certificate, in PEM")] = None
    private_key: Annotated[Secret | None, Meta(description="the client's private key, in PEM")] = None

    @property
    def brokers(self) -> tuple[str, ...]:
        """The servers, in the word that a pull and a destination have for them."""
        return self.servers

    def __post_init__(self) -> None:
        problem = problem_with_cluster(self)
        if problem is not None:
            raise ValueError(problem.replace("brokers:", "servers:"))
        if self.topic in (".", ".."):
            raise ValueError("topic must not be . or ..")
        if self.in_sync > self.replicas:
            raise ValueError("in_sync must not be more than replicas: nothing would ever be durable")
        for name in ("session", "timeout"):
            if getattr(self, name) < timedelta(milliseconds=500):
                raise ValueError(f"{name} must be 500ms or more")


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The PostgreSQL that holds the log, the states and the deliveries of a cluster.

    Without this table an install works over its data folder alone.
    """

    url: Annotated[
        Secret,
        Meta(description="where it is, as postgresql://user:password@host/name?sslmode=verify-full"),
    ]
    schema: Annotated[
        str, Meta(pattern="^[a-z_][a-z0-9_]{0,40}$", description="the schema that our tables stand in")
    ] = "lendsignal"
    slots: Annotated[
        int,
        Meta(ge=1, le=1_024, description="into how many parts people are shared out; counts at the making"),
    ] = SLOTS
    lease: Annotated[
        timedelta, Meta(description="how long a silent node keeps its slots; it beats four times as often")
    ] = timedelta(seconds=2)
    connect_timeout: Annotated[timedelta, Meta(description="how long making a connection may take")] = (
        timedelta(seconds=5)
    )
    statement_timeout: Annotated[timedelta, Meta(description="how long one statement may take")] = timedelta(
        seconds=30
    )
    lock_timeout: Annotated[timedelta, Meta(description="how long a statement may wait for others")] = (
        timedelta(seconds=10)
    )
    idle_timeout: Annotated[
        timedelta, Meta(description="how long a node may be silent within a transaction before it is ended")
    ] = timedelta(seconds=3)
    silence: Annotated[
        timedelta, Meta(description="how long a connection may be silent before it is given up")
    ] = timedelta(seconds=5)
    spool_megabytes: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="megabytes of events that a door keeps while the store is away"),
    ] = 1_000

    kafka: Annotated[
        KafkaSettings | None, Meta(description="the topic that is the log; without it PostgreSQL is")
    ] = None

    def __post_init__(self) -> None:
        for name in ("lease", "connect_timeout", "statement_timeout", "lock_timeout", "idle_timeout"):
            if getattr(self, name) < timedelta(milliseconds=100):
                raise ValueError(f"{name} must be 100ms or more")
        if self.silence < timedelta(seconds=2):
            raise ValueError("silence must be 2s or more: a network stumbles")


def is_in_the_open(url: str) -> bool:
    """Whether that address of a database is reached over a network without being sure who answers.

    `sslmode=verify-full` alone is; what is no URL, or names no host, is not judged.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        return False
    asked = parse_qs(parts.query)
    if asked.get("sslmode", [""])[-1] == "verify-full":
        return False
    return any(not _is_here(_without_port(one)) for one in _named(parts.netloc, asked))


def may_meet_a_standby(url: str) -> bool:
    """Whether that address names several servers, and does not ask for the one that writes."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        return False
    asked = parse_qs(parts.query)
    wanted = asked.get("target_session_attrs", ["any"])[-1]
    return len(_named(parts.netloc, asked)) > 1 and wanted not in ("read-write", "primary")


def _named(place: str, asked: Mapping[str, Sequence[str]]) -> list[str]:
    """The hosts of an address, each perhaps with its port."""
    named = [place.rpartition("@")[2], *asked.get("host", []), *asked.get("hostaddr", [])]
    return [one for word in named for one in word.split(",") if one]


def _without_port(host: str) -> str:
    return host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


def _is_here(host: str) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
