"""What the sending loop of lists does when a platform says something else than yes."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.acme import us
from tests.telling import build, data_folder, e164, email_google, gaid

from lendsignal.audience.membership import Membership, Planned
from lendsignal.deliver.audiences import AccountPlan, AccountSettings, Synced, make_look_alike, sync
from lendsignal.deliver.wire import Done, NoAnswer, Wire
from lendsignal.destination.audiences import file, google, meta, snap
from lendsignal.destination.audiences.shape import LookAlike
from lendsignal.destination.spec import Response
from lendsignal.errors import TransportError
from lendsignal.log import DataFolder
from lendsignal.model import Secret
from lendsignal.model.audience import Counts

Answers = Callable[[Wire], Response | NoAnswer]
Shared = dict[int, int] | None


def yes(**body: Any) -> Response:
    return Response(status=200, body=json.dumps(body).encode())


def no(status: int, **body: Any) -> Response:
    return Response(status=status, body=json.dumps(body).encode())


class Scripted:
    """A platform that answers by a function, and remembers what it was asked."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.came: list[Wire] = []
        self._done: list[Done] = []

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None:
        self.came.append(wire)
        self._done.append(Done(token, self.answers(wire)))

    def wait(self, seconds: float) -> list[Done]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Nothing is held."""

    def paths(self) -> list[str]:
        """Method and last step of what was asked."""
        return [f"{one.method} {one.url.partition('?')[0].rpartition('/')[2]}" for one in self.came]


class Hand:
    """A clock that is set by hand."""

    replay = True

    def __init__(self) -> None:
        self.at_us = us(0)

    def now_us(self) -> int:
        return self.at_us

    def pass_by(self, span: timedelta) -> None:
        self.at_us += span // timedelta(microseconds=1)


class House:
    """One list in one account, and the platform's side of it."""

    def __init__(self, folder: Path, module: Any, own: Any, **common: Any) -> None:
        self.folder: DataFolder = data_folder(folder / "data")
        self.clock = Hand()
        settings = AccountSettings(
            kind=module.SPEC.name,
            first_retry=timedelta(milliseconds=1),
            per_second=1e6,
            **{"chunk": 10, **common},
        )
        self.account = AccountPlan(name="there", module=module, common=settings, own=own, folder=folder)
        self.code = "ls-0a1b"
        self.retired = False
        self.platform = Scripted(self.says)
        self.handlers: dict[str, Answers] = {}

    def says(self, wire: Wire) -> Response | NoAnswer:
        for part, answer in self.handlers.items():
            if part in f"{wire.method} {wire.url}":
                return answer(wire)
        raise AssertionError(f"nobody answers {wire.method} {wire.url}")

    def membership(self) -> Membership:
        plan = [
            Planned(audience="good", account="there", code=self.code, use="retargeting", retired=self.retired)
        ]
        return Membership(self.folder, plan, self.clock)

    def tell(self) -> Synced:
        with closing(self.membership()) as ledger:
            (found,) = sync(ledger, {"there": self.account}, self.clock, network=lambda: self.platform)
        return found

    def counts(self) -> Counts:
        with closing(self.membership()) as ledger:
            return ledger.counts(ledger.syncs()[0])

    def intend(self, *keys: int, contact_of: Shared = None, phone_of: Shared = None) -> None:
        values = dict.fromkeys(keys, 1.0)
        build(self.folder, "good", values, contact_of=contact_of, phone_of=phone_of)

    def bodies(self, verb: str) -> list[Any]:
        """What was told in calls of that name."""
        return [json.loads(one.body) for one in self.platform.came if one.url.endswith(verb)]


def ended(wire: Wire) -> Response:
    """Meta's token is of no use any more."""
    return no(400, error={"code": 190})


def took(wire: Wire) -> Response:
    """Meta takes every row."""
    rows = json.loads(wire.body)["payload"]["data"]
    return yes(audience_id="7", num_received=len(rows), num_invalid_entries=0)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("META_TOKEN", "made-up")
    own = meta.Settings(ad_account="111", token=Secret(env="META_TOKEN"), ids=("mobile",))
    made = House(tmp_path, meta, own)
    made.handlers = {
        "GET https://graph.facebook.com/v26.0/act_111/customaudiences": lambda _: yes(data=[]),
        "POST https://graph.facebook.com/v26.0/act_111/customaudiences": lambda _: yes(id="7"),
        "GET https://graph.facebook.com/v26.0/7": lambda _: yes(
            approximate_count_lower_bound=20, approximate_count_upper_bound=24
        ),
        "/usersreplace": took,
        "/users": took,
    }
    return made


def test_a_list_is_looked_for_before_it_is_made(house: House) -> None:
    house.handlers["GET https://graph.facebook.com/v26.0/act_111/customaudiences"] = lambda _: yes(
        data=[{"id": "7", "name": "ls-0a1b"}]
    )
    house.intend(*range(1, 13))

    assert house.tell().added == 12
    assert house.platform.paths() == ["GET customaudiences", "POST users", "POST users", "GET 7"]


def test_what_the_platform_counts_is_kept(house: House) -> None:
    house.intend(*range(1, 45))
    house.tell()

    with closing(house.membership()) as ledger:
        row = ledger._book.sync("good", "there")
    assert (row.size, row.match_rate) == (22, 0.5)


def test_a_token_that_ended_stops_the_list_until_it_is_tried_again(house: House) -> None:
    house.intend(1, 2)
    house.handlers["/users"] = lambda _: no(400, error={"code": 190})
    stopped = house.tell()
    asked = len(house.platform.came)
    waits = house.tell()

    assert (stopped.outcome, stopped.reason) == ("paused", "bad_token")
    assert (waits.outcome, len(house.platform.came)) == ("paused", asked)

    house.clock.pass_by(timedelta(minutes=15))
    house.handlers["/users"] = took
    assert (house.tell().outcome, house.counts().confirmed) == ("in_step", 2)


def test_what_a_person_paused_is_not_tried(house: House) -> None:
    house.intend(1, 2)
    with closing(house.membership()) as ledger:
        ledger.pause(ledger.syncs()[0], "stop")
    house.clock.pass_by(timedelta(days=1))

    assert house.tell().outcome == "paused"
    assert house.platform.came == []


def test_a_long_throttle_ends_the_run_and_loses_nothing(house: House) -> None:
    house.intend(*range(1, 25))
    house.handlers["/users"] = lambda _: Response(
        status=429,
        headers={"x-business-use-case-usage": '{"1":[{"estimated_time_to_regain_access": 30}]}'},
    )
    waits = house.tell()

    assert (waits.outcome, waits.reason) == ("waiting", "throttled")
    assert waits.again_in == pytest.approx(1800, abs=1)
    house.handlers["/users"] = took
    assert (house.tell().outcome, house.counts()) == (
        "in_step",
        Counts(intended=24, confirmed=24, adds=0, removes=0, refused=0),
    )


def test_a_list_too_small_to_remove_from_is_sent_anew(house: House) -> None:
    house.intend(*range(1, 21))
    house.tell()
    house.intend(*range(6, 21))
    house.platform.came.clear()

    assert house.tell().replaced
    assert house.platform.paths() == ["POST usersreplace", "POST usersreplace"]
    sessions = [json.loads(one.body)["session"] for one in house.platform.came]
    assert [(one["batch_seq"], one["last_batch_flag"]) for one in sessions] == [(1, False), (2, True)]
    assert sessions[0]["session_id"] == sessions[1]["session_id"]
    assert house.counts().confirmed == 15


def test_a_retired_list_is_emptied_by_removals(house: House) -> None:
    house.intend(*range(1, 151))
    house.tell()
    house.retired = True
    house.platform.came.clear()
    gone: list[list[str]] = []

    def removed(wire: Wire) -> Response:
        gone.extend(json.loads(wire.body)["payload"]["data"])
        return took(wire)

    # From 100 members down Meta lets nobody be removed: the rest goes at once.
    house.handlers = {"/7/users": removed, "DELETE": lambda _: yes(success=True)}
    found = house.tell()

    assert (found.outcome, found.removed) == ("in_step", 150)
    assert gone == [[gaid(key)] for key in range(1, 61)]
    assert house.platform.paths()[-1] == "DELETE 7"
    assert house.counts() == Counts(intended=0, confirmed=0, adds=0, removes=0, refused=0)
    house.platform.came.clear()
    assert house.tell() == Synced(audience="good", account="there", outcome="in_step")
    assert house.platform.came == [], "what is gone is not asked for"


def test_a_list_that_somebody_else_made_is_not_taken_away(house: House) -> None:
    house.account = msgspec.structs.replace(
        house.account, common=msgspec.structs.replace(house.account.common, lists={"good": "7"})
    )
    house.intend(1, 2, 3)
    house.tell()
    house.retired = True

    assert (house.tell().outcome, house.tell().reason) == ("paused", "too_small_to_empty")


def test_an_emptied_list_that_is_still_wanted_stays_there(house: House) -> None:
    house.intend(1, 2, 3)
    house.tell()
    house.intend()
    said = house.tell()

    assert (said.outcome, said.reason) == ("paused", "too_small_to_empty")
    assert "DELETE 7" not in house.platform.paths()


def test_a_replace_goes_on_where_it_was_left(house: House) -> None:
    house.intend(*range(1, 31))
    house.tell()
    with closing(house.membership()) as ledger:
        ledger.ask_replace(ledger.syncs()[0])
    breaks = iter([took, ended])
    house.handlers["/usersreplace"] = lambda wire: next(breaks)(wire)
    house.tell()
    house.clock.pass_by(timedelta(minutes=20))
    house.handlers["/usersreplace"] = took
    house.platform.came.clear()

    assert house.tell().replaced
    numbers = [json.loads(one.body)["session"]["batch_seq"] for one in house.platform.came]
    assert numbers == [2, 3]


def test_a_session_that_stood_open_for_an_hour_is_begun_anew(house: House) -> None:
    house.intend(*range(1, 31))
    house.tell()
    with closing(house.membership()) as ledger:
        ledger.ask_replace(ledger.syncs()[0])
    breaks = iter([took, ended])
    house.handlers["/usersreplace"] = lambda wire: next(breaks)(wire)
    house.tell()
    house.clock.pass_by(timedelta(minutes=61))
    house.handlers["/usersreplace"] = took
    house.platform.came.clear()

    assert house.tell().replaced
    numbers = [json.loads(one.body)["session"]["batch_seq"] for one in house.platform.came]
    assert numbers == [1, 2, 3]


def test_rows_that_meta_cannot_read_are_found_by_halving(house: House) -> None:
    bad = gaid(7)

    def two_hands(wire: Wire) -> Response:
        rows = json.loads(wire.body)["payload"]["data"]
        return yes(num_received=len(rows), num_invalid_entries=sum(bad in row for row in rows))

    house.handlers["/users"] = two_hands
    house.intend(*range(1, 11))

    assert (house.tell().refused, house.counts().confirmed) == (1, 9)


def test_a_platform_that_refuses_everybody_is_asked_a_few_hundred_times_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TOKEN", "made-up")
    own = meta.Settings(ad_account="111", token=Secret(env="META_TOKEN"), ids=("mobile",))
    house = House(tmp_path, meta, own, chunk=10_000, lists={"good": "7"})
    house.handlers = {"/users": lambda _: no(400, error={"code": 100, "error_subcode": 1})}
    house.intend(*range(1, 401))

    assert house.tell().reason == "too_many_refused"
    assert len(house.platform.came) == 300
    assert house.counts().adds == 400


def test_a_name_that_tells_of_its_members_never_leaves(house: House) -> None:
    house.code = "bad-debt"
    house.intend(1, 2)

    assert house.tell().reason == "name_not_neutral"
    assert house.platform.came == []


def test_a_flagged_list_waits_for_a_person(house: House) -> None:
    house.handlers["GET https://graph.facebook.com/v26.0/7"] = lambda _: yes(operation_status={"code": 471})
    house.intend(1, 2)

    assert (house.tell().outcome, house.counts().confirmed) == ("paused", 2)


def test_no_answer_is_asked_again_and_counts_once(house: House) -> None:
    silent = iter([NoAnswer("timeout", left=True), NoAnswer("no_answer", left=True)])
    house.handlers["/users"] = lambda wire: next(silent, None) or took(wire)
    house.intend(1, 2)

    assert (house.tell().added, house.counts().confirmed) == (2, 2)


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Google, which says later what became of a request."""
    credentials = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    monkeypatch.setenv("GOOGLE", json.dumps(credentials))
    own = google.Settings(account_id="4445556666", credentials=Secret(env="GOOGLE"))
    made = House(tmp_path, google, own, lists={"good": "9"}, chunk=100)
    numbers = iter(range(1, 100))
    made.handlers = {
        "oauth2.googleapis.com": lambda _: yes(access_token="t", expires_in=3599),
        "audienceMembers": lambda _: yes(requestId=f"r-{next(numbers)}"),
        "requestStatus": lambda _: yes(requestStatusPerDestination=[{"requestStatus": "SUCCESS"}]),
        "userLists/9": lambda _: yes(id="9", sizeInfo={"displayNetworkMembersCount": "5"}),
    }
    return made


def processing(_: Wire) -> Response:
    return yes(requestStatusPerDestination=[{"requestStatus": "PROCESSING"}])


def failed(reason: str, count: int) -> Answers:
    status = {
        "requestStatus": "FAILED",
        "errorInfo": {"errorCounts": [{"recordCount": str(count), "reason": reason}]},
    }
    return lambda _: yes(requestStatusPerDestination=[status])


def test_nobody_is_confirmed_before_the_platforms_verdict(later: House) -> None:
    later.intend(1, 2, 3)
    waits = later.tell()

    assert (waits.outcome, waits.reason, waits.again_in) == ("waiting", "verdict_later", 900.0)
    assert later.counts().confirmed == 0

    later.clock.pass_by(timedelta(minutes=15))
    assert (later.tell().added, later.counts().confirmed) == (3, 3)


def test_a_verdict_is_asked_for_less_and_less_often(later: House) -> None:
    later.handlers["requestStatus"] = processing
    later.intend(1)
    found = []
    for _ in range(4):
        again = later.tell().again_in
        assert again is not None
        found.append(again)
        later.clock.pass_by(timedelta(seconds=again))

    assert found == [900, 3600, 14_400, 21_600]


def ids_of(body: Any) -> set[str]:
    """The digests in a request to Google."""
    found = (one for member in body["audienceMembers"] for one in member["userData"]["userIdentifiers"])
    return {digest for one in found for digest in one.values()}


def contacts(*keys: int) -> set[str]:
    return {kind(key) for key in keys for kind in (email_google, e164)}


def test_additions_wait_for_no_verdict_and_no_removal_names_what_is_added(later: House) -> None:
    later.intend(1, 2)
    later.tell()
    later.clock.pass_by(timedelta(minutes=15))
    later.tell()
    later.intend(2, 3, contact_of={3: 1})  # whose contact the leaving one has, too: another phone, say
    later.platform.came.clear()
    later.tell()
    told = [path for path in later.platform.paths() if "Members" in path]
    assert told == ["POST audienceMembers:ingest"], "the contact stays: there is nothing to remove"

    later.intend(3, contact_of={3: 1})
    later.platform.came.clear()
    later.tell()
    assert [ids_of(body) for body in later.bodies(":remove")] == [contacts(2)]


def test_who_joins_while_a_verdict_is_awaited_is_told_at_once(later: House) -> None:
    later.handlers["requestStatus"] = processing
    later.intend(1, 2)
    later.tell()
    later.clock.pass_by(timedelta(minutes=5))
    later.intend(1, 2, 3)
    found = later.tell()

    assert [ids_of(body) for body in later.bodies(":ingest")] == [contacts(1, 2), contacts(3)]
    assert found.outcome == "waiting"
    assert later.counts() == Counts(intended=3, confirmed=0, adds=3, removes=0, refused=0)

    later.handlers["requestStatus"] = lambda _: yes(
        requestStatusPerDestination=[{"requestStatus": "SUCCESS"}]
    )
    for _ in range(3):
        later.clock.pass_by(timedelta(hours=1))
        ended = later.tell()
    assert (ended.outcome, ended.reason) == ("in_step", "")
    assert later.counts() == Counts(intended=3, confirmed=3, adds=0, removes=0, refused=0)
    assert len(later.bodies(":ingest")) == 2


def test_who_leaves_while_the_verdict_on_joining_is_awaited_is_removed_after_it(later: House) -> None:
    later.handlers["requestStatus"] = processing
    later.intend(1, 2)
    later.tell()
    later.clock.pass_by(timedelta(minutes=5))
    later.intend(2, 3)
    later.tell()
    assert later.bodies(":remove") == [], "a removal could be worked on before the addition"
    assert ids_of(later.bodies(":ingest")[-1]) == contacts(3)

    later.handlers["requestStatus"] = lambda _: yes(
        requestStatusPerDestination=[{"requestStatus": "SUCCESS"}]
    )
    for _ in range(4):
        later.clock.pass_by(timedelta(hours=1))
        later.tell()
    assert [ids_of(body) for body in later.bodies(":remove")] == [contacts(1)]
    assert later.counts() == Counts(intended=2, confirmed=2, adds=0, removes=0, refused=0)


def test_a_late_no_takes_back_what_was_presumed(later: House) -> None:
    later.handlers["requestStatus"] = processing
    later.intend(1, 2)
    later.tell()
    later.clock.pass_by(timedelta(minutes=5))
    later.intend(1, 2, 3)
    later.tell()
    no_consent = failed("PROCESSING_ERROR_REASON_NO_CONSENT", 2)
    well = yes(requestStatusPerDestination=[{"requestStatus": "SUCCESS"}])
    later.handlers["requestStatus"] = lambda wire: no_consent(wire) if "r-1" in wire.url else well
    for _ in range(3):
        later.clock.pass_by(timedelta(hours=1))
        later.tell()

    assert later.counts() == Counts(intended=3, confirmed=1, adds=0, removes=0, refused=2)
    later.intend(3)
    later.platform.came.clear()
    later.tell()
    assert later.bodies(":remove") == [], "who never came in is not removed"
    assert later.counts().confirmed == 1


def test_a_late_no_to_a_removal_is_asked_for_again(later: House) -> None:
    later.intend(1, 2)
    later.tell()
    later.clock.pass_by(timedelta(hours=1))
    later.tell()
    later.handlers["requestStatus"] = processing
    later.intend(2)
    later.tell()
    later.clock.pass_by(timedelta(minutes=5))
    later.intend(2, 3)
    later.tell()
    no = failed("PROCESSING_ERROR_REASON_NO_CONSENT", 1)
    well = yes(requestStatusPerDestination=[{"requestStatus": "SUCCESS"}])
    later.handlers["requestStatus"] = lambda wire: no(wire) if "r-2" in wire.url else well
    later.clock.pass_by(timedelta(hours=1))
    later.tell()
    later.handlers["requestStatus"] = lambda _: well
    for _ in range(3):
        later.clock.pass_by(timedelta(hours=1))
        later.tell()

    assert [ids_of(body) for body in later.bodies(":remove")] == [contacts(1), contacts(1)]
    assert later.counts() == Counts(intended=2, confirmed=2, adds=0, removes=0, refused=0)


def test_a_shared_id_stays_until_the_last_who_has_it_leaves(house: House) -> None:
    house.intend(*range(1, 121), phone_of={2: 1})
    house.tell()
    house.platform.came.clear()
    house.handlers["/users"] = took
    house.intend(*range(2, 121), phone_of={2: 1})
    house.tell()
    assert not [one for one in house.platform.came if one.method == "DELETE"]
    assert house.counts() == Counts(intended=119, confirmed=119, adds=0, removes=0, refused=0)

    house.intend(*range(3, 121))
    house.tell()
    (gone,) = [json.loads(one.body) for one in house.platform.came if one.method == "DELETE"]
    assert gone["payload"]["data"] == [[gaid(1)]]


def test_who_is_not_known_by_the_accounts_ids_is_refused_and_told_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE", "{}")
    own = google.Settings(
        account_id="4445556666",
        credentials=Secret(env="GOOGLE"),
        data="mobile",
        key_space="IOS",
        app_id="com.acme.loans",
    )
    house = House(tmp_path, google, own, lists={"good": "9"}, look_every=timedelta(days=1))
    house.handlers = {"": lambda _: yes(access_token="t", id="9")}
    house.intend(1, 2)  # both have Android phones

    assert house.tell().refused == 2
    assert house.counts() == Counts(intended=2, confirmed=0, adds=0, removes=0, refused=2)
    assert not [path for path in house.platform.paths() if "Members" in path]


def test_a_request_that_failed_at_the_platform_is_sent_again(later: House) -> None:
    later.intend(1, 2)
    later.tell()
    later.handlers["requestStatus"] = failed("PROCESSING_ERROR_REASON_INTERNAL_ERROR", 2)
    later.clock.pass_by(timedelta(minutes=15))
    later.tell()

    assert later.platform.paths().count("POST audienceMembers:ingest") == 2
    assert later.counts().confirmed == 0


def test_members_that_were_all_refused_later_are_not_confirmed(later: House) -> None:
    later.intend(1, 2)
    later.tell()
    later.handlers["requestStatus"] = failed("PROCESSING_ERROR_REASON_NO_CONSENT", 2)
    later.clock.pass_by(timedelta(minutes=15))

    assert later.tell().refused == 2
    assert later.counts() == Counts(intended=2, confirmed=0, adds=0, removes=0, refused=2)


def test_googles_replace_drops_who_was_told_before_it_began(later: House) -> None:
    later.intend(1, 2, 3)
    with closing(later.membership()) as ledger:
        ledger.ask_replace(ledger.syncs()[0])
    began_us = later.clock.at_us
    later.tell()
    later.clock.pass_by(timedelta(minutes=15))
    assert later.tell().replaced

    drops = [one for one in later.platform.came if one.url.endswith(":removeAll")]
    assert len(drops) == 1
    moment = json.loads(drops[0].body)["removeAsOfTime"]
    assert moment.startswith("20")
    assert began_us == us(0)


def test_a_build_that_comes_behind_a_finished_replace_is_not_taken_as_told(house: House) -> None:
    house.intend(*range(1, 11))
    house.tell()
    with closing(house.membership()) as ledger:
        ledger.ask_replace(ledger.syncs()[0])
        kept = ledger.note

        def killed(one: Any, name: str, body: bytes | None) -> None:
            if name == "replace" and body is None:
                raise KeyboardInterrupt
            kept(one, name, body)

        ledger.note = killed  # type: ignore[method-assign,assignment]
        with pytest.raises(KeyboardInterrupt):
            sync(ledger, {"there": house.account}, house.clock, network=lambda: house.platform)
    house.intend(*range(1, 14))
    house.tell()

    assert house.counts().adds == 3
    assert house.tell().added == 3


def test_a_list_as_a_file_is_whole_every_time_and_left_alone_when_nothing_changed(tmp_path: Path) -> None:
    own = file.Settings(to="lists", columns=("mobile_id", "country"))
    house = House(tmp_path, file, own)
    house.intend(1, 2, 3)
    first = house.tell()
    house.intend(2, 3, 4)
    second = house.tell()
    third = house.tell()

    written = (tmp_path / "lists" / "ls-0a1b.csv").read_text()
    assert written == f"mobile_id,country\n{gaid(2)},PH\n{gaid(3)},PH\n{gaid(4)},PH\n"
    assert [one.replaced for one in (first, second, third)] == [True, True, False]
    assert house.counts() == Counts(intended=3, confirmed=3, adds=0, removes=0, refused=0)


def test_snaps_token_is_fetched_once_and_stands_in_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAP", "made-up-secret")
    secret = Secret(env="SNAP")
    own = snap.Settings(ad_account="8adc", client_id=secret, client_secret=secret, refresh_token=secret)
    house = House(tmp_path, snap, own, lists={"good": "9"})
    house.handlers = {
        "login/oauth2/access_token": lambda _: yes(access_token="fresh", expires_in=1800),
        "/users": lambda _: yes(request_status="SUCCESS"),
        "GET https://adsapi.snapchat.com/v1/segments/9": lambda _: yes(segments=[]),
    }
    house.intend(*range(1, 25))

    assert house.tell().added == 24
    assert house.platform.paths().count("POST access_token") == 1
    told = [one for one in house.platform.came if one.url.endswith("/users")]
    assert all(("Authorization", "Bearer fresh") in one.headers for one in told)
    assert all("made-up-secret" not in one.url for one in house.platform.came)


def test_a_look_alike_is_made_of_a_seed_that_is_there(house: House) -> None:
    house.intend(*range(1, 5))
    with closing(house.membership()) as ledger, pytest.raises(TransportError, match="sync it first"):
        make_look_alike(
            ledger.syncs()[0], LookAlike(code="ls-1", country="PH"), house.account, house.clock,
            network=lambda: house.platform,
        )  # fmt: skip
    house.tell()
    with closing(house.membership()) as ledger:
        made = make_look_alike(
            ledger.syncs()[0], LookAlike(code="ls-1", country="PH", share=0.02), house.account, house.clock,
            network=lambda: house.platform,
        )  # fmt: skip

    assert made == "7"
    body = json.loads(house.platform.came[-1].body)
    assert (body["subtype"], body["origin_audience_id"]) == ("LOOKALIKE", "7")
    assert json.loads(body["lookalike_spec"]) == {"type": "similarity", "ratio": 0.02, "country": "PH"}
