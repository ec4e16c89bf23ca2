"""Who is on each ready list, checked against the story of a small lender."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import replace
from tests.acme import DAY, consent_of, event, loan, login, phone
from tests.unit.report.kept import Kept, Still

from lendsignal.audience.build import Builder, Rules
from lendsignal.audience.customers import Asked
from lendsignal.audience.definitions import definition_of
from lendsignal.audience.settings import AudienceSettings
from lendsignal.log import Build
from lendsignal.model import Contact, Event
from lendsignal.plan import Holdout, is_held_out

NOW = 100 * DAY


def of(user: str, *events: Event) -> list[Event]:
    return [replace(one, user_id=user, event_id=f"{user} {one.event_id}") for one in events]


def paid(minutes: float, name: str, amount: int = 26_500, **fields: Any) -> Event:
    return event(
        "repaid",
        minutes,
        loan_id=name,
        payment_id=f"P-{name}-{minutes}",
        amount=Decimal(amount),
        currency="NGN",
        **{"outstanding": Decimal(0), **fields},
    )


def applied(minutes: float, name: str) -> Event:
    return event("applied", minutes, application_id=name)


LIFE = [
    # Paid back two loans in time, 60 days ago: 1,500 and 2,000 more than was paid out.
    *of("good", login(0, "good"), loan(1 * DAY, "g1"), paid(30 * DAY, "g1")),
    *of("good", loan(31 * DAY, "g2"), paid(40 * DAY, "g2", 27_000)),
    # Paid back one loan 20 days late.
    *of("late", login(1, "late"), loan(2 * DAY, "l1"), event("overdue", 50 * DAY, loan_id="l1", dpd=20)),
    *of("late", paid(51 * DAY, "l1")),
    # Never came back with the money.
    *of("lost", login(2, "lost"), loan(3 * DAY, "x1"), event("defaulted", 80 * DAY, loan_id="x1")),
    # Has a loan, and is 5 days past due.
    *of("owes", login(3, "owes"), loan(70 * DAY, "o1"), event("overdue", 99 * DAY, loan_id="o1", dpd=5)),
    # Applied two days ago, and nothing came of it yet.
    *of("asks", login(4, "asks"), applied(98 * DAY, "a1")),
    # Applied two days ago and was turned down.
    *of("denied", login(5, "denied"), applied(98 * DAY, "d1")),
    *of("denied", event("credit_denied", 98 * DAY + 5, application_id="d1")),
    # Was granted credit ten days ago and drew nothing.
    *of("granted", login(6, "granted"), applied(90 * DAY - 10, "n1")),
    *of("granted", event("credit_granted", 90 * DAY, grant_id="G1", limit=Decimal(30_000), currency="NGN")),
    # As good as the first, and still about: paid back 3 days ago, last login yesterday.
    *of("fresh", login(7, "fresh"), loan(60 * DAY, "f1"), paid(97 * DAY, "f1")),
    *of("fresh", login(99 * DAY, "fresh", event_id="again")),
    # Good too, but a test user, one who withdrew consent, and one without any login or contact.
    *of("tester", login(8, "tester", test=True), loan(1 * DAY, "t1", test=True), paid(9 * DAY, "t1")),
    *of("private", login(9, "private"), loan(1 * DAY, "p1"), paid(9 * DAY, "p1")),
    *of("private", consent_of(20 * DAY, False)),
    *of("unseen", loan(1 * DAY, "u1"), paid(9 * DAY, "u1")),
    # The loan was taken back: no customer at all.
    *of("undone", login(10, "undone"), loan(5 * DAY, "b1")),
    *of("undone", event("disbursement_reversed", 6 * DAY, loan_id="b1")),
]


@pytest.fixture
def lender(tmp_path: Path) -> Kept:
    return Kept(tmp_path, now=NOW).tell(*sorted(LIFE, key=lambda one: one.received_at))


def builder(lender: Kept, now: float = NOW, **lists: AudienceSettings) -> Builder:
    return built_by(lender, now, lists)


def built_by(lender: Kept, now: float, lists: Mapping[str, AudienceSettings]) -> Builder:
    definitions = {name: definition_of(name, settings) for name, settings in lists.items()}
    asked = Asked(default_app={"acme": "acme-ng"})
    return Builder(lender.folder, Rules(lists=definitions, asked=asked), Still(now))


def members(lender: Kept, build: Build) -> list[str]:
    """The users of a build, by their phones: each has the name of its user."""
    root = lender.folder.audience_files
    with duckdb.connect(":memory:") as db:
        found = db.execute(
            f"select gaid from read_parquet('{root / build.file}') join read_parquet('{root}/ids/*.parquet')"
            " using (key) order by 1"
        ).fetchall()
    return [gaid.removeprefix("gaid-") for (gaid,) in found]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("good_repayers", ["fresh", "good"]),
        ("repeat_eligible", ["fresh", "good"]),
        ("lapsed_good", ["good"]),
        ("applied_not_disbursed", ["asks", "granted"]),
        ("granted_not_drawn", ["granted"]),
        ("existing_customers", ["fresh", "good", "late", "lost", "owes"]),
        ("open_loan", ["lost", "owes"]),
        ("in_arrears", ["owes"]),
        ("written_off", ["lost"]),
    ],
)
def test_each_ready_list_holds_whom_it_says(lender: Kept, kind: str, expected: list[str]) -> None:
    (build,) = builder(lender, it=AudienceSettings(kind=kind)).whole()  # type: ignore[arg-type]

    assert members(lender, build) == expected
    assert build.members == len(expected)


def test_a_seed_says_what_its_members_brought_and_whom_it_left_out(lender: Kept) -> None:
    (build,) = builder(lender, good=AudienceSettings(kind="good_repayers")).whole()

    with duckdb.connect(":memory:") as db:
        found = db.execute(f"select value from '{lender.folder.audience_files / build.file}'").fetchall()
    # 26,500 − 25,000; and with 27,000 − 25,000 beside it.
    assert sorted(found) == [(1_500.0,), (3_500.0,)]
    assert build.currency == "NGN"
    assert build.left_out == '{"no_consent":1,"no_id":1}'


def test_only_the_most_valuable_are_on_a_list_that_is_limited(lender: Kept) -> None:
    (build,) = builder(lender, it=AudienceSettings(kind="good_repayers", top=1)).whole()

    assert members(lender, build) == ["good"]


def test_own_lists_are_made_of_sql_or_of_a_rule(lender: Kept) -> None:
    made = builder(
        lender,
        own=AudienceSettings(
            sql="""select "user", sum(amount) as value from counted where type = 'repaid' group by all"""
        ),
        ruled=AudienceSettings(rule="user.late_loans > 0 && !user.defaulted && snapshot.app == 'acme-ng'"),
        unanswered=AudienceSettings(rule="snapshot.model != 'x'"),
    ).whole()

    assert [members(lender, build) for build in made] == [["fresh", "good", "late"], ["late", "owes"], []]


def test_users_of_other_countries_and_apps_are_left_out(lender: Kept) -> None:
    made = builder(
        lender,
        here=AudienceSettings(kind="open_loan", countries=("NG",), apps=("acme-ng",)),
        there=AudienceSettings(kind="open_loan", countries=("PH",)),
        other=AudienceSettings(kind="open_loan", apps=("acme-ios",)),
    ).whole()

    assert [build.members for build in made] == [2, 0, 0]


def test_who_is_held_out_is_on_no_such_list(lender: Kept) -> None:
    holdout = Holdout(name="h", salt="pepper", share=0.5)
    definitions = {"it": definition_of("it", AudienceSettings(kind="existing_customers"))}
    rules = Rules(lists=definitions, holdouts={"it": [holdout]})
    (build,) = Builder(lender.folder, rules, Still(NOW)).whole()

    everybody = ["fresh", "good", "late", "lost", "owes"]
    treated = [user for user in everybody if not is_held_out("pepper", 0.5, f"acme:{user}")]
    assert 0 < len(treated) < 5
    assert members(lender, build) == treated
    assert f'"holdout":{5 - len(treated)}' in build.left_out


def test_a_loan_s_state_reaches_its_lists_without_a_whole_build(lender: Kept) -> None:
    lists = {
        "owing": AudienceSettings(kind="open_loan"),
        "good": AudienceSettings(kind="good_repayers"),
        "lapsed": AudienceSettings(kind="lapsed_good"),
    }
    found = built_by(lender, NOW, lists)
    found.whole()
    assert found.fresh() == [], "nothing came in"

    lender.tell(*of("owes", paid(NOW, "o1")), *of("asks", loan(NOW, "a1")))
    (build,) = built_by(lender, NOW + 5, lists).fresh()
    assert (build.audience, build.whole, build.joined, build.gone) == ("owing", False, 1, 1)
    assert members(lender, build) == ["asks", "lost"]

    lender.tell(*of("good", consent_of(NOW + 6, False)))
    changed = built_by(lender, NOW + 10, lists).fresh()
    assert {one.audience: members(lender, one) for one in changed} == {"good": ["fresh"], "lapsed": []}


def test_a_bit_by_bit_build_is_what_a_whole_one_would_be(lender: Kept) -> None:
    kinds = (
        "open_loan in_arrears written_off existing_customers repeat_eligible applied_not_disbursed".split()
    )
    lists = {kind: AudienceSettings(kind=kind) for kind in kinds}  # type: ignore[arg-type]
    found = built_by(lender, NOW, lists)
    found.whole()
    lender.tell(
        *of("owes", event("overdue", NOW, loan_id="o1", dpd=70)),
        *of("granted", loan(NOW, "n1")),
        *of("late", applied(NOW, "l2")),
        *of("new", login(NOW, "new"), applied(NOW, "w1")),
        *of("good", login(NOW, "good-s-new-phone"), applied(NOW, "g3")),
    )
    built_by(lender, NOW + 90, lists).fresh()
    book = built_by(lender, NOW + 90, lists)
    bit_by_bit = {kind: book._book.build(kind) for kind in kinds}
    before = {kind: members(lender, build) for kind, build in bit_by_bit.items() if build is not None}
    whole = {build.audience: members(lender, build) for build in book.whole()}

    assert before == whole
    assert "good-s-new-phone" in whole["applied_not_disbursed"]


def test_the_ids_are_those_of_the_last_login_and_the_contact_is_the_latest(tmp_path: Path) -> None:
    shown = phone("new", gaid=None)
    lender = Kept(tmp_path, now=NOW).tell(
        login(0, "old", contact=Contact(email="a" * 64, phone_e164="b" * 64)),
        loan(1, "L1"),
        login(2, phone("new")),
        login(3, shown, event_id="without gaid"),
        event("registered", 4, contact=Contact(email="c" * 64)),
    )
    (build,) = builder(lender, it=AudienceSettings(kind="open_loan")).whole()
    root = lender.folder.audience_files
    with duckdb.connect(":memory:") as db:
        found = db.execute(
            "select gaid, appsflyer_id, hex(email), phone_e164, country, os"
            f" from read_parquet('{root}/ids/*.parquet')"
        ).fetchall()

    assert build.members == 1
    assert found == [("gaid-new", "af-new", "C" * 64, None, "NG", "android")]


def test_who_limits_ad_tracking_is_known_by_no_id_of_the_phone(tmp_path: Path) -> None:
    lender = Kept(tmp_path, now=NOW).tell(
        login(0, phone("p", limit_ad_tracking=True, appsflyer_id=None), contact=Contact(email="c" * 64)),
        loan(1, "L1"),
    )
    (build,) = builder(lender, it=AudienceSettings(kind="open_loan")).whole()

    with duckdb.connect(":memory:") as db:
        found = db.execute(f"select gaid from '{lender.folder.audience_files}/ids/*.parquet'").fetchall()
    assert (build.members, found) == (1, [(None,)])


def test_a_country_where_nobody_was_asked_decides_for_those_who_were_not(lender: Kept) -> None:
    definitions = {"it": definition_of("it", AudienceSettings(kind="open_loan"))}
    rules = Rules(lists=definitions, asked=Asked(unasked={"acme-ng": False}))
    (build,) = Builder(lender.folder, rules, Still(NOW)).whole()

    assert build.members == 0
    assert build.left_out == '{"no_consent":2}'


def test_two_builds_over_one_ledger_are_the_same(lender: Kept) -> None:
    found = builder(lender, it=AudienceSettings(kind="existing_customers"))
    (first,), (second,) = found.whole(), found.whole()

    assert (second.joined, second.gone) == (0, 0)
    root = lender.folder.audience_files
    assert (root / first.file).read_bytes() == (root / second.file).read_bytes()
    assert len(list(root.rglob("ids/*.parquet"))) == 1, "ids that are known are not kept twice"


@pytest.mark.parametrize(("days", "expected"), [(30, ["fresh"]), (70, ["fresh", "good"])])
def test_what_lies_too_far_back_puts_nobody_on_a_list(lender: Kept, days: int, expected: list[str]) -> None:
    (build,) = builder(lender, it=AudienceSettings(kind="good_repayers", within=timedelta(days=days))).whole()

    assert members(lender, build) == expected


def test_who_is_erased_is_forgotten_once_no_list_needs_the_ids_any_more(tmp_path: Path) -> None:
    lender = Kept(tmp_path, now=NOW).tell(
        *of("gone", login(0, "gone", contact=Contact(email="a" * 64)), loan(1, "L1")),
        *of("stays", login(2, "stays", contact=Contact(email="b" * 64)), loan(3, "L2")),
    )
    found = builder(lender, it=AudienceSettings(kind="open_loan"))
    found.whole()
    found.forget(["acme:gone"])
    root = lender.folder.audience_files

    def users(kind: str) -> list[object]:
        with duckdb.connect(":memory:") as db:
            rows = db.execute(f"select count(*), count(distinct user_key) from '{root}/{kind}/*.parquet'")
            return list(rows.fetchone() or ())

    assert users("told") == [1, 1]
    lender.tell(*of("gone", paid(4, "L1")))
    for _ in range(3):  # the last two builds are kept: the ids go with them
        found.whole()
    assert users("ids") == [1, 1]
