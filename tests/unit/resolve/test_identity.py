"""Identity from the event to the deliveries: which phone, which app's account, and nobody else's ids."""

from collections.abc import Mapping

import pytest
from tests.acme import DAY, HOUR, Told, again, event, loan, login, moment, phone, told

from lendsignal.model import INSTALL_SCOPED, Device, SkipReason, id_of
from lendsignal.plan import Planned, UserState

IPHONE = Device(appsflyer_id="af-iphone", firebase_app_instance_id="fb-iphone", idfv="idfv-iphone", os="ios")


def accounts(after: Told, name: str = "disbursement") -> list[str]:
    """The destinations that the one conversion of a name goes to, late touches included."""
    (planned,) = after.planned(name)
    moved = [one for one in after.rebound() if one.conversion.id == planned.conversion.id]
    return [entry.destination for entry in (moved[-1] if moved else planned).entries]


def ids(after: Told, name: str = "disbursement") -> Mapping[str, str]:
    """The install-scoped ids that the one conversion of a name is told by."""
    (planned,) = after.planned(name)
    assert planned.binding is not None
    device = planned.binding.snapshot.device
    return {kind.value: value for kind in INSTALL_SCOPED if (value := id_of(device, kind))}


# Android → iPhone of one brand


def test_after_the_change_to_an_iphone_a_loan_goes_to_the_account_of_the_iphones_app() -> None:
    after = told(login(0, "droid"), login(60, IPHONE, app="acme-ios"), loan(61))

    assert after.device("disbursement") == "af-iphone"
    assert accounts(after) == ["appsflyer-ios"]


def test_before_the_change_it_goes_to_the_account_of_the_android_app() -> None:
    after = told(login(0, "droid"), login(60, IPHONE, app="acme-ios"), loan(59, arrives=70))

    assert after.device("disbursement") == "af-droid"
    assert accounts(after) == ["appsflyer-ng"]


def test_a_login_on_the_iphone_that_comes_in_late_moves_the_loan_to_the_other_account() -> None:
    after = told(login(0, "droid"), loan(61, arrives=61), login(60, IPHONE, app="acme-ios", arrives=62))

    assert after.device("disbursement") == "af-iphone"
    assert accounts(after) == ["appsflyer-ios"]


def test_back_on_the_old_android_phone_the_loan_goes_there_again() -> None:
    after = told(
        login(0, "droid"),
        login(60, IPHONE, app="acme-ios"),
        again(login(90, "droid"), event_id="back"),
        loan(91),
    )

    assert (after.device("disbursement"), accounts(after)) == ("af-droid", ["appsflyer-ng"])


def test_no_id_of_the_android_phone_is_told_beside_the_iphones() -> None:
    lacking = Device(appsflyer_id="af-iphone", idfv="idfv-iphone")
    after = told(
        login(0, phone("droid", adjust_adid="adid-droid")), login(60, lacking, app="acme-ios"), loan(61)
    )

    assert ids(after) == {"appsflyer_id": "af-iphone"}


# what is a touch


@pytest.mark.parametrize("kind", ["registered", "logged_in", "app_opened"])
def test_registering_logging_in_and_opening_the_app_are_touches(kind: str) -> None:
    seen = event(kind, 10, app="acme-ng", device=phone("new"))

    assert told(login(0, "old"), seen, loan(20)).device("disbursement") == "af-new"


@pytest.mark.parametrize("kind", ["applied", "disbursed", "button_pressed"])
def test_no_other_event_is_a_touch_though_it_carries_a_device(kind: str) -> None:
    seen = event(kind, 10, app="acme-ng", device=phone("office"), application_id="A1", loan_id="L0")

    assert told(login(0, "own"), seen, event("repaid", 20, payment_id="P1")).device("repayment") == "af-own"


@pytest.mark.parametrize("actor", ["agent", "system"])
def test_whoever_else_logs_in_for_the_user_neither_binds_nor_releases_nor_moves(actor: str) -> None:
    other = login(10, "call centre", actor=actor)
    late = login(19, "call centre", actor=actor, arrives=25, event_id="late")

    assert told(login(0, "own"), other, loan(20), late).device("disbursement") == "af-own"
    assert told(loan(0), login(1, "call centre", actor=actor)).planned() == []


def test_a_login_told_for_analytics_is_a_touch_all_the_same() -> None:
    assert told(login(0, "own", purpose="analytics"), loan(1)).device("disbursement") == "af-own"


def test_an_imported_login_binds_what_comes_after_it_live() -> None:
    after = told(login(-DAY, "known", history=True), loan(0))

    assert after.device("disbursement") == "af-known"
    assert {entry.skip for entry in after.planned("disbursement")[0].entries} == {None}


def test_an_imported_table_of_users_and_phones_makes_no_false_first_loan() -> None:
    """Who is known by a login alone may have borrowed for years."""
    after = told(login(-DAY, "known", history=True), loan(0))

    (first,) = after.planned("first_loan")
    assert {entry.skip for entry in first.entries} == {SkipReason.FIRST_UNKNOWN}


# shared phones


def test_two_users_of_one_phone_stay_two() -> None:
    """Each has the phone, a first loan and a history of the own."""
    both = {}
    for name in ("u1", "u2"):
        one = Told()
        one.state = UserState(f"acme:{name}")
        both[name] = one.tell(
            event("registered", 0, user_id=name),
            login(1, "shared", user_id=name),
            loan(2, f"L-{name}", user_id=name),
        )

    for name, after in both.items():
        assert after.names() == ["registration", "disbursement", "first_loan"]
        assert after.device("disbursement") == "af-shared"
        assert {one.conversion.user_id for one in after.planned()} == {name}
    ids_of = [{one.conversion.id for one in after.planned()} for after in both.values()]
    assert ids_of[0].isdisjoint(ids_of[1])


# one installation


def test_a_reinstall_is_another_installation_on_the_same_phone() -> None:
    """The new installation's first login lacks the id of Firebase: the old one's is not told for it."""
    fresh = Device(appsflyer_id="af-2", gaid="gaid-a")
    after = told(login(0, "a"), login(10, fresh), loan(11))

    assert ids(after) == {"appsflyer_id": "af-2"}
    (planned,) = after.planned("disbursement")
    assert planned.first_install is not None
    assert planned.first_install.snapshot.device.appsflyer_id == "af-a"


def test_what_the_login_lacks_is_completed_by_earlier_logins_of_the_installation_alone() -> None:
    after = told(
        login(0, phone("a", adjust_adid="adid-a")),
        login(5, "b"),
        again(login(10, Device(appsflyer_id="af-a")), event_id="third"),
        loan(11),
    )

    assert ids(after) == {
        "appsflyer_id": "af-a",
        "firebase_app_instance_id": "fb-a",
        "adjust_adid": "adid-a",
    }


# days, clocks and ties


def test_a_loan_known_by_its_day_belongs_to_the_phone_of_that_evening() -> None:
    """T0 is 10:00 in Lagos on the 10th; the day ends fourteen hours later, and the next morning's login
    is too late."""
    paid = loan(0, time_precision="day", arrives=3 * DAY)

    after = told(login(-1, "morning"), login(13 * HOUR, "evening"), login(15 * HOUR, "next day"), paid)

    assert after.device("disbursement") == "af-evening"
    (planned,) = after.planned("disbursement")
    assert planned.conversion.day_precision
    assert planned.conversion.occurred_at == moment(2 * HOUR)


def test_a_loan_told_on_its_day_does_not_wait_for_the_evening() -> None:
    paid = loan(0, time_precision="day", arrives=HOUR)

    after = told(login(-1, "morning"), paid, login(13 * HOUR, "evening"))

    assert after.device("disbursement") == "af-morning"


def test_a_phone_whose_clock_runs_ahead_binds_from_its_arrival_on() -> None:
    """The door has pulled the login back to its arrival: a loan a minute before it is the old phone's."""
    pulled_back = login(10, "fast clock", arrives=10, flags=("clock_ahead",))

    assert told(login(0, "old"), pulled_back, loan(9)).device("disbursement") == "af-old"
    assert told(login(0, "old"), pulled_back, loan(10)).device("disbursement") == "af-fast clock"


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_logins_in_one_instant_the_larger_event_id_counts_in_whatever_order(turned: bool) -> None:
    two = [login(5, "small", event_id="e1"), login(5, "large", event_id="e2")]

    assert told(*(reversed(two) if turned else two), loan(6)).device("disbursement") == "af-large"


# corrections


def test_a_revision_of_a_loan_plans_nothing_anew_though_the_user_has_another_phone_by_now() -> None:
    after = told(login(0, "old"), loan(10), login(20, "new"), loan(10, revision=1, arrives=30, amount=None))

    assert len(after.planned("disbursement")) == 1
    assert after.device("disbursement") == "af-old"


def test_a_reversed_loan_makes_no_later_loan_a_repeat() -> None:
    after = told(
        event("registered", -1),
        login(0, "a"),
        loan(1),
        event("loan_cancelled", 2, loan_id="L1"),
        loan(3, "L2"),
    )

    assert after.planned("repeat_loan") == []
    assert all(isinstance(one, Planned) for one in after.planned())
