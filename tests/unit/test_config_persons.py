"""Whose firsts count, as the file says it."""

from pathlib import Path

import pytest

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.plan import compile_policy

APP = """
[app.{brand}-ng]
brand    = "{brand}"
platform = "android"
bundle   = "com.{brand}.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[brand.{brand}]
"""


def loaded(folder: Path, derive: str = "", brands: tuple[str, ...] = ("acme", "lite")) -> Config:
    path = folder / "lendsignal.toml"
    apps = "".join(APP.format(brand=brand) for brand in brands)
    path.write_text(f'[portfolio]\nname = "acme-group"\n{apps}\n[derive]\n{derive}\n')
    return configuration.load(path)


def told(config: Config) -> list[str]:
    return [warning for warning in config.warnings if "portfolio" in warning]


def test_firsts_are_each_brands_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    policy = compile_policy(loaded(tmp_path).policy)

    assert (policy.across_brands, policy.history_is_whole) == (False, False)


def test_firsts_over_the_portfolio_need_a_history_that_is_whole(tmp_path: Path) -> None:
    alone = loaded(tmp_path, 'first = "portfolio"')
    whole = loaded(tmp_path, 'first = "portfolio"\nhistory = "whole"')

    assert (compile_policy(alone.policy).across_brands, len(told(alone))) == (True, 1)
    assert (compile_policy(whole.policy).history_is_whole, told(whole)) == (True, [])


def test_over_one_brand_the_portfolio_is_the_brand(tmp_path: Path) -> None:
    one = loaded(tmp_path, 'first = "portfolio"', brands=("acme",))

    assert (compile_policy(one.policy).across_brands, told(one)) == (False, [])


def test_another_word_is_refused_with_those_allowed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as found:
        loaded(tmp_path, 'first = "country"')

    (problem,) = found.value.problems
    assert problem.key == "derive.first"
    assert "brand" in problem.allowed
    assert "portfolio" in problem.allowed
