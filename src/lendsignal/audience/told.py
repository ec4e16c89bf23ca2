"""Contacts and consents out of the log, kept for lists: the archive has neither.

The log is read once, from where the last reading ended; what it told stands in files by user.
"""

from collections.abc import Sequence

import numpy as np

from lendsignal.archive.rows import key_number
from lendsignal.audience.files import TOLD, Files, quoted
from lendsignal.clock import to_us
from lendsignal.log import Audiences, DataFolder, Fact, open_log

AT_ONCE = 200_000
"""Rows of one file."""

MOST_FILES = 12
"""So many files are made one, with what counts of each user and nothing older."""

COMPACTED = """
select * from {told}
qualify (told and row_number() over (partition by user_key, told order by seq desc) = 1)
    or (asked and row_number() over (partition by user_key, asked order by at_us desc, seq desc) = 1)
order by user_key, seq
"""


def take(folder: DataFolder, files: Files, book: Audiences, upto: int) -> int:
    """Reads what the log tells up to a position, behind what was read before; how many rows came."""
    after, taken = book.position("told"), 0
    if upto <= after:
        return 0
    log = open_log(folder.log, read_only=True)
    try:
        rows: list[tuple[object, ...]] = []
        for fact in log.telling(after, upto):
            rows.append(_row(fact))
            if len(rows) == AT_ONCE:
                _keep(files, book, rows, after, fact.seq)
                taken, after, rows = taken + len(rows), fact.seq, []
        _keep(files, book, rows, after, upto)
        taken += len(rows)
    finally:
        log.close()
    _compact(files, book)
    return taken


def read(files: Files, names: Sequence[str]) -> str:
    """SQL of all that was told."""
    return f"read_parquet([{', '.join(quoted(files.root / name) for name in names)}])"


def _keep(files: Files, book: Audiences, rows: Sequence[tuple[object, ...]], after: int, upto: int) -> None:
    name = f"told/{after + 1:015d}-{upto:015d}.parquet"
    if rows:
        columns = [f"c{place}" for place in range(len(rows[0]))]
        arrays = {
            column: np.array(values, dtype=object)
            for column, values in zip(columns, zip(*rows, strict=True), strict=True)
        }
        kinds = [one.strip().split(" ") for one in TOLD.split(",")]
        cast = ", ".join(
            f'{f"unhex({column})" if kind == "blob" else f"{column}::{kind}"} as "{word}"'
            for column, (word, kind) in zip(columns, kinds, strict=True)
        )
        files.db.register("arriving", arrays)
        try:
            files.write(files.db, f"select {cast} from arriving order by user_key, seq", name, dense=True)
        finally:
            files.db.unregister("arriving")
    book.keep_told(name, len(rows), upto)


def _row(fact: Fact) -> tuple[object, ...]:
    event = fact.event
    contact, consent = event.contact, event.consent
    hashes = (
        (None,) * 4
        if contact is None
        else (contact.email, contact.email_google, contact.phone_digits, contact.phone_e164)
    )
    asked = event.type == "consent_changed" and consent is not None
    return (
        str(fact.seq),
        str(key_number(event.brand, event.user_id)),
        str(to_us(event.occurred_at)),
        *hashes,
        str(contact is not None).lower(),
        str(consent.ad_user_data).lower()
        if asked and consent is not None and consent.ad_user_data is not None
        else None,
        str(asked).lower(),
        f"{event.brand}:{event.user_id}",
    )


def _compact(files: Files, book: Audiences) -> None:
    names = book.files("told")
    if len(names) < MOST_FILES:
        return
    name = f"{names[0].partition('-')[0]}-{names[-1].partition('-')[2]}"
    query = COMPACTED.format(told=read(files, names))
    rows = files.write(files.db, query, name, dense=True)
    book.keep_file(name, "told", rows, instead_of=[one for one in names if one != name])
