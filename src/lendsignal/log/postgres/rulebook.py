"""Policies, cuts and value models of a cluster: kept by version, in force from a place in each slot."""

from collections.abc import Sequence

import msgspec

from lendsignal.derive import CutTable
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import encode
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.model import Event
from lendsignal.plan import PolicySource
from lendsignal.value import Promotion

_source = msgspec.msgpack.Decoder(PolicySource).decode
_cut_table = msgspec.msgpack.Decoder(CutTable).decode
_promotion = msgspec.msgpack.Decoder(Promotion).decode


class RuleRows:
    """Every set of rules there ever was. What is put in force enters every slot as an event, all at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def policy_source(self, version: str) -> PolicySource | None:
        """The policy of that version."""
        body = self._body("policy", version)
        return None if body is None else _source(body)

    def cut_table(self, version: str) -> CutTable | None:
        """The cuts of that version."""
        body = self._body("cuts", version)
        return None if body is None else _cut_table(body)

    def cut_tables(self) -> list[CutTable]:
        """Every table of cuts there ever was, oldest first."""
        return sorted((_cut_table(body) for body in self._bodies("cuts")), key=lambda table: table.made_us)

    def promotion(self, version: str) -> Promotion | None:
        """The promoted value model of that version."""
        body = self._body("value", version)
        return None if body is None else _promotion(body)

    def promotions(self) -> list[Promotion]:
        """Every value model that was ever promoted, oldest first."""
        return sorted((_promotion(body) for body in self._bodies("value")), key=lambda one: one.made_us)

    def wanted(self, kind: str) -> str | None:
        """The version (of `policy`, `cuts` or `value`) that every slot comes to last; `None`: none yet."""
        found = self._database.row("select version from wanted where kind = %s", kind)
        return None if found is None else str(found[0])

    def keep_policy(self, version: str, source: PolicySource) -> None:
        """Keeps a policy under its version, without putting it in force."""
        with self._database.transaction() as session:
            _keep(session, "policy", version, encode(source))

    def put_policy(self, version: str, source: PolicySource, event: Event) -> bool:
        """Puts a policy in force, unless it is the one that was put last; whether it was put.

        `event` says so in each slot. In every slot all rules come in one order.
        """
        return self._put("policy", version, encode(source), [event])

    def keep_cuts(self, table: CutTable, events: Sequence[Event]) -> None:
        """Keeps a table of cuts and the events that put it into force, together."""
        self._put("cuts", table.version, encode(table), events)

    def keep_promotion(self, promotion: Promotion, events: Sequence[Event]) -> None:
        """Keeps a promoted value model and the events that put it into force, together."""
        self._put("value", promotion.version, encode(promotion), events)

    def _put(self, kind: str, version: str, body: bytes, events: Sequence[Event]) -> bool:
        with self._database.transaction() as session:
            # One after the other: what is put later is later in every slot.
            session.rows("lock table wanted in exclusive mode")
            before = session.row("select version from wanted where kind = %s", kind)
            if before == (version,):
                return False
            _keep(session, kind, version, body)
            session.rows(
                "insert into wanted values (%s, %s)"
                " on conflict (kind) do update set version = excluded.version",
                kind,
                version,
            )
            self._tell_all(session, events)
        return True

    def _tell_all(self, session: Session, events: Sequence[Event]) -> None:
        """Appends each of these events to every slot, behind all that is there."""
        for event in events:
            session.rows(
                "insert into event (slot, name, body) select slot, %s::bigint, %b::bytea from cursor",
                number_of_event(event.event_id),
                encode(event),
            )

    def _body(self, kind: str, version: str) -> bytes | None:
        found = self._database.row("select body from rule where kind = %s and version = %s", kind, version)
        return None if found is None else found[0]

    def _bodies(self, kind: str) -> list[bytes]:
        return [body for (body,) in self._database.rows("select body from rule where kind = %s", kind)]


def _keep(session: Session, kind: str, version: str, body: bytes) -> None:
    session.rows("insert into rule values (%s, %s, %b) on conflict do nothing", kind, version, body)
