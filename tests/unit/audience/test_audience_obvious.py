"""Each ready list on a made-up lender, against a slow loop over every event that says the same."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import duckdb
import pytest
from tests.unit.report.kept import Kept
from tests.unit.report.world import filled, policy, world

from lendsignal.audience.build import Builder, Rules
from lendsignal.audience.customers import Asked
from lendsignal.audience.definitions import READY, definition_of
from lendsignal.audience.settings import AudienceSettings
from lendsignal.model import Event, id_of, is_touch, to_us
from lendsignal.model.device import IdKind

DAY = timedelta(days=1)
END = datetime(2026, 6, 20, 12, tzinfo=UTC)
"""When the made-up lender's history ends."""

KINDS = [kind for kind in READY if kind != "top_tier"]


class At:
    """A clock that stands."""

    replay = True

    def __init__(self, now: datetime) -> None:
        self.now = now

    def now_us(self) -> int:
        return to_us(self.now)


class Loan:
    def __init__(self) -> None:
        self.disbursed: datetime | None = None
        self.undone = False
        self.closed: datetime | None = None
        self.dpds: list[tuple[datetime, int]] = []
        self.extended: datetime | None = None
        self.lost = False


class User:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.test = False

    def last(self, kind: str) -> datetime | None:
        return max((one.occurred_at for one in self.events if one.type == kind), default=None)

    def loans(self, default_dpd: int) -> list[Loan]:
        found: dict[str, Loan] = defaultdict(Loan)
        undone = {
            (one.type, one.loan_id if one.type != "repayment_reversed" else one.payment_id): one.occurred_at
            for one in self.events
            if one.type in ("disbursement_reversed", "loan_cancelled", "repayment_reversed")
        }
        for one in self.events:
            if one.loan_id is None:
                continue
            loan = found[one.loan_id]
            if one.type == "disbursed":
                ends = [
                    undone.get((kind, one.loan_id)) for kind in ("disbursement_reversed", "loan_cancelled")
                ]
                if any(end is not None and end >= one.occurred_at for end in ends):
                    loan.undone = True
                else:
                    loan.disbursed = one.occurred_at
            elif one.type == "repaid":
                end = undone.get(("repayment_reversed", one.payment_id))
                closes = one.closes_loan if one.closes_loan is not None else one.outstanding == 0
                if closes and not (end is not None and end >= one.occurred_at):
                    loan.closed = max(loan.closed or one.occurred_at, one.occurred_at)
            elif one.type == "overdue":
                loan.dpds.append((one.occurred_at, 1 if one.dpd is None else one.dpd))
                loan.lost |= (one.dpd or 0) >= default_dpd
            elif one.type == "defaulted":
                loan.lost = True
            elif one.type == "extended":
                loan.extended = max(loan.extended or one.occurred_at, one.occurred_at)
        return [loan for loan in found.values() if loan.disbursed is not None]


def in_arrears(loan: Loan) -> bool:
    if loan.closed is not None or loan.lost or not loan.dpds:
        return False
    at, dpd = max(loan.dpds, key=lambda one: one[0])
    return dpd > 0 and (loan.extended is None or at > loan.extended)


def by_loop(user: User, kind: str, default_dpd: int, now: datetime) -> bool:
    loans = user.loans(default_dpd)
    closed = [loan.closed for loan in loans if loan.closed is not None]
    worst = max((dpd for loan in loans for _, dpd in loan.dpds), default=0)
    lost = any(loan.lost for loan in loans)
    good = bool(closed) and not lost and worst <= 3 and not any(map(in_arrears, loans))
    lent = max((loan.disbursed for loan in loans if loan.disbursed is not None), default=None)
    applied, granted, denied = user.last("applied"), user.last("credit_granted"), user.last("credit_denied")
    seen = [one.occurred_at for one in user.events if is_touch(one) or one.type == "applied"]

    def before(one: datetime | None, other: datetime) -> bool:
        return one is None or one < other

    def upto(one: datetime | None, other: datetime) -> bool:
        return one is None or one <= other

    def waits(since: datetime | None) -> bool:
        recent = since is not None and now - 30 * DAY <= since <= now - timedelta(hours=1)
        return since is not None and recent and before(lent, since) and before(denied, since)

    owes = any(loan.closed is None for loan in loans)
    answers: Mapping[str, Callable[[], bool]] = {
        "good_repayers": lambda: good,
        "repeat_eligible": lambda: (
            good and not owes and upto(applied, max(closed)) and upto(denied, max(closed))
        ),
        "lapsed_good": lambda: good and not owes and max([max(closed), *seen]) <= now - 60 * DAY,
        "applied_not_disbursed": lambda: waits(applied),
        "granted_not_drawn": lambda: waits(granted),
        "existing_customers": lambda: bool(loans),
        "open_loan": lambda: owes,
        "in_arrears": lambda: any(map(in_arrears, loans)),
        "written_off": lambda: lost,
    }
    return answers[kind]()


def taken(lender: Kept) -> dict[str, User]:
    """Every user with the facts that count: of each the highest revision."""
    users: dict[str, User] = defaultdict(User)
    latest: dict[tuple[str, ...], Event] = {}
    for fact, verdict in lender.log.decided(0, lender.log.position()):
        one = fact.event
        if verdict != "taken" or one.type.startswith("lendsignal."):
            continue
        user = f"{one.brand}:{one.user_id}"
        users[user].test |= one.test
        keys = {
            "disbursed": one.loan_id,
            "repaid": one.payment_id,
            "applied": one.application_id,
            "credit_granted": one.grant_id,
            "credit_denied": one.application_id,
            "defaulted": one.loan_id,
            "recovered": one.payment_id,
        }
        key = (user, one.type, keys[one.type] or "") if one.type in keys else (user, one.type, one.event_id)
        before = latest.get(key)
        if before is None or one.revision >= before.revision:
            latest[key] = one
    for (user, *_), one in latest.items():
        users[user].events.append(one)
    return users


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return filled(tmp_path_factory.mktemp("listed"), world(users=400, days=110))


@pytest.mark.parametrize("days_later", [0, 70])
def test_every_ready_list_is_what_a_loop_over_all_events_finds(lender: Kept, days_later: int) -> None:
    now = END + days_later * DAY
    rules = Rules(
        lists={kind: definition_of(kind, AudienceSettings(kind=kind)) for kind in KINDS},
        asked=Asked(default_app={"acme": "acme-android"}),
    )
    builder = Builder(lender.folder, rules, At(now))
    built = {one.audience: one for one in builder.whole()}
    users = {name: one for name, one in taken(lender).items() if not one.test}
    states = lender.log.states(users)
    root = lender.folder.audience_files
    sizes = {}
    with duckdb.connect(":memory:") as db:
        for kind in KINDS:
            found = db.execute(
                f"select hex(who) from read_parquet('{root / built[kind].file}')"
                f" join read_parquet('{root}/ids/*.parquet') using (key)"
            ).fetchall()
            expected = {
                name
                for name, one in users.items()
                if by_loop(one, kind, policy().derive.default_dpd, now)
                and (states[name].consent is None or states[name].consent.ad_user_data is not False)  # type: ignore[union-attr]
                and not states[name].test
            }
            listed = {who.lower() for (who,) in found}
            known = {digest(name): name for name in users}
            unreachable = {
                name for name in expected if states[name].contact is None and not has_ids(users[name])
            }
            assert {known[one] for one in listed} == expected - unreachable, kind
            sizes[kind] = len(listed)
    assert [kind for kind in KINDS if not sizes[kind]] == EMPTY[days_later]
    builder.close()


EMPTY = {0: [], 70: ["applied_not_disbursed", "granted_not_drawn"]}
"""Nobody asks for money after the end."""


def digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def has_ids(user: User) -> bool:
    """Whether the last login shows an id that a platform may be told."""
    touches = [one for one in user.events if is_touch(one) and one.device is not None]
    shown = [
        one for one in touches if one.device is not None and any(id_of(one.device, kind) for kind in IdKind)
    ]
    last = max(shown, key=lambda one: (one.occurred_at, one.event_id), default=None)
    if last is None or last.device is None:
        return False
    kinds = (IdKind.GAID, IdKind.IDFA, IdKind.OAID, IdKind.APPSFLYER_ID)
    return any(id_of(last.device, kind) for kind in kinds)
