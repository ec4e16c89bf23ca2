"""What must be so before a release, what is written by it, and what an audit says."""

from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from release.audit import Found, found_in, sentences
from release.cut import NUMBERED, ROOT, NotReadyError, dated, numbered, parts
from release.wheel import twice

LOG = "# Changelog\n\nFor you.\n\n## 0.2.0 (unreleased)\n\n- New.\n\n## 0.1.0 (2026-11-22)\n\n- Old.\n"


def test_a_release_puts_its_day_into_the_newest_heading_alone() -> None:
    told = dated(LOG, "0.2.0", date(2026, 12, 1))

    assert told == LOG.replace("0.2.0 (unreleased)", "0.2.0 (2026-12-01)")


@pytest.mark.parametrize(
    ("changelog", "version", "why"),
    [
        (LOG, "0.3.0", "must be '0.3.0 \\(unreleased\\)'"),
        (LOG.replace("(unreleased)", "(2026-12-01)"), "0.2.0", "must be"),
        (LOG.replace("- New.\n", ""), "0.2.0", "says nothing of 0.2.0"),
    ],
)
def test_a_release_of_which_the_changelog_does_not_tell_is_refused(
    changelog: str, version: str, why: str
) -> None:
    with pytest.raises(NotReadyError, match=why):
        dated(changelog, version, date(2026, 12, 1))


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0rc1", ""])
def test_a_version_is_three_numbers(version: str) -> None:
    with pytest.raises(NotReadyError):
        parts(version)


def test_versions_never_go_down_and_ten_is_more_than_nine() -> None:
    form = 'version = "{}"'

    assert numbered('a\nversion = "0.9.0"\nb', form, "0.10.0") == 'a\nversion = "0.10.0"\nb'
    with pytest.raises(NotReadyError, match="lower"):
        numbered('version = "0.10.0"', form, "0.9.0")
    with pytest.raises(NotReadyError, match="2 times"):
        numbered('version = "0.1.0"\nversion = "0.1.0"', form, "0.2.0")


@pytest.mark.parametrize("name", NUMBERED)
def test_the_version_stands_where_a_release_looks_for_it(name: str) -> None:
    form, text = NUMBERED[name], (ROOT / name).read_text()

    assert form.format("999.0.0") in numbered(text, form, "999.0.0").splitlines()


def test_a_wheel_is_the_same_to_the_byte_when_it_is_built_elsewhere(tmp_path: Path) -> None:
    first, second = twice(tmp_path)

    assert sha256(first.read_bytes()).digest() == sha256(second.read_bytes()).digest()


ANSWER = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]},
        {"name": "odd", "skip_reason": "not found"},
    ]
}


def test_a_hole_is_told_with_what_mends_it_and_what_could_not_be_asked_after_by_name() -> None:
    found = found_in(ANSWER)

    assert (found.asked, found.unknown) == (2, ("odd",))
    assert sentences(found) == ["BROKEN: bad 2.0: PYSEC-1, mended in 2.1", "NOT AUDITED: odd"]


def test_an_audit_that_could_ask_nobody_does_not_look_like_health() -> None:
    assert sentences(Found(asked=0, unknown=("odd",), holes=())) == [
        "NOT AUDITED: the database of known holes cannot be asked from this machine"
    ]
