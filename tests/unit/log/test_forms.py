"""Files of an older version are brought up step by step, those of a newer one are left alone."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from lendsignal.errors import OtherForm
from lendsignal.log import DataFolder, form_at, forms, migrate, open_orders, refuse_damage
from lendsignal.log.forms import Step

AGE = Step(does="orders have an age", work=lambda db: db.execute("alter table orders add column age integer"))
TOUCH = Step(does="every order is a day old", work=lambda db: db.execute("update orders set age = 1"))


def after(steps: Sequence[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this is a version that has these steps behind it."""
    monkeypatch.setattr(forms, "STEPS", {"orders.sqlite": steps})


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """The orders of today's version, one of them given."""
    path = tmp_path / "orders.sqlite"
    open_orders(path).close()
    with closing(apsw.Connection(str(path))) as db:
        db.execute("insert into orders values (1, 2, 'somebody', x'c0')")
    return path


@pytest.fixture
def db(orders: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(orders))) as found:
        yield found


def test_a_fresh_file_has_todays_form_and_none_is_no_form(tmp_path: Path, orders: Path) -> None:
    found = form_at(orders)

    assert found is not None
    assert (found.found, found.known, found.is_current) == (1, 1, True)
    assert form_at(tmp_path / "none.sqlite") is None


def test_a_file_without_a_number_is_of_the_first_form_and_gets_it(orders: Path, db: apsw.Connection) -> None:
    db.execute("pragma user_version = 0")

    found = form_at(orders)
    assert found is not None
    assert found.found == 1
    open_orders(orders).close()
    assert db.execute("pragma user_version").get == 1


def test_an_older_file_is_not_opened_and_the_way_is_named(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after([AGE], monkeypatch)

    for read_only in (True, False):
        with pytest.raises(
            OtherForm, match=r"orders\.sqlite has form 1 and this version works on form 2.*migrate"
        ):
            open_orders(orders, read_only=read_only)


def test_a_newer_file_is_not_opened_nor_migrated_and_stays_as_it_is(
    orders: Path, db: apsw.Connection
) -> None:
    db.execute("pragma user_version = 3")

    with pytest.raises(OtherForm, match="form 3, and this version knows form 1 at most"):
        open_orders(orders)
    with pytest.raises(OtherForm, match="install the version that wrote it"):
        migrate(orders)
    assert db.execute("pragma user_version").get == 3


def test_steps_are_taken_in_turn_and_once(orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after([AGE, TOUCH], monkeypatch)

    before = migrate(orders)

    assert (before.found, before.known) == (1, 3)
    assert list(before.steps) == ["orders have an age", "every order is a day old"]
    assert migrate(orders).is_current  # `alter table` a second time would fail
    with closing(open_orders(orders)):
        pass
    with closing(apsw.Connection(str(orders))) as db:
        assert db.execute("select id, age from orders").fetchall() == [(1, 1)]


def test_a_step_that_breaks_off_leaves_the_form_before_it(
    orders: Path, db: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(db: apsw.Connection) -> None:
        db.execute("update orders set age = 7")
        raise InterruptedError

    after([AGE, Step(does="breaks", work=breaks)], monkeypatch)
    with pytest.raises(InterruptedError):
        migrate(orders)

    assert db.execute("select age from orders").fetchall() == [(None,)]
    assert db.execute("pragma user_version").get == 2
    after([AGE, TOUCH], monkeypatch)
    assert migrate(orders).steps == ["every order is a day old"]
    assert db.execute("select age from orders").fetchall() == [(1,)]


def test_nothing_starts_over_a_folder_in_which_any_file_is_of_another_version(
    tmp_path: Path, orders: Path, db: apsw.Connection
) -> None:
    db.execute("pragma user_version = 2")

    with pytest.raises(OtherForm, match=r"orders\.sqlite has form 2"):
        refuse_damage(DataFolder(tmp_path))
