"""Every destination in the folder sits the shared exam, and the exam notices a destination that is broken."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import Phase
from hypothesis import settings as examples
from tests.contract import destination_exam as exam

from lendsignal.destination import registry, webhook
from lendsignal.destination.spec import Destination
from lendsignal.model import Accepted, Rejected, Skip


@pytest.mark.parametrize("question", exam.EXAMS, ids=lambda question: question.__name__)
@pytest.mark.parametrize("kind", sorted(registry()))
def test_every_destination_passes_the_exam(kind: str, question: Callable[[Destination], None]) -> None:
    question(registry()[kind])


@pytest.fixture
def first_example() -> Iterator[None]:
    """That a broken one is noticed is enough: no smaller example of it is looked for, which takes seconds."""
    before = examples.get_current_profile_name()
    examples.register_profile("first example", examples(), phases=[Phase.explicit, Phase.generate])
    examples.load_profile("first example")
    yield
    examples.load_profile(before)


def broken(**changes: Any) -> Destination:
    """The webhook destination with some of its parts replaced."""
    parts = {name: getattr(webhook, name) for name in dir(webhook) if not name.startswith("_")}
    return cast(Destination, SimpleNamespace(__doc__=webhook.__doc__, **{**parts, **changes}))


def respec(**changes: Any) -> Any:
    return msgspec.structs.replace(webhook.SPEC, **changes)


def without_id(delivery: Any, settings: Any) -> Any:
    item = webhook.encode(delivery, settings)
    return item if isinstance(item, Skip) else {**item, "id": "lost"}


def with_a_name(delivery: Any, settings: Any) -> Any:
    item = webhook.encode(delivery, settings)
    return item if isinstance(item, Skip) else {**item, "score": 731}


def with_secret(items: Any, settings: Any) -> Any:
    request = webhook.request(items, settings)
    return msgspec.structs.replace(request, headers={"authorization": exam.CANARY})


def elsewhere(items: Any, settings: Any) -> Any:
    request = webhook.request(items, settings)
    return msgspec.structs.replace(request, url="https://elsewhere.example/x")


calls = iter(range(1_000_000))


@pytest.mark.parametrize(
    ("question", "destination"),
    [
        (exam.facts_are_linked_and_dated, broken(SPEC=respec(docs="http://plain.example"))),
        (exam.facts_are_linked_and_dated, broken(SPEC=respec(hosts=("API.example",)))),
        (exam.the_window_is_a_window, broken(SPEC=respec(max_age=timedelta(0)))),
        (exam.names_are_judged, broken(problem_with_name=lambda name: None)),
        (exam.every_conversion_id_is_inside_the_body, broken(encode=without_id)),
        (exam.no_secret_is_inside, broken(request=with_secret)),
        (exam.requests_go_over_https_to_a_declared_host, broken(request=elsewhere)),
        (exam.requests_go_over_https_to_a_declared_host, broken(SPEC=respec(transport="shelf"))),
        (exam.only_listed_fields_leave, broken(FIELDS=webhook.FIELDS - {"ip"})),
        (exam.only_listed_fields_leave, broken(encode=with_a_name)),
        (exam.only_listed_fields_leave, broken(FIELDS=webhook.FIELDS | {f"f{n}" for n in range(99)})),
        (exam.the_same_delivery_gives_the_same_item, broken(encode=lambda *_: {"id": next(calls)})),
        (exam.every_answer_gives_one_outcome_an_item, broken(classify=lambda *_: [Accepted()] * 2)),
        (
            exam.a_servers_own_trouble_is_never_our_rejection,
            broken(classify=lambda _, count: [Rejected("no")] * count),
        ),
        (exam.slow_down_uses_up_no_try, broken(classify=lambda _, count: [Accepted()] * count)),
        (
            exam.a_refused_credential_waits_for_a_person,
            broken(classify=lambda _, count: [Accepted()] * count),
        ),
        (exam.the_kind_is_the_name_of_the_file, broken(SPEC=respec(name="hook"))),
    ],
)
@pytest.mark.usefixtures("first_example")
def test_the_exam_notices_a_broken_destination(
    question: Callable[[Destination], None], destination: Destination
) -> None:
    with pytest.raises(AssertionError):
        question(destination)


def test_the_registry_names_each_destination_by_its_file() -> None:
    kinds = registry()

    assert {"appsflyer", "ga4", "meta", "webhook"} <= set(kinds)
    assert all(isinstance(module, ModuleType) for module in kinds.values())
