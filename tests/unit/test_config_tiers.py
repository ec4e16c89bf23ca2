"""Tiers, custom conversions, values and people in the file: what they become; mistakes with their place."""

import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.model.rates import Rate
from lendsignal.plan import ValueSettings, compile_policy

BASE = """\
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key_sha256 = "{digest}"

[destination.hook]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = {{ env = "ACME_HOOK" }}

[[route]]
to    = "hook"
send  = {send}
value = {value}

{more}
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def loaded(folder: Path, *, send: str = '{ first_loan = "a" }', value: str = "{}", more: str = "") -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(BASE.format(digest="0" * 64, send=send, value=value, more=more))
    return configuration.load(path)


def problems(folder: Path, **text: Any) -> dict[str, tuple[str, str]]:
    """What is found and allowed, by key; the line it stands in is left out of the key."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, **text)
    return {re.sub(r" \(.*", "", one.key): (one.found, one.allowed) for one in caught.value.problems}


def test_own_cuts_are_asked_for_by_their_basis(tmp_path: Path) -> None:
    more = '[tiers]\nbasis = ["score", "predicted_value"]\nshares = [20, 50]\nscope = ["country"]'
    config = loaded(tmp_path, send='{ credit_top20 = "a", value_top50 = "b" }', more=more)

    tiers = config.policy.derive.tiers
    assert (tiers.rolling, tiers.shares, tiers.cuts) == (("predicted_value", "score"), (20, 50), ())
    assert (config.tiers.scope, config.tiers.window) == (("country",), timedelta(days=28))


def test_without_a_basis_or_a_table_there_are_no_tiers_to_send(tmp_path: Path) -> None:
    assert "route[0].send.credit_top20" in problems(tmp_path, send='{ credit_top20 = "a" }')


def test_a_given_table_and_own_cuts_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "cuts.csv").write_text("share,cut\n20,700\n")

    found = problems(tmp_path, more='[tiers]\nbasis = ["score"]\ncut_table = "cuts.csv"')

    assert found["tiers.basis"] == (
        "a cut_table and own cuts",
        "one of the two: tiers.cut_table or tiers.basis",
    )


def test_a_custom_conversion_can_be_sent_and_valued(tmp_path: Path) -> None:
    more = "[conversion.loyal]\nwhen = \"event.type == 'repaid'\"\nonce_per = 'user'\nvalue = 'event.amount'"
    config = loaded(tmp_path, send='{ loyal = "a" }', value='{ loyal = "own" }', more=more)

    assert config.policy.derive.custom["loyal"].once_per == "user"
    assert compile_policy(config.policy).rules.custom.keys() == {"repaid"}


@pytest.mark.parametrize(
    ("more", "key", "found", "allowed"),
    [
        (
            "[conversion.loyal]\nwhen = '''event.type == 'repaid'\n  && user.loan > 1'''",
            "conversion.loyal.when",
            "line 2, column 11: user.loan is not known",
            "CEL over event",
        ),
        (
            "[conversion.loyal]\nwhen = 'true'\nvalue = 'event.amount * 2'",
            "conversion.loyal.value",
            "line 1, column 14: a number with a point * a whole number is not known; write 2.0",
            "CEL over event",
        ),
        ("[conversion.first_loan]\nwhen = 'true'", "conversion.first_loan", "derived anyway", "another name"),
        ("[conversion.credit_top9]\nwhen = 'true'", "conversion.credit_top9", "credit_top9", "a tier's name"),
        ("[conversion.Loyal]\nwhen = 'true'", "conversion.Loyal", "Loyal", "lower-case"),
        (
            "[conversion.loyal]\nwhen = 'true'\nonce_per = 'week'",
            "conversion.loyal.once_per",
            "week",
            "event, ",
        ),
        ("[people]\ntest_rule = 'event.'", "people.test_rule", "line 1, column 7: a name", "CEL over"),
        ("[people]\ntest = ['u1']", "people.test[0]", "u1", "matching"),
        ("[people]\ntest_file = 'none.txt'", "people.test_file", "no file", "one brand:user_id a line"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_place(
    tmp_path: Path, more: str, key: str, found: str, allowed: str
) -> None:
    told = problems(tmp_path, more=more)

    assert found in told[key][0]
    assert allowed in told[key][1]


def test_test_users_are_listed_in_the_file_and_beside_it(tmp_path: Path) -> None:
    (tmp_path / "staff.txt").write_text("acme:u7\n\n  acme:u8  \n")

    people = loaded(tmp_path, more='[people]\ntest = ["acme:u1"]\ntest_file = "staff.txt"').policy.people

    assert people.test == {"acme:u1", "acme:u7", "acme:u8"}
    (tmp_path / "staff.txt").write_text("acme:u7\nu8\n")
    assert "line 2" in problems(tmp_path, more='[people]\ntest_file = "staff.txt"')["people.test_file"][0]


def test_a_value_is_a_word_a_number_or_a_table(tmp_path: Path) -> None:
    send = '{ first_loan = "a", repeat_loan = "b" }'
    value = '{ first_loan = { of = "margin", loss_rate = 0.1, currency = "USD" }, repeat_loan = 2.5 }'
    fx = '[[fx.rate]]\ndate = 2026-03-01\nfrom = "USD"\nto = "NGN"\nrate = 1500'

    policy = loaded(tmp_path, send=send, value=value, more=fx).policy

    assert policy.routes[0].value == {
        "first_loan": ValueSettings(of="margin", loss_rate=0.1, currency="USD"),
        "repeat_loan": 2.5,
    }
    assert policy.rates == (Rate(day=date(2026, 3, 1), base="USD", quote="NGN", rate=Decimal(1500)),)
    assert loaded(tmp_path, send=send, value='{ first_loan = "fee" }', more=fx).policy.rates == ()
    wrong = problems(tmp_path, value='{ first_loan = { of = "fee", haircut = 2 } }')
    assert "route[0].value.first_loan.haircut" in wrong
