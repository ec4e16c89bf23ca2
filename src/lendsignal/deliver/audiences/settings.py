"""`[audience_account.NAME]`: an account on a platform that lists are told to."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from lendsignal.deliver.tokens import problem_with_google
from lendsignal.deliver.wire import problem_with_secrets, secrets_of
from lendsignal.destination.audiences.shape import AudiencePlatform, FileAuth, RefreshAuth


class AccountSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is the same for every platform; the platform's own keys stand beside it."""

    kind: Annotated[str, Meta(description="the platform, such as meta")]
    lists: Annotated[
        dict[str, str],
        Meta(description="audience = the platform's id of a list that is there already; else one is made"),
    ] = {}
    chunk: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="members a request; never more than the platform takes"),
    ] = None
    per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="requests a second; the platform's by default")
    ] = None
    timeout: Annotated[timedelta, Meta(description="how long a request may take")] = timedelta(seconds=60)
    patience: Annotated[
        timedelta, Meta(description="the longest wait within one run; a longer one ends it until the next")
    ] = timedelta(minutes=1)
    first_retry: Annotated[timedelta, Meta(description="the wait before the first retry")] = timedelta(
        seconds=1
    )
    verdict_after: Annotated[
        timedelta | None,
        Meta(description="when a late verdict is first asked for; the platform's by default"),
    ] = None
    probe_after: Annotated[
        timedelta, Meta(description="how soon a list that was refused for its set-up is tried again")
    ] = timedelta(minutes=15)
    look_every: Annotated[
        timedelta, Meta(description="how often the platform is asked for size and match rate")
    ] = timedelta(hours=6)

    def __post_init__(self) -> None:
        spans = (self.timeout, self.patience, self.first_retry, self.probe_after, self.look_every)
        if any(span <= timedelta(0) for span in spans):
            raise ValueError("timeout, patience, first_retry, probe_after and look_every must be over 0s")


class AccountPlan(Struct, frozen=True, kw_only=True):
    """An account that can be used. `folder` is the configuration's own, from which paths count."""

    name: str
    module: AudiencePlatform
    common: AccountSettings
    own: Any
    folder: Path

    @property
    def chunk(self) -> int:
        """Members a request."""
        most = self.module.SPEC.chunk
        return most if self.common.chunk is None else min(most, self.common.chunk)

    @property
    def verdict_after(self) -> timedelta:
        """When a late verdict is first asked for."""
        given = self.common.verdict_after
        return self.module.SPEC.verdict_after if given is None else given


def problem_with_account(plan: AccountPlan) -> tuple[str, str] | None:
    """The field of a secret that cannot be what the platform gave out, and why; `None` where all could be."""
    auth, secrets = plan.module.SPEC.auth, secrets_of(plan.own)
    match auth:
        case FileAuth():
            return None
        case RefreshAuth():
            wrong = [name for name, value in secrets.items() if value and not value.isprintable()]
            return (wrong[0], "characters that no form can hold") if wrong else None
        case _:
            return problem_with_secrets(auth, secrets) or problem_with_google(auth, secrets)
