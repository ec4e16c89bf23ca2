"""A reversed loan is taken back at Google Ads: the real service, real processes, the strict sandbox."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests import every_kind
from tests.every_kind import Played
from tests.running import CONFIG, ENVIRONMENT, BackEnd, Ledger, Service, borrowing, until

from lendsignal.cli import main

HOST = "googleads.googleapis.com"
GOOGLE = """\
[destination.google]
kind   = "google_ads"
app    = "acme-ng"
linger = "0s"
per_second = 50
{own}

[[route]]
to    = "google"
send  = {{ disbursement = "ev_fl" }}
value = {{ disbursement = "fee" }}
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Played]]:
    """`lendsignal run` with Google Ads as its one destination."""
    for name, value in {**ENVIRONMENT, **every_kind.ENVIRONMENT}.items():
        monkeypatch.setenv(name, value)
    with every_kind.sandbox(tmp_path / "sandbox") as played:
        one = Service(tmp_path / "service", played.address)
        head = CONFIG.partition("[destination.appsflyer-ng]")[0]
        text = head.format(door=one.port, web=one.web_port, sandbox=played.address, deliver="")
        own = GOOGLE.format(own=every_kind.OWN["google_ads"])
        (one.folder / "lendsignal.toml").write_text(text + own)
        try:
            yield one.start(), played
        finally:
            one.close()


def borrowers(*numbers: int) -> list[dict[str, Any]]:
    """Users who came by a click and got a loan."""
    found = [event for number in numbers for event in borrowing(number)]
    for event in found:
        if "device" in event:
            event["device"] = {**event["device"], "gclid": f"Cj0-{event['user_id']}"}
    return found


def reversals(*numbers: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC).isoformat()
    return [
        {
            "type": "disbursement_reversed",
            "brand": "acme",
            "user_id": f"u{number}",
            "loan_id": f"L-u{number}",
            "event_id": f"b-u{number}",
            "occurred_at": now,
        }
        for number in numbers
    ]


def clicks_of(played: Played, ids: set[str]) -> set[str]:
    """The clicks by which Google knows these conversions."""
    return {one["item"]["gclid"] for one in played.taken("google_ads") if one["conversion_id"] in ids}


def changed(played: Played) -> Counter[tuple[str, str]]:
    """What Google took to change: kind and conversion id, with how often."""
    taken = played.taken("google_ads_adjustment")
    return Counter((one["name"], one["conversion_id"]) for one in taken)


def test_reversed_loans_are_taken_back_once_though_the_sender_is_killed_on_the_way(
    running: tuple[Service, Played],
) -> None:
    one, played = running
    back_end = BackEnd(one)
    back_end.send(borrowers(*range(8)))
    one.idle()
    assert len(played.taken("google_ads")) == 8

    # The platform has the corrections and its answer is on the way for long: then the sender dies.
    played.faults({"kind": "slow", "host": HOST, "delay_ms": 60_000, "times": 1})
    back_end.send(reversals(1, 3, 5))
    until(lambda: changed(played), "the first correction has arrived")
    one.kill("send")
    one.idle()

    assert set(changed(played).values()) == {1}
    assert {kind for kind, _ in changed(played)} == {"RETRACTION"}
    assert clicks_of(played, {name for _, name in changed(played)}) == {"Cj0-u1", "Cj0-u3", "Cj0-u5"}
    assert len(played.taken("google_ads")) == 8
    assert one.stop() == 0
    books = Ledger(one.data)
    assert books.balances("google")
    assert (books.count("google", "planned"), books.count("google", "accepted")) == (11, 11)


def test_a_loan_that_is_reversed_before_google_took_it_is_neither_told_nor_corrected(
    running: tuple[Service, Played],
) -> None:
    one, played = running
    back_end = BackEnd(one)
    played.faults({"kind": "status", "host": HOST, "status": 503})
    back_end.send(borrowers(1, 2))
    until(lambda: one.status()["waiting"].get("google"), "they wait")
    back_end.send(reversals(2))
    until(lambda: "nothing_told" in report_of(one), "it is known that nothing is to be corrected")
    played.faults()
    one.idle()

    told = {each["conversion_id"] for each in played.taken("google_ads")}
    assert clicks_of(played, told) == {"Cj0-u1"}
    assert changed(played) == {}
    assert one.stop() == 0
    assert Ledger(one.data).balances("google")


def test_a_loan_whose_fee_was_wrong_is_restated_with_the_right_one(running: tuple[Service, Played]) -> None:
    one, played = running
    back_end = BackEnd(one)
    registered, paid_out = borrowers(1)
    back_end.send([registered, paid_out])
    one.idle()
    for revision, fee in ((1, "900"), (2, "1100.50")):
        back_end.send([{**paid_out, "event_id": f"d-u1-{revision}", "revision": revision, "fee": fee}])
    until(lambda: len(played.taken("google_ads_adjustment")) == 2, "both were told")
    one.idle()

    values = [each["item"]["restatementValue"] for each in played.taken("google_ads_adjustment")]
    assert values == [
        {"adjustedValue": 900.0, "currencyCode": "NGN"},
        {"adjustedValue": 1100.5, "currencyCode": "NGN"},
    ]
    text = (
        CliRunner().invoke(main, ["explain", "d-u1", "--config", str(one.folder / "lendsignal.toml")]).output
    )
    assert text.count("restates its value, after disbursed") == 2


def report_of(one: Service) -> str:
    """What became of deliveries, as the report tells it."""
    words = ["report", "delivery", "--json", "--config", str(one.folder / "lendsignal.toml")]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    return found.output
