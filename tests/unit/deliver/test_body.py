"""What a destination may look at: the delivery that is made of a planned record."""

from datetime import timedelta
from typing import Any

import pytest
from tests.acme import APPS, DAY, Told, loan, login, phone, told, us
from tests.desk import real

from lendsignal.deliver import Outlet
from lendsignal.deliver.body import body_of, delivery_of, encoded
from lendsignal.model import Delivery, Secret, Skip, SkipReason

PHONE = phone("p", firebase_app_instance_id="4f2c1a9be07d4c6f8a315d2e9b7c6012")


def firebase(**own: Any) -> Outlet:
    secret = Secret(env="ACME_TOKEN")
    return real(
        "firebase-ng",
        "ga4",
        api_secret=secret,
        firebase_app_id="1:1234567890:android:0a1b2c3d4e5f6a7b",
        **own,
    )


def delivered(lived: Told, outlet: Outlet) -> tuple[Delivery | Skip, object]:
    """The delivery of the one loan, and what the destination makes of it."""
    (record,) = lived.planned("disbursement")
    body = body_of(record, record.entries[0])
    return delivery_of(outlet, APPS, body), encoded(outlet, APPS, body)


def test_a_delivery_says_when_the_login_was_that_it_is_bound_to() -> None:
    lived = told(login(0, PHONE), login(5, PHONE), loan(64 * DAY))

    delivery, _ = delivered(lived, firebase())

    assert isinstance(delivery, Delivery)
    assert delivery.seen_us == us(5)


@pytest.mark.parametrize(("days", "skipped"), [(63, False), (64, True)])
def test_firebase_gets_no_loan_of_an_installation_that_was_not_seen_for_63_days(
    days: int, skipped: bool
) -> None:
    _, item = delivered(told(login(0, PHONE), loan(days * DAY)), firebase())

    assert (item == Skip(SkipReason.TOO_OLD)) is skipped


def test_a_lender_who_fills_audiences_may_ask_for_less() -> None:
    lived = told(login(0, PHONE), loan(43 * DAY))

    assert delivered(lived, firebase(online_within=timedelta(days=42)))[1] == Skip(SkipReason.TOO_OLD)
    assert not isinstance(delivered(lived, firebase())[1], Skip)
