"""Which campaign of cost and which of attribution are one, though one has its id and the other its name."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

from lendsignal.report.tables import Tables

Told: TypeAlias = tuple[str, str, str]
"""Channel, campaign id and campaign name, as one row tells them; empty where it does not."""

NO_CAMPAIGN = "(no campaign)"


class Campaign(Struct, frozen=True):
    """One campaign of a channel: by its id where any row knows it, else by its name."""

    channel: str
    id: str
    name: str

    @property
    def label(self) -> str:
        """How reports call it."""
        return self.name or self.id or NO_CAMPAIGN


class Campaigns:
    """Every campaign that attribution or cost speaks of.

    A row with an id is that id's. A row with a name alone is the campaign of that name, where just one id of
    the channel has it; where several have, it stands by itself, for nothing says whose it is.
    """

    def __init__(self, told: Iterable[Told]) -> None:
        self._name: dict[tuple[str, str], str] = {}
        ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        for channel, id_, name in told:
            if id_ and name:
                self._name[channel, id_] = name
                ids[channel, name].add(id_)
        self._id = {key: next(iter(found)) for key, found in ids.items() if len(found) == 1}

    def of(self, channel: str, id_: str, name: str) -> Campaign:
        """The campaign that a row speaks of."""
        id_ = id_ or self._id.get((channel, name), "")
        return Campaign(channel, id_, self._name.get((channel, id_), name) if id_ else name)


def campaigns(tables: Tables) -> Campaigns:
    """The campaigns of all feeds; where an id had several names, the last one in the alphabet."""
    return Campaigns(
        tables.rows(
            "select distinct channel, campaign_id, campaign from attribution"
            " union select channel, campaign_id, campaign from spend order by all"
        )
    )
