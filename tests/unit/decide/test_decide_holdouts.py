"""Holdouts in the running decider: kept in the log with the policy, and the same after a restart."""

from pathlib import Path

import msgspec
from msgspec.structs import replace
from tests.acme import loan, login, source, us
from tests.unit.report.kept import Kept

from lendsignal.model import SkipReason
from lendsignal.plan import Holdout, Live, PolicySource, is_held_out
from lendsignal.report import delivery

HALF = Holdout(name="half", salt="s", share=0.5, conversions=("disbursement",), live=Live(us(0), us(100_000)))
WITH = replace(source(), holdouts=(HALF,))
USERS = [f"u{number}" for number in range(60)]


def skips(kept: Kept) -> dict[str, SkipReason | None]:
    return {
        f"acme:{record.conversion.user_id}": entry.skip
        for _, _, record, entry in kept.planned()
        if record.conversion.name == "disbursement"
    }


def lived(kept: Kept, users: list[str]) -> None:
    for user in users:
        kept.tell(
            login(0, user, user_id=user, event_id=f"login {user}"),
            loan(5, f"L {user}", user_id=user, event_id=f"loan {user}"),
        )


def test_a_policy_with_holdouts_comes_back_from_the_log_as_it_was() -> None:
    kept = msgspec.json.decode(msgspec.json.encode(WITH), type=PolicySource)

    assert kept.holdouts == (HALF,)


def test_after_a_restart_the_same_users_are_held_out(tmp_path: Path) -> None:
    first = Kept(tmp_path, WITH)
    lived(first, USERS[:30])
    first.log.close()
    second = Kept(tmp_path, WITH)
    lived(second, USERS[30:])
    found = skips(second)
    second.log.close()

    assert len(found) == 60
    assert found == {user: SkipReason.HOLDOUT if is_held_out("s", 0.5, user) else None for user in found}
    assert len(set(found.values())) == 2


def test_what_is_held_out_is_counted_as_skipped_for_that(tmp_path: Path) -> None:
    kept = Kept(tmp_path, WITH)
    lived(kept, USERS)
    held = sum(is_held_out("s", 0.5, f"acme:{user}") for user in USERS)
    kept.send(lambda name, planned, entry: None)
    with kept.tables() as tables:
        report = delivery(tables).to_text()
    kept.log.close()

    assert held
    assert "holdout" in report
    assert f"{held}" in report
