"""Quality tiers: whether each keeps its share, what its loans came to, how scores drift."""

from lendsignal.console.page import Group
from lendsignal.console.reporting import Reporting, page_of
from lendsignal.console.words import marked as _

PAGE = page_of(
    Reporting(
        name="tiers",
        path="/tiers",
        title=_("Tiers"),
        what=_("Whether each quality tier keeps its share, what its loans came to, and how scores drift."),
        group=Group.DECIDING,
        place=1,
        open=2,
        own={"what_if": ()},
    )
)
