"""First install against last login: which loans change their channel, and what is lost without it.

Whoever sees some campaigns only does not see it: a loan of theirs by one rule is another's by the other.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lendsignal.console.page import Asked, Group
from lendsignal.console.reporting import Reporting, page_of
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _

if TYPE_CHECKING:  # the report room brings its database with it
    from lendsignal.report import Report

HEAT = 5
"""Steps of colour beside none."""


def matrix(room: Room, asked: Asked, report: "Report") -> Mapping[str, Any]:
    """Disbursements from channel (first install) to channel (last login), with what each wins and loses."""
    cells: dict[tuple[str, str], int] = {}
    for row in report.tables()["matrix"].records():
        key = str(row["first_install"]), str(row["last_login"])
        cells[key] = cells.get(key, 0) + int(str(row["disbursements"]))
    firsts, lasts = ({key[place] for key in cells} for place in (0, 1))
    names = sorted(firsts | lasts, key=lambda name: -sum(n for key, n in cells.items() if name in key))
    was = {name: sum(n for key, n in cells.items() if key[0] == name) for name in names}
    now = {name: sum(n for key, n in cells.items() if key[1] == name) for name in names}
    moved = sum(n for (first, last), n in cells.items() if first != last)
    most = max((n for (first, last), n in cells.items() if first != last), default=0)
    heat = {key: 1 + round((HEAT - 1) * n / most) for key, n in cells.items() if key[0] != key[1] and most}
    return {
        "names": names,
        "flows": cells,
        "heat": heat,
        "was": was,
        "is_now": now,
        "moved": moved,
        "total": sum(cells.values()),
    }


PAGE = page_of(
    Reporting(
        name="bindings",
        path="/bindings",
        title=_("First install and last login"),
        what=_("The same loans bound by both rules: what the first install hides."),
        group=Group.USERS,
        place=10,
        order=("sources", "orphans", "moved"),
        open=2,
        inside="pages/bindings_inside.html",
        extra=matrix,
    )
)
