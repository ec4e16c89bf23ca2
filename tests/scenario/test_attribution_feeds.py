"""MMPs against the running service, and a made-up lender's files against its own answers."""

import csv
import http.client
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from tests.running import PATIENCE, Service, call, service, until

from lendsignal.log import DataFolder, open_feeds
from lendsignal.model import App
from lendsignal.report import attribution, load, spend
from lendsignal.simulate import demo, make, write
from lendsignal.source.feeds import (
    Feed,
    FeedSettings,
    SpendFeed,
    SpendSettings,
    import_attribution,
    import_spend,
)

SECRET = "made-up-secret-of-the-mmp"
TABLES = """
[feed.appsflyer]
kind   = "appsflyer"
secret = { file = "mmp" }

[feed.adjust]
kind   = "adjust"
secret = { file = "mmp" }
"""


def installed(number: int) -> Mapping[str, Any]:
    """One message of the Push API."""
    return {
        "app_id": "com.acme.loans",
        "appsflyer_id": f"1763712345678-{number:019}",
        "event_name": "install",
        "install_time": "2026-11-20 08:15:30.250",
        "media_source": "bytedanceglobal_int",
        "campaign": "NG spring",
    }


def prepared(one: Service) -> Service:
    (one.folder / "mmp").write_text(SECRET)
    with (one.folder / "lendsignal.toml").open("a") as file:
        file.write(TABLES)
    return one.start()


def pushed(one: Service, number: int) -> bool:
    """Whether the service acknowledged one message; MMPs do not come again."""
    path = f"/v1/attribution/appsflyer/appsflyer/{SECRET}"
    try:
        status, _, body = call(one.address, "POST", path, json.dumps(installed(number)).encode(), timeout=10)
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 and json.loads(body) == {"taken": 1}


def kept(one: Service) -> set[str]:
    feeds = open_feeds(one.data / "feeds.sqlite", read_only=True)
    try:
        return {found.id for found in feeds.attributions()}
    finally:
        feeds.close()


def test_what_an_mmp_was_told_is_taken_survives_kill_9(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    over = threading.Event()
    with service(tmp_path, start=False) as (one, _):
        prepared(one)

        def push() -> None:
            number = 0
            while not over.is_set():
                if pushed(one, number):
                    acknowledged.append(number)
                number += 1

        mmp = threading.Thread(target=push)
        mmp.start()
        try:
            for _ in range(3):
                seen = len(acknowledged)
                until(lambda seen=seen: len(acknowledged) > seen + 20, "messages are taken")  # type: ignore[misc]
                one.kill("core")
        finally:
            over.set()
            mmp.join(PATIENCE)
        one.ready()

        assert {installed(number)["appsflyer_id"] for number in acknowledged} <= kept(one)
        assert SECRET not in one.said


def test_a_callback_by_get_is_taken_and_counted(tmp_path: Path) -> None:
    query = {
        "activity_kind": "install",
        "app_id": "com.acme.loans",
        "adid": "a1",
        "installed_at": "1763626530",
    }
    with service(tmp_path, start=False) as (one, _):
        prepared(one)
        path = f"/v1/attribution/adjust/adjust/{SECRET}?{urlencode(query, quote_via=quote)}"
        status, _, body = call(one.address, "GET", path)

        assert (status, json.loads(body)) == (200, {"taken": 1})
        assert call(one.address, "GET", path.replace(SECRET, "wrong"))[0] == 401
        assert kept(one) == {"a1"}
        counted = 'lendsignal_feed_messages_total{feed="adjust",what="taken"} 1.0'
        until(lambda: counted in call(one.address, "GET", "/metrics")[2].decode(), "the message is counted")


# the made-up lender


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small made-up lender's files, and the truth beside them."""
    folder = tmp_path_factory.mktemp("lender")
    write(make(demo(), 7), folder)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def apps_of(rows: list[dict[str, str]]) -> dict[str, App]:
    return {
        name: App(
            name=name,
            brand="acme",
            platform="android",
            bundle=f"com.{name}",
            country="NG",
            currency="NGN",
            timezone="Africa/Lagos",
        )
        for name in {row["app"] for row in rows}
    }


def test_every_installation_of_the_made_up_lender_has_its_source(lender: Path, tmp_path: Path) -> None:
    rows = rows_of(lender / "attribution.csv")
    feed = Feed("mmp", FeedSettings(kind="generic", mmp="appsflyer"), apps_of(rows))
    feeds = open_feeds(tmp_path / "feeds.sqlite")
    for _ in range(2):
        found = import_attribution(feeds, lender / "attribution.csv", feed, 0)

    slow = Counter((row["media_source"], row["campaign"], row["is_retargeting"] == "1") for row in rows)
    kinds = Counter(
        (one.ad.media_source, one.ad.campaign, one.kind == "re_attribution") for one in feeds.attributions()
    )
    feeds.close()
    assert found.refused == {}
    assert kinds == slow


def test_the_made_up_lenders_cost_adds_up_to_the_last_digit(lender: Path, tmp_path: Path) -> None:
    feeds = open_feeds(tmp_path / "feeds.sqlite")
    feed = SpendFeed("ads", SpendSettings(kind="generic", timezone="Africa/Lagos"))
    for _ in range(2):
        import_spend(feeds, lender / "spend.csv", feed)

    slow: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows_of(lender / "spend.csv"):
        slow[row["day"], row["campaign"]] += Decimal(row["spend"])
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in feeds.spend():
        found[one.day.isoformat(), one.ad.campaign] += one.amount
    feeds.close()
    assert found == slow


def test_the_reports_on_the_made_up_lender_say_what_a_slow_count_says(lender: Path, tmp_path: Path) -> None:
    came, paid = rows_of(lender / "attribution.csv"), rows_of(lender / "spend.csv")
    folder = DataFolder(tmp_path)
    feeds = open_feeds(folder.feeds)
    feed = Feed("mmp", FeedSettings(kind="generic", mmp="appsflyer"), apps_of(came))
    import_attribution(feeds, lender / "attribution.csv", feed, 0)
    costs = SpendFeed("ads", SpendSettings(kind="generic", timezone="Africa/Lagos"))
    import_spend(feeds, lender / "spend.csv", costs)
    feeds.close()
    with load(folder) as tables:
        counted, cost = attribution(tables), spend(tables)

    # No log, so no app's time zone is known: days are those of UTC.
    days = Counter(row["install_time"][:10] for row in came if row["is_retargeting"] == "0")
    found: Counter[str] = Counter()
    for one in counted.days.records():
        found[str(one["day"])] += int(str(one["installs"]))
    assert +found == days
    by_campaign = Counter(row["campaign"] for row in came if row["is_retargeting"] == "0")
    assert {
        str(one["campaign"]): one["installs"] for one in counted.sources.records() if one["installs"]
    } == (by_campaign)
    total: dict[str, Decimal] = defaultdict(Decimal)
    for row in paid:
        total[row["campaign"]] += Decimal(row["spend"])
    assert {one["campaign"]: one["spend"] for one in cost.campaigns.records()} == total
    first, last = min(row["day"] for row in paid), max(row["day"] for row in paid)
    assert sum(int(str(one["installs"])) for one in cost.campaigns.records()) == sum(
        first <= row["install_time"][:10] <= last
        for row in came
        if row["is_retargeting"] == "0" and row["campaign"] in total
    )
