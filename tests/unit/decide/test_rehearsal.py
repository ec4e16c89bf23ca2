"""Rehearsals: the past decided anew in memory, and how two of them differ."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.acme import APPS, DAY, SEND, TARGETS, event, loan, login, source, target, us

from lendsignal.decide import Decider
from lendsignal.decide.difference import Change, Picture, Rule, differences, volumes
from lendsignal.decide.rehearsal import Rehearsal
from lendsignal.log import Fact, open_log
from lendsignal.model import Event
from lendsignal.plan import Planned, PolicySource, Record, Withdrawn, compile_policy

STORY = [
    event("registered", -9),
    login(-5, "a"),
    loan(0, "L1"),
    loan(3, "L1", event_id="once-more"),
    login(6, "b"),
    loan(7, "L2"),
    event("disbursement_reversed", 8, loan_id="L2"),
    login(-1, "c", arrives=9),
    event("disbursed", 10, user_id="u2", loan_id="L9", amount=Decimal(100), currency="NGN"),
    loan(3 * DAY, "L3"),
]
"""A repeat, a new phone, a reversal, a late login, and a user who never logs in."""


class Hour:
    """A clock that stands still long after the story."""

    replay = False

    def now_us(self) -> int:
        return us(30 * DAY)


def facts(events: Sequence[Event]) -> list[Fact]:
    return [Fact(seq, one) for seq, one in enumerate(events, start=2)]


def told(record: Record) -> Any:
    """What a record says, whatever number its event had."""
    if isinstance(record, Withdrawn):
        return (record.reason, record.skip, record.at_us)
    return (type(record).__name__, record.conversion.id, record.binding, record.entries)


def test_a_rehearsal_decides_what_the_log_decided(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log.sqlite")
    decider = Decider(log, source(), Hour(), lambda: None)
    while decider.turn():
        pass
    log.append(STORY)
    while decider.turn():
        pass
    written = [record for _, record in log.records(0, 1_000)]
    rehearsal = Rehearsal(compile_policy(source()))
    rehearsed = [record for fact in log.read(0, 1_000) for _, record in rehearsal.tell(fact)]
    rehearsed += [record for _, record in rehearsal.wait(us(30 * DAY))]
    log.close()

    assert len(written) > 10
    # In the log the pen's timer fires when its clock says so, and here in its place among the events.
    assert sorted(map(repr, map(told, rehearsed))) == sorted(map(repr, map(told, written)))


def picture(
    policy: PolicySource, *, rule: Rule = "last_login", since: float = -DAY, live: bool = False, **parts: Any
) -> Picture:
    """What the story would have sent under that policy."""
    events = parts.get("events", STORY)
    rehearsal, found = (
        Rehearsal(compile_policy(policy), live=live),
        Picture(APPS, since_us=us(since), rule=rule),
    )
    for fact in facts(events):
        for number, record in rehearsal.tell(fact):
            found.add(number, record)
    return found


def counted(before: Picture, after: Picture) -> dict[tuple[str, Change], int]:
    found: dict[tuple[str, Change], int] = {}
    for line in differences(before, after):
        found[line.conversion, line.change] = found.get((line.conversion, line.change), 0) + line.deliveries
    return found


def test_the_same_rules_change_nothing() -> None:
    assert differences(picture(source()), picture(source())) == []


def test_a_conversion_that_a_route_takes_in_is_gained_and_the_other_way_round_lost() -> None:
    whole = picture(source())
    without = picture(source(send={name: word for name, word in SEND.items() if name != "repeat_loan"}))

    # L2 was reversed a minute after it was paid out, which takes back what had not left.
    assert counted(without, whole) == {("repeat_loan", Change.GAINED): 2}
    assert counted(whole, without) == {("repeat_loan", Change.LOST): 2}


def test_another_name_and_another_value_are_told_apart() -> None:
    before = picture(source(value={"disbursement": "principal"}))
    renamed = picture(source(send={**SEND, "disbursement": "loan"}, value={"disbursement": "principal"}))
    revalued = picture(source(value={"disbursement": "fee"}))

    assert counted(before, renamed) == {("disbursement", Change.RENAMED): 3}
    assert counted(before, revalued) == {("disbursement", Change.REVALUED): 3}
    lines = differences(before, revalued)
    assert sum(line.value_before["NGN"] for line in lines) == 75_000
    assert sum(line.value_after["NGN"] for line in lines) == 4_500


def test_under_the_first_installation_what_came_after_the_new_phone_is_moved() -> None:
    found = counted(picture(source()), picture(source(), rule="first_install"))

    # Phone c was seen at -1, when L1 was still to come: only its arrival is late. L1 belongs to it, L2 and
    # L3 to b; the first installation is a.
    assert found == {("disbursement", Change.MOVED): 2, ("repeat_loan", Change.MOVED): 2}


def test_only_the_days_that_are_looked_at_count() -> None:
    found = picture(source(), since=DAY)

    assert {one.conversion for one in found.would.values()} == {"disbursement", "repeat_loan"}
    assert len(found.would) == 2


def test_a_day_is_the_apps_own() -> None:
    late = [login(-5, "a"), loan(14.5 * 60, "L1")]  # 23:30 UTC of the 10th is half past midnight in Lagos
    found = picture(source(send={"disbursement": "x"}), events=late)

    assert [one.day for one in found.would.values()] == ["2026-03-11"]


def test_imported_past_counts_where_it_is_taken_as_live() -> None:
    past = [msgspec.structs.replace(one, history=True) for one in STORY]

    assert not picture(source(), events=past).would
    assert picture(source(), events=past, live=True).would == picture(source()).would


def test_a_week_is_told_beside_what_the_platform_learns_from() -> None:
    meta = {one.name: one for one in (target("meta-ng", "acme-ng"), target("appsflyer-ios", "acme-ios"))}
    before, after = picture(source()), picture(source(targets=meta))
    found = {(one.conversion, one.destination): one for one in volumes(before, after, days=14)}

    assert found["disbursement", "appsflyer-ng"].before == 1.5
    assert found["disbursement", "appsflyer-ng"].after == 0
    assert found["disbursement", "meta-ng"].after == 1.5
    assert found["disbursement", "meta-ng"].learning == 50
    assert found["disbursement", "appsflyer-ng"].learning is None


def test_a_withdrawal_after_the_delivery_left_changes_nothing() -> None:
    soon = [login(-5, "a"), loan(0, "L1"), event("disbursement_reversed", 0, loan_id="L1", event_id="r")]
    late = [login(-5, "a"), loan(0, "L1"), event("disbursement_reversed", 60, loan_id="L1", event_id="r")]

    assert not picture(source(send={"disbursement": "x"}), events=soon).would
    assert len(picture(source(send={"disbursement": "x"}), events=late).would) == 1


def test_every_target_of_the_story_is_known() -> None:
    """The planned records of the story, so that the counts above can be followed."""
    rehearsal = Rehearsal(compile_policy(source()))
    names = [
        record.conversion.name
        for fact in facts(STORY)
        for _, record in rehearsal.tell(fact)
        if isinstance(record, Planned)
    ]
    assert names.count("disbursement") == 4
    assert set(TARGETS) == {"appsflyer-ng", "appsflyer-ios"}


@pytest.mark.parametrize("rule", ["last_login", "first_install"])
def test_nobody_without_a_device_is_in_the_picture(rule: Rule) -> None:
    assert "u2" not in {one.install for one in picture(source(), rule=rule).would.values()}
