"""What a desk of a cluster does beside its pages, as an operator runs it: archive, reports, feeds, pulls,
files that are brought in, erasures."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.desked import SECRET, House, decided, house_at, report
from tests.running import BackEnd, borrowing, call, until

MAP = """
[constant]
brand    = "acme"
currency = "NGN"

[file.loans]
match = "loans.csv"

[column.at]
kind     = "time"
timezone = "UTC"

[[event]]
type = "disbursed"
[event.columns]
user_id     = "user"
occurred_at = "at"
loan_id     = "loan"
amount      = "amount"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_at(tmp_path_factory.mktemp("jobs")) as one:
        yield one


def test_a_desk_archives_what_nodes_decide_and_reports_of_it(house: House) -> None:
    """All of it out of its copy; what MMPs told at a door and what a pull read is there too."""
    BackEnd(house.works).send([event for number in range(6) for event in borrowing(number)])
    house.put("a.jsonl", *[{**one, "event_id": f"pulled-{one['event_id']}"} for one in borrowing(6)])
    message = {
        "app_id": "com.acme.loans",
        "appsflyer_id": "1763712345678-1",
        "event_name": "install",
        "install_time": "2026-11-20 08:15:30.250",
        "media_source": "bytedanceglobal_int",
        "campaign": "NG spring",
    }
    path = f"/v1/attribution/appsflyer/appsflyer/{SECRET}"
    status, _, body = call(house.works.address, "POST", path, json.dumps(message).encode())
    assert (status, json.loads(body)) == (200, {"taken": 1})
    decided(house, 21)

    lenders = {one["event_id"] for number in range(6) for one in borrowing(number)}
    pulled = {f"pulled-{one['event_id']}" for one in borrowing(6)}
    until(lambda: lenders | pulled <= set(house.archived(house.first)), "everything is archived")
    assert max(house.archived(house.first).values()) == 1
    assert report(house.first, "delivery")["tables"]
    assert "NG spring" in json.dumps(report(house.first, "attribution"))
    assert "disbursed" in house.first.verb("report", "funnel")
    until(lambda: (house.place / "archive" / "_leading.json").exists(), "it says whose archive leads")


def test_who_is_erased_leaves_the_store_and_the_desk_with_one_receipt(house: House) -> None:
    """By person, whom two users are; what is said of them later does not come in."""
    first, second = (
        [{**one, "person_id": "p-77"} for one in borrowing(number, prefix="gone")] for number in (70, 71)
    )
    BackEnd(house.works).send([*first, *second, *borrowing(72, prefix="stays")])
    names = {one["event_id"] for one in (*first, *second)}
    until(lambda: names <= set(house.archived(house.first)), "they are archived")
    stays = {one["event_id"] for one in borrowing(72, prefix="stays")}

    asked = json.loads(house.works.verb("erase", "--person", "p-77", "--yes", "--json"))
    assert len(asked["subjects"]) == 3
    log = next(one for one in asked["places"] if one["step"] == "log" and not one["at_desk"])
    assert (log["state"], log["n"]) == ("done", 4)

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(house.works.verb("erase", "--receipt", asked["receipt"], "--json"))
        return found if found["ended"] else None

    receipt = until(ended, "the erasure has ended")
    archive = next(one for one in receipt["places"] if one["step"] == "archive")
    assert archive["at_desk"].startswith("desk-")
    assert (archive["state"], archive["n"] >= 4) == ("done", True)
    assert names.isdisjoint(house.archived(house.first))
    assert stays <= set(house.archived(house.first))
    BackEnd(house.works).send(borrowing(73))
    status, _, body = call(house.works.address, "POST", "/v1/events", json.dumps(first[:1]).encode())
    assert (status, json.loads(body)["refused"]) == (422, 1)
    for place in (house.first.folder / "data").rglob("*.sqlite"):
        assert b"gone70" not in place.read_bytes(), place.name


def test_files_are_brought_in_from_any_node(house: House) -> None:
    """Events once, however often; what an MMP's file tells stands in the feeds of the desk."""
    rows = ["user,at,loan,amount", *(f"f{n},2026-03-0{n + 1} 10:00:00,F{n},100{n}" for n in range(3))]
    (house.place / "loans.csv").write_text("\n".join(rows) + "\n")
    (house.place / "loans.toml").write_text(MAP)
    words = ("import", str(house.place / "loans.csv"), "--map", str(house.place / "loans.toml"))
    installs = house.place / "installs.csv"
    installs.write_text(
        "Attributed Touch Type,Install Time,Event Name,Media Source,Campaign,AppsFlyer ID,App ID\n"
        "click,2026-11-19 07:00:00,install,Facebook Ads,Abuja,1763712345678-9,com.acme.loans\n"
    )

    assert "3  events imported" in house.works.verb(*words)
    assert "nothing is added" in house.works.verb(*words)
    house.works.verb("import", "attribution", str(installs), "--feed", "appsflyer")
    until(lambda: "Abuja" in json.dumps(report(house.first, "attribution")), "the desk has heard of it")
