"""What a parameter file may say, and what is said about one that cannot be used."""

from datetime import date
from pathlib import Path

import pytest

from lendsignal.errors import ConfigError
from lendsignal.simulate import DEFAULT_FILE, Parameters, as_toml, demo, load, make
from lendsignal.simulate.parameters import Loans, Phones


def test_the_shipped_file_holds_every_default_under_its_explanation() -> None:
    assert DEFAULT_FILE.read_text() == as_toml(Parameters())
    assert load(DEFAULT_FILE) == Parameters()


def test_the_reference_page_shows_the_shipped_file() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "generator.md"

    assert f"```toml\n{DEFAULT_FILE.read_text()}```\n" in page.read_text()


def test_the_demo_lender_survives_a_round_through_its_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(as_toml(demo()))

    assert load(path) == demo()


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text("[period]\nstart = 2026-03-29\nusers = 7\n[arrivals]\ntravel = { median_seconds = 2 }\n")

    parameters = load(path)

    assert parameters.period.start == date(2026, 3, 29)
    assert parameters.period.users == 7
    assert parameters.period.days == Parameters().period.days
    assert parameters.arrivals.travel.median_seconds == 2.0
    assert parameters.loans == Parameters().loans


def test_every_mistake_in_a_file_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        "[period]\nuser = 5\n"
        "[arrivals]\nduplicated = 1.5\n"
        '[decisions]\nweekends = "no"\nqueue = { spread = 1.0 }\n'
        '[[channels]]\nmedia_source = "x"\nweight = 1.0\nquality = 0.0\ncost_per_install = 1.0\n'
        'campaigns = [{ name = "a", weight = -1.0 }]\n'
    )

    with pytest.raises(ConfigError) as caught:
        load(path)

    problems = {problem.key: problem for problem in caught.value.problems}
    assert set(problems) == {
        "period.user",
        "arrivals.duplicated",
        "decisions.weekends",
        "decisions.queue.median_seconds",
        "channels[0].campaigns[0].weight",
    }
    assert problems["period.user"].nearest == "users"
    assert "at most 1" in problems["arrivals.duplicated"].allowed
    assert problems["arrivals.duplicated"].origin == f"{path}, line 4"


def test_tables_that_contradict_each_other_are_refused_by_file_and_by_make(tmp_path: Path) -> None:
    path = tmp_path / "terms.toml"
    path.write_text('[loans]\nterm_days = [14, 45]\n[lender]\ntimezone = "Lagos"\n')

    with pytest.raises(ConfigError) as caught:
        load(path)
    with pytest.raises(ConfigError, match="att_denied"):
        make(Parameters(phones=Phones(att_authorised=0.7, att_denied=0.7)), 1)

    keys = [problem.key for problem in caught.value.problems]
    assert keys == [
        "loans.first_weights",
        "loans.later_weights",
        "loans.fee_shares",
        "loans.term_days",
        "lender.timezone",
    ]


@pytest.mark.parametrize(
    ("loans", "key"),
    [
        (Loans(term_days=(30, 14, 60, 90)), "loans.term_days"),
        (Loans(first_limit=4_000), "loans.first_limit"),
        (Loans(step=7_000), "loans.step"),
        (Loans(first_weights=(0, 0, 0, 0)), "loans.first_weights"),
    ],
)
def test_loans_that_cannot_be_made_are_refused(loans: Loans, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(Parameters(loans=loans), 1)

    assert [problem.key for problem in caught.value.problems] == [key]


def test_a_file_that_is_not_there_or_not_toml_is_a_configuration_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[period\n")

    with pytest.raises(ConfigError, match="readable TOML file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load(broken)
