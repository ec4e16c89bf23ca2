"""What a person should know before it happens: tokens that end, and platforms' rules that loans break."""

from collections.abc import Iterator

from lendsignal.advise.preflight import LABELS, Finding, Verdict, alike, findings
from lendsignal.cli import giving
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.deliver import TokenEnd, is_refresh_token, secrets_of, token_ends

SHOWN = 3
"""Apps named in one line; of more only the number."""

REFRESH_TOKEN = (
    "sends with a refresh token, which ends after seven days while Google's consent screen is in testing"
)


def tokens(config: Config) -> list[TokenEnd]:
    """Every destination whose end of token is known, by the service's own clock."""
    return token_ends(config.outlets, config.deliver.token_warning, from_us(giving.clock_of(config).now_us()))


def refresh_tokens(config: Config) -> list[str]:
    """Destinations that send with a person's refresh token of which nobody said that it lasts."""
    return [
        name
        for name, outlet in config.outlets.items()
        if outlet.common.token_expires is None and is_refresh_token(outlet.spec.auth, secrets_of(outlet.own))
    ]


def policy(config: Config) -> list[Finding]:
    """What the platforms' rules say of each app that something is sent for."""
    return findings(config.apps.values(), config.terms, config.reached)


def token_lines(config: Config) -> Iterator[str]:
    """What `check` says of tokens: those that end soon or have ended, and those that may end soon."""
    for one in tokens(config):
        if one.state != "fine":
            yield f"warning: {one.told()}: renew it, then set destination.{one.destination}.token_expires"
    for name in refresh_tokens(config):
        yield f"token    {name} {REFRESH_TOKEN}; else set token_expires to a day far ahead"


def policy_lines(found: list[Finding]) -> Iterator[str]:
    """The pre-flight for people, a line for all apps alike: what is broken, not judged, or to be minded."""
    for one, apps in _alike(found, "breaks"):
        yield f"warning: {LABELS[one.platform]}: {one.says}; {one.because} in {apps} ({_source(one)})"
    missing: dict[tuple[str, str], list[str]] = {}
    for one, apps in _alike(found, "unknown"):
        missing.setdefault((apps, one.missing), []).append(LABELS[one.platform])
    for (apps, setting), labels in missing.items():
        yield f"policy   {apps}: not judged for {', '.join(labels)}: say {setting} of the app"
    for one, apps in _alike(found, "duty"):
        yield f"policy   {LABELS[one.platform]}: {one.says}; for {apps} ({_source(one)})"


def _alike(found: list[Finding], verdict: Verdict) -> Iterator[tuple[Finding, str]]:
    """Findings that differ in nothing but their apps, with the apps in words."""
    for one, names in alike(found, verdict):
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield one, f"{', '.join(names[:SHOWN])}{more}"


def _source(one: Finding) -> str:
    return f"{one.source}, read {one.read}"
