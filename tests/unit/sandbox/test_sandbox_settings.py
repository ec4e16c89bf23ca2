"""The sandbox's settings from a file."""

import json
from pathlib import Path

import pytest

from lendsignal.errors import ConfigError
from lendsignal.sandbox import MetaDataset, SandboxSettings, settings_at


def test_toml_and_json_give_the_same_settings(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "s.toml", tmp_path / "s.json"
    toml.write_text('latency_ms = 5\n[appsflyer]\n"com.acme" = "k"\n[meta.44]\ntoken = "t"\n')
    as_json.write_text(
        json.dumps({"latency_ms": 5, "appsflyer": {"com.acme": "k"}, "meta": {"44": {"token": "t"}}})
    )

    wanted = SandboxSettings(appsflyer={"com.acme": "k"}, meta={"44": MetaDataset(token="t")}, latency_ms=5)
    assert settings_at(toml) == settings_at(as_json) == wanted


@pytest.mark.parametrize(
    "text",
    ["[appsflyerr]", "[meta.44]\nsecret = 'x'", "nonsense", "[webhooks]\n'hooks.example.com' = 'hush!'"],
)
def test_a_mistake_is_named_with_its_file_and_without_its_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        settings_at(path)
    assert str(path) in str(caught.value)
    assert "hush!" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        settings_at(tmp_path / "none.toml")


def test_secrets_do_not_print() -> None:
    settings = SandboxSettings(appsflyer={"a": "hush"}, meta={"m": MetaDataset(token="hush")})

    assert "hush" not in repr(settings) + repr(settings.meta)
