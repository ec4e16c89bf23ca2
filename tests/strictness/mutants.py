"""What can be wrong with a request: mutators that are the same for every platform, fed by its `Sheet`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from tests.strictness.message import Inside, Message, as_text

from lendsignal.clock import to_us
from lendsignal.model import ZERO_ID

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
"""When the stand-ins are asked."""

Steps = tuple[Any, ...]
Mutant = tuple[str, Message]


class Sheet(Struct, frozen=True, kw_only=True):
    """What a platform's pages demand of one request. Paths are dotted, counted from the part they stand in.

    `part`: where its fields are, `body` or `query`. `required`: what may not be missing. `together`: of each
    of these groups at least one must be there. `times`: path → unit (`s`, `ms`, `us`, or the form of a text).
    `oldest`: the age at which it is refused; `None` where older ones are taken. `future`: whether later times
    are refused. `uuids`, `digests`, `enums`, `currencies`, `numbers`, `decimals`, `flags`: values of a form.
    `zero`: ids that all zeros name nobody. `negative`: whether a loss is taken. `longest`: path → characters.
    `most_rows`, `most_bytes`: of a request. `once`: whether a repeat is told. `loose`: paths whose type is
    free. `also`: bad values of further paths. `credentials`: where they stand, as `headers.authorization`.
    `any_path`, `empty_body`: what the platform leaves open. `lets_pass`: mutants that are taken all the same,
    with the reason.
    """

    name: str = "ev_fl"
    settings: Mapping[str, Any] = {}
    part: str = "body"
    rows: str = ""
    required: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    times: Mapping[str, str] = {}
    oldest: timedelta | None = None
    future: bool = True
    uuids: tuple[str, ...] = ()
    zero: bool = False
    digests: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()
    currencies: Mapping[str, str] = {}
    numbers: tuple[str, ...] = ()
    decimals: tuple[str, ...] = ()
    negative: bool = True
    flags: tuple[str, ...] = ()
    longest: Mapping[str, int] = {}
    most_rows: int | None = None
    most_bytes: int | None = None
    once: bool = False
    loose: tuple[str, ...] = ()
    also: Mapping[str, tuple[Any, ...]] = {}
    credentials: tuple[str, ...] = ()
    any_path: bool = False
    empty_body: bool = False
    lets_pass: Mapping[str, str] = {}


def steps(path: str) -> Steps:
    return tuple(int(step) if step.isdecimal() else step for step in path.split("."))


def held(value: Any, path: Steps) -> Any:
    for step in path:
        value = value[step]
    return value


def has(value: Any, path: Steps) -> bool:
    try:
        held(value, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def places(value: Any, path: Steps = ()) -> Iterator[Steps]:
    """The path of everything in a JSON value, containers included."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


class Mutator:
    """Mutants of one valid request by one sheet."""

    def __init__(self, message: Message, sheet: Sheet) -> None:
        self.message = message
        self.sheet = sheet
        self.fields = message.query if sheet.part == "query" else message.body

    def with_fields(self, fields: Any) -> Message:
        if self.sheet.part == "query":
            return msgspec.structs.replace(self.message, query=fields)
        return msgspec.structs.replace(self.message, body=fields, raw=None)

    def put(self, path: str, value: Any) -> Mutant:
        fields = deepcopy(self.fields)
        found = steps(path)
        held(fields, found[:-1])[found[-1]] = value
        return f"{path} = {as_text(value)[:60]!r}", self.with_fields(fields)

    def without(self, *paths: str) -> Mutant:
        fields = deepcopy(self.fields)
        for path in paths:
            found = steps(path)
            if has(fields, found):
                del held(fields, found[:-1])[found[-1]]
        return f"{' and '.join(paths)} dropped", self.with_fields(fields)

    def there(self, paths: Sequence[str]) -> list[str]:
        return [path for path in paths if has(self.fields, steps(path))]

    def missing(self) -> Iterator[Mutant]:
        """A required field dropped, or spelled in another case."""
        for path in self.sheet.required:
            yield self.without(path)
            found = steps(path)
            if isinstance(found[-1], str) and found[-1].swapcase() != found[-1]:
                fields = deepcopy(self.fields)
                around = held(fields, found[:-1])
                around[found[-1].swapcase()] = around.pop(found[-1])
                yield f"{path} in another case", self.with_fields(fields)
        for group in self.sheet.together:
            yield self.without(*group)

    def types(self) -> Iterator[Mutant]:
        """Every value replaced by one of each other JSON type; there are none in forms and addresses."""
        if self.message.form or self.sheet.part == "query":
            return
        for path in places(self.fields):
            name = ".".join(map(str, path))
            if any(re.fullmatch(loose, name) for loose in self.sheet.loose):
                continue
            was = held(self.fields, path)
            for value in (None, "seven", 7.5, True, [7], {"seven": 7}):
                if not alike(was, value):
                    yield self.put(name, value)

    def times(self) -> Iterator[Mutant]:
        """Another unit or form of time."""
        for path, unit in self.sheet.times.items():
            for value in other_times(unit, held(self.fields, steps(path))):
                yield self.put(path, value)

    def late(self) -> Iterator[Mutant]:
        """A time outside of the window."""
        for path, unit in self.sheet.times.items():
            moments = []
            if self.sheet.oldest is not None:
                moments += [NOW - self.sheet.oldest - timedelta(minutes=2), NOW - timedelta(days=4000)]
            if self.sheet.future:
                moments += [NOW + timedelta(hours=2), NOW + timedelta(days=400)]
            for moment in moments:
                yield self.put(path, time_in(unit, moment, held(self.fields, steps(path))))

    def ids(self) -> Iterator[Mutant]:
        """An id that is none, and a hash that is no hash."""
        for path in self.there(self.sheet.uuids):
            was = held(self.fields, steps(path))
            for value in (was[:-1], was.replace("-", ""), "g" + was[1:], f"{{{was}}}", "a1" * 32, "", "null"):
                yield self.put(path, value)
            if self.sheet.zero:
                yield self.put(path, ZERO_ID)
        for path in self.there(self.sheet.digests):
            was = held(self.fields, steps(path))
            for value in ("person@example.com", "+639171234567", was.upper(), was[:32], was + "0", ""):
                yield self.put(path, value)

    def words(self) -> Iterator[Mutant]:
        """A word that the platform does not know."""
        for path in self.there(self.sheet.enums):
            was = held(self.fields, steps(path))
            values: tuple[Any, ...] = ("nonsense", "", f"{was}x")
            values += (was.swapcase(),) if isinstance(was, str) and was.swapcase() != was else (9,)
            for value in values:
                yield self.put(path, value)
        for path in self.there(self.sheet.flags):
            for value in ("yes", "2", "-1"):
                yield self.put(path, value)
        for path, values in self.sheet.also.items():
            for value in values:
                yield self.put(path, value)

    def money(self) -> Iterator[Mutant]:
        """A currency that is none, an amount that is none, or one without the other."""
        for path, amount in self.sheet.currencies.items():
            for value in ("usd", "US", "DOLLAR", "XYZ", "840", ""):
                yield self.put(path, value)
            if amount:
                yield self.without(path)
        for path in self.there((*self.sheet.numbers, *self.sheet.decimals)):
            for value in ("1,000.00", "$41.25", "41,25", "NaN", "", "forty"):
                yield self.put(path, value)
            if not self.sheet.negative:
                yield self.put(path, -41.25 if path in self.sheet.numbers else "-41.25")

    def sizes(self) -> Iterator[Mutant]:
        """Too long, too many, too large."""
        for path, characters in self.sheet.longest.items():
            yield self.put(path, "e" * (characters + 1))
        if self.sheet.rows:
            rows = held(self.fields, steps(self.sheet.rows))
            yield self.put(self.sheet.rows, [])
            if self.sheet.most_rows is not None:
                yield self.put(self.sheet.rows, rows * (self.sheet.most_rows + 1))
        if self.sheet.most_bytes is not None:
            fields = {**deepcopy(self.fields), "padding": "p" * self.sheet.most_bytes}
            yield "too many bytes", self.with_fields(fields)

    def access(self) -> Iterator[Mutant]:
        """A wrong or missing credential, address, method or content type."""
        message = self.message
        replace = msgspec.structs.replace
        for name in self.sheet.credentials:
            where, _, key = name.partition(".")
            part = getattr(message, where)
            was = part[key]
            for value in dict.fromkeys((None, "", "another", was.swapcase(), f"{was}x")):
                if value == was:
                    continue
                changed = {**part, key: value} if value is not None else {
                    each: inner for each, inner in part.items() if each != key
                }  # fmt: skip
                yield f"{name} = {value!r}", replace(message, **{where: changed})
        others = (f"{message.path}x", f"{message.path}/more", "/", message.path.swapcase())
        for path in () if self.sheet.any_path else others:
            yield f"path {path}", replace(message, path=path)
        for method in ("PUT", "DELETE"):
            yield f"method {method}", replace(message, method=method)
        for content_type in ("text/plain", "application/xml", ""):
            headers = {**message.headers, "content-type": content_type}
            yield f"content-type {content_type!r}", replace(message, headers=headers)
        none = () if self.sheet.empty_body else (b"",)
        for body in (b"null", b"[]", b"7", b'"text"', b"{", b"\xff", *none):
            yield f"body {body!r}", replace(message, raw=body)


MUTATIONS: Mapping[str, Callable[[Mutator], Iterator[Mutant]]] = {
    "missing": Mutator.missing,
    "type": Mutator.types,
    "time": Mutator.times,
    "window": Mutator.late,
    "id": Mutator.ids,
    "word": Mutator.words,
    "money": Mutator.money,
    "size": Mutator.sizes,
    "access": Mutator.access,
}
"""Kind of mutation → what makes them; `repeat` is asked apart."""


def alike(was: Any, value: Any) -> bool:
    """Whether both are of one JSON type; text that holds JSON is text."""
    if isinstance(was, Inside):
        return False
    if isinstance(was, int | float) and not isinstance(was, bool):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(was) is type(value)


def other_times(unit: str, was: Any) -> Sequence[Any]:
    """The moment in other units and forms."""
    text = isinstance(was, str)
    match unit:
        case "s" | "ms" | "us":
            digits = {"s": 10, "ms": 13, "us": 16}
            seconds = int(float(was)) // 10 ** (digits[unit] - 10)
            others = [seconds * 10 ** (n - 10) for name, n in digits.items() if name != unit]
            numbers = [*others, -seconds, 0, seconds // 1000]
            return [*(map(str, numbers) if text else numbers), "2026-11-22T09:14:07Z", "now", ""]
        case _:
            return ["1795338847", "22/11/2026 09:14", "2026-13-22T09:14:07Z", "now", "", was[:10]]


def time_in(unit: str, moment: datetime, was: Any) -> Any:
    """A moment in the field's own unit and form."""
    match unit:
        case "s" | "ms" | "us":
            number = to_us(moment) // {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
            return str(number) if isinstance(was, str) else number
        case _:
            return moment.strftime(unit)
