"""Funnel and money by campaign: how far users get, what they cost, what they bring after losses."""

from lendsignal.console.page import Group
from lendsignal.console.reporting import Reporting, page_of
from lendsignal.console.words import marked as _

PAGE = page_of(
    Reporting(
        name="funnel",
        path="/campaigns",
        title=_("Campaigns"),
        what=_("How far users get, what each step costs, and what they bring after losses."),
        group=Group.USERS,
        place=1,
        first=("channel",),
        own={"cohort": ("", "install", "registration"), "currency": ()},
        given={"cohort": "install"},
        order=("worth", "steps", "horizons", "costs"),
        open=2,
        by_campaign=True,
    )
)
