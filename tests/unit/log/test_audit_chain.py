"""The audit's chain of hashes: what somebody does to the file past the product shows."""

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner

from lendsignal.cli.audit import audit
from lendsignal.log.chain import START, Mark, linked
from lendsignal.log.people import People, open_people

HOW_MANY = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.sqlite"


@pytest.fixture
def people(file: Path) -> Iterator[People]:
    with closing(open_people(file)) as found:
        for number in range(1, HOW_MANY + 1):
            found.note(1_000 + number, f"login-{number}", "paused", f"destination-{number}", "note")
        yield found


def tamper(file: Path, *statements: str) -> None:
    """Writes past the product, the triggers out of the way."""
    with closing(apsw.Connection(str(file))) as db:
        for one in ("audit_stays", "audit_remains", "link_stays", "link_remains"):
            db.execute(f"drop trigger {one}")
        for statement in statements:
            db.execute(statement)


def test_rows_that_nobody_touched_are_linked_each_to_the_one_before(people: People) -> None:
    found = people.verified()

    before = START
    for number in range(1, HOW_MANY + 1):  # the slow way, with another library's JSON
        row = [number, 1_000 + number, f"login-{number}", "paused", f"destination-{number}", "note"]
        before = sha256((before + json.dumps(row, separators=(",", ":"))).encode()).hexdigest()
    assert (found.rows, found.wrong) == (HOW_MANY, ())
    assert found.head == Mark(HOW_MANY, before)


@pytest.mark.parametrize(
    ("statements", "wrong"),
    [
        (["update audit set login = 'nobody' where id = 3"], ["row 3 is not as it was written"]),
        (["update audit set at_us = 7 where id = 1"], ["row 1 is not as it was written"]),
        (["update audit_link set sha256 = 'x' where id = 2"], ["row 2 is not", "row 3 is not"]),
        (["delete from audit where id = 3"], ["row 3 is missing"]),
        (["delete from audit where id in (2, 3)"], ["rows 2 to 3 are missing"]),
        (["delete from audit where id >= 4"], ["rows 4 to 5 are missing"]),
        (
            ["delete from audit where id = 3", "delete from audit_link where id = 3"],
            ["row 3 is missing", "row 4 is not as it was written"],
        ),
        (["insert into audit values (6, 9, 'eve', 'paused', '', '')"], ["row 6 was added past"]),
        (
            ["update audit set id = 99 where id = 2", "update audit set id = 2 where id = 3"],
            ["row 2 is not", "row 3 is missing", "rows 6 to 98 are missing", "row 99 was added"],
        ),
    ],
    ids=str,
)
def test_a_row_that_was_changed_taken_out_or_put_in_is_named(
    people: People, file: Path, statements: list[str], wrong: list[str]
) -> None:
    tamper(file, *statements)

    found = people.verified().wrong

    assert len(found) == len(wrong), found
    assert all(told.startswith(one) for told, one in zip(found, wrong, strict=True)), found


def test_a_chain_that_was_written_anew_or_cut_shows_against_a_head_that_was_noted(
    people: People, file: Path
) -> None:
    noted = people.verified().head
    assert noted is not None
    anew, before = ["update audit set login = 'nobody' where id = 4"], START
    rows = [[n, 1_000 + n, f"login-{n}", "paused", f"destination-{n}", "note"] for n in range(1, 6)]
    rows[3][2] = "nobody"
    for row in rows:
        before = linked(before, row)
        anew.append(f"update audit_link set sha256 = '{before}' where id = {row[0]}")
    tamper(file, *anew)

    assert people.verified().wrong == ()
    assert people.verified(noted).wrong == (
        "row 5 had another hash when it was noted: the chain was written anew",
    )
    tamper_more = ["delete from audit where id = 5", "delete from audit_link where id = 5"]
    with closing(apsw.Connection(str(file))) as db:
        for one in tamper_more:
            db.execute(one)
    assert people.verified().wrong == ()
    assert len(people.verified(noted).wrong) == 1


def test_what_was_written_before_there_was_a_chain_is_linked_once(file: Path) -> None:
    with closing(open_people(file)) as people:
        people.note(1, "ada", "paused")
        people.note(2, "bob", "paused")
    tamper(file, "delete from audit_link")

    with closing(open_people(file)) as people:
        people.note(3, "cleo", "paused")
        assert (people.verified().rows, people.verified().wrong) == (3, ())


def test_the_command_ends_with_1_where_a_row_was_changed(tmp_path: Path, people: People, file: Path) -> None:
    path = tmp_path / "lendsignal.toml"
    path.write_text(
        '[portfolio]\nname = "acme"\n[brand.acme]\n[app.acme-ng]\nbrand = "acme"\nplatform = "android"\n'
        'bundle = "com.acme.loans"\ncountry = "NG"\ncurrency = "NGN"\ntimezone = "Africa/Lagos"\n'
        '[service]\ndata = "."\n'
    )
    good = CliRunner().invoke(audit, ["verify", "--json", "--config", str(path)])
    head = json.loads(good.stdout)["head"]
    tamper(file, "update audit set login = 'nobody' where id = 2")

    bad = CliRunner().invoke(audit, ["verify", "--config", str(path), "--noted", head])

    assert (good.exit_code, json.loads(good.stdout)["wrong"]) == (0, [])
    assert (bad.exit_code, "row 2 is not as it was written" in bad.stderr) == (1, True)
