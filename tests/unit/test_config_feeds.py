"""The tables of feeds, cost and rates: what they become, and each mistake in them."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.test_config import BASE

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError

GOOD = """
[feed.mmp]
kind   = "appsflyer"
secret = { env = "MMP_SECRET" }
apps   = { "com.acme.old" = "acme-ng" }

[feed.other]
kind    = "generic"
mmp     = "kochava"
columns = { device = "id" }

[spend.google]
kind     = "google_ads"
currency = "NGN"
timezone = "Africa/Lagos"

[fx]
file     = "rates.csv"
currency = "USD"
good_for = "31d"

[[fx.rate]]
date = 2026-11-20
from = "USD"
to   = "NGN"
rate = "1500.25"
"""
RATES = "date,from,to,rate\n2026-11-01,USD,KES,129.5\n"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACME_KEY", "ls_made-up-key")
    monkeypatch.setenv("ACME_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    monkeypatch.setenv("MMP_SECRET", "made-up-secret-of-the-mmp")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "appsflyer").write_text("made-up-token")
    (tmp_path / "rates.csv").write_text(RATES)


def loaded(folder: Path, text: str = GOOD) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(BASE + text)
    return configuration.load(path)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loaded(folder, text)
    return [problem.key for problem in refused.value.problems]


def test_feeds_cost_and_rates_are_read(tmp_path: Path) -> None:
    config = loaded(tmp_path)

    assert {name: feed.mmp for name, feed in config.feeds.items()} == {"mmp": "appsflyer", "other": "kochava"}
    assert set(config.feed_secrets) == {"mmp"}
    assert config.secrets["feed.mmp.secret"]
    assert set(config.spend) == {"google"}
    assert config.currency == "USD"
    assert config.rates.at(date(2026, 12, 21), "USD", "NGN") == Decimal("1500.25")  # 31 days later
    assert config.rates.at(date(2026, 11, 2), "USD", "KES") == Decimal("129.5")


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ('kind   = "appsflyer"', 'kind   = "appsflier"', "feed.mmp.kind"),
        ('"com.acme.old" = "acme-ng"', '"com.acme.old" = "acme-gh"', 'feed.mmp.apps."com.acme.old"'),
        ('mmp     = "kochava"', 'app = "acme-gh"', "feed.other.app"),
        ('mmp     = "kochava"', 'timezone = "Lagos"', "feed.other.timezone"),
        ('mmp     = "kochava"', 'secret = { env = "NOT_SET" }', "feed.other.secret"),
        ('mmp     = "kochava"', 'secret = { env = "ACME_KEY" }', "feed.other.secret"),  # 14 characters
        ("[feed.other]", "[feed.Other]", "feed.Other"),
        ('timezone = "Africa/Lagos"\n\n[fx]', 'timezone = "Lagos"\n\n[fx]', "spend.google.timezone"),
        ("[spend.google]", '[spend.google]\nhours_in = "Lagos"', "spend.google.hours_in"),
        ("[spend.google]", '[spend.google]\nunit = "cents"', "spend.google.unit"),
        ('file     = "rates.csv"', 'file     = "missing.csv"', "fx.file"),
        ('rate = "1500.25"', 'rate = "0"', "fx"),
        ('to   = "NGN"', 'to   = "USD"', "fx"),
        ('currency = "USD"', 'currency = "dollars"', "fx.currency"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, before: str, after: str, key: str) -> None:
    assert before in GOOD

    assert problems(tmp_path, GOOD.replace(before, after)) == [key]


@pytest.mark.parametrize(
    "row", ["soon,USD,NGN,1", "2026-11-01,USD,NGN,", "2026-11-01,USD,,1", "2026-11-01,USD,NGN,-1"]
)
def test_a_bad_row_of_rates_is_a_mistake_with_its_number(tmp_path: Path, row: str) -> None:
    (tmp_path / "rates.csv").write_text(RATES + row + "\n")
    with pytest.raises(ConfigError, match="row 2"):
        loaded(tmp_path)
