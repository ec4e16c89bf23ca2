"""Lists of people for ad platforms: who is on them, and what has to change where; `deliver` sends it.

    definitions → build → files → difference → membership (what to send, what was confirmed)

`build`, `files`, `membership`, `preview` and `standing` bring DuckDB and numpy and are imported by their
own names.
"""

from lendsignal.audience.settings import AudienceSettings, AudiencesSettings
from lendsignal.model.audience import Action, AudienceMember, Chunk, Counts, Sync, Use

Member = AudienceMember

__all__ = [
    "Action",
    "AudienceMember",
    "AudienceSettings",
    "AudiencesSettings",
    "Chunk",
    "Counts",
    "Member",
    "Sync",
    "Use",
]
