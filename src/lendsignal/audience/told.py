"""Contacts and consents out of the log, kept for lists: the archive has neither.

The log is read once, from where the last reading ended; what it told stands in files by user. Where events
went before they were read, what is remembered of people stands for them.
"""

from collections.abc import Sequence

import numpy as np

from lendsignal.archive.rows import key_number
from lendsignal.audience.files import TOLD, Files, quoted
from lendsignal.clock import to_us
from lendsignal.log import Audiences, DataFolder, Fact, open_log
from lendsignal.model import Consent, Contact
from lendsignal.plan import UserState

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
        gone = log.cutting.first() - 1
        if after < gone:
            rows = [_remembered(gone, state) for state in log.people() if state.contact or state.consent]
            _keep(files, book, rows, after, gone)
            taken, after, rows = len(rows), gone, []
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
    consent = event.consent if event.type == "consent_changed" else None
    user = (event.brand, event.user_id)
    return _told(fact.seq, user, to_us(event.occurred_at), event.contact, consent)


def _remembered(seq: int, state: UserState) -> tuple[object, ...]:
    """What events up to that one came to."""
    brand, _, user_id = state.key.partition(":")
    return _told(seq, (brand, user_id), state.consent_us, state.contact, state.consent)


def _told(
    seq: int, user: tuple[str, str], at_us: int, contact: Contact | None, consent: Consent | None
) -> tuple[object, ...]:
    hashes = (
        (None,) * 4
        if contact is None
        else (contact.email, contact.email_google, contact.phone_digits, contact.phone_e164)
    )
    allows = None if consent is None else consent.ad_user_data
    return (
        str(seq),
        str(key_number(*user)),
        str(at_us),
        *hashes,
        str(contact is not None).lower(),
        None if allows is None else str(allows).lower(),
        str(consent is not None).lower(),
        ":".join(user),
    )


def _compact(files: Files, book: Audiences) -> None:
    names = book.files("told")
    if len(names) < MOST_FILES:
        return
    name = f"{names[0].partition('-')[0]}-{names[-1].partition('-')[2]}"
    query = COMPACTED.format(told=read(files, names))
    rows = files.write(files.db, query, name, dense=True)
    book.keep_file(name, "told", rows, instead_of=[one for one in names if one != name])
