"""The queries of the pages run over an archive that was truly written."""

import re
from pathlib import Path

import duckdb
import pytest
from tests.acme import source
from tests.desk import borrowers

from lendsignal.archive import Book, Folder
from lendsignal.archive.keeper import Keeper
from lendsignal.clock import SystemClock
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.log.deliveries import Changes, Receipt

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "read-the-archive.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three borrowers with a loan each; one delivery was refused and then accepted."""
    folder = DataFolder(tmp_path_factory.mktemp("lender"))
    log, sent = open_log(folder.log), open_deliveries(folder.deliveries)
    decider = Decider(log, source(send={"disbursement": "ev_d"}), SystemClock(), lambda: None)
    log.append(borrowers(3))
    while decider.turn():
        pass
    number = next(number for number, record in log.records(0, 100)) * 64
    changes = Changes()
    changes.receipts += [
        Receipt(number, "appsflyer-ng", "retry", "server_error", 1, 1_000_000, 2_000_000, 500),
        Receipt(number, "appsflyer-ng", "accepted", "confirmed", 2, 3_000_000, 4_000_000, 200),
    ]
    sent.commit(changes)
    book = Book(folder.archive)
    keeper = Keeper(book, Folder(folder.path / "archive"))
    while keeper.turn(log, sent):
        pass
    keeper.close()
    book.close()
    log.close()
    sent.close()
    return folder.path


def answer(query: str, archive: Path) -> list[tuple[object, ...]]:
    with duckdb.connect() as db:
        return db.execute(query.replace("'archive/", f"'{archive}/archive/")).fetchall()


def test_loans_a_day_are_those_that_were_told(archive: Path) -> None:
    ((_, currency, loans, _),) = answer(QUERIES[0], archive)

    assert (currency, loans) == ("NGN", 3)


def test_the_last_outcome_of_a_delivery_counts(archive: Path) -> None:
    found = {(what, reason): n for _, _, what, reason, n in answer(QUERIES[1], archive)}

    assert found == {("accepted", "confirmed"): 1, ("waiting", None): 2}


def test_conversions_on_another_installation_are_counted(archive: Path) -> None:
    assert answer(QUERIES[2], archive)[0][1:] == (3, 0)


def test_each_loan_is_bound_to_a_login_by_the_numbers_made_for_it(archive: Path) -> None:
    found = answer(QUERIES[3], archive)

    assert {loan for loan, *_ in found} == {"L-u0", "L-u1", "L-u2"}
    assert all(logged_in is not None for _, _, _, logged_in in found)
