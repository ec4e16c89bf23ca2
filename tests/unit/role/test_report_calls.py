"""`GET /v1/reports/NAME`: who may ask, the same figures as everywhere, and mistakes in words."""

import csv
import io
import json
import time
from collections import Counter
from contextlib import closing
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
from lendsignal.log import open_alerts
from lendsignal.report import funnel, load
from lendsignal.report.catalog import REPORTS
from lendsignal.report.health import SLOT_US
from lendsignal.report.slices import Slice
from lendsignal.role import reports
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
    sliced = (
        {"where": "country=NG", "from": "2026-03-05"} if name not in ("spend", "health", "audiences") else {}
    )
    answer = asked(client, f"/{name}", **sliced)

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
        ("/coverage", {"days": "many"}, 400, "days", None),
        ("/coverage", {"days": "0"}, 400, "days", None),
        ("/proxy", {"after": "soon"}, 400, "after", None),
        ("/proxy", {"precision": "2"}, 400, "precision", None),
        ("/reconcile", {"by": "conversion"}, 400, "by", None),
        ("/health", {"as_of": "2026-03-10"}, 400, "as_of", None),
    ],
)
def test_a_mistake_is_named_with_the_nearest_right_word(
    client: Browser, path: str, query: dict[str, str], status: int, field: str | None, nearest: str | None
) -> None:
    answer = asked(client, path, **query)
    told = json.loads(answer.text)

    assert (answer.status, told.get("field"), told.get("nearest")) == (status, field, nearest)
    assert answer.headers["content-type"] == "application/problem+json"


def test_health_is_what_was_counted_and_before_the_first_look_it_says_so(
    client: Browser, config: Config
) -> None:
    before = json.loads(asked(client, "/health").text)
    now_us = SystemClock().now_us()
    with closing(open_alerts(_folder(config).alerts)) as store:
        counts = {("event", "acme-android", "disbursed", now_us // SLOT_US - 1): 3}
        store.add(Counter(counts), Counter(), {"looked_us": now_us}, None)
    after = json.loads(asked(client, "/health").text)

    assert before["notes"] == ["Nobody has looked yet: `lendsignal run` does, every minute."]
    assert before["tables"]["volumes"]["rows"] == []
    assert after["notes"] == []
    (row,) = after["tables"]["volumes"]["rows"]
    assert (row["name"], row["day"], row["verdict"]) == ("disbursed", 3, "young")


HEAD = b"loan_id,paid_out_at,amount,currency\n"


def posted(client: Browser, ledger: bytes, **query: str) -> Shown:
    path = f"/v1/reports/reconcile?{urlencode(query)}"
    return client.send(path, ledger, authorization="Bearer buyer")


def test_the_lenders_books_are_reconciled_as_they_are_sent(client: Browser, config: Config) -> None:
    with load(_folder(config)) as tables:
        ((name, day),) = tables.rows(
            "select loan_id, (make_timestamptz(at_us) at time zone 'Africa/Lagos')::date::varchar"
            " from counted where type = 'disbursed' and not superseded and not reversed and not test"
            " order by seq limit 1"
        )
    lines = f"LoanNo,paid_out_at,amount\n{name},{day},1\nnew,{day},5\n".encode()
    query = {"column": "loan_id=LoanNo", "currency": "NGN", "from": day, "to": day}
    told = json.loads(posted(client, lines, **query).text)
    differences = {(row["what"], row["loan_id"]) for row in told["tables"]["ledger_differences"]["rows"]}

    assert {("amount", name), ("not_told", "new")} <= differences
    assert told["tables"]["checks"]["rows"][0]["step"] == "ledger"


@pytest.mark.parametrize(
    ("ledger", "query", "field"),
    [
        (b"\xff\xfe", {}, "ledger"),
        (HEAD + b"L1,soon,5,NGN\n", {}, "ledger line 2, paid_out_at"),
        (HEAD, {"column": "loan=LoanNo"}, "column"),
        (HEAD, {"limit": "missed=1"}, "limit"),
        (HEAD, {"limit": "missing=some"}, "limit"),
        (HEAD, {"timezone": "Lagos"}, "timezone"),
        (HEAD, {"late_after": "soon"}, "late_after"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_refused_by_line_and_field(
    client: Browser, ledger: bytes, query: dict[str, str], field: str
) -> None:
    answer = posted(client, ledger, **query)

    assert (answer.status, json.loads(answer.text)["field"]) == (400, field)


def test_a_ledger_needs_a_key_and_a_bounded_size(client: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "LEDGER_BYTES", 10)

    assert client.send("/v1/reports/reconcile", b"").status == 401
    assert posted(client, b"loan_id,paid_out_at").status == 413


def test_the_document_of_the_doors_has_every_report_and_its_words() -> None:
    paths = openapi(DoorSettings())["paths"]
    described = {path for path in paths if path.startswith("/v1/reports/")}
    words = {one["name"] for one in paths["/v1/reports/funnel"]["get"]["parameters"]}

    assert described == {f"/v1/reports/{name}" for name in REPORTS}
    assert words >= {"by", "where", "from", "to", "every", "binding", "as_of", "cohort", "format"}
