"""Where the storm's senders send: two endpoints that keep each user's order, one for each `on_unknown`."""

from collections.abc import Mapping
from datetime import timedelta

from tests.desk import planned_for, real
from tests.running import WEBHOOK_SECRET

from lendsignal.deliver import Outlet, Unknown
from lendsignal.model import Secret
from lendsignal.plan import Target

PER_SECOND, BURST = 50, 25
"""What the senders are set to, all of them together: little, so that there is always something that waits."""

LIMIT = 110
"""Requests that an endpoint takes in any second. Two senders that each kept to what they are set to by
themselves would pass it; what they share stays under it also where the machine hands over late."""

HOSTS = {"hold": "hold.acme.example", "retry": "retry.acme.example"}
SECRET = "CLUSTER_HOOK"
ENVIRONMENT = {SECRET: WEBHOOK_SECRET}

RULES = {"hold": Unknown(hold=timedelta(days=1)), "retry": Unknown(retry=1_000)}


def hooks() -> dict[str, Outlet]:
    """The destinations, by name."""
    return {name: _hook(name) for name in HOSTS}


def targets() -> Mapping[str, Target]:
    """The same as planning sees them."""
    return {name: planned_for(one) for name, one in hooks().items()}


def _hook(name: str) -> Outlet:
    return real(
        name,
        "webhook",
        common={
            "per_second": PER_SECOND,
            "burst": BURST,
            "late": "send",  # made-up events are of another year
            "on_unknown": RULES[name],
            "timeout": timedelta(seconds=20),
        },
        url=f"https://{HOSTS[name]}/in",
        secret=Secret(env=SECRET),
        ordered_by="user",
    )
