"""Reports say the same whether they read the archive, the log, or each in part."""

import csv
import fcntl
import gzip
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.acme import T0, event, loan, login, moment, us
from tests.unit.report.kept import Fate, Kept
from tests.unit.report.world import filled, world

from lendsignal.archive import Book, place_at
from lendsignal.archive.keeper import Keeper, brought_up
from lendsignal.archive.readers import changing
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.errors import DataError
from lendsignal.log import DataFolder, open_deliveries, open_feeds, open_log
from lendsignal.model import Device
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded, Spend
from lendsignal.report import all_reports, load
from lendsignal.report.making import TABLES, VIEWS

HOUR = timedelta(hours=1)
EVERY_TABLE = sorted(
    {*TABLES, *VIEWS, "app", "installation", "waits", "sent", "paused"} - {"planned_delivery"}
)


def content(folder: DataFolder, as_of: datetime | None = None) -> dict[str, list[str]]:
    """Every table that reports ask, row by row."""
    with load(folder, as_of=as_of) as tables:
        return {name: sorted(map(repr, tables.rows(f"select * from {name}"))) for name in EVERY_TABLE}


def archive(folder: DataFolder, now_us: int = 0, **pieces: Any) -> None:
    """Everything there is, by the archive's job; with a piece given, its first piece alone."""
    if not pieces:
        brought_up(folder, ArchiveSettings(), now_us)
        return
    book, log = Book(folder.archive), open_log(folder.log, read_only=True)
    sent, feeds = open_deliveries(folder.deliveries, read_only=True), open_feeds(folder.feeds)
    keeper = Keeper(book, place_at("archive", folder.path), **pieces)
    book.note(2, "archive")
    keeper.turn(log, sent, feeds)
    for one in (keeper, book, log, sent, feeds):
        one.close()


def with_feeds(kept: Kept) -> Kept:
    """What MMPs and an ad account tell of the installations that the lender has seen."""
    with kept.tables() as tables:
        seen = tables.rows("select app, id from installation order by number")
    facts: list[Attribution | Recorded] = []
    for place, (app, name) in enumerate(seen):
        ad = Ad(channel=("meta", "google", "organic")[place % 3], campaign=f"c{place % 7}")
        came_us = us(0) + place * 3_600_000_000
        facts.append(
            Attribution(
                feed="mmp", mmp="appsflyer", app=app, id=name, at_us=came_us, told_us=came_us + 60, ad=ad
            )
        )
        if place % 5 == 0:
            value = Decimal(place)
            facts.append(
                Recorded(
                    feed="mmp", mmp="appsflyer", app=app, id=name, name="ev_d", at_us=came_us, amount=value
                )
            )
    kept.feed(*facts)
    feeds = open_feeds(kept.folder.feeds)
    feeds.replace_days(
        [
            Spend(
                feed="ads", account="a", day=date(2026, 3, 10 + day), ad=Ad(channel="meta", campaign="c1"),
                amount=Decimal("12.50") + day, currency="USD", impressions=1000 + day, clicks=10 + day,
            )
            for day in range(9)
        ]
    )  # fmt: skip
    feeds.close()
    return kept


@pytest.fixture
def lender(tmp_path: Path) -> Kept:
    """A made-up lender of two months."""
    return with_feeds(filled(tmp_path / "data", world(users=120)))


def test_every_table_is_the_same_from_the_log_and_from_the_archive(lender: Kept) -> None:
    from_log = content(lender.folder)
    assert all(from_log[name] for name in ("counted", "bound", "delivery", "origin", "spend", "recorded"))

    archive(lender.folder, events_at_once=300, packs_at_once=1)
    partly = content(lender.folder)
    archive(lender.folder)
    wholly = content(lender.folder)
    archive(lender.folder, us(0) + 400 * 86_400_000_000)
    compacted = content(lender.folder)

    for name in EVERY_TABLE:
        assert partly[name] == from_log[name], name
        assert wholly[name] == from_log[name], name
        assert compacted[name] == from_log[name], name


def test_what_came_in_since_the_archive_was_written_is_in_the_reports(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, "old"), loan(1), loan(1, "L9", user_id="u9"))
    archive(kept.folder)
    before = content(kept.folder)
    # A first login of one user, a late one of the other, a staff member found out, and a word of the MMP.
    kept.tell(login(-1, "theirs", user_id="u9", arrives=5), login(0.5, "new", arrives=6), loan(8, "L2"))
    kept.tell(event("applied", 9, application_id="A1", user_id="u9", test=True))
    kept.attribute(("acme-ng", "af-new", "Facebook Ads", "fb_1"))
    after = content(kept.folder)
    (kept.folder.path / "archive.sqlite").rename(tmp_path / "aside")

    assert after != before
    assert after == content(kept.folder), "and it is what the log says"


def test_when_the_log_has_forgotten_the_archive_answers_alone(lender: Kept) -> None:
    expected = content(lender.folder)
    archive(lender.folder)
    last = lender.log.position()
    lender.log.close()
    forgetting = apsw.Connection(str(lender.folder.log))
    for table in ("event", "record", "verdict"):
        forgetting.execute(f"delete from {table} where seq < ?", (last,))
    forgetting.execute("delete from part")
    forgetting.close()

    found = content(lender.folder)
    for name in EVERY_TABLE:
        assert found[name] == expected[name], name


def test_a_day_of_cost_that_is_told_anew_takes_the_place_of_the_archived_one(lender: Kept) -> None:
    archive(lender.folder)
    feeds = open_feeds(lender.folder.feeds)
    again = Spend(feed="ads", account="a", day=date(2026, 3, 11), ad=Ad(channel="meta", campaign="c2"),
                  amount=Decimal(99), currency="USD")  # fmt: skip
    feeds.replace_days([again])
    feeds.close()

    def told() -> list[tuple[Any, ...]]:
        with load(lender.folder) as tables:
            return tables.rows("select campaign, sum(amount) from spend where day = '2026-03-11' group by 1")

    assert told() == [("c2", Decimal(99))]
    archive(lender.folder)
    assert told() == [("c2", Decimal(99))]


def test_as_of_a_moment_is_what_a_report_said_at_that_moment(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, "old"), loan(5))
    kept.send(lambda name, planned, entry: Fate("accepted", "confirmed", 6))
    then = content(kept.folder)
    kept.tell(login(4, "new", arrives=30), loan(31, "L2"))
    late = kept.tables()
    now = {name: late.number(f"select count(*) from {name}") for name in ("counted", "conversion", "receipt")}
    late.close()

    found = content(kept.folder, moment(20))
    for name in ("event", "counted", "touch", "bound", "installation", "entry", "receipt", "delivery"):
        assert found[name] == then[name], name
    assert now["counted"] > len(found["counted"])
    with load(kept.folder, as_of=moment(20)) as tables:
        assert tables.as_of == moment(20)
    with load(kept.folder, as_of=moment(5.5)) as tables:
        assert {what for (what,) in tables.rows("select distinct what from delivery")} == {
            "waiting",
            "skipped",
        }
        assert tables.rows("select distinct stage from waits") == [("waiting",)]
    with load(kept.folder, as_of=T0 - HOUR) as tables:
        assert tables.as_of is None
        assert tables.number("select count(*) from counted") == 0


def test_what_an_mmp_said_later_was_not_known_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, Device(appsflyer_id="af-1")), loan(5))

    def said(minute: float, channel: str) -> Attribution:
        return Attribution(
            feed="mmp", mmp="appsflyer", app="acme-ng", id="af-1", kind=AttributionKind.INSTALL,
            at_us=us(-60), told_us=us(minute), dated=True, ad=Ad(channel=channel),
        )  # fmt: skip

    kept.feed(said(10, "organic"), said(50, "meta"))
    for archived in (False, True):
        if archived:
            archive(kept.folder)
        with load(kept.folder) as tables:
            assert tables.rows("select channel from origin") == [("meta",)]
        with load(kept.folder, as_of=moment(20)) as tables:
            assert tables.rows("select channel from origin") == [("organic",)]


def test_files_wait_for_a_report_that_reads_them(lender: Kept) -> None:
    """A report that has begun finds every file it began with, and a day becomes one file after it."""
    archive(lender.folder, events_at_once=500)
    tables = load(lender.folder)
    began = tables.number("select count(*) from event")
    with lender.folder.archive.with_suffix(".readers").open("a") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    again = tables.number("select count(*) from conversion")
    tables.close()
    with changing(lender.folder.archive):
        pass

    assert began > 0
    assert again > 0


def test_a_report_of_an_archive_in_object_storage_is_the_same(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, "old"), loan(1), loan(2, "L2"))
    expected = content(kept.folder)
    brought_up(kept.folder, ArchiveSettings(to=f"memory://{tmp_path.name}/lender"), 0)

    assert content(kept.folder) == expected


def test_a_folder_whose_archive_has_lost_its_files_says_so(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, "old"), loan(1))
    archive(kept.folder)
    for path in (kept.folder.path / "archive").rglob("*.parquet"):
        path.unlink()

    with pytest.raises(DataError, match="archive"):
        all_reports(kept.folder)


SHARED = Path(os.environ.get("LENDSIGNAL_SHARED", Path(__file__).parents[4] / "shared"))
SUPERLENDER = SHARED / "data" / "superlender" / "trainprevloans.csv.gz"


def loans_of_superlender(limit: int) -> Iterator[Any]:
    with gzip.open(SUPERLENDER, "rt") as file:
        for place, row in enumerate(csv.DictReader(file)):
            if place == limit:
                return
            paid = datetime.fromisoformat(row["approveddate"]).replace(tzinfo=UTC)
            about: dict[str, Any] = {
                "user_id": row["customerid"],
                "loan_id": row["systemloanid"],
                "currency": "NGN",
            }
            minutes = (paid - T0).total_seconds() / 60
            yield event("disbursed", minutes, amount=Decimal(row["loanamount"]),
                        loan_number=int(float(row["loannumber"])), **about)  # fmt: skip
            if row["closeddate"]:
                closed = datetime.fromisoformat(row["closeddate"]).replace(tzinfo=UTC)
                about |= {"payment_id": "P" + row["systemloanid"], "amount": Decimal(row["totaldue"])}
                yield event("repaid", (closed - T0).total_seconds() / 60, **about)


@pytest.mark.skipif(
    not SUPERLENDER.exists(), reason="the SuperLender data is not here: set LENDSIGNAL_SHARED"
)
def test_superlenders_tables_are_the_same_from_the_log_and_from_the_archive(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(*loans_of_superlender(3_000))
    from_log = content(kept.folder)
    archive(kept.folder)

    assert len(from_log["counted"]) > 5_000
    assert content(kept.folder) == from_log
