"""Our reading of CEL against the language's own implementation in C++."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import event

from lendsignal.derive import Facts, Ledger, compiled
from lendsignal.errors import InputError

cel = pytest.importorskip("cel_expr_python.cel", reason="uv pip install cel-expr-python: the oracle")

ENVIRONMENT = cel.NewEnv(variables={"event": cel.Type.DYN})

numbers = st.sampled_from(["event.dpd", "event.loan_number", "0", "1", "2", "-3", "7", "9223372036854775807"])
doubles = st.sampled_from(["event.score", "event.amount", "0.0", "1.5", "-2.0", "700.5"])
texts = st.sampled_from(["event.product", "event.currency", "'gold'", "'NGN'", "''", "'ol'"])
loose = st.sampled_from(
    ["event.properties.a", "event.properties['b']", "event.properties.c", "event.properties.none"]
)


def joined(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda given: pattern.format(*given))


compare = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
whole = st.recursive(
    numbers, lambda inner: joined("({} {} {})", inner, st.sampled_from("+-*/%"), inner), max_leaves=4
)
broken = st.recursive(
    doubles, lambda inner: joined("({} {} {})", inner, st.sampled_from("+-*/"), inner), max_leaves=4
)
leaves = st.one_of(
    joined("{} {} {}", whole, compare, whole),
    joined("{} {} {}", broken, compare, broken),
    joined("{} {} {}", texts, compare, texts),
    joined("{} {} {}", loose, compare, st.one_of(numbers, doubles, texts, loose)),
    joined("{}.{}({})", texts, st.sampled_from(["startsWith", "endsWith", "contains"]), texts),
    joined("{} in ['gold', {}]", texts, texts),
    joined("{} in [1, 2, 7]", st.one_of(whole, loose)),
    joined("size({}) == {}", texts, numbers),
    joined("has(event.{})", st.sampled_from(["dpd", "score", "product", "properties.a", "properties.none"])),
    st.sampled_from(["true", "false", "event.test", "event.closes_loan", "event.properties.c"]),
)
questions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        joined("({} && {})", inner, inner),
        joined("({} || {})", inner, inner),
        joined("!({})", inner),
        joined("({} ? {} : {})", inner, inner, inner),
    ),
    max_leaves=8,
)
known = st.fixed_dictionaries(
    {},
    optional={
        "dpd": st.sampled_from([-1, 0, 2, 30]),
        "loan_number": st.sampled_from([1, 2, 7]),
        "score": st.sampled_from([0.0, 1.5, 700.5]),
        "amount": st.sampled_from([0.0, 1.5, 25000.0]),
        "product": st.sampled_from(["gold", "", "NGN"]),
        "currency": st.sampled_from(["NGN", "USD"]),
        "closes_loan": st.booleans(),
        "test": st.booleans(),
        "properties": st.fixed_dictionaries(
            {},
            optional={name: st.sampled_from([0, 1, 7, 1.5, "gold", True, False]) for name in "abc"},
        ),
    },
)


def ours(text: str, given_: Mapping[str, Any]) -> bool:
    told = event("repaid", 0, **given_)
    return compiled(text, "bool").holds(Facts(told, Ledger(), lambda: None))


def theirs(text: str, given_: Mapping[str, Any]) -> bool:
    facts = {"test": False, "properties": {}, **given_}
    found = ENVIRONMENT.compile(text, disable_check=True).eval(data={"event": facts})
    return bool(found.type() == cel.Type.BOOL and found.value())


@settings(max_examples=400, deadline=None)
@given(questions, known)
def test_an_expression_means_what_the_language_says(text: str, given_: Mapping[str, Any]) -> None:
    assert ours(text, given_) is theirs(text, given_)


@settings(max_examples=300, deadline=None)
@given(st.text("event.typ'=<>()[]!&|?:0127 \\\"\n", max_size=40))
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    with suppress(InputError):  # anything else would be a fault
        compiled(text, "bool")
