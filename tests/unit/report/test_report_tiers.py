"""Whether tiers keep their word, counted by hand for a hundred grants with the scores 1 to 100."""

from decimal import Decimal
from typing import Any

import pytest
from tests.acme import DAY, event, loan, login, source
from tests.unit.report.kept import Kept

from lendsignal.derive import Cut, Tiers
from lendsignal.derive.recut import Scope, Watched
from lendsignal.derive.tiers import CutSet, CutTable
from lendsignal.report.chart import svg
from lendsignal.report.charts import charts_of
from lendsignal.report.slices import Slice
from lendsignal.report.tiers import TiersReport, tiers

CUTS = (Cut(share=20, cut=81.0), Cut(share=50, cut=61.0))
"""The second is wrong: from 61 on there are 40 of a hundred."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Every grant is paid out; the ten with the lowest scores are lost whole, the others pay their fee."""
    made = Kept(tmp_path_factory.mktemp("tiers"), source(tiers=Tiers(shares=(20, 50), cuts=CUTS)))
    for score in range(1, 101):
        user = f"u{score}"
        mine: dict[str, Any] = {"user_id": user, "loan_number": 1}
        made.tell(
            login(0, "a", user_id=user, event_id=f"l{user}"),
            event("credit_granted", 1, grant_id=user, score=float(score), event_id=f"g{user}", **mine),
            loan(2, user, grant_id=user, **mine),
        )
        if score <= 10:
            made.tell(event("defaulted", 90 * DAY, loan_id=user, user_id=user, event_id=f"d{user}"))
        else:
            back: dict[str, Any] = {
                "payment_id": user,
                "amount": Decimal(26_500),
                "fee": Decimal(1500),
                "currency": "NGN",
            }
            made.tell(event("repaid", 9 * DAY, loan_id=user, user_id=user, event_id=f"b{user}", **back))
    return made


def reported(kept: Kept, one: Slice | None = None, **options: Any) -> TiersReport:
    with kept.tables() as tables:
        return tiers(tables, one or Slice(), **options)


def rows(table: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(one[name] for name in names) for one in table.records()]


def test_a_tier_whose_share_is_not_its_targets_is_off(kept: Kept) -> None:
    found = rows(reported(kept).shares, "basis", "tier", "target", "grants", "in_tier", "realised", "remark")

    # Wilson's interval of 40 in 100 is 30.9 to 49.8 %: 50 % is outside.
    assert found == [("score", 20, 0.2, 100, 20, 0.2, ""), ("score", 50, 0.5, 100, 40, 0.4, "off")]


def test_the_loans_of_a_tier_are_those_paid_out_on_its_grants(kept: Kept) -> None:
    names = ("tier", "loans", "lost", "bad_rate", "revenue", "loss", "value_per_loan")

    assert rows(reported(kept).quality, *names) == [
        (20, 20, 0, 0.0, Decimal(30_000), Decimal(0), Decimal(1500)),
        (50, 40, 0, 0.0, Decimal(60_000), Decimal(0), Decimal(1500)),
        # 90 fees of 1,500, and ten times 25,000 lost: (135,000 - 250,000) / 100.
        (100, 100, 10, 0.1, Decimal(135_000), Decimal(250_000), Decimal(-1150)),
    ]


def test_tiers_are_sliced_as_every_report_is(kept: Kept) -> None:
    found = rows(reported(kept, Slice(by=("app",), every="month")).shares, "month", "app", "tier", "in_tier")

    assert found == [("2026-03-01", "acme-ng", 20, 20), ("2026-03-01", "acme-ng", 50, 40)]


def test_only_grants_since_there_were_cuts_are_held_to_them(kept: Kept) -> None:
    later = CutTable(version="v1", made_us=1_800_000_000_000_000, sets=())

    assert reported(kept, history=[later]).shares.rows == ()


def test_drift_is_told_beside_what_chance_alone_does(kept: Kept) -> None:
    seen = Watched(
        scope=Scope(country="NG"),
        basis="score",
        n=500,
        realised={20: 0.25},
        off=0.25,
        sigmas=3.0,
        psi=0.3,
        psi_limit=0.1,
    )
    (row,) = reported(kept, watched=[seen]).drift.records()

    assert (row["psi"], row["noise_floor"], row["remark"]) == (0.3, 0.1, "moved")


def test_every_cut_stands_in_the_history_once(kept: Kept) -> None:
    first = CutSet(cuts=CUTS, reason="first", made_us=1_773_000_000_000_000, n=300)
    tables = [
        CutTable(version="v1", made_us=1_773_000_000_000_000, sets=(first,)),
        CutTable(version="v2", made_us=1_773_100_000_000_000, sets=(first,)),
    ]
    found = rows(
        reported(kept, history=tables, in_force="v2").cuts, "version", "tier", "cut", "reason", "grants"
    )

    assert found == [("v1", 20, 81.0, "first", 300), ("v1", 50, 61.0, "first", 300)]


def test_the_picture_sets_each_tier_beside_its_target(kept: Kept) -> None:
    shares, lost = charts_of(reported(kept))

    assert "best 50 %" in svg(shares)
    assert "all grants" in svg(lost)
