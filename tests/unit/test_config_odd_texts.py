"""Texts that no lender writes, as configurations: refused with a sentence, like every other mistake."""

from pathlib import Path

import pytest

from lendsignal import config as configuration
from lendsignal.errors import ConfigError
from lendsignal.model import Secret, reveal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "9" * 5_000, "not TOML"),
        ("x = " + "[" * 5_000, "lists nested too deep"),
        ("x = ", "not TOML"),
    ],
)
def test_a_text_that_cannot_be_read_is_a_mistake_of_the_configuration(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configuration.parsed(text, Path("lendsignal.toml"))

    assert words in str(refused.value)


def test_a_secret_in_a_file_that_cannot_exist_is_not_set() -> None:
    assert reveal(Secret(file="n" * 5_000)) is None
