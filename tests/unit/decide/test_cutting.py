"""Cuts in the log: made of the very users whom tiers are for, frozen, and in force from their place on."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.acme import DAY, HOUR, again, event, login, source, us

from lendsignal.decide import Decider
from lendsignal.decide.cuts import look
from lendsignal.decide.cutting import Cutter, put_in_force
from lendsignal.decide.rehearsal import Rehearsal
from lendsignal.derive import Cut, CutSet, CutTable, Tiers, TierSettings
from lendsignal.errors import DataError
from lendsignal.log import Log, open_log
from lendsignal.model import Event
from lendsignal.plan import People, Planned, Policy, PolicySource, compile_policy, with_cuts
from lendsignal.report.grants import grants_of

ROLLING = Tiers(rolling=("score",), shares=(20, 50))
SETTINGS = TierSettings(basis=("score",), shares=(20, 50), scope=(), at_least=50)
SOURCE = source(tiers=ROLLING)


class Clock:
    """A clock that the test sets, in minutes after T0."""

    replay = False

    def __init__(self, minutes: float = 0.0) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


class Service:
    """A decider over a log in a folder."""

    def __init__(self, folder: Path, wanted: PolicySource = SOURCE) -> None:
        self.clock = Clock()
        self.log: Log = open_log(folder / "log.sqlite")
        self.decider = Decider(self.log, wanted, self.clock, lambda: None)

    def tell(self, *events: Event) -> None:
        self.log.append(events)
        while self.decider.turn():
            pass

    def tiers(self) -> dict[str, list[str]]:
        """The tiers by event, and the version of the cuts beside them."""
        found: dict[str, list[str]] = {}
        for _, record in self.log.records(0, 100_000):
            if isinstance(record, Planned) and record.conversion.name.startswith("credit_top"):
                one = record.conversion
                found.setdefault(one.event_id, []).append(f"{one.name} {one.tier_version}")
        return found


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path)
    yield one
    one.log.close()


def grant(user: int, score: float, minutes: float = 0.0, **fields: Any) -> list[Event]:
    """A user who logs in and is granted a first credit."""
    name = f"u{user}"
    return [
        again(login(minutes - 1, "a"), user_id=name, event_id=f"in-{user}-{minutes}"),
        event(
            "credit_granted",
            minutes,
            user_id=name,
            grant_id=f"G{user}-{minutes}",
            **{"event_id": f"g{user}", "score": score, "loan_number": 1, **fields},
        ),
    ]


def table(version: str, cut: float, made: float = 0) -> CutTable:
    cuts = (Cut(share=20, cut=cut), Cut(share=50, cut=cut - 100))
    return CutTable(
        version=version,
        made_us=us(made),
        sets=(CutSet(cuts=cuts, reason="asked", made_us=us(made), n=100),),
    )


def test_cuts_apply_from_their_place_and_never_before_it(service: Service) -> None:
    """Also in one batch, and for a grant that happened before the cut was made but came in after it."""
    service.log.append([*grant(1, 700), *grant(2, 600)])
    put_in_force(service.log, table("c1", 650))
    service.log.append([*grant(3, 700), *grant(4, 600, minutes=-DAY)])
    put_in_force(service.log, table("c2", 750))
    service.tell(*grant(5, 700))

    assert service.tiers() == {
        "g3": ["credit_top50 c1", "credit_top20 c1"],
        "g4": ["credit_top50 c1"],
        "g5": ["credit_top50 c2"],
    }


def test_cuts_stay_in_force_over_a_restart_and_another_policy(tmp_path: Path, service: Service) -> None:
    put_in_force(service.log, table("c1", 650))
    service.tell(*grant(1, 700))
    assert service.log.cuts() == "c1"

    other = Service(tmp_path, source(tiers=ROLLING, default_dpd=30))
    other.tell(*grant(2, 700))

    assert other.tiers()["g2"] == ["credit_top50 c1", "credit_top20 c1"]
    other.log.close()


def test_a_replay_of_the_log_cuts_the_same(tmp_path: Path, service: Service) -> None:
    """Decided event by event, and all at once by a decider that begins at the beginning."""
    rng = np.random.default_rng(3)
    story = [grant(n, float(score), minutes=n) for n, score in enumerate(rng.normal(600, 60, 60))]
    for n, some in enumerate(story):
        if n % 15 == 7:
            put_in_force(service.log, table(f"c{n}", 550 + n, made=n))
        service.tell(*some)
    (folder := tmp_path / "again").mkdir()
    log = open_log(folder / "log.sqlite")
    for one in service.log.cut_tables():
        log.keep_cuts(one, [])
    for fact in service.log.scan():
        if fact.event.type == "lendsignal.policy_changed":
            version = str(fact.event.properties["version"])
            log.keep_policy(version, SOURCE)
        log.append([fact.event])
    log.close()

    replayed = Service(folder)
    replayed.tell()

    assert replayed.tiers() == service.tiers()
    assert len({line for lines in service.tiers().values() for line in lines}) > 6
    replayed.log.close()


def test_a_rehearsal_of_the_log_cuts_as_the_log_did(service: Service) -> None:
    for number, cut in enumerate((650, 750, 550)):
        service.tell(*grant(number, 700, minutes=number))
        put_in_force(service.log, table(f"c{number}", cut, made=number))
    service.tell(*grant(9, 700, minutes=9))

    def cut_by(version: str) -> Policy:
        return compile_policy(with_cuts(SOURCE, service.log.cut_table(version)))

    rehearsal = Rehearsal(compile_policy(SOURCE), with_cuts=cut_by)
    again_: dict[str, list[str]] = {}
    for fact in service.log.scan():
        for _, record in rehearsal.tell(fact):
            if isinstance(record, Planned) and record.conversion.name.startswith("credit_top"):
                one = record.conversion
                again_.setdefault(one.event_id, []).append(f"{one.name} {one.tier_version}")

    assert again_ == service.tiers()
    assert set(again_) == {"g1", "g2", "g9"}


def test_a_given_table_of_cuts_is_not_touched_by_own_ones(tmp_path: Path) -> None:
    given = Tiers(cuts=(Cut(share=20, cut=500),), version="csv")
    one = Service(tmp_path, source(tiers=given))
    put_in_force(one.log, table("c1", 650))

    one.tell(*grant(1, 600))

    assert one.tiers() == {"g1": ["credit_top20 csv"]}
    one.log.close()


def test_cuts_that_the_log_does_not_keep_stop_the_decider(service: Service) -> None:
    with pytest.raises(DataError, match="lost"):
        service.tell(event("lendsignal.tiers_cut", 0, properties={"version": "lost"}))


def test_every_table_that_ever_was_is_kept_oldest_first(service: Service) -> None:
    for number, made in (("c2", 2), ("c1", 1), ("c3", 3)):
        put_in_force(service.log, table(number, 600, made=made))

    assert [one.version for one in service.log.cut_tables()] == ["c1", "c2", "c3"]


def test_cuts_are_made_of_first_grants_of_customers_and_of_nobody_else(tmp_path: Path) -> None:
    service = Service(tmp_path, msgspec.structs.replace(SOURCE, people=People(test=frozenset({"acme:u5"}))))
    service.tell(
        *grant(1, 601),
        *grant(1, 602, minutes=HOUR, loan_number=2, event_id="g1b"),  # not the first
        *grant(2, 603, loan_number=2),  # not the first
        *grant(3, 604, loan_number=None),  # perhaps the first
        *grant(4, 605, test=True),
        *grant(5, 606),  # staff by list
        event("applied", 0, user_id="u6", application_id="A6"),  # not granted
        *grant(7, 607, minutes=-40 * DAY),  # too long ago
        *grant(8, 608, product="payday", score_version="v2"),
        event("registered", -9, user_id="u9"),
        *grant(9, 609, loan_number=None),  # seen from registration on
        # never logged in, so far
        event("credit_granted", 0, user_id="u10", grant_id="G10", event_id="g10", score=610.0, loan_number=1),
    )

    found = grants_of(service.log, SOURCE.derive, frozenset({"acme:u5"}), us(-28 * DAY))["score"]

    assert sorted(found.measure) == [601, 608, 609]
    (second,) = (one for one in found.scopes if one.score_version == "v2")
    assert (second.brand, second.app, second.country, second.product) == ("acme", "acme-ng", "NG", "payday")
    service.log.close()


def test_a_look_finds_cuts_and_they_hold_the_share(service: Service) -> None:
    scores = np.random.default_rng(1).normal(600, 60, 400)
    service.tell(*(one for n, score in enumerate(scores[:200]) for one in grant(n, float(score))))

    found = look(service.log, SOURCE, SETTINGS, us(DAY)).found
    assert found.table is not None
    put_in_force(service.log, found.table)
    service.tell(
        *(one for n, score in enumerate(scores[200:], 200) for one in grant(n, float(score), DAY + 1))
    )

    tiers = service.tiers()
    assert len(tiers) == pytest.approx(100, abs=28)  # four deviations of 200 at one half, and the cut's own
    assert sum(len(one) == 2 for one in tiers.values()) == pytest.approx(40, abs=23)
    assert look(service.log, SOURCE, SETTINGS, us(2 * DAY)).found.table is None


def test_the_service_itself_makes_cuts_when_they_are_due(tmp_path: Path, service: Service) -> None:
    service.tell(*(one for n in range(60) for one in grant(n, 600.0 + n)))

    def cutter(settings: TierSettings) -> Cutter:
        return Cutter(lambda: open_log(tmp_path / "log.sqlite"), SOURCE, settings, Clock(DAY), 0.01)

    with cutter(msgspec.structs.replace(SETTINGS, recut="by_hand")):
        pass
    assert service.log.cut_tables() == []
    cutter(SETTINGS).turn()
    cutter(SETTINGS).turn()
    service.tell()

    assert [one.version for one in service.log.cut_tables()] == [service.log.cuts()]


def test_what_is_due_is_put_where_it_is_said_and_the_log_that_is_looked_at_stays(
    tmp_path: Path, service: Service
) -> None:
    """As at a desk, whose log is a copy: the cuts go to the store."""
    service.tell(*(one for n in range(60) for one in grant(n, 600.0 + n)))
    put: list[CutTable] = []
    log_of = partial(open_log, tmp_path / "log.sqlite", read_only=True)
    Cutter(log_of, SOURCE, SETTINGS, Clock(DAY), put=put.append).turn()

    assert len(put) == 1
    assert service.log.cut_tables() == []
