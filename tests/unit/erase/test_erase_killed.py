"""However often an erasure is broken off, whoever goes on with it comes to the same end."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.forgotten import ENVIRONMENT, OTHER, USER, Lender
from tests.scripted import platform, says

import lendsignal.log.deliveries
import lendsignal.log.erasing
import lendsignal.log.erasures
import lendsignal.log.feeds
import lendsignal.log.log
from lendsignal.erase.asking import ask, subject_of
from lendsignal.erase.job import carried_on
from lendsignal.erase.receipt import receipt_of
from lendsignal.log import sqlite


class Killed(BaseException):
    """The process ends here: nothing catches it."""


class Killer:
    """Ends the process at the n-th commit of a call: just before it, or just after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = float("inf")
        self.after = False
        for module in (
            lendsignal.log.deliveries,
            lendsignal.log.erasing,
            lendsignal.log.erasures,
            lendsignal.log.feeds,
            lendsignal.log.log,
        ):
            monkeypatch.setattr(module, "transaction", self.transaction)

    @contextmanager
    def transaction(self, db: apsw.Connection) -> Iterator[None]:
        outermost = not db.in_transaction
        with sqlite.transaction(db):
            yield
            if outermost and not self.after:
                self._count()
        if outermost and self.after:
            self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.left = float("inf")
            raise Killed


@pytest.mark.parametrize("after", [False, True], ids=["before each commit", "after each commit"])
def test_an_erasure_that_is_killed_at_every_commit_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with platform(says(201, b"{}")) as played:
        lender = Lender(tmp_path, played.url)
        lender.tell(*lender.events(USER), *lender.events(OTHER)).refused(USER).attributed(USER).attributed(
            OTHER
        )
        lender.sent().archived()
        others = len(lender.left(OTHER))
        killer = Killer(monkeypatch)
        killer.after = after
        job: Any = None
        deaths = 0
        for n in itertools.count():
            # Each life gets one commit further than the one before it.
            killer.left = n
            try:
                job = ask(lender.config, subject_of(lender.config, f"acme:{USER}"), "tester", lender.clock)
                carried_on(lender.config, lender.clock)
                break
            except Killed:
                deaths += 1
        killer.left = float("inf")

        found = receipt_of(lender.config, job.receipt)
        assert deaths >= 6
        assert lender.left(USER) == []
        assert len(lender.left(OTHER)) == others
        assert found.ended is not None
        assert {one.state for one in found.places} <= {"done", "not_there"}
        assert {one.destination: one.state for one in found.platforms} == {
            "adjust-ng": "confirmed",
            "appsflyer-ng": "asked",
            "warehouse": "not_possible",
        }
