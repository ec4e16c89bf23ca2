"""The sender's own tests, with its log and its deliveries on PostgreSQL: it is the very same sender."""

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from tests import desk
from tests.servers.postgresql import PostgreSql, postgresql
from tests.unit.deliver import test_sender as exam

from lendsignal.log.postgres import Database, WholeLog, open_whole_log
from lendsignal.log.postgres.deliveries import SlotDeliveries

ASKED = (
    "a_consent_that_ended_stops_what_waits_tried_or_not",
    "a_batch_refused_whole_is_halved_until_the_bad_row_stands_alone",
    "a_delivery_not_yet_claimed_follows_a_late_login",
    "a_delivery_that_moved_to_another_app_and_back_is_sent_once",
    "a_delivery_that_was_tried_keeps_its_device_and_the_late_login_is_counted",
    "a_loan_that_is_undone_before_it_was_sent_is_cancelled",
    "a_retry_waits_and_is_sent_again_under_the_same_id",
    "an_accepted_delivery_leaves_a_receipt_and_is_open_no_more",
    "deliveries_beyond_the_memorys_window_wait_on_disk_and_are_sent_in_their_turn",
    "what_is_held_is_dead_when_the_time_for_a_person_is_over",
    "what_moved_to_another_app_is_taken_back_there",
    "what_was_claimed_when_the_sender_was_killed_is_held_where_it_may_not_be_repeated",
    "what_was_claimed_when_the_sender_was_killed_is_sent_again_under_the_same_id",
    "what_was_not_claimed_when_the_sender_was_killed_is_sent_once",
)
"""Of the sender's tests those in which what is kept counts most."""

secrets = exam.secrets
globals().update({f"test_{name}": getattr(exam, f"test_{name}") for name in ASKED})


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(autouse=True)
def on_postgresql(server: PostgreSql, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a desk keeps in files it keeps in a schema: one for each folder."""
    schemas: dict[Path, str] = {}

    def schema_of(path: Path) -> str:
        return schemas.setdefault(path.parent, f"desk_{token_hex(4)}")

    def open_log(path: Path, *, read_only: bool = False) -> WholeLog:
        return open_whole_log(server.plain_url, schema_of(path))

    def open_deliveries(path: Path, *, read_only: bool = False) -> SlotDeliveries:
        return SlotDeliveries(Database(server.plain_url, schema_of(path)), 1, [0])

    monkeypatch.setattr(desk, "open_log", open_log)
    monkeypatch.setattr(desk, "open_deliveries", open_deliveries)
