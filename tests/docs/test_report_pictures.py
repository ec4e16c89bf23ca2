"""The pictures of the how-to pages: drawn from a made-up lender, and there where pages show them.

`LENDSIGNAL_DRAW=1 pytest tests/docs/test_report_pictures.py` draws them anew.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as Xml
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from tests.unit.report.kept import SECOND, Kept
from tests.unit.report.world import ZONE, filled, policy, told, world

from lendsignal.cli.understand import report as reports
from lendsignal.clock import from_us
from lendsignal.config import load as configured
from lendsignal.derive import Cut, Tiers
from lendsignal.log import open_feeds
from lendsignal.model.attribution import Recorded
from lendsignal.report import (
    Paid,
    Report,
    attribution,
    bindings,
    coverage,
    delay,
    delivery,
    devices,
    funnel,
    installations,
    load,
    reconcile,
    spend,
)
from lendsignal.report.chart import svg
from lendsignal.report.charts import charts_of
from lendsignal.report.health import (
    DELAY_BOUNDS,
    SLOT_US,
    DelayOf,
    Facts,
    Series,
    bin_of,
    health,
    learnt,
    volume,
)
from lendsignal.report.proxy import proxy
from lendsignal.report.slices import Slice
from lendsignal.report.tiers import tiers
from lendsignal.report.vintages import vintages
from lendsignal.simulate import Parameters, World, make, write
from lendsignal.simulate.arrivals import KINDS
from lendsignal.simulate.parameters import Period
from lendsignal.source.feeds import import_attribution, import_spend

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
LAGOS = ZoneInfo(ZONE)

FEEDS = f"""
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "{ZONE}"

[app.acme-ios]
brand = "acme"
platform = "ios"
bundle = "id1234567890"
country = "NG"
currency = "NGN"
timezone = "{ZONE}"

[feed.mmp]
kind = "generic"
mmp = "appsflyer"

[spend.ads]
kind = "generic"
timezone = "{ZONE}"
"""


def answered_us(name: int) -> int:
    """Most are answered at once, one in twenty after some minutes of tries."""
    number = name // 64
    return (1 + number % 3) * SECOND if number % 20 else (2 + number % 13) * 60 * SECOND


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Every picture by its file name."""
    one = world(users=1_200, days=170, seed=5)
    kept = filled(tmp_path_factory.mktemp("pictures"), one, answered_us)
    recorded(kept)
    brought_in(kept, one, tmp_path_factory.mktemp("lender"))
    with load(kept.folder) as tables:
        lent = tables.rows(
            "select loan_id, at_us, amount, currency from counted where type = 'disbursed' and not superseded"
            " and not reversed and not test and at_us >= $from order by at_us",
            {
                "from": (
                    tables.number("select max(at_us) from counted")
                    - timedelta(days=10) // timedelta(microseconds=1)
                )
            },
        )
        # The books have three loans that nobody told us of, and lack two.
        ledger = [booked(*row) for row in lent[2:]]
        ledger += [
            booked(f"X{n}", at_us, amount, currency)
            for n, (_, at_us, amount, currency) in enumerate(lent[:15:5])
        ]
        found: dict[str, Report] = {
            "delays": delay(tables),
            "ledgers": reconcile(tables, ledger, Slice(since=ledger[0].day), zone=LAGOS),
            "vintages": vintages(tables, Slice(every="month", by=("app",))),
            "funnel": funnel(tables, Slice(by=("channel",))),
            "bindings": bindings(tables),
            "deliveries": delivery(tables),
            "installations": installations(tables, Slice(by=("channel",), every="month")),
            "attribution": attribution(tables, level="channel"),
            "spend": spend(tables),
            "devices": devices(tables),
            "coverage": coverage(tables, log=kept.log),
        }
    with graded(tmp_path_factory.mktemp("tiers")).tables() as tables:
        found["tiers"] = tiers(tables)
    found["proxy"] = told_early(tmp_path_factory.mktemp("proxy"))
    found["health"] = watched()
    return {
        f"{name}-{number}.svg": svg(chart)
        for name, report in found.items()
        for number, chart in enumerate(charts_of(report), start=1)
    }


def booked(name: str, at_us: int, amount: Decimal, currency: str) -> Paid:
    day: date = from_us(at_us).astimezone(LAGOS).date()
    return Paid(loan_id=name, day=day, at_us=at_us, amount=amount, currency=currency)


def brought_in(kept: Kept, one: World, folder: Path) -> None:
    """What the MMP and the ad accounts tell."""
    write(one, folder)
    (folder / "lendsignal.toml").write_text(FEEDS)
    config = configured(folder / "lendsignal.toml")
    feeds = open_feeds(kept.folder.feeds)
    import_attribution(feeds, folder / "attribution.csv", config.feeds["mmp"], 0)
    import_spend(feeds, folder / "spend.csv", config.spend["ads"])
    feeds.close()


def graded(folder: Path) -> Kept:
    """A lender with tiers by score, cut as its own first grants would have them."""
    one = world(users=1_500, days=150, seed=6)
    events = list(told(one))
    granted = (event.score for event in events if event.type == "credit_granted")
    scores = sorted((score for score in granted if score is not None), reverse=True)
    cuts = tuple(Cut(share=share, cut=scores[len(scores) * share // 100]) for share in (20, 30, 50, 70))
    made = policy()
    send = {"first_credit": "ev_fc", **{f"credit_top{cut.share}": f"ev_{cut.share}" for cut in cuts}}
    derive = msgspec.structs.replace(made.derive, tiers=Tiers(cuts=cuts))
    routes = tuple(msgspec.structs.replace(route, send={**route.send, **send}) for route in made.routes)
    return Kept(folder, msgspec.structs.replace(made, derive=derive, routes=routes)).tell(*events)


def told_early(folder: Path) -> Report:
    """A larger lender's grants, told half an hour after the application."""
    kept = filled(folder, world(users=2_300, days=120, seed=8))
    half_an_hour, week = timedelta(minutes=30), timedelta(days=7)
    with kept.tables() as tables:
        one = Slice(by=("loans",))
        found = proxy(
            kept.log, after=half_an_hour, within=week, precision=0.75, tables=tables, one=one
        ).report
    kept.log.close()
    return found


def watched() -> Report:
    """A Wednesday at three in the afternoon, on which no login has come in since noon."""
    made = make(Parameters(period=Period(start=date(2026, 3, 1), days=100, users=6_000)), seed=1)
    received_us = made.events.received_at * 1_000
    now_us = made.start * 1_000 + 94 * 96 * SLOT_US + 15 * 4 * SLOT_US
    noon = now_us - 12 * SLOT_US
    bins = [0] * (len(DELAY_BOUNDS) + 1)
    volumes = []
    for kind in np.unique(made.events.kind):
        name = KINDS[kind].value
        mine = received_us[(made.events.kind == kind) & (received_us < now_us)]
        slots = Counter(((mine[mine < noon] if name == "logged_in" else mine) // SLOT_US).tolist())
        one = Series(what="event", name=name, scope="acme-android", timezone=ZONE, slots=slots)
        volumes.append(volume(one, learnt(one, now_us), now_us))
    today = (received_us < now_us) & (received_us >= now_us - 96 * SLOT_US)
    for late in (received_us - made.events.occurred_at * 1_000)[today].tolist():
        bins[bin_of(late / 1e6)] += 1
    arrival = DelayOf(stage="arrival", name="acme-android", bins=bins)
    return health(Facts(now_us=now_us, volumes=volumes, delays=[arrival]))


def recorded(kept: Kept) -> None:
    """What AppsFlyer says: one in thirty is not there, one in fifty has another value."""
    facts = []
    for number, (_, _, planned, entry) in enumerate(kept.planned()):
        value, one = entry.value, planned.conversion
        if number % 30 == 7 or entry.skip is not None or planned.binding is None:
            continue
        facts.append(
            Recorded(
                feed="mmp",
                mmp="appsflyer",
                app=planned.binding.snapshot.app,
                id=f"{number}",
                name=entry.name,
                at_us=round(one.occurred_at.timestamp() * 1_000_000),
                conversion=one.id,
                amount=None if value is None else value.amount + (number % 50 == 3),
                currency="" if value is None else value.currency,
                sent_by="S2S",
            )
        )
    kept.feed(*facts)


def test_every_picture_is_drawn_and_is_a_picture(pictures: Mapping[str, str]) -> None:
    if os.environ.get("LENDSIGNAL_DRAW"):
        (PAGES / "pictures").mkdir(exist_ok=True)
        for name, text in pictures.items():
            (PAGES / "pictures" / name).write_text(text + "\n")

    assert {path.name for path in (PAGES / "pictures").glob("*.svg")} >= set(pictures)
    assert all(Xml.fromstring(text).tag.endswith("svg") for text in pictures.values())
    assert all("nothing yet" not in text for text in pictures.values())


def test_pages_show_pictures_that_are_there(pictures: Mapping[str, str]) -> None:
    for page in (
        "read-delays",
        "reconcile-ledgers",
        "read-vintages",
        "read-the-reports",
        "read-returns",
        "read-tiers",
        "read-identity-reports",
        "tell-of-likely-grants",
        "get-alerted",
    ):
        shown = re.findall(r"\(pictures/([\w-]+\.svg)\)", (PAGES / f"{page}.md").read_text())

        assert shown
        assert set(shown) <= set(pictures)


@pytest.mark.parametrize("name", sorted(reports.commands))
def test_every_report_has_a_page_with_its_command_and_a_picture(name: str) -> None:
    told = [page.read_text() for page in PAGES.glob("*.md")]

    assert any(f"lendsignal report {name}" in text and "](pictures/" in text for text in told)
