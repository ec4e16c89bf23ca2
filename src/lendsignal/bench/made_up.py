"""The bench's made-up users and loans, as the bytes a back end would send.

Written by templates, so that making them costs little beside what is measured.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

LOGIN = (
    b'{"type":"logged_in","brand":"bench","user_id":"bench-%d","occurred_at":"%s","device":{"os":"android",'
    b'"os_version":"14","model":"Infinix X6525","app_version":"3.1.0",'
    b'"gaid":"%08x-0000-4000-a000-000000000001","appsflyer_id":"1763712345678-%019d",'
    b'"firebase_app_instance_id":"%032x"}}'
)
LOAN = (
    b'{"type":"disbursed","brand":"bench","user_id":"bench-%d","loan_id":"L%d","loan_number":2,'
    b'"occurred_at":"%s","amount":15000,"fee":2250,"currency":"NGN","term_days":30}'
)


def moment(ago: timedelta) -> bytes:
    """A moment before now as events carry it: RFC 3339, UTC."""
    return (datetime.now(UTC) - ago).isoformat().encode()


def login(user: int, at: bytes) -> bytes:
    """A user's login on a phone of his own, with every install id that is sent."""
    number = user + 1  # an id of zeros names nobody
    return LOGIN % (user, at, number, number, number)


def loan(number: int, user: int, at: bytes) -> bytes:
    """A repeat loan paid out to a user."""
    return LOAN % (user, number, at)


def logins(users: Iterable[int]) -> list[bytes]:
    """One login each, a minute ago."""
    at = moment(timedelta(minutes=1))
    return [login(user, at) for user in users]


def loans(numbers: Iterable[int], user_of: Callable[[int], int] = lambda number: number) -> list[bytes]:
    """One loan for each number, half a minute ago; by default each has a user of the same number."""
    at = moment(timedelta(seconds=30))
    return [loan(number, user_of(number), at) for number in numbers]


def life(numbers: range, events_per_user: int) -> list[bytes]:
    """A growing lender: every `events_per_user`-th event is a new user's login, the others are loans of
    users who came before, scattered over all of them."""
    at = moment(timedelta(seconds=30))
    return [
        loan(number, scattered(number, number // events_per_user + 1), at)
        if number % events_per_user
        else login(number // events_per_user, at)
        for number in numbers
    ]


def scattered(number: int, among: int) -> int:
    """One of so many, by a multiplicative hash: the same in every run, and in no order."""
    return (number * 2_654_435_761 % 2**32) * among >> 32


def requests(events: Sequence[bytes], batch: int) -> list[bytes]:
    """Bodies for the door with so many events each; one alone stands without a list."""
    if batch == 1:
        return list(events)
    return [b"[%s]" % b",".join(events[start : start + batch]) for start in range(0, len(events), batch)]
