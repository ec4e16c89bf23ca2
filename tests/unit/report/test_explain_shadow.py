"""What `explain` tells of a delivery in shadow: the request that would have left."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace
from tests.acme import loan, login, source
from tests.unit.report.kept import Kept

from lendsignal.destination.spec import Request
from lendsignal.plan import RouteSettings
from lendsignal.report import explain


def render(*_: Any) -> Request:
    return Request(method="POST", url="https://api.acme.example/v1/events", json={"name": "ev_ln"})


def test_a_delivery_in_shadow_shows_the_request_that_would_have_left(tmp_path: Path) -> None:
    watched = RouteSettings(to="appsflyer-ng", send={"disbursement": "ev_ln"}, mode="shadow")
    kept = Kept(tmp_path, replace(source(), routes=(watched,))).tell(
        login(0, "a"), loan(5), loan(6, "L2", test=True)
    )
    kept.send(lambda *_: None)

    (delivery,) = [
        one
        for life in explain(kept.folder, "disbursed-L1", {"appsflyer-ng": render}).lives
        for conversion in life.conversions
        for one in conversion.deliveries
    ]
    skipped = explain(kept.folder, "disbursed-L2", {"appsflyer-ng": render}).lives[0]

    assert (delivery.what, delivery.reason) == ("skipped", "shadow")
    assert delivery.request is not None
    assert delivery.request["url"] == "https://api.acme.example/v1/events"
    assert [one.request for each in skipped.conversions for one in each.deliveries] == [None]
