"""Seeds by tier and by predicted value: whom they hold, in which order, and with which values."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from msgspec.structs import replace
from tests.acme import DAY, event, loan, login, source
from tests.unit.report.kept import Kept, Still

from lendsignal.audience.build import Builder, Rules
from lendsignal.audience.customers import Asked
from lendsignal.audience.definitions import definition_of
from lendsignal.audience.settings import AudienceSettings
from lendsignal.audience.worth import Predict, Said, by_model
from lendsignal.derive import Cut, Tiers
from lendsignal.model import Event
from lendsignal.value.settings import WorthSettings

NOW = 100 * DAY

# Of scores from 0 to 100: the best fifth from 80 on, the better half from 50 on; by value from 1,000 on.
TIERS = Tiers(
    cuts=(
        Cut(share=20, cut=80.0),
        Cut(share=50, cut=50.0),
        Cut(share=20, cut=1_000.0, basis="predicted_value"),
    ),
    version="t1",
)


def granted(minutes: float, user: str, score: float, worth: float | None = None, **fields: Any) -> Event:
    said: dict[str, Any] = {} if worth is None else {"properties": {"predicted_value": worth}}
    grant = event(
        "credit_granted",
        minutes,
        grant_id=f"G-{user}-{minutes}",
        limit=Decimal(30_000),
        currency="NGN",
        score=score,
        score_version="s1",
        **said,
        **fields,
    )
    return replace(grant, user_id=user, event_id=f"g {user} {minutes}")


def seen(minutes: float, user: str) -> Event:
    return replace(login(minutes, user), user_id=user, event_id=f"l {user}")


def borrowed(minutes: float, user: str) -> Event:
    return replace(loan(minutes, f"L-{user}"), user_id=user, event_id=f"b {user}")


STORY = [
    *(seen(number, user) for number, user in enumerate(("best", "fair", "poor", "lost", "late"))),
    granted(10 * DAY, "best", 91, 1_500),
    granted(11 * DAY, "fair", 62, 2_500),
    granted(12 * DAY, "poor", 20, 300),
    granted(13 * DAY, "lost", 95, 4_000),
    granted(90 * DAY, "late", 85, 900),
    *(borrowed(20 * DAY + number, user) for number, user in enumerate(("best", "fair", "poor", "lost"))),
    replace(event("defaulted", 80 * DAY, loan_id="L-lost"), user_id="lost", event_id="x lost"),
]


@pytest.fixture
def lender(tmp_path: Path) -> Kept:
    return Kept(tmp_path, source(tiers=TIERS), now=NOW).tell(*sorted(STORY, key=lambda one: one.received_at))


def members(lender: Kept, settings: AudienceSettings, predict: Predict | None = None) -> dict[str, Any]:
    """The users of the list, by their phones, with what they are worth."""
    rules = Rules(
        lists={"it": definition_of("it", settings)},
        asked=Asked(default_app={"acme": "acme-ng"}),
        predict=predict,
    )
    builder = Builder(lender.folder, rules, Still(NOW))
    (build,) = builder.whole()
    root = lender.folder.audience_files
    with duckdb.connect(":memory:") as db:
        found = db.execute(
            f"select gaid, value from read_parquet('{root / build.file}')"
            f" join read_parquet('{root}/ids/*.parquet') using (key) order by 1"
        ).fetchall()
    builder.close()
    return {gaid.removeprefix("gaid-"): value for gaid, value in found} | {"left out": build.left_out}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (AudienceSettings(kind="top_tier"), {"best", "late"}),
        (AudienceSettings(kind="top_tier", share=50), {"best", "fair", "late"}),
        (AudienceSettings(kind="top_tier", basis="predicted_value"), {"best", "fair"}),
    ],
)
def test_the_top_tier_is_whoever_was_in_it_at_a_grant_and_lost_nothing(
    lender: Kept, settings: AudienceSettings, expected: set[str]
) -> None:
    assert members(lender, settings).keys() - {"left out"} == expected


def test_a_tier_may_be_asked_of_the_last_months_alone(lender: Kept) -> None:
    recent = AudienceSettings(kind="top_tier", within=timedelta(days=30))

    assert members(lender, recent).keys() == {"late", "left out"}


def test_members_are_ranked_by_what_the_lender_s_own_model_said_last(lender: Kept) -> None:
    lender.tell(granted(95 * DAY, "poor", 20, 9_999))
    ranked = AudienceSettings(kind="existing_customers", use="seed", value="predicted", top=2)
    found = members(lender, ranked)

    assert found.keys() == {"poor", "lost", "left out"}
    assert (found["poor"], found["lost"]) == (9_999.0, 4_000.0)


def test_a_trained_model_comes_before_the_property_and_whom_it_does_not_know_has_no_value(
    lender: Kept,
) -> None:
    def says(tables: object) -> Said:
        return Said(["acme:best", "acme:fair", "acme:nobody"], np.array([10.0, -4.0, 7.0]))

    found = members(lender, AudienceSettings(kind="existing_customers", value="predicted"), says)

    assert (found["best"], found["fair"]) == (10.0, 0.0), "a loss ranks as nothing"
    assert found["left out"] == '{"no_value":2}'
    assert found.keys() == {"best", "fair", "left out"}


def test_without_a_trained_model_the_property_counts(lender: Kept) -> None:
    assert by_model(lender.folder, WorthSettings()) is None
