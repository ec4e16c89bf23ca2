"""What a request tells, by name: what the firewall is written in."""

from lendsignal.destination import registry
from lendsignal.destination.spec import Request, fields_of


def test_objects_are_told_by_path_lists_by_their_items_and_text_with_json_by_what_is_in_it() -> None:
    request = Request(
        method="POST",
        url="https://api.example/v1/app-7/events?app=7&empty=",
        headers={"X-Version": "1"},
        json={
            "data": [{"user": {"id": "u"}}, {"user": {"ip": "203.0.113.7"}}],
            "value": '{"amount":1,"more":{"deep":true}}',
            "missing": None,
            "text": "{not json",
        },
    )

    assert fields_of(request) == {
        "?app",
        "header:X-Version",
        "data[].user.id",
        "data[].user.ip",
        "value.amount",
        "value.more.deep",
        "text",
    }


def test_a_forms_fields_are_told_like_a_bodys() -> None:
    form = {"s2s": "1", "callback_params": '{"conversion_id":"c"}'}

    assert fields_of(Request(method="POST", url="https://x.example/", form=form)) == {
        "s2s",
        "callback_params.conversion_id",
    }


def test_no_platform_is_told_a_score_a_limit_or_a_name() -> None:
    telling = ("score", "limit_amount", "income", "full_name", "first_name", "last_name", "tier", "dpd")

    for kind, module in registry().items():
        assert [field for field in module.FIELDS for word in telling if word in field.lower()] == [], kind
