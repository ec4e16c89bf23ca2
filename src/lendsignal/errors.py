"""Everything that stops us. What merely happens to a delivery is an outcome, not an error.

LendsignalError
├── ConfigError      the configuration cannot be used; carries every problem found
├── InputError       one event or file row cannot be taken; names field and rule, never the person's data
├── LogError         the data folder cannot be read or written as it must
│   ├── FolderInUse  another process already has this role over this data folder
│   ├── Outrun       somebody was erased while it was decided: decide anew
│   ├── LaneMoved    another sender sent in a lane meanwhile: look at it anew
│   ├── Overtaken    another process has decided it: this one does not own it any more
│   ├── NotYet       a file is not made yet: whoever makes it has not run
│   ├── OtherForm    a file is of an older or newer version than this one works on
│   └── Damaged      a file of the data folder is damaged: a person must act
├── TransportError   a request could not be made at all
├── PullError        what a pull reads from cannot be read now; it is tried again
└── DataError        stored data contradicts itself
"""

from collections.abc import Sequence
from dataclasses import dataclass


class LendsignalError(Exception):
    """The root: catch this to catch all of ours and nothing else."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration: where it stands, what was found, what is allowed."""

    key: str
    found: str
    allowed: str
    origin: str = ""
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.key}{where}: found {self.found}; allowed: {self.allowed}.{hint}"


class ConfigError(LendsignalError):
    """The configuration cannot be used. `problems` lists every mistake, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(LendsignalError):
    """One event or row cannot be taken: `field` and `rule` say why, without the value."""

    def __init__(self, field: str, rule: str, *, nearest: str | None = None) -> None:
        self.field = field
        self.rule = rule
        self.nearest = nearest
        hint = f" Did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"{field}: {rule}{hint}")


class LogError(LendsignalError):
    """The data folder cannot be read or written as it must be."""


class FolderInUse(LogError):
    """Another process holds this role over the same data folder."""

    def __init__(self, folder: str, role: str) -> None:
        self.folder = folder
        self.role = role
        super().__init__(
            f"another lendsignal process already does {role!r} in {folder}; "
            "stop it first, or give this one a data folder of its own (service.data)"
        )


class LaneMoved(LogError):
    """Another sender's delivery was sent in one of these lanes since it was looked at: nothing is kept."""


class Outrun(LogError):
    """What was decided rests on what an erasure took away meanwhile: it is decided anew."""


class Overtaken(LogError):
    """What was decided rests on what is not so any more: another process decides there, or has."""


class NotYet(LogError):
    """A file that is only to be read is not made yet: whoever makes it has not run here."""


class OtherForm(LogError):
    """A file has a form that this version does not work on: an older one is brought up, a newer one not."""

    def __init__(self, file: str, found: int, known: int) -> None:
        self.file = file
        self.found = found
        self.known = known
        if found < known:
            said = (
                f"{file} has form {found} and this version works on form {known}: "
                "`lendsignal migrate --dry-run`, then `lendsignal migrate`"
            )
        else:
            said = (
                f"{file} has form {found}, and this version knows form {known} at most: install the version "
                "that wrote it, or put back a copy of before its upgrade"
            )
        super().__init__(f"{said}; docs/how-to/upgrade.md tells how")


class Damaged(LogError):
    """A file of the data folder holds what nobody wrote there: nothing may go on from it."""

    def __init__(self, file: str, found: str) -> None:
        self.file = file
        self.found = found
        super().__init__(
            f"{file} is damaged ({found}): stop the service and put a copy back; "
            "docs/how-to/recover-a-data-folder.md tells how"
        )


class TransportError(LendsignalError):
    """A request could not be made at all: the host is not declared, or the address is refused."""


class PullError(LendsignalError):
    """What a pull reads from cannot be read now.

    `reason` is one of few words, such as `unreachable`; `detail` is a sentence without secrets or rows.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class DataError(LendsignalError):
    """Stored data contradicts itself."""
