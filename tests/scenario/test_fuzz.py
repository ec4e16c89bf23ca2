"""The short form of `make fuzz`: requests made from the API's description are answered, none with a 5xx."""

from collections import Counter

import pytest
from tests.fuzz.hail import Weather, hail
from tests.fuzz.making import Asked
from tests.running import drawn_seed

REQUESTS = 150
"""Beside one for each word of each query, of which there are as many."""


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Weather:
    """One hail for all."""
    return hail(tmp_path_factory.mktemp("fuzz"), drawn_seed(), REQUESTS)


def test_every_request_of_the_description_and_every_bent_one_is_answered_without_a_5xx(
    weather: Weather,
) -> None:
    assert weather.broken == []
    assert weather.sent > 2 * REQUESTS - 20


def test_the_hail_comes_past_the_door(weather: Weather) -> None:
    assert weather.statuses[202] > 0, "events are taken"
    assert weather.statuses[200] > 5, "reports are made"
    assert weather.statuses[401] > 0, "wrong keys are tried"
    assert len(weather.operations) > 25, "most of the description is asked"


def test_a_server_that_breaks_is_found_and_an_answer_that_nobody_described_counted() -> None:
    weather = Weather(seed=1, statuses=Counter(), operations=Counter(), undescribed=Counter(), broken=[])
    asked = Asked(operation="GET /healthz", method="GET", path="/healthz?a=1", headers={}, body=b"b")

    for status in (200, 404, 500):
        weather.heard(asked, status, {"200": {}})

    assert weather.broken == ["500: GET /healthz?a=1 b'b'"]
    assert weather.undescribed == {"GET /healthz 404": 1, "GET /healthz 500": 1}
