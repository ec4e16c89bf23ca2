"""`[audience_account.NAME]`: read twice, our keys and the platform's own; every mistake is named."""

import re
from pathlib import Path

import pytest
from tests.lender_file import ACME

from lendsignal.config import load
from lendsignal.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/sync-audiences.md").read_text()
HEAD = (
    ACME
    + """\
"""
)
GOOGLE = '{"type":"authorized_user","client_id":"a","client_secret":"b","refresh_token":"c"}'


def written(folder: Path, text: str) -> Path:
    path = folder / "lendsignal.toml"
    path.write_text(f"{HEAD}\n{text}")
    return path


def test_every_account_of_the_how_to_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r'env = "(\w+)"', PAGE):
        monkeypatch.setenv(name, "made-up")
    (tmp_path / "google.json").write_text(GOOGLE)
    *blocks, _ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)  # the last shows one of them again
    config = load(written(tmp_path, "\n".join(blocks)))

    assert {one.common.kind for one in config.audience_accounts.values()} == {
        "meta", "google", "tiktok", "snap", "appsflyer", "file",
    }  # fmt: skip
    assert config.secrets["audience_account.snap-ng.refresh_token"] is True


def test_every_mistake_of_an_account_is_named(tmp_path: Path) -> None:
    text = """
[audience_account.one]
kind = "mta"

[audience_account.two]
kind        = "google"
account_id  = "4445556666"
credentials = { env = "NOBODY_SET_THIS" }

[audience_account.three]
kind = "file"
to   = "sftp://acme@partner.example/in"
"""
    with pytest.raises(ConfigError) as raised:
        load(written(tmp_path, text))

    found = {problem.key: problem for problem in raised.value.problems}
    assert found["audience_account.one.kind"].nearest == "meta"
    assert "NOBODY_SET_THIS" in found["audience_account.two.credentials"].found
    assert "host_key_sha256" in found["audience_account.three"].allowed
