"""Requests and answers of dead deliveries go when they are kept no longer; the counts stay."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.acme import DAY
from tests.desk import TOKEN, Desk, acme, borrower, verdicts
from tests.scripted import platform


@pytest.mark.parametrize("kept", [None, timedelta(days=30)])
def test_a_request_is_kept_as_long_as_it_is_said_and_for_ever_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: timedelta | None
) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    with (
        platform(verdicts("rejected:bad")) as played,
        Desk(tmp_path, acme(), sandbox=played.url, dead_for=kept) as desk,
    ):
        desk.tell(*borrower("u1")).quiet().clock.ahead(29 * DAY)
        desk.turns()
        assert len(desk.store.all_dead()) == 1
        desk.clock.ahead(2 * DAY)
        desk.quiet()

        assert len(desk.store.all_dead()) == (1 if kept is None else 0)
        assert desk.tally()["dead bad"] == 1
        assert desk.balanced()
