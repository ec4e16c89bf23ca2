"""A route changed in a configuration's text: just that, with comments and everything else as they were."""

import tomllib
from typing import Any

import pytest

from lendsignal.console.route_text import RouteWish, routes_in, toml, with_new_route, with_route
from lendsignal.errors import InputError

TEXT = """\
[portfolio]
name = "acme"  # the lender

[[route]]
to    = "first"
send  = { registration = "ev_r", disbursement = "ev_d" }  # neutral codes
value = { disbursement = "principal" }

# Quality tiers go to the second.
[[route]]
to   = ["second", "third-*"]
send = { credit = "ev_c" }
settle = "5s"
"""


def wish(mode: str = "live", value: dict[str, Any] | None = None, **send: str) -> RouteWish:
    return RouteWish(send=send, value=value or {}, mode=mode)


def lines_changed(text: str) -> list[str]:
    """The lines of a text that `TEXT` has not."""
    return [line for line in text.splitlines() if line not in TEXT.splitlines()]


def test_a_name_is_changed_in_its_line_and_the_comment_stays() -> None:
    changed = with_route(
        TEXT, 0, wish(registration="ev_x", disbursement="ev_d", value={"disbursement": "principal"})
    )

    assert lines_changed(changed) == [
        'send  = { registration = "ev_x", disbursement = "ev_d" }  # neutral codes'
    ]


def test_a_value_and_a_mode_that_were_not_there_stand_below_the_names() -> None:
    changed = with_route(TEXT, 1, wish("shadow", {"credit": 12.5}, credit="ev_c"))

    assert lines_changed(changed) == ['mode = "shadow"', "value = { credit = 12.5 }"]
    route = tomllib.loads(changed)["route"][1]
    assert (route["mode"], route["value"], route["settle"]) == ("shadow", {"credit": 12.5}, "5s")


def test_a_value_that_is_not_wished_any_more_is_taken_out() -> None:
    changed = with_route(TEXT, 0, wish(disbursement="ev_d"))

    assert "value" not in tomllib.loads(changed)["route"][0]
    assert "# Quality tiers go to the second." in changed


def test_a_new_route_stands_at_the_end_and_the_rest_stays_letter_by_letter() -> None:
    changed = with_new_route(TEXT, "fourth", wish(first_loan="ev_fl", value={"first_loan": "predicted"}))

    assert changed.startswith(TEXT)
    assert tomllib.loads(changed)["route"][2] == {
        "to": "fourth",
        "send": {"first_loan": "ev_fl"},
        "value": {"first_loan": "predicted"},
    }


@pytest.mark.parametrize(
    "text",
    [
        '[[route]]\nto = "first"\n[route.send]\nregistration = "ev_r"\n',
        'route = [{ to = "first", send = { registration = "ev_r" } }]\n',
        '[[route]]\nto = "first"\nsend.registration = "ev_r"\n',
    ],
    ids=["a table of its own", "all in one line", "dotted"],
)
def test_a_route_that_is_written_otherwise_is_left_to_whoever_writes_so(text: str) -> None:
    assert routes_in(text)[0]["send"] == {"registration": "ev_r"}
    with pytest.raises(InputError, match="change the text itself"):
        with_route(text, 0, wish(registration="ev_x"))


def test_a_route_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no such route"):
        with_route(TEXT, 2, wish(credit="ev_c"))


def test_what_is_no_toml_is_said_so() -> None:
    with pytest.raises(InputError, match="not TOML"):
        routes_in("[[route")


@pytest.mark.parametrize(
    "value",
    [
        True,
        0.1,
        7,
        'a "word" \\ and é\n',
        {"of": "margin", "bins": [1, 2.5], "a key": "x"},
        [],
        {},
        tomllib.loads("at = 2026-03-01T10:00:00Z")["at"],
    ],
)
def test_what_is_written_reads_as_it_was(value: Any) -> None:
    assert tomllib.loads(f"it = {toml(value)}") == {"it": value}
