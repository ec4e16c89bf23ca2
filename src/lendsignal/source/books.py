"""The lender's ledger of loans out of its own database: one query, read and not kept."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo

from lendsignal.errors import InputError
from lendsignal.model import Secret
from lendsignal.report.ledger import Paid, paid_of
from lendsignal.source.sql import Database, Settings, problems


def books(
    url: str,
    query: str,
    *,
    password: Secret | None = None,
    columns: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
    currency: str | None = None,
) -> list[Paid]:
    """The loans that a SELECT gives; `columns` says what it calls each of `ledger.FIELDS`.

    `url` is SQLAlchemy's, without the password. The session promises the database that it only reads. Times
    without an offset are in `zone`. Raises `PullError` where the database cannot be asked, and `InputError`
    that names row and field, never what stands there; the first row has the number 2, as in a file.
    """
    settings = Settings(url=url, password=password, query=query)
    for wrong in problems(settings):
        if wrong.key == "url":
            raise InputError("ledger url", f"found {wrong.found}; it must be {wrong.allowed}")
    database = Database(settings)
    try:
        if database.dialect == "sqlite":  # it knows no session that only reads
            database.run(database.sql.text("pragma query_only = on"), {})
        header, rows = database.rows(database.sql.text(query.rstrip().rstrip(";")), {})
    finally:
        database.close()
    cells = ((number, [_text(cell) for cell in row]) for number, row in enumerate(rows, start=2))
    return paid_of(header, cells, columns=columns, zone=zone, currency=currency)


def _text(cell: object) -> str:
    match cell:
        case None:
            return ""
        case datetime() | date():
            return cell.isoformat()
        case _:
            return str(cell)
