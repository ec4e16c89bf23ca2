"""Loans by when they were paid out: repaid, late, lost, developed to maturity."""

from lendsignal.console.page import Group
from lendsignal.console.reporting import Reporting, page_of
from lendsignal.console.words import marked as _

PAGE = page_of(
    Reporting(
        name="vintages",
        path="/vintages",
        title=_("Vintages"),
        what=_("Loans by week of disbursement: repaid, late, lost, and what they will come to."),
        group=Group.USERS,
        place=30,
        by_campaign=True,
    )
)
