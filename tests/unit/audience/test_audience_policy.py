"""What platforms and fair lending allow, and rules over users as SQL."""

import duckdb
import pytest

from lendsignal.audience.definitions import definition_of
from lendsignal.audience.policy import below_floor, code_of, hidden, problems
from lendsignal.audience.rule import rule_sql
from lendsignal.audience.settings import AudienceSettings
from lendsignal.destination.spec import sensitive_word
from lendsignal.errors import InputError

SEED = definition_of("good", AudienceSettings(kind="good_repayers"))
EXCLUSION = definition_of("owing", AudienceSettings(kind="open_loan"))
RETARGETING = definition_of("again", AudienceSettings(kind="repeat_eligible"))


def test_a_name_on_a_platform_tells_nothing_and_stays() -> None:
    codes = {code_of("acme", name) for name in ("defaulters", "bad_debt", "low_score")}

    assert len(codes) == 3
    assert not [code for code in codes if sensitive_word(code)]
    assert code_of("acme", "bad_debt") == code_of("acme", "bad_debt") != code_of("other", "bad_debt")


@pytest.mark.parametrize(
    ("kind", "country", "seed", "exclusion"),
    [
        ("meta", "US", True, True),
        ("meta", "FR", True, True),
        ("meta", "NG", False, False),
        ("tiktok", "CA", True, False),
        ("tiktok", "FR", False, False),
        ("google", "CA", True, True),
        ("file", "US", False, False),
    ],
)
def test_the_special_category_hides_what_each_platform_forbids(
    kind: str, country: str, seed: bool, exclusion: bool
) -> None:
    assert (hidden(SEED, kind, [country]) is not None) is seed
    assert (hidden(EXCLUSION, kind, [country]) is not None) is exclusion
    assert hidden(RETARGETING, kind, [country]) is None


def test_a_lender_may_say_which_countries_are_special() -> None:
    assert hidden(SEED, "meta", ["FR"], ["US", "CA"]) is None
    assert "BR" in (hidden(SEED, "meta", ["BR"], ["BR"]) or "")


def test_a_seed_must_be_of_one_country_and_other_lists_count_as_a_whole() -> None:
    sizes = {"NG": 99, "KE": 99}

    assert "99 members of one country" in (below_floor("seed", "meta", sizes) or "")
    assert "rarely finds more" in (below_floor("retargeting", "meta", {"NG": 120}) or "")
    assert below_floor("retargeting", "meta", sizes) is None
    assert below_floor("seed", "tiktok", {"NG": 1_700}) is None
    assert "tiktok wants 100" in (below_floor("seed", "tiktok", {"NG": 99}) or "")
    assert "tiktok wants 1,000" in (below_floor("retargeting", "tiktok", {"NG": 999}) or "")
    assert below_floor("seed", "file", {"NG": 1}) is None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (AudienceSettings(), ""),
        (AudienceSettings(kind="open_loan", sql="select 1"), ""),
        (AudienceSettings(kind="open_loan", code="low score"), "code"),
        (AudienceSettings(sql="select 1; select 2"), "sql"),
        (AudienceSettings(sql="copy x to 'y'"), "sql"),
        (AudienceSettings(rule="user.loans / 2 > 1"), "rule"),
        (AudienceSettings(rule="user.loans"), "rule"),
        (AudienceSettings(kind="open_loan", share=20), "share"),
        (AudienceSettings(kind="open_loan", top=5), "top"),
    ],
)
def test_settings_that_contradict_themselves_are_named(settings: AudienceSettings, key: str) -> None:
    assert [found for found, _, _ in problems("it", settings)] == [key]


def test_own_exclusion_lists_and_those_of_who_did_not_pay_are_sensitive() -> None:
    own = AudienceSettings(rule="user.defaulted", use="exclusion")

    assert definition_of("own", own).sensitive
    assert definition_of("late", AudienceSettings(kind="in_arrears")).sensitive
    assert not SEED.sensitive
    assert not EXCLUSION.sensitive


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("user.loans >= 2 && !user.defaulted", True),
        ("user.loans > 2 || user.late_loans == 1", True),
        ("user.loans - user.closed_loans == 1", True),
        ("snapshot.model == 'A15'", False),
        ("snapshot.model == 'A15' || user.loans == 2", True),
        ("snapshot.model != 'A15'", False),
        ("!has(snapshot.model)", True),
        ("snapshot.app in ['acme-ng', 'acme-ios']", True),
        ('snapshot.app.startsWith("acme") ? user.loans == 2 : user.loans == 3', True),
        ('snapshot.app == "o\'hara"', False),
        ("user.defaulted == false", True),
    ],
)
def test_a_rule_means_in_sql_what_it_means_of_one_user(rule: str, holds: bool) -> None:
    customer = (
        "select 2 as loans, 1 as closed_loans, 1 as late_loans, false as defaulted, null::varchar as model,"
        " 'acme-ng' as app"
    )
    with duckdb.connect(":memory:") as db:
        found = db.execute(f"select count(*) from ({customer}) where {rule_sql(rule)}").fetchone()

    assert found == (int(holds),)


@pytest.mark.parametrize("rule", ["event.amount > 3.0", "size(snapshot.app) > 3", "user.loans % 2 == 0"])
def test_what_a_list_cannot_ask_is_refused_with_its_place(rule: str) -> None:
    with pytest.raises(InputError, match=r"line 1, column \d+"):
        rule_sql(rule)
