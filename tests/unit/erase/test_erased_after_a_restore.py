"""What was erased stays erased where an older copy is put back."""

import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from tests.forgotten import ENVIRONMENT, OTHER, PERSON, USER, Lender

from lendsignal.backup import backup
from lendsignal.cli.erasing import erase
from lendsignal.cli.moving import restore
from lendsignal.clock import from_us
from lendsignal.erase.again import erased_again, remembered, set_aside
from lendsignal.erase.asking import allow_again, ask, subject_of
from lendsignal.erase.job import carried_on
from lendsignal.erase.receipt import receipts
from lendsignal.errors import InputError
from lendsignal.log import DataFolder, open_log


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lender:
    """Two users, with an archive."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Lender(tmp_path / "lender")
    made.tell(*made.events(USER, person=PERSON), *made.events(OTHER))
    return made.archived()


def copied(lender: Lender, to: Path) -> Path:
    """A copy of the folder as it stands."""
    config = lender.config
    backup(
        DataFolder(config.data),
        to,
        archive=config.archive.to,
        portfolio=config.portfolio,
        now=from_us(lender.clock.now_us()),
    )
    return to


def erased(lender: Lender, person: str | None = None) -> str:
    user = None if person is not None else f"acme:{USER}"
    about = subject_of(lender.config, user, person=person)
    job = ask(lender.config, about, "tester", lender.clock)
    carried_on(lender.config, lender.clock)
    return job.receipt


def put_back(lender: Lender, copy: Path, *words: str) -> str:
    """The copy in place of the folder, by the command."""
    path = ["--replace", "--config", str(lender.config.path)]
    done = CliRunner().invoke(restore, [str(copy), *path, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def is_told(lender: Lender, user: str) -> bool:
    """Whether a copy that was put in place says anything of the user: what was moved aside does not count,
    nor the book of erasures, which forgets the user when the platforms were asked."""
    for path in lender.config.data.glob("before-*"):
        shutil.rmtree(path)
    return any(not name.startswith("erasures") for name in lender.left(user))


@pytest.mark.parametrize("person", [None, PERSON], ids=["user", "person"])
def test_who_was_erased_since_the_copy_is_erased_from_it_and_the_receipt_is_there(
    lender: Lender, tmp_path: Path, person: str | None
) -> None:
    copy = copied(lender, tmp_path / "copy")
    receipt = erased(lender, person)

    said = put_back(lender, copy)
    carried_on(lender.config, lender.clock)

    assert "1 users who were erased since" in said
    assert not is_told(lender, USER)
    assert is_told(lender, OTHER)
    assert receipt in {one.receipt for one in receipts(lender.config)}
    with closing(open_log(DataFolder(lender.config.data).log, read_only=True)) as log:
        assert log.erasing.kept_out().holds("acme", USER, None, 1)


def test_a_folder_that_is_lost_is_followed_by_the_file_that_was_kept_apart(
    lender: Lender, tmp_path: Path
) -> None:
    copy, apart = copied(lender, tmp_path / "copy"), tmp_path / "apart.json"
    erased(lender)
    config = ["--config", str(lender.config.path)]
    CliRunner().invoke(erase, ["--export", str(apart), *config], catch_exceptions=False)
    assert apart.stat().st_mode & 0o077 == 0
    assert USER.encode() not in apart.read_bytes()
    lender.config.data.rename(tmp_path / "lost")

    put_back(lender, copy, "--erasures", str(apart))
    carried_on(lender.config, lender.clock)

    assert not is_told(lender, USER)


def test_a_log_that_cannot_be_read_any_more_is_followed_by_the_file_beside_it(
    lender: Lender, tmp_path: Path
) -> None:
    copy = copied(lender, tmp_path / "copy")
    erased(lender)
    for path in lender.config.data.glob("log.sqlite*"):
        path.write_bytes(b"this is no database" * 400)

    said = put_back(lender, copy)
    carried_on(lender.config, lender.clock)

    assert "cannot be read" in said
    assert not is_told(lender, USER)


def test_what_is_broken_off_is_done_by_whoever_carries_erasures_on(lender: Lender, tmp_path: Path) -> None:
    copy = copied(lender, tmp_path / "copy")
    erased(lender)
    pending = DataFolder(lender.config.data).erased_again
    assert set_aside(lender.config, []) is None
    put_back(lender, copy)
    assert not pending.exists()
    set_aside(lender.config, [])
    assert pending.exists()

    carried_on(lender.config, lender.clock)

    assert not pending.exists()
    assert not is_told(lender, USER)


def test_who_was_let_in_again_before_the_copy_is_not_erased_by_putting_it_back(
    lender: Lender, tmp_path: Path
) -> None:
    erased(lender)
    allow_again(lender.config, subject_of(lender.config, f"acme:{USER}"), lender.clock)
    later = from_us(lender.clock.now_us()) + timedelta(hours=1)
    lender.tell(*(replace(one, occurred_at=later, received_at=later) for one in lender.events(USER)))
    copy = copied(lender, tmp_path / "copy")

    put_back(lender, copy)

    assert is_told(lender, USER)


def test_erasures_of_another_lender_or_another_log_are_refused(lender: Lender, tmp_path: Path) -> None:
    erased(lender)
    mine, theirs = tmp_path / "mine.json", tmp_path / "theirs.json"
    found = remembered(lender.config)
    assert found is not None
    CliRunner().invoke(erase, ["--export", str(mine), "--config", str(lender.config.path)])
    theirs.write_bytes(mine.read_bytes().replace(b'"acme"', b'"zeta"', 1))

    with pytest.raises(InputError, match="portfolio 'zeta'"):
        set_aside(lender.config, [theirs])
    theirs.write_bytes(b"{}")
    with pytest.raises(InputError, match="is no file of"):
        set_aside(lender.config, [theirs])
    assert erased_again(lender.config, lender.clock) == 0
