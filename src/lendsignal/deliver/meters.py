"""What the sender counts: what became of deliveries, how long it took, and how each destination stands.

Counts are taken from what a turn commits, by kind and not one by one; only delays and requests are noted as
they happen. What stands in the store's tally is read at the start, so that those counters never fall.
"""

from collections.abc import Mapping
from typing import Protocol

from lendsignal.clock import Clock, to_us
from lendsignal.deliver.body import Body
from lendsignal.deliver.expiry import ends_at
from lendsignal.deliver.line import Line
from lendsignal.log import EVERY, Changes, Deliveries, Open, Pause, Receipt, Stage
from lendsignal.metrics import QUICK, SLOW, Labels, Meters, Spans, Words

ENDS = ("accepted", "dead", "skipped", "cancelled")

WINDOWS_SECONDS = 30.0
"""How often the windows of what has waited longest are looked at."""


class Kept(Protocol):
    """What the meters look at of the sender's book."""

    store: Deliveries
    clock: Clock
    lines: dict[str, Line]
    trouble: str | None
    everything: Pause | None

    def steady(self) -> float: ...

    def body(self, one: Open) -> Body: ...


class AtHand:
    """What is noted of one destination as it happens, at hand so that it costs a fraction of a microsecond.

    `answers` counts requests by the first digit of their status; the first place is for those without one.
    """

    __slots__ = ("answers", "posting", "queue", "request")

    def __init__(self, request: Spans, posting: Spans, queue: Spans) -> None:
        self.request = request
        self.posting = posting
        self.queue = queue
        self.answers = [0] * 10


class DeliverMeters(Meters):
    """What the sender measures. `watch` tells it of whom, once; everything is called by the sender's loop."""

    def __init__(self) -> None:
        super().__init__()
        self._count_deliveries()
        self._time_deliveries()
        self._stand_destinations()
        self._book: Kept | None = None
        self._words: dict[str, Words] = {}
        self._still_open: dict[str, int] = {}
        self._at_hand: dict[str, AtHand] = {}
        self._sampled_at = 0.0
        self._windows_at = float("-inf")

    def _count_deliveries(self) -> None:
        self._planned = self.counter(
            "lendsignal_deliveries_planned_total",
            "Deliveries planned, ever, skipped ones included.",
            "destination",
            "conversion",
        )
        self._ended = self.counter(
            "lendsignal_deliveries_ended_total",
            "Deliveries that ended, ever; one that is sent through again ends once more.",
            "destination",
            "conversion",
            "end",
            "reason",
        )
        self._replayed = self.counter(
            "lendsignal_deliveries_replayed_total",
            "Deliveries that a person sent through again, ever, by how they had ended.",
            "destination",
            "end",
        )
        self._beside = self.counter(
            "lendsignal_deliveries_remarked_total",
            "Deliveries with a remark, ever: unvalued or late_touch.",
            "destination",
            "conversion",
            "remark",
        )
        self._attempts = self.counter(
            "lendsignal_attempts_total",
            "What came of tries since the role started: each delivery of a request counts.",
            "destination",
            "outcome",
            "reason",
        )
        self._requests = self.counter(
            "lendsignal_requests_total",
            "Requests that ended since the role started, by the class of the answer; none: there was none.",
            "destination",
            "status",
        )
        self._throttled = self.counter(
            "lendsignal_throttled_seconds_total",
            "Time in which nothing was sent because the platform asked for it, to the second.",
            "destination",
        )
        self._jumps = self.counter(
            "lendsignal_clock_jumps_total", "How often the machine's clock was set while the sender ran."
        )

    def _time_deliveries(self) -> None:
        self._request_spans = self.histogram(
            "lendsignal_request_seconds",
            "From sending a request to its end, answered or not.",
            QUICK,
            "destination",
        )
        self._posting = self.histogram(
            "lendsignal_posting_delay_seconds",
            "Of accepted deliveries: from the event's own time to the platform's answer.",
            SLOW,
            "destination",
        )
        self._queue = self.histogram(
            "lendsignal_queue_delay_seconds",
            "Of accepted deliveries: from the event's arrival to the first try, settling included.",
            SLOW,
            "destination",
        )
        self._commits = self.histogram(
            "lendsignal_deliver_commit_seconds", "How long it took to write deliveries durably.", QUICK
        )

    def _stand_destinations(self) -> None:
        self._open = self.gauge(
            "lendsignal_deliveries_open",
            "Deliveries that did not end: waiting, claimed, held or pending.",
            "destination",
            "stage",
        )
        self._flying = self.gauge("lendsignal_requests_in_flight", "Requests on their way.", "destination")
        self._rate = self.gauge(
            "lendsignal_pace_requests_per_second",
            "The pace of the destination's account now.",
            "destination",
            "account",
        )
        self._full = self.gauge(
            "lendsignal_pace_full_requests_per_second",
            "The account's pace where nothing slows it down.",
            "destination",
            "account",
        )
        self._paused = self.gauge(
            "lendsignal_paused",
            "1: it sends nothing; kind says who stopped it: the platform, a brake or a person.",
            "destination",
            "kind",
            "reason",
        )
        self._lanes = self.gauge(
            "lendsignal_lanes_busy",
            "Lanes with a delivery that is on its way or to be tried again, which others wait for.",
            "destination",
        )
        self._oldest = self.gauge(
            "lendsignal_oldest_due_seconds",
            "How long the longest due delivery has waited since its time came; 0 where none is due.",
            "destination",
        )
        self._window = self.gauge(
            "lendsignal_window_left_seconds",
            "How long the first planned of what waits may still be sent; below 0: it is too late.",
            "destination",
        )
        self._token = self.gauge(
            "lendsignal_token_expires_seconds",
            "How long the destination's token is good still, where its end is known; below 0: it has ended.",
            "destination",
        )
        self._trouble = self.gauge(
            "lendsignal_disk_trouble", "1: the role could not write when it last tried.", "role"
        )

    # what happens

    def watch(self, book: Kept, *, counts_on: bool = True) -> None:
        """The book that is measured from now on.

        Counts go on from its store's (`counts_on`), unless several senders count there: then each tells what
        it counted itself.
        """
        self._book = book
        self._sampled_at = book.steady()
        if counts_on:
            self._tally(book.store.tally())

    def committed(self, changes: Changes, seconds: float) -> None:
        """What one commit made durable."""
        self._commits.of().took(seconds)
        if changes.tally:
            self._tally(changes.tally)
        if changes.receipts:
            self._receipts(changes.receipts)

    def accepted(self, destination: str, body: Body, first_us: int, answered_us: int) -> None:
        """A delivery that the platform took. Times are microseconds since 1970."""
        noted = self._at_hand.get(destination) or self._noted(destination)
        noted.posting.took((answered_us - body.occurred_us) / 1e6)
        noted.queue.took((first_us - body.received_us) / 1e6)

    def ended(self, destination: str, status: int | None, seconds: float) -> None:
        """A request that ended; `None`: without an answer."""
        noted = self._at_hand.get(destination) or self._noted(destination)
        noted.request.took(seconds)
        noted.answers[0 if status is None else status // 100 % 10] += 1

    def jumped(self) -> None:
        """The clock was set."""
        self._jumps.add()

    def _tally(self, counts: Mapping[tuple[str, str, str, str], int]) -> None:
        """A replay takes back an end in the books; here it counts beside, as a counter must not fall."""
        still_open = self._still_open
        for (destination, conversion, what, reason), n in counts.items():
            words = self._words_of(destination)
            conversion = words.bounded(conversion)
            if what == "planned":
                self._planned.add(destination, conversion, n=n)
                still_open[destination] = still_open.get(destination, 0) + n
            elif what in ENDS:
                self._ended.add(destination, conversion, what, words.bounded(reason), n=n)
                still_open[destination] = still_open.get(destination, 0) - n
            elif what == "replayed":
                end, _, before = reason.partition(" ")
                self._replayed.add(destination, end, n=n)
                self._ended.add(destination, conversion, end, words.bounded(before), n=n)
            else:
                self._beside.add(destination, conversion, what, n=n)

    def _receipts(self, receipts: list[Receipt]) -> None:
        tries: dict[tuple[str, str, str], int] = {}
        for one in receipts:
            if one.sent_us:
                key = (one.destination, one.what, one.reason)
                tries[key] = tries.get(key, 0) + 1
        for (destination, what, reason), n in tries.items():
            word = reason.partition(" ")[0].rstrip(":")
            self._attempts.add(destination, what, self._words_of(destination).bounded(word), n=n)

    def _words_of(self, destination: str) -> Words:
        found = self._words.get(destination)
        if found is None:
            found = self._words[destination] = Words()
        return found

    def _noted(self, destination: str) -> AtHand:
        made = self._at_hand[destination] = AtHand(
            self._request_spans.of(destination), self._posting.of(destination), self._queue.of(destination)
        )
        return made

    # how it stands

    def sample(self) -> None:
        if self._book is None:
            return
        self._requests.values = {
            (name, f"{first}xx" if first else "none"): n
            for name, noted in self._at_hand.items()
            for first, n in enumerate(noted.answers)
            if n
        }
        book, now, now_us = self._book, self._book.steady(), self._book.clock.now_us()
        lines = book.lines
        for line in lines.values():
            line.pace.ready_in(now)  # a pace finds its way back only when it is asked
        self._open.stand(self._stages(book))
        self._flying.stand({(name,): line.requests for name, line in lines.items()})
        accounts = {name: (name, line.outlet.account[1]) for name, line in lines.items()}
        self._rate.stand({accounts[name]: line.pace.rate for name, line in lines.items()})
        self._full.stand({accounts[name]: line.pace.most for name, line in lines.items()})
        self._lanes.stand({(name,): len(line.lanes) for name, line in lines.items()})
        self._oldest.stand({(name,): line.longest_due(now_us) for name, line in lines.items()})
        self._trouble.stand({("send",): float(book.trouble is not None)})
        self._token.stand(
            {
                (name,): (to_us(ends_at(expires)) - now_us) / 1e6
                for name, line in lines.items()
                if (expires := line.outlet.common.token_expires) is not None
            }
        )
        self._paused.stand(self._pauses(book))
        self._throttling(lines, now, now_us)
        if now >= self._windows_at + WINDOWS_SECONDS:
            self._windows_at = now
            self._window.stand(self._windows(book, now_us))

    def _stages(self, book: Kept) -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for name in {*self._still_open, *book.lines}:
            line = book.lines.get(name)
            claimed = 0 if line is None else len(line.flying)
            held, pending = (book.store.in_stage(name, stage) for stage in (Stage.HELD, Stage.PENDING))
            waiting = self._still_open.get(name, 0) - claimed - held - pending
            found |= {
                (name, "waiting"): max(0, waiting),
                (name, "claimed"): claimed,
                (name, "held"): held,
                (name, "pending"): pending,
            }
        return found

    def _pauses(self, book: Kept) -> dict[Labels, float]:
        pauses = {name: line.stopped for name, line in book.lines.items()} | {EVERY: book.everything}
        return {
            (name, pause.kind.value, self._words_of(name).bounded(pause.reason)): 1
            for name, pause in pauses.items()
            if pause is not None
        }

    def _throttling(self, lines: Mapping[str, Line], now: float, now_us: int) -> None:
        """Of the time since the last look, what lay before the end of a wait."""
        since, self._sampled_at = now - self._sampled_at, now
        for name, line in lines.items():
            over = max(0.0, (now_us - line.pace.waits_until_us) / 1e6)
            if line.pace.waits_until_us and over < since:
                self._throttled.add(name, n=since - over)

    def _windows(self, book: Kept, now_us: int) -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for name, line in book.lines.items():
            first = book.store.first_waiting(name)
            closes_us = None if first is None else line.gives_up_us(first, book.body(first).occurred_at)
            if closes_us is not None:
                found[name,] = (closes_us - now_us) / 1e6
        return found
