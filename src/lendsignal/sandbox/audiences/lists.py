"""What every stand-in remembers of lists: which there are, and who is on them."""

from typing import Any

from msgspec import Struct

from lendsignal.sandbox.verdict import Answer, Asked, Taken, decoded, media_type

PLATFORMS = frozenset(
    "meta_audience google_audience tiktok_audience snap_audience appsflyer_audience".split()
)
"""How what concerns lists is filed, apart from conversions."""


class Member(Struct, frozen=True):
    """An id on a list, with a value where one was told, when it was last told (microseconds), and the row
    that it was told in, by the first id of it."""

    value: float | None
    told_us: int
    row: str = ""


def json_body(asked: Asked) -> Any:
    """The body as JSON; `None` where it is none, or is not said to be."""
    return decoded(asked.body) if media_type(asked.headers) == "application/json" else None


def ids_of_rows(rows: dict[str, float | None], told_us: int) -> dict[str, Member]:
    """Every single id of rows, which are written as their ids with | between them."""
    found: dict[str, Member] = {}
    for row, value in rows.items():
        ids = [one for one in row.split("|") if one]
        found.update({one: Member(value, told_us, ids[0]) for one in ids})
    return found


class OneList(Struct, kw_only=True):
    """A list: its account, its name, whether it takes values, and every single id that stands on it.

    As on the platforms, an id that is removed is gone, whoever was told with it.
    """

    platform: str
    account: str
    id: str
    name: str
    valued: bool = False
    kind: str = ""
    members: dict[str, Member] = {}

    @property
    def size(self) -> int:
        """MOCK-CHOICE: people are counted by the rows that their ids were last told in."""
        return len({who.row for who in self.members.values()})


class Session(Struct, kw_only=True):
    """A replace under way: its parts by number, and whether the last one came."""

    parts: dict[int, dict[str, float | None]] = {}
    ended: bool = False


class Lists:
    """Every list of every platform. Only what is kept (`keep`) changes it: what a stand-in would have done
    had the script let it answer, it has not done."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """There never was a list."""
        self._lists: dict[tuple[str, str], OneList] = {}
        self._sessions: dict[tuple[str, int], Session] = {}
        self._files: dict[str, list[str]] = {}
        self._made = 0

    def get(self, platform: str, list_id: str) -> OneList | None:
        """A list by its id."""
        return self._lists.get((platform, list_id))

    def of(self, platform: str, account: str) -> list[OneList]:
        """The lists of an account, the oldest first."""
        return [one for one in self._lists.values() if (one.platform, one.account) == (platform, account)]

    def next_id(self, platform: str) -> str:
        """An id for a new list."""
        return str(190_000_001 + self._made * 1_000 + sorted(PLATFORMS).index(platform))

    def session(self, list_id: str, number: int) -> Session:
        """A replace by its session; empty where it is not known."""
        return self._sessions.get((list_id, number), Session())

    def file(self, path: str) -> list[str] | None:
        """The ids of an uploaded file."""
        return self._files.get(path)

    def keep(self, answer: Answer) -> None:
        """Does what an answer took."""
        for taken in answer.taken:
            if taken.platform in PLATFORMS:
                self.apply(taken)

    def apply(self, taken: Taken) -> None:
        """Does what was taken; twice is as once."""
        item: dict[str, Any] = taken.item
        list_id = taken.account
        match taken.name:
            case "create":
                made = OneList(
                    platform=taken.platform, account=item["account"], id=list_id, name=item["name"],
                    valued=item.get("valued", False), kind=item.get("kind", ""),
                )  # fmt: skip
                self._made += (taken.platform, list_id) not in self._lists
                self._lists.setdefault((taken.platform, list_id), made)
            case "file":
                self._files[item["path"]] = item["ids"]
            case "part":
                self._part(taken, item)
            case "drop":
                self._lists.pop((taken.platform, list_id), None)
            case _:
                self._change(self._list(taken, item), taken, item)

    def _list(self, taken: Taken, item: dict[str, Any]) -> OneList:
        key = (taken.platform, taken.account)
        if key not in self._lists:  # made in the platform's own pages
            self._made += 1
            self._lists[key] = OneList(
                platform=taken.platform, account=item.get("account", ""), id=taken.account, name=taken.account
            )
        return self._lists[key]

    def _change(self, one: OneList, taken: Taken, item: dict[str, Any]) -> None:
        now_us = taken.received_us
        told: dict[str, float | None] = item.get("members", {})
        match taken.name:
            case "add":
                one.members.update(ids_of_rows(told, now_us))
            case "remove":
                for key in ids_of_rows(told, now_us):
                    one.members.pop(key, None)
            case "replace":
                one.members = ids_of_rows(told, now_us)
            case "clear":
                before_us = item.get("before_us", now_us)
                one.members = {key: who for key, who in one.members.items() if who.told_us >= before_us}
            case other:
                raise AssertionError(f"nothing is done to a list by {other}")

    def _part(self, taken: Taken, item: dict[str, Any]) -> None:
        session = self._sessions.setdefault((taken.account, item["session"]), Session())
        session.parts[item["number"]] = item["members"]
        if item["last"]:
            session.ended = True
            whole = {key: value for part in session.parts.values() for key, value in part.items()}
            one = self._list(taken, item)
            one.members = ids_of_rows(whole, taken.received_us)

    def shown(self) -> list[dict[str, Any]]:
        """Every list with the ids that stand on it → the value that was told."""
        return [
            {
                "platform": one.platform,
                "account": one.account,
                "id": one.id,
                "name": one.name,
                "members": {key: who.value for key, who in sorted(one.members.items())},
            }
            for one in self._lists.values()
        ]


def taken(platform: str, list_id: str, name: str, now_us: int, /, **item: Any) -> Taken:
    """Something that was done to a list, as the memory keeps it."""
    return Taken(
        platform=platform, account=list_id, conversion_id=None, name=name, occurred_us=None,
        stamped_us=now_us, received_us=now_us, item=item,
    )  # fmt: skip
