"""OpenTelemetry traces of events through the rooms: accept, decide, attempt.

Whoever takes, decides and sends does nothing for them: the spans are told out of what stands on disk, by a
thread of the web role, a few seconds later. So they are free when off, cost no delivery when on, and go on
after a kill. One event is one trace, whose id is a hash of the event's id: whoever tells a part knows it.
Nothing of a user stands in a span.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from lendsignal import __version__
from lendsignal.config import Config
from lendsignal.errors import LogError, NotYet
from lendsignal.log import DataFolder, Log, Receipt, open_deliveries, open_log
from lendsignal.model.moment import to_us
from lendsignal.plan.records import Placed, record_id, record_of
from lendsignal.role.leading import leads

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
EVENTS_AT_ONCE = 2_000
PACKS_AT_ONCE = 200

Value = str | int | bool


class Exporter(Protocol):
    """What takes finished spans; any of OpenTelemetry's exporters."""

    def export(self, spans: Sequence["ReadableSpan"]) -> object: ...

    def shutdown(self) -> object: ...


class Reach(Struct, frozen=True):
    """How far the log's events and the sender's receipts are told."""

    events: int
    packs: int


class Span(Struct, frozen=True, kw_only=True):
    """One span before it is OpenTelemetry's: times in microseconds since 1970, `parent` in the same trace."""

    name: str
    trace: int
    id: int
    parent: int | None
    start_us: int
    end_us: int
    attributes: Mapping[str, Value]
    failed: bool = False


def trace_of(event_id: str) -> int:
    """The id of an event's trace: 16 bytes of BLAKE2b of its id, as a number; the same in every replay."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=16).digest(), "big") or 1


def _span_of(kind: str, about: str) -> int:
    return int.from_bytes(blake2b(f"{kind}\x1f{about}".encode(), digest_size=8).digest(), "big") or 1


def is_chosen(trace: int, share: float) -> bool:
    """Whether a trace is of the share that is told: all spans of one event, or none."""
    return trace >> 64 < share * 2.0**64


class Follower:
    """Tells what is new since the last turn to an exporter, each thing at least once."""

    def __init__(
        self,
        folder: DataFolder,
        exporter: Exporter,
        share: float = 1.0,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_ours`: whether spans are told here; where not, another tells them and they are passed over."""
        self._folder = folder
        self._is_ours = is_ours
        self._exporter = exporter
        self._share = share
        self._mark = folder.path / "traces.json"

    def turn(self) -> int:
        """How many spans were told. The first turn only notes where the present is.

        Raises `NotYet` where there is no log, `LogError` where an exporter did not take them: the same spans
        come again with the next turn.
        """
        with ExitStack() as opened:
            log = opened.enter_context(closing(open_log(self._folder.log, read_only=True)))
            try:
                deliveries = opened.enter_context(
                    closing(open_deliveries(self._folder.deliveries, read_only=True))
                )
            except NotYet:
                deliveries = None
            before = self._reach()
            if before is None or before.events > log.position():  # new, or over a copy that was put back
                self._note(Reach(log.position(), 0 if deliveries is None else deliveries.last_pack()))
                return 0
            events = min(log.position(), before.events + EVENTS_AT_ONCE)
            spans = list(self._of_events(log, before.events, events))
            packs = before.packs
            if deliveries is not None:
                packs = deliveries.pack_behind(before.packs, PACKS_AT_ONCE) or before.packs
                for number, receipts in deliveries.all_receipts(before.packs):
                    if number > packs:
                        break
                    spans += self._of_receipts(log, receipts)
        if spans and self._is_ours():
            self._export(spans)
        self._note(Reach(max(events, before.events), max(packs, before.packs)))
        return len(spans)

    def _of_events(self, log: Log, after: int, upto: int) -> Iterator[Span]:
        for fact, verdict in log.decided(after, upto):
            event, trace = fact.event, trace_of(fact.event.event_id)
            if event.history or event.actor == "system" or not is_chosen(trace, self._share):
                continue
            received_us, accept = to_us(event.received_at), _span_of("accept", event.event_id)
            told: dict[str, Value] = {"lendsignal.event_type": event.type, "lendsignal.position": fact.seq}
            told |= {"lendsignal.app": event.app or "", "lendsignal.source": event.source}
            yield Span(
                name="accept", trace=trace, id=accept, parent=None,
                start_us=received_us, end_us=received_us, attributes=told,
            )  # fmt: skip
            record = log.record(record_id(fact.seq, 0))
            decided_us = record.at_us if isinstance(record, Placed) else received_us
            yield Span(
                name="decide", trace=trace, id=_span_of("decide", event.event_id), parent=accept,
                start_us=received_us, end_us=max(received_us, decided_us),
                attributes={
                    "lendsignal.verdict": str(verdict), "lendsignal.planned": isinstance(record, Placed),
                },
            )  # fmt: skip

    def _of_receipts(self, log: Log, receipts: Sequence[Receipt]) -> Iterator[Span]:
        for one in receipts:
            if not one.sent_us:
                continue  # it never left
            number, entry = record_of(one.id)
            record = log.record(number)
            if not isinstance(record, Placed):
                continue
            conversion, trace = record.conversion, trace_of(record.conversion.event_id)
            if not is_chosen(trace, self._share):
                continue
            yield Span(
                name="attempt", trace=trace, id=_span_of("attempt", f"{one.id} {one.sent_us}"),
                parent=_span_of("decide", conversion.event_id),
                start_us=one.sent_us, end_us=max(one.sent_us, one.answered_us),
                attributes={
                    "lendsignal.destination": one.destination,
                    "lendsignal.conversion": conversion.name,
                    "lendsignal.conversion_id": conversion.id,
                    "lendsignal.kind": record.entries[entry].kind if entry < len(record.entries) else "",
                    "lendsignal.outcome": one.what,
                    "lendsignal.reason": one.reason.partition(" ")[0].rstrip(":"),
                    "lendsignal.attempt": one.attempt,
                    "http.response.status_code": one.status,
                },
                failed=one.what != "accepted",
            )  # fmt: skip

    def _export(self, spans: Sequence[Span]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = self._exporter.export(_readable(spans))
        if result is not SpanExportResult.SUCCESS:
            raise LogError("the exporter of traces does not take them")

    def _reach(self) -> Reach | None:
        try:
            return msgspec.json.decode(self._mark.read_bytes(), type=Reach)
        except (OSError, msgspec.DecodeError):
            return None

    def _note(self, reach: Reach) -> None:
        fresh = Path(f"{self._mark}.new")
        fresh.write_bytes(msgspec.json.encode(reach))
        fresh.replace(self._mark)


def _readable(spans: Sequence[Span]) -> list["ReadableSpan"]:
    """Spans as OpenTelemetry knows them."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    resource = Resource.create({"service.name": "lendsignal", "service.version": __version__})
    sampled = TraceFlags(TraceFlags.SAMPLED)

    def context(one: Span, id_: int) -> SpanContext:
        return SpanContext(one.trace, id_, is_remote=False, trace_flags=sampled)

    return [
        ReadableSpan(
            name=one.name,
            context=context(one, one.id),
            parent=None if one.parent is None else context(one, one.parent),
            resource=resource,
            attributes=one.attributes,
            kind=SpanKind.CLIENT if one.name == "attempt" else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR if one.failed else StatusCode.UNSET),
            start_time=one.start_us * 1_000,
            end_time=one.end_us * 1_000,
        )
        for one in spans
    ]


def otlp() -> Exporter:
    """The exporter that OTEL_EXPORTER_OTLP_ENDPOINT and its kin set up."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class Tracing:
    """Tells spans from time to time, in a thread of its own, while the block runs; off, it does nothing.

    Of a cluster's desks the leading one tells them.
    """

    def __init__(self, config: Config, exporter: Callable[[], Exporter] = otlp) -> None:
        self._follower: Follower | None = None
        self._exporter: Exporter | None = None
        if config.traces.export:
            self._exporter = exporter()
            self._follower = Follower(
                DataFolder(config.data), self._exporter, config.traces.share, lambda: leads(config)
            )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def __enter__(self) -> "Tracing":
        if self._follower is not None:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        if self._exporter is not None:
            self._thread.join()
            self._exporter.shutdown()

    def _run(self) -> None:
        assert self._follower is not None
        silent = False
        while not self._stopping.is_set():
            try:
                told, silent = self._follower.turn(), False
            except NotYet:
                told = 0
            except Exception as error:  # what is told must not end because of who is told
                if not silent:
                    logger.warning("traces are not told now: %s", type(error).__name__)
                told, silent = 0, True
            self._stopping.wait(0.0 if told >= EVENTS_AT_ONCE else LOOK_SECONDS)
