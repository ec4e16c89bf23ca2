"""Holdouts in the file: what they become, and mistakes with their place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.model import to_us
from lendsignal.plan import Holdout, Live

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
to   = "hook"
send = {{ first_loan = "a" }}

{more}
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def loaded(folder: Path, more: str) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(BASE.format(digest="0" * 64, more=more))
    return configuration.load(path)


def test_a_holdout_of_the_file_is_part_of_the_policy(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        '[holdout.global]\nshare = 0.05\nsalt = "g1"\nconversions = ["first_loan"]\ndestinations = ["h*"]\n'
        "from = 2026-03-01T00:00:00Z\nto = 2026-06-01T00:00:00+01:00",
    )
    since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, 23, tzinfo=UTC)

    assert config.policy.holdouts == (
        Holdout(
            name="global",
            salt="g1",
            share=0.05,
            conversions=("first_loan",),
            destinations=("h*",),
            live=Live(to_us(since), to_us(until)),
        ),
    )


def test_a_holdout_of_lists_is_warned_of_until_lists_are_sent(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[holdout.lapsed]\nshare = 0.1\naudiences = ["lapsed"]')

    assert config.policy.holdouts[0].sends
    assert [one for one in config.warnings if one.startswith("holdout.lapsed.audiences")]


def test_every_mistake_of_holdouts_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(
            tmp_path,
            '[holdout.A]\nshare = 0.05\nconversions = ["first_lone"]\n'
            '[holdout.b]\nshare = 0.5\nsalt = "A"\ndestinations = ["hooks"]\n',
        )
    found = {problem.key: problem.nearest for problem in caught.value.problems}

    assert found == {
        "holdout.A": None,
        "holdout.A.conversions": "first_loan",
        "holdout.b.destinations": "hook",
        "holdout.b.salt": None,
    }


def test_a_share_of_everybody_is_no_holdout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "[holdout.all]\nshare = 1.0")

    assert [problem.key for problem in caught.value.problems] == ["holdout.all.share"]
