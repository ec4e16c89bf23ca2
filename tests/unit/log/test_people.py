"""Members of the console: invitations, sign-in, sessions, lockout, and what was done by whom."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from lendsignal.clock import to_us
from lendsignal.errors import InputError, LogError
from lendsignal.log.people import LOCKED_FOR, TRIES_BY_LOGIN, Locked, People, open_people
from lendsignal.model.member import ALLOWED, May, Member, MemberRole

NOW = to_us(datetime(2026, 3, 1, 9, tzinfo=UTC))
HOUR = 3_600_000_000
PASSWORD = "correct horse battery"
HOME = "127.0.0.1"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    opened = open_people(tmp_path / "people.sqlite")
    yield opened
    opened.close()


def joined(people: People, login: str = "ada", role: MemberRole = MemberRole.ADMIN) -> Member:
    return people.welcome(people.invite(role, NOW, by="the terminal"), login, PASSWORD, NOW)


def test_an_invitation_makes_one_member_and_no_second(people: People) -> None:
    code = people.invite(MemberRole.BUYER, NOW, by="the terminal", campaigns=("ng_spring", "ng_lal"))

    made = people.welcome(code, " ada ", PASSWORD, NOW + HOUR)

    assert (made.login, made.role, made.campaigns) == ("ada", MemberRole.BUYER, ("ng_spring", "ng_lal"))
    assert people.members() == [made]
    with pytest.raises(InputError, match="was used"):
        people.welcome(code, "eve", PASSWORD, NOW + HOUR)


def test_an_invitation_ends_after_a_day(people: People) -> None:
    code = people.invite(MemberRole.ADMIN, NOW, by="the terminal")

    assert people.invited(code, NOW + 24 * HOUR) == (None, MemberRole.ADMIN)
    assert people.invited(code, NOW + 24 * HOUR + 1) is None
    with pytest.raises(InputError, match="has ended"):
        people.welcome(code, "ada", PASSWORD, NOW + 25 * HOUR)


@pytest.mark.parametrize("password", ["", "short one", "x" * 257])
def test_a_password_is_neither_short_nor_endless(people: People, password: str) -> None:
    code = people.invite(MemberRole.ADMIN, NOW, by="the terminal")

    with pytest.raises(InputError, match="12 to 256"):
        people.welcome(code, "ada", password, NOW)
    assert people.invited(code, NOW) is not None


def test_a_name_is_one_member_s(people: People) -> None:
    joined(people)

    with pytest.raises(InputError, match="taken"):
        joined(people, "ada", MemberRole.VIEWER)


def test_who_signs_in_is_known_by_the_cookie_until_signed_out(people: People) -> None:
    member = joined(people)

    token = people.sign_in("ada", PASSWORD, HOME, NOW)
    session = people.session(token, NOW + HOUR)

    assert session is not None
    assert session.member == member
    assert len(session.form) >= 24
    assert people.session("another", NOW) is None
    people.sign_out(token)
    assert people.session(token, NOW + HOUR) is None


def test_a_session_ends_after_twelve_idle_hours_and_after_a_week(people: People) -> None:
    joined(people)
    idle, busy = people.sign_in("ada", PASSWORD, HOME, NOW), people.sign_in("ada", PASSWORD, HOME, NOW)

    assert people.session(idle, NOW + 12 * HOUR + 1) is None
    for hours in range(10, 7 * 24 + 1, 10):
        assert people.session(busy, NOW + hours * HOUR) is not None
    assert people.session(busy, NOW + 7 * 24 * HOUR + 1) is None


def test_wrong_passwords_lock_the_name_for_a_while_and_the_right_one_too(people: People) -> None:
    joined(people)
    for _ in range(TRIES_BY_LOGIN):
        with pytest.raises(InputError, match="do not fit"):
            people.sign_in("ada", "wrong horse battery", HOME, NOW)

    with pytest.raises(Locked, match="15 minutes"):
        people.sign_in("ada", PASSWORD, HOME, NOW)
    assert people.sign_in("ada", PASSWORD, HOME, NOW + LOCKED_FOR // timedelta(microseconds=1) + 1)


def test_a_name_that_nobody_has_is_refused_in_the_same_words(people: People) -> None:
    joined(people)

    with pytest.raises(InputError) as of_nobody:
        people.sign_in("eve", PASSWORD, HOME, NOW)
    with pytest.raises(InputError) as of_ada:
        people.sign_in("ada", "wrong horse battery", HOME, NOW)
    assert str(of_nobody.value) == str(of_ada.value)


def test_one_address_cannot_try_name_after_name(people: People) -> None:
    for each in range(30):
        with pytest.raises(InputError, match="do not fit"):
            people.sign_in(f"user{each}", PASSWORD, HOME, NOW)

    with pytest.raises(Locked):
        people.sign_in("user31", PASSWORD, HOME, NOW)


def test_a_disabled_member_is_out_at_once(people: People) -> None:
    joined(people)
    joined(people, "bob", MemberRole.OPERATOR)
    token = people.sign_in("bob", PASSWORD, HOME, NOW)

    people.change("bob", NOW, by="ada", disabled=True)

    assert people.session(token, NOW) is None
    with pytest.raises(InputError, match="do not fit"):
        people.sign_in("bob", PASSWORD, HOME, NOW)


@pytest.mark.parametrize("change", [{"role": MemberRole.VIEWER}, {"disabled": True}])
def test_the_last_admin_stays_one(people: People, change: dict[str, MemberRole]) -> None:
    joined(people)

    with pytest.raises(InputError, match="stay admin"):
        people.change("ada", NOW, by="ada", **change)  # type: ignore[arg-type]
    assert people.members()[0].role is MemberRole.ADMIN
    assert not people.members()[0].disabled


def test_a_new_password_ends_the_old_sessions(people: People) -> None:
    joined(people)
    token = people.sign_in("ada", PASSWORD, HOME, NOW)

    people.welcome(
        people.invite(MemberRole.ADMIN, NOW, by="ada", login="ada"), "", "another good phrase", NOW
    )

    assert people.session(token, NOW) is None
    assert people.sign_in("ada", "another good phrase", HOME, NOW)
    with pytest.raises(InputError):
        people.sign_in("ada", PASSWORD, HOME, NOW)


def test_no_password_link_or_cookie_stands_in_the_file(people: People) -> None:
    code = people.invite(MemberRole.ADMIN, NOW, by="the terminal")
    people.welcome(code, "ada", PASSWORD, NOW)
    token = people.sign_in("ada", PASSWORD, HOME, NOW)

    kept = b"".join(path.read_bytes() for path in Path(people.path).parent.iterdir())
    assert b"$argon2id$" in kept
    for secret in (PASSWORD, code, token):
        assert secret.encode() not in kept


def test_what_was_done_is_told_latest_first_and_cannot_be_changed(people: People) -> None:
    joined(people)
    people.note(NOW + 1, "ada", "paused", "meta-ng", "token ends")

    assert [(each.login, each.what, each.about) for each in people.done()] == [
        ("ada", "paused", "meta-ng"),
        ("ada", "joined", "ada"),
        ("the terminal", "invited", "admin"),
    ]
    for change in ("update audit set login = 'eve'", "delete from audit"):
        with pytest.raises(apsw.Error, match="stays written"):
            people._db.execute(change)


def test_a_viewer_looks_a_buyer_decides_an_operator_operates_and_an_admin_does_it_all() -> None:
    assert dict(ALLOWED) == {
        MemberRole.VIEWER: {May.LOOK},
        MemberRole.BUYER: {May.LOOK, May.DECIDE},
        MemberRole.OPERATOR: {May.LOOK, May.OPERATE},
        MemberRole.ADMIN: {May.LOOK, May.DECIDE, May.OPERATE, May.GOVERN},
    }


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "people.sqlite").write_bytes(b"nothing of the kind" * 100)

    with pytest.raises(LogError, match=r"people\.sqlite"):
        open_people(tmp_path / "people.sqlite")
