"""A Kafka topic of the lender's own: one message a conversion, acknowledged by every replica in sync.

The value is the JSON object that a webhook gets: times are RFC 3339 in UTC, money is a decimal string, losses
included. A reader drops an `id` that it has seen: the header `lendsignal-id` carries it too.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    TOPIC_SCHEME,
    BrokerAuth,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    body_json,
    by_status,
)
from lendsignal.destination.webhook import FIELDS as DOCUMENT
from lendsignal.destination.webhook import document
from lendsignal.model import Delivery, Outcome, Paused, Rejected, Retry, Skip
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for a Kafka topic.

    ValueError: an address that is none, or half of what a sign-in needs.

    `brokers`: where to ask for the cluster; the brokers that it names itself are reached too. `keyed_by`:
    what decides the partition; with `user` a partition holds a user's conversions in the order they left.
    `ordered`: one of a user's conversions after the other, in the order they happened. `sasl`: how to sign
    in, with `username` and `password`. `ca`, `certificate`, `private_key`: in PEM, where the machine's own
    certificates do not do. `tls = false` is meant for a broker that only your own network reaches.
    """

    brokers: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="addresses to start from", examples=[["kafka-1.acme.example:9093"]]),
    ]
    topic: Annotated[
        str,
        Meta(
            pattern=r"^[a-zA-Z0-9._-]{1,249}$",
            description="the topic, which must be there",
            examples=["acme.conversions"],
        ),
    ]
    keyed_by: Annotated[Literal["user", "conversion"], Meta(description="what decides the partition")] = (
        "user"
    )
    ordered: Annotated[
        bool, Meta(description="with keyed_by = user: each user's conversions one after the other")
    ] = False
    tls: Annotated[bool, Meta(description="whether the connection is encrypted")] = True
    sasl: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="how to sign in")
    ] = None
    username: Annotated[str | None, Meta(description="who signs in")] = None
    password: Annotated[Secret | None, Meta(description="the password of that user")] = None
    ca: Annotated[Secret | None, Meta(description="the authority that signed the brokers, in PEM")] = None
    certificate: Annotated[Secret | None, Meta(description="the client's certificate, in PEM")] = None
    private_key: Annotated[Secret | None, Meta(description="the client's private key, in PEM")] = None

    def __post_init__(self) -> None:
        problem = problem_with_cluster(self)
        if problem is not None:
            raise ValueError(problem)
        if self.topic in (".", ".."):
            raise ValueError("topic must not be . or ..")
        if self.ordered and self.keyed_by != "user":
            raise ValueError("ordered needs keyed_by = user")


SPEC = Spec(
    name="kafka",
    label="Kafka topic",
    docs="https://kafka.apache.org/documentation/#producerconfigs",
    docs_read="2026-11-22",
    hosts=(),
    transport="topic",
    auth=BrokerAuth(("password", "ca", "certificate", "private_key")),
    any_of_ids=(),
    max_age=timedelta(days=7),
    per_second=5_000,
    # The reader's part of the contract: it drops an id it has already seen.
    dedupe=timedelta(days=7),
    negative_value=True,
    neutral_names=False,
    # The reader looks at `occurred_at`: what comes after a later one is told as it is.
    out_of_order="send",
)

FIELDS = DOCUMENT | {"header:lendsignal-id"}
"""All that may leave for the topic, as `fields_of` names it: a webhook's, and the id once more."""

_SET_UP = frozenset(
    "TOPIC_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED SASL_AUTHENTICATION_FAILED _AUTHENTICATION _SSL "
    "UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC "
    "_UNKNOWN_PARTITION TOPIC_EXCEPTION UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_VERSION "
    "UNSUPPORTED_COMPRESSION_TYPE INVALID_REQUIRED_ACKS _INVALID_ARG".split()
)
"""What a person must mend: who may write, whether there is such a topic, what the cluster can do."""

_NEVER = frozenset(
    "MSG_SIZE_TOO_LARGE INVALID_MSG_SIZE INVALID_RECORD POLICY_VIOLATION INVALID_TIMESTAMP".split()
)
"""What the cluster says of a message that it will never take."""


class Cluster(Protocol):
    """How a lender says where a cluster is and who asks; a pull from Kafka says it alike."""

    @property
    def brokers(self) -> tuple[str, ...]: ...

    @property
    def tls(self) -> bool: ...

    @property
    def sasl(self) -> str | None: ...

    @property
    def username(self) -> str | None: ...

    @property
    def password(self) -> Secret | None: ...

    @property
    def ca(self) -> Secret | None: ...

    @property
    def certificate(self) -> Secret | None: ...

    @property
    def private_key(self) -> Secret | None: ...


def problem_with_cluster(own: Cluster) -> str | None:
    """Why no cluster can be reached that way, or `None`."""
    for broker in own.brokers:
        if not _is_address(broker):
            return f"brokers: {broker!r} must be host:port, such as kafka-1.acme.example:9093"
    signs_in = own.sasl is not None or own.username is not None
    if signs_in and None in (own.sasl, own.username, own.password):
        return "sasl, username and password go together"
    if (own.certificate is None) != (own.private_key is None):
        return "certificate and private_key go together"
    if not own.tls and (own.ca is not None or own.certificate is not None):
        return "ca, certificate and private_key need tls = true"
    return None


def client_settings(own: Cluster, secrets: Mapping[str, str | None]) -> dict[str, Any]:
    """How Kafka's client finds the cluster and signs in, in librdkafka's words; holds the secrets."""
    found: dict[str, Any] = {"bootstrap.servers": ",".join(own.brokers), "client.id": "lendsignal"}
    if own.sasl is not None:
        found |= {
            "sasl.mechanism": own.sasl,
            "sasl.username": own.username,
            "sasl.password": secrets["password"],
        }
    for field, name in _PEM.items():
        if own.tls and getattr(own, field) is not None:
            found[name] = secrets[field]
    ways = {(True, True): "SASL_SSL", (True, False): "SSL", (False, True): "SASL_PLAINTEXT"}
    found["security.protocol"] = ways.get((own.tls, own.sasl is not None), "PLAINTEXT")
    return found


_PEM = {"ca": "ssl.ca.pem", "certificate": "ssl.certificate.pem", "private_key": "ssl.key.pem"}


def _is_address(address: str) -> bool:
    """Whether this is a `host:port` to start from, and nothing else."""
    try:
        parts = urlsplit(f"//{address}")
        return bool(parts.hostname and parts.port) and parts.netloc == address and "@" not in address
    except ValueError:
        return False


def problem_with_name(name: str) -> str | None:
    """Why this cannot be an event's `type`, or `None`: anything but blank will do."""
    return None if name.strip() else "is empty"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as the JSON object that docs/how-to/connect-a-webhook.md describes field by field."""
    return document(delivery)


def lane(delivery: Delivery, settings: Settings) -> str | None:
    """With `ordered`, what concerns one user goes one after the other."""
    return f"{delivery.app.brand}:{delivery.user_id}" if settings.ordered else None


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One message: the address names the topic, `key` decides the partition."""
    item = items[0]
    by_user = settings.keyed_by == "user"
    return Request(
        method="PRODUCE",
        url=f"{TOPIC_SCHEME}://{settings.brokers[0]}/{settings.topic}",
        json=item,
        headers={"lendsignal-id": item["id"]},
        key=f"{item['brand']}:{item['user_id']}" if by_user else item["id"],
    )


def trial(settings: Settings) -> Trial:
    """A topic keeps no test events apart."""
    return Trial(
        way="none",
        instead="log in as a user marked test, with send_test = true in the destination, let an event of "
        f"that user happen, and look at {settings.topic} with kafka-console-consumer",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the error that Kafka names in a report with status 400; 200 is a message that is there.

    Errors that name the set-up wait for a person, those that name the message end it, all others pass.
    """
    error = _error(response) if response.status == 400 else None
    if error is None:
        return [by_status(response)] * count
    reason = "kafka" + error.lower() if error.startswith("_") else f"kafka_{error.lower()}"
    outcome: Outcome = Retry(reason)
    if error in _SET_UP:
        outcome = Paused(reason)
    elif error in _NEVER:
        outcome = Rejected(reason)
    return [outcome] * count


def _error(response: Response) -> str | None:
    """Kafka's own name of the error, such as `MSG_SIZE_TOO_LARGE`; the client's begin with `_`."""
    body = body_json(response)
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, str) and error.replace("_", "").isalnum() else None
