"""What a process says of itself: one JSON object a line, with its consequence."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from lendsignal.journal import JsonLines, stopped, warned


def record(
    level: int, said: str, *args: object, room: str = "lendsignal.deliver.sender"
) -> logging.LogRecord:
    return logging.LogRecord(room, level, __file__, 1, said, args, None)


@pytest.mark.parametrize(
    ("level", "consequence"),
    [
        (logging.ERROR, "a person must act"),
        (logging.WARNING, "recovered"),
        (logging.INFO, "for the record"),
        (logging.DEBUG, "detail"),
    ],
)
def test_a_level_tells_what_it_wants_of_the_reader(level: int, consequence: str) -> None:
    line = json.loads(JsonLines("send").format(record(level, "list %s: %d", "good", 7)))

    assert line["consequence"] == consequence
    assert (line["role"], line["room"], line["said"]) == ("send", "deliver", "list good: 7")
    assert line["at"].endswith("+00:00")


def test_a_message_of_several_lines_and_a_traceback_stay_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        one = logging.LogRecord("uvicorn.error", 40, __file__, 1, "first\nsecond", (), sys.exc_info())
    line = JsonLines("core").format(one)

    assert "\n" not in line
    assert json.loads(line)["room"] == "uvicorn"
    assert "ValueError: two" in json.loads(line)["trace"]


def test_words_for_people_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LENDSIGNAL_LOG_FORMAT", raising=False)
    stopped("there is no data folder")
    warned("a token ends soon")

    assert capsys.readouterr().err == "error: there is no data folder\nwarning: a token ends soon\n"


def test_what_stops_a_verb_is_json_too(tmp_path: Path) -> None:
    words = ["--log-format", "json", "check", "--config", str(tmp_path / "none.toml")]
    found = subprocess.run([sys.executable, "-m", "lendsignal", *words], capture_output=True, check=False)

    assert found.returncode == 2
    assert json.loads(found.stderr)["consequence"] == "a person must act"
