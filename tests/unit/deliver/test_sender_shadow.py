"""Routes in shadow at the sender: counted and never sent; and a late login that leads from one to another."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.acme import IOS, loan, login, source, target
from tests.desk import TOKEN, Desk, acme, borrower, verdicts
from tests.scripted import Platform, platform

from lendsignal.decide import Decider
from lendsignal.plan import RouteSettings
from lendsignal.resolve import ResolveSettings

BOTH = acme("acme-ng"), acme("acme-ph", app=IOS)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def desk_of(path: Path, played: Platform, *shadows: str, minutes: float = 0) -> Desk:
    """A sender whose routes to these destinations are in shadow, and whose others are live."""
    desk = Desk(path, *BOTH, sandbox=played.url)
    targets = {one.name: target(one.name, one.common.app, kind="acme") for one in BOTH}
    routes = [
        RouteSettings(to=name, send={"disbursement": "ev_ln"}, mode="shadow" if name in shadows else "live")
        for name in targets
    ]
    plain = source(targets=targets, resolve=ResolveSettings(settle=timedelta(minutes=minutes)))
    desk.decider = Decider(desk.log, replace(plain, routes=tuple(routes)), desk.clock, lambda: None)
    return desk.decided()


def devices(played: Platform) -> Sequence[str]:
    return [came.body.decode().split('"device":"')[1].split('"')[0] for came in played.came]


def test_what_a_route_only_watches_is_counted_and_no_request_leaves(tmp_path: Path) -> None:
    with platform() as played, desk_of(tmp_path, played, "acme-ng") as desk:
        desk.tell(*borrower()).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped shadow": 1}
        assert played.connections == 0
        assert desk.balanced()


def test_a_late_login_in_an_app_whose_route_is_live_makes_a_watched_conversion_ours_to_send(
    tmp_path: Path,
) -> None:
    with platform(verdicts("accepted")) as played, desk_of(tmp_path, played, "acme-ng") as desk:
        desk.tell(login(-9, "old"), loan(0)).turns()
        desk.tell(login(-1, "new", arrives=0.02, app="acme-ios")).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally("acme-ng") == {"planned": 1, "skipped": 1, "skipped shadow": 1}
        assert desk.tally("acme-ph") == {"planned": 1, "accepted": 1, "accepted confirmed": 1}
        assert devices(played) == ["af-new"]
        assert desk.balanced()


def test_a_late_login_in_an_app_whose_route_only_watches_takes_a_waiting_delivery_back(
    tmp_path: Path,
) -> None:
    with platform() as played, desk_of(tmp_path, played, "acme-ph", minutes=10) as desk:
        desk.tell(login(-9, "old"), loan(0)).turns()
        desk.tell(login(-1, "new", arrives=0.02, app="acme-ios")).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally("acme-ng") == {"planned": 1, "cancelled": 1, "cancelled rebound": 1}
        assert desk.tally("acme-ph") == {"planned": 1, "skipped": 1, "skipped shadow": 1}
        assert played.connections == 0
        assert desk.balanced()


def test_a_loan_that_is_undone_leaves_what_was_only_watched_as_it_is(tmp_path: Path) -> None:
    with platform() as played, desk_of(tmp_path, played, "acme-ng") as desk:
        desk.tell(*borrower()).turns()
        desk.tell(
            replace(loan(1), type="loan_cancelled", loan_id="L-u1", event_id="gone", amount=None, fee=None)
        ).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped shadow": 1}
        assert desk.balanced()
