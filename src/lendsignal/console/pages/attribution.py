"""Where users came from, as the MMPs say."""

from lendsignal.console.page import Group
from lendsignal.console.reporting import Reporting, page_of
from lendsignal.console.words import marked as _

PAGE = page_of(
    Reporting(
        name="attribution",
        path="/attribution",
        title=_("Attribution and cost"),
        what=_("Where users came from as the MMPs say: installs, reinstalls, returns."),
        group=Group.USERS,
        place=40,
        own={"level": ("channel", "media_source", "campaign", "ad_set", "ad")},
        given={"level": "campaign"},
        by_campaign=True,
    )
)
