"""`GET /v1/reports/NAME`: who may ask, the same figures as everywhere, and mistakes in words."""

import csv
import io
import json
import time
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from tests.browsing import Browser, Shown
from tests.unit.report.kept import Kept
from tests.unit.report.world import filled, world

from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.config import load as configured
from lendsignal.report import funnel, load
from lendsignal.report.catalog import REPORTS
from lendsignal.report.slices import Slice
from lendsignal.role.reports import MAKERS, report_routes
from lendsignal.source import Keyring
from lendsignal.source.openapi import openapi
from lendsignal.source.settings import DoorSettings

CONFIG = f"""
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.buyer]
key_sha256 = "{sha256(b"buyer").hexdigest()}"
scopes = ["read"]

[source.backend]
key_sha256 = "{sha256(b"backend").hexdigest()}"
scopes = ["events"]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("calls")
    (folder / "lendsignal.toml").write_text(CONFIG)
    kept: Kept = filled(folder / "data", world(users=100, days=30))
    kept.log.close()
    return configured(folder / "lendsignal.toml")


@pytest.fixture(scope="module")
def client(config: Config) -> Browser:
    keys = Keyring(config.keys, SystemClock(), time.monotonic, sources=config.sources)
    return Browser(Starlette(routes=report_routes(config, keys)))


def asked(client: Browser, path: str, **query: Any) -> Shown:
    words = urlencode(query, doseq=True)
    return client.get(f"/v1/reports{path}?{words}", authorization="Bearer buyer")


def test_only_a_key_that_may_read_gets_a_report(client: Browser) -> None:
    found = [
        client.get("/v1/reports/delay", authorization=key).status
        for key in ("", "Bearer other", "Bearer backend", "Bearer buyer")
    ]

    assert found == [401, 401, 403, 200]


def test_a_report_has_the_figures_that_the_library_gives_with_the_unit_of_each(
    client: Browser, config: Config
) -> None:
    told = json.loads(asked(client, "/funnel", by=["app", "os"], every="week").text)
    with load(_folder(config)) as tables:
        expected = funnel(tables, Slice(by=("app", "os"), every="week")).to_data()

    assert told == expected
    assert {"name": "rate", "unit": "share"} in told["tables"]["steps"]["columns"]


def _folder(config: Config) -> Any:
    from lendsignal.log import DataFolder

    return DataFolder(config.data)


def test_one_table_comes_as_csv(client: Browser) -> None:
    answer = asked(client, "/vintages", every="month", by="app", format="csv", table="delinquency")
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["content-type"].startswith("text/csv")
    assert {row["measure"] for row in rows} == {"1dpd", "7dpd", "15dpd", "30dpd", "default"}


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_can_be_asked_for(client: Browser, name: str) -> None:
    answer = asked(
        client, f"/{name}", **{"where": "country=NG", "from": "2026-03-05"} if name != "spend" else {}
    )

    assert answer.status == 200, answer.text
    assert json.loads(answer.text)["tables"]


def test_the_list_names_every_report(client: Browser) -> None:
    assert set(json.loads(asked(client, "").text)) == set(REPORTS) == set(MAKERS)


@pytest.mark.parametrize(
    ("path", "query", "status", "field", "nearest"),
    [
        ("/funel", {}, 404, None, "funnel"),
        ("/funnel", {"by": "campain"}, 400, "by", "campaign"),
        ("/funnel", {"bye": "campaign"}, 400, "bye", "by"),
        ("/funnel", {"where": "country=NGA"}, 400, "where", "NG"),
        ("/funnel", {"cohort": "installs"}, 400, "cohort", None),
        ("/funnel", {"from": "yesterday"}, 400, "from", None),
        ("/funnel", {"as_of": "noon"}, 400, "as_of", None),
        ("/funnel", {"table": "step"}, 400, "table", "steps"),
        ("/devices", {"top": "many"}, 400, "top", None),
        ("/spend", {"by": "os"}, 400, "slice", None),
    ],
)
def test_a_mistake_is_named_with_the_nearest_right_word(
    client: Browser, path: str, query: dict[str, str], status: int, field: str | None, nearest: str | None
) -> None:
    answer = asked(client, path, **query)
    told = json.loads(answer.text)

    assert (answer.status, told.get("field"), told.get("nearest")) == (status, field, nearest)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_of_the_doors_has_every_report_and_its_words() -> None:
    paths = openapi(DoorSettings())["paths"]
    described = {path for path in paths if path.startswith("/v1/reports/")}
    words = {one["name"] for one in paths["/v1/reports/funnel"]["get"]["parameters"]}

    assert described == {f"/v1/reports/{name}" for name in REPORTS}
    assert words >= {"by", "where", "from", "to", "every", "binding", "as_of", "cohort", "format"}
