"""Expressions in CEL: what they say, what they refuse and where, and what they cost at most."""

from typing import Any

import pytest
from tests.acme import event, loan, phone

from lendsignal.derive import Facts, Ledger, Loan, compiled
from lendsignal.derive.facts import TABLES
from lendsignal.derive.syntax import DEEPEST, LARGEST, LONGEST
from lendsignal.errors import InputError
from lendsignal.resolve import Snapshot

LEDGER = Ledger(
    whole=True,
    fired=frozenset({"default:L9"}),
    loans={
        "L1": Loan(closed=True),
        "L2": Loan(late=True),
        "L3": Loan(reversed=True),
        "L9": Loan(late=True, closed=True),
    },
)
PAID = loan(0, "L2", loan_number=2, score=700.5, properties={"plan": "gold", "rank": 3, "vip": True})
PHONE = Snapshot("acme-ng", phone("a", os="android", model="Pixel 9", emulator=False, cpu_cores=8))


def facts(one: Any = PAID, snapshot: Snapshot | None = PHONE) -> Facts:
    return Facts(one, LEDGER, lambda: snapshot)


def holds(text: str, known: Facts | None = None) -> bool:
    return compiled(text, "bool").holds(known or facts())


@pytest.mark.parametrize(
    "text",
    [
        "event.type == 'disbursed'",
        'event.type == "disbursed" && event.loan_number >= 2',
        "event.amount > 24999.5 && event.amount <= 25000",
        "event.amount * 0.1 + event.fee == 4000.0",
        "event.type in ['disbursed', 'repaid']",
        "!(event.type in ['applied'])",
        "user.loans == 3 && user.open_loans == 1 && user.closed_loans == 2 && user.late_loans == 2",
        "user.reversed_loans == 1 && user.defaulted && user.known_from_start",
        "snapshot.model.startsWith('Pixel') && snapshot.cpu_cores > 4 && !snapshot.emulator",
        "event.properties.plan == 'gold' && event.properties['rank'] == 3 && event.properties.vip",
        "'plan' in event.properties && !('color' in event.properties)",
        "has(event.score) && !has(event.dpd) && has(event.properties.plan)",
        "has(event.dpd) ? event.dpd > 30 : event.score > 700.0",
        "size(event.currency) == 3 && event.currency.endsWith('GN') && event.currency.contains('G')",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1 && 7 - 2 * 3 == 1",
        "double(event.loan_number) * 1.5 == 3.0 && int(event.score) == 700",
        "event.brand + '/' + event.user_id == 'acme/u1'",
        "true // what comes behind two strokes is a remark\n && 0x10 == 16 && 1.5e2 == 150.0",
        r"'it\'s \u0041' == \"it's A\"".replace('\\"', '"'),
    ],
)
def test_what_the_event_the_user_and_the_phone_fulfil_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"!({text})")


@pytest.mark.parametrize(
    "text",
    [
        "event.dpd > 3",
        "event.dpd <= 3",
        "!(event.dpd > 3)",
        "event.properties.nothing == 'x'",
        "event.properties.plan > 3",
        "event.properties.rank && true",
        "event.loan_number / 0 == 1",
        "event.loan_number * 9223372036854775807 > 0",
        "int('x') == 1",
        "[1, 2][5] == 1",
    ],
)
def test_what_cannot_be_answered_does_not_hold(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("event.dpd > 3 || event.loan_number == 2", True),
        ("event.loan_number == 2 || event.dpd > 3", True),
        ("event.dpd > 3 || event.loan_number == 9", False),
        ("!(event.dpd > 3 && event.loan_number == 9)", True),
        ("!(event.loan_number == 9 && event.dpd > 3)", True),
    ],
)
def test_one_side_may_settle_what_the_other_cannot_answer(text: str, answer: bool) -> None:
    assert holds(text) is answer


def test_without_a_login_nothing_can_be_said_of_the_phone() -> None:
    assert not holds("snapshot.os == 'android'", facts(snapshot=None))
    assert not holds("snapshot.os != 'android'", facts(snapshot=None))
    assert not holds("has(snapshot.os)", facts(snapshot=None))


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("event.tpye == 'x'", "line 1, column 7", "event.tpye is not known"),
        ("event.type ==", "line 1, column 14", "ends too early"),
        ("event.type = 'x'", "line 1, column 12", "means nothing"),
        ("true &&\n  (user.loans > 1", "line 2, column 18", "')' is expected, not the end"),
        ("user.loans > 1 user.loans", "line 1, column 16", "'user' is not expected"),
        ("loans > 1", "line 1, column 1", "'loans' cannot stand alone; known are event, user, snapshot"),
        ("event == 'x'", "line 1, column 1", "write event.NAME"),
        ("event.type > 3", "line 1, column 12", "text is neither more nor less than a whole number"),
        ("event.type == 3", "line 1, column 12", "text is never a whole number"),
        ("event.type in [1]", "line 1, column 16", "text is never a whole number"),
        ("event.amount * 2 > 1.0", "line 1, column 14", "write 2.0 or double"),
        ("event.amount", "line 1, column 7", "true or false is needed"),
        ("event.amount && true", "line 1, column 7", "true or false is needed"),
        ("event.score == null", "line 1, column 16", "has(…) tells"),
        ("event.brand.matches('(a+)+')", "line 1, column 13", "matches(…) is not known"),
        ("[1].all(x, x > 0)", "line 1, column 5", "all(…) is not known"),
        ("has(event.score > 1)", "line 1, column 1", "asks for one fact"),
        ("[1, 'a'][0] == 1", "line 1, column 1", "of one kind"),
        ("true ? 1 : 'a'", "line 1, column 6", "one side is a whole number, the other text"),
        ("9223372036854775808 > 0", "line 1, column 1", "64 bits"),
        ("'\\q' == 'q'", "line 1, column 1", "no escape"),
        ("for == 1", "line 1, column 1", "cannot stand here"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, place: str, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled(text, "bool")

    assert caught.value.field == place
    assert rule in caught.value.rule


@pytest.mark.parametrize(
    "text",
    [
        " " * LONGEST + "true",
        "true" + " || true" * LARGEST,
        "(" * (DEEPEST + 1) + "true" + ")" * (DEEPEST + 1),
        "!" * (DEEPEST + 1) + "true",
        "true" + " ? true : true" * (LARGEST // 4),
    ],
)
def test_an_expression_without_end_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"at most|more than"):
        compiled(text, "bool")


def test_the_largest_expression_takes_no_more_steps_than_it_has_parts() -> None:
    asked = 0

    class Counting(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            nonlocal asked
            asked += 1
            return super().get(name, default)

    parts = LARGEST // 6
    text = " && ".join(["event.properties.x != 1"] * parts)
    known = facts(event("x", 0, properties=Counting(x=2)))

    assert holds(text, known)
    assert asked == parts


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("event.type == 'repaid' && user.loans >= 2", {"repaid"}),
        ("'repaid' == event.type", {"repaid"}),
        ("event.type in ['repaid', 'applied'] && event.test", {"repaid", "applied"}),
        ("event.type == 'repaid' || event.type == 'x'", {"repaid", "x"}),
        ("event.type == 'repaid' && event.type in ['x', 'y']", set()),
        ("event.type == 'repaid' || user.loans > 1", None),
        ("event.type != 'repaid'", None),
        ("!(event.type == 'repaid')", None),
        ("event.brand == 'repaid'", None),
        ("event.properties.type == 'repaid'", None),
        ("user.loans > 1 ? event.type == 'repaid' : false", None),
    ],
)
def test_the_types_an_expression_can_hold_for_are_known_beforehand(text: str, types: set[str] | None) -> None:
    assert compiled(text, "bool").types == types


def test_a_value_is_a_number_one_could_send() -> None:
    def value(text: str) -> float | None:
        return compiled(text, "int", "double").value(facts())

    assert value("event.amount * 0.5") == 12500.0
    assert value("event.loan_number") == 2
    assert value("event.outstanding + 1.0") is None
    assert value("1.0 / 0.0") is None
    assert value("event.properties.plan") is None
    assert value("event.properties.vip") is None


def test_nothing_personal_can_be_asked_for() -> None:
    names = {name for table in TABLES.values() for name in table}

    assert not names & {"contact", "phone", "email", "ip", "user_agent", "gaid", "idfa", "appsflyer_id"}
