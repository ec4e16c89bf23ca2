"""`[service]`, `[metrics]`, `[traces]`, `[store]`: where things are kept, and what is told of the service."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from lendsignal.config.notes import Notes, is_there
from lendsignal.deliver import Outlet
from lendsignal.log.store import StoreSettings, is_in_the_open, may_meet_a_standby
from lendsignal.model import Secret, reveal
from lendsignal.settings import key_path


class ServiceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service as a whole."""

    data: Annotated[str, Meta(description="the data folder, from this file's own folder")] = "data"
    replay_clock: Annotated[
        str | None, Meta(description="file of a clock that somebody else sets, to replay history")
    ] = None


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask for `/metrics` and `/v1/status`, which tell volumes and the names of destinations."""

    open_to: Annotated[
        Literal["all", "machine", "token"],
        Meta(description="whoever reaches the port, this machine alone, or this machine and the token"),
    ] = "all"
    token: Annotated[
        Secret | None, Meta(description="where the bearer token is kept that others must show")
    ] = None


class TraceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry traces; where they go is said by the OTEL_… variables of the environment."""

    export: Annotated[bool, Meta(description="whether spans are told; needs the extra otel")] = False
    share: Annotated[
        float, Meta(gt=0, le=1, description="of all events, the share whose traces are told")
    ] = 1.0


def metrics_of(given: MetricsSettings, notes: Notes) -> MetricsSettings:
    """Who may ask for what is measured."""
    own: MetricsSettings = notes.all_placed(given)
    if (own.open_to == "token") != (own.token is not None):
        notes.wrong("metrics.token", "a token", 'one with open_to = "token", and only then')
    elif own.token is not None:
        notes.secret("metrics.token", own.token)
    return own


def check_traces(given: TraceSettings, notes: Notes) -> None:
    """Traces are told by libraries that an extra brings."""
    if given.export and not is_there("opentelemetry.exporter.otlp.proto.grpc"):
        notes.wrong("traces.export", "true", "true with the extra: pip install 'lendsignal[otel]'")


def store_of(given: StoreSettings | None, notes: Notes) -> StoreSettings | None:
    """The store of a cluster, with its address by reference."""
    if given is None:
        return None
    store: StoreSettings = notes.all_placed(given)
    notes.secret("store.url", store.url)
    if store.kafka is not None:
        kafka = notes.all_placed(store.kafka)
        notes.secrets_of("store.kafka", kafka)
        store = msgspec.structs.replace(store, kafka=kafka)
    if not is_there("psycopg"):
        allowed = "what the extra brings: pip install 'lendsignal[cluster]'"
        notes.wrong("store", "PostgreSQL without its client", allowed)
    url = reveal(store.url)
    if url is not None and is_in_the_open(url):
        notes.warnings.append(
            "store.url goes over a network without sslmode=verify-full: whoever is in between could read it"
        )
    if url is not None and may_meet_a_standby(url):
        notes.warnings.append(
            "store.url names several servers without target_session_attrs=read-write:"
            " after a failover nodes may go on to a standby, which takes nothing"
        )
    return store


def not_on_a_cluster(outlets: Mapping[str, Outlet]) -> Iterator[str]:
    """What stands in the file and no node of a cluster does yet."""
    relays = [name for name, outlet in outlets.items() if outlet.shelved]
    if relays:
        listed = ", ".join(f"[{key_path('destination', name)}]" for name in relays)
        yield f"{listed}: no node of a cluster does this yet; see docs/explanation/cluster.md"
