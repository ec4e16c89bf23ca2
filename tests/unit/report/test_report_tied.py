"""What is counted by user and installation beforehand says the same as the events, however it is sliced."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acme import DAY, event, loan, login, us
from tests.unit.report.kept import Fate, Kept

from lendsignal.archive.keeper import brought_up, erase
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.log import DataFolder
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, AttributionKind
from lendsignal.report import Tables, bindings, funnel, load
from lendsignal.report.delay import delay
from lendsignal.report.earnings import Purse
from lendsignal.report.preparing import prepare
from lendsignal.report.slices import Slice

USERS = 24
SOURCES = ("Facebook Ads", "Google Ads", "organic")


def life(user: int, chance: random.Random) -> Iterator[Event]:
    """A user's events: loans in one currency or two, on one phone or several, some of it late or lost."""
    name: dict[str, Any] = {"user_id": f"u{user}", "test": user == 7}
    at = float(chance.randrange(30 * DAY))
    platforms = ("acme-ng", "acme-ios")
    yield event("registered", at, event_id=f"r{user}", app=chance.choice(platforms), **name)
    for n in range(chance.randrange(1, 5)):
        own = f"{user}-{n}"
        at += chance.randrange(1, 10 * DAY)
        if chance.random() < 0.8:
            shown = f"p{user}-{chance.choice((0, 0, n))}"
            late = at + chance.choice((0, 0, 3 * DAY))
            app = chance.choice((*platforms, platforms[0], platforms[0]))
            yield login(at, shown, app=app, event_id=f"t{own}", arrives=late, **name)
        by_day = "day" if chance.random() < 0.1 else "instant"
        asked: dict[str, Any] = {
            "application_id": f"A{own}",
            "product": chance.choice(("payday", "card")),
            **name,
        }
        yield event("applied", at + 5, event_id=f"a{own}", time_precision=by_day, **asked)
        if chance.random() < 0.3:
            yield event("review_started", at + 10, event_id=f"s{own}", **asked)
            yield event("review_ended", at + chance.randrange(11, 2 * DAY), event_id=f"e{own}", **asked)
        yield event(
            "credit_granted", at + 2 * DAY, event_id=f"g{own}", grant_id=f"G{own}", limit=Decimal(9), **asked
        )
        money: dict[str, Any] = {
            "amount": Decimal(chance.randrange(100, 900)) / 4,
            "currency": chance.choice(("NGN", "NGN", "NGN", "PHP")),
        }
        number = chance.choice((None, n + 1))
        yield loan(at + 2 * DAY + 1, f"L{own}", loan_number=number, product=asked["product"], **money, **name)
        for part in range(chance.randrange(4)):
            at += chance.randrange(DAY, 9 * DAY)
            if chance.random() < 0.3:
                yield login(at - 1, f"p{user}-x{n}", event_id=f"x{own}-{part}", **name)
            paid: dict[str, Any] = {"loan_id": f"L{own}", "currency": money["currency"], **name}
            what = chance.choice(
                ("repaid", "repaid", "repaid", "overdue", "defaulted", "extended", "recovered")
            )
            if what == "overdue":
                paid["dpd"] = chance.choice((3, 70))
            else:
                paid |= {"payment_id": f"P{own}-{part}", "amount": Decimal(chance.randrange(9, 99))}
            yield event(what, at, event_id=f"m{own}-{part}", **paid)
        if chance.random() < 0.1:
            yield event("loan_cancelled", at + 1, event_id=f"c{own}", loan_id=f"L{own}", **name)


def comings(chance: random.Random) -> Iterator[Attribution]:
    """Where phones came from: most once, some again by another ad or by two MMPs, some by none."""
    for user in range(USERS):
        for n in (*range(4), "x0", "x1"):
            for kind in chance.sample(list(AttributionKind), chance.choice((0, 1, 1, 1, 2))):
                media_source = chance.choice(SOURCES)
                yield Attribution(
                    feed="mmp",
                    mmp=chance.choice(("appsflyer", "appsflyer", "adjust")),
                    app="acme-ng",
                    id=f"af-p{user}-{n}",
                    kind=kind,
                    at_us=us(chance.randrange(90 * DAY)) * chance.choice((0, 1, 1)),
                    told_us=us(0),
                    ad=Ad(
                        media_source=media_source,
                        channel=media_source.lower(),
                        campaign=f"c{chance.randrange(3)}",
                    ),
                )


def sent(kept: Kept) -> Kept:
    """Everything planned is answered some time after, most of it with a yes."""
    ends = ("accepted", "accepted", "accepted", "dead")
    return kept.send(
        lambda name, planned, entry: Fate(
            ends[name // 64 % 4], "confirmed", planned.at_us / 60e6 - us(0) / 60e6 + name % 977
        )
    )


def lender(path: Path, seed: int) -> tuple[Kept, list[Event]]:
    """Two thirds of a lender's history, archived and prepared without a user who was erased, and the rest."""
    chance = random.Random(seed)
    told = [one for user in range(USERS) for one in life(user, chance)]
    told.sort(key=lambda one: one.received_at)
    until = len(told) * 2 // 3
    kept = Kept(path).tell(*told[:until]).feed(*comings(chance))
    sent(kept)
    brought_up(kept.folder, ArchiveSettings(), us(0))
    assert erase(kept.folder, ArchiveSettings(), [("acme", "u3")]) > 0
    assert prepare(kept.folder, us(0), from_events=1, anew=True)
    return kept, told[until:]


REPORTS: Mapping[str, Callable[[Tables, Slice], object]] = {
    "funnel": funnel,
    "cohort": lambda tables, one: funnel(tables, one, cohort="install", purse=Purse(currency="NGN")),
    "bindings": bindings,
    "delay": lambda tables, one: delay(tables, None, one),
}

ASKED = (
    ("funnel", Slice()),
    ("funnel", Slice(by=("campaign",), binding="first_install")),
    ("funnel", Slice(by=("app",), where=(("loans", "repeat"),), limits=(("channel", "organic"),))),
    ("cohort", Slice(by=("channel", "os"), every="month", since=date(2026, 3, 20))),
    ("bindings", Slice()),
    ("bindings", Slice(by=("media_source",), where=(("app", "acme-ng"),))),
)
SINCE = (
    ("funnel", Slice(by=("campaign",))),
    ("funnel", Slice(by=("country",))),
    ("bindings", Slice()),
    ("delay", Slice()),
)


def assert_same(folder: DataFolder, asked: Iterable[tuple[str, Slice]]) -> None:
    """Reports say the same of what was prepared, with what came in since, as of the events alone."""
    with load(folder, prepared=False) as plain, load(folder) as quick:
        assert quick.is_prepared
        for name, one in asked:
            assert repr(REPORTS[name](quick, one)) == repr(REPORTS[name](plain, one)), (name, one)


def test_reports_count_by_user_and_installation_what_they_count_event_by_event(tmp_path: Path) -> None:
    kept, later = lender(tmp_path / "data", seed=0)
    with load(kept.folder) as tables:
        assert tables.number("select count(*) from journey where apart is not null") > 0
        assert tables.number(
            "select count(*) from (select 1 from origin group by installation having count(*) > 1)"
        )
        assert tables.number("select count(*) from agreed where not is_bound") > 0
    assert_same(kept.folder, ASKED)

    kept.tell(*later)
    assert_same(kept.folder, SINCE)
