"""Erasing on a cluster: out of the store, out of every desk's own files, with one receipt of all of it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.acme import event, loan, login, us
from tests.clustered import Clock, Cluster, decide_all
from tests.copying import Copy, copy_of
from tests.servers.postgresql import PostgreSql, postgresql
from tests.unit.report.world import policy

from lendsignal.archive.keeper import brought_up, everyone
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.config import Config
from lendsignal.config import load as configured
from lendsignal.erase import desk, in_store
from lendsignal.erase.receipt import receipt_of
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder
from lendsignal.log.copied import Lead, tell_lead
from lendsignal.log.erasures import About
from lendsignal.log.postgres import schema
from lendsignal.log.postgres.singles import DESK, Single
from lendsignal.model import Event
from lendsignal.role.ledger import refuse_another_ledger

CONFIG = """
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key = {{ env = "ACME_KEY" }}

[store]
url    = {{ env = "ACME_STORE" }}
schema = "{schema}"
slots  = 4
"""

PERSON = "p-77"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def cluster(server: PostgreSql, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(schema, "DAYS_AHEAD", 0)
    monkeypatch.setenv("ACME_STORE", server.plain_url)
    monkeypatch.setenv("ACME_KEY", "made-up-key")
    with closing(Cluster(server.plain_url, policy=policy())) as one:
        yield one


Desk = Callable[[str], tuple[Config, Copy]]


@pytest.fixture
def a_desk(cluster: Cluster, tmp_path: Path) -> Iterator[Desk]:
    """Makes a desk of that name, with its configuration and its copy."""
    copies: list[Copy] = []

    def made(name: str) -> tuple[Config, Copy]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "lendsignal.toml").write_text(CONFIG.format(schema=cluster.schema))
        config = configured(tmp_path / name / "lendsignal.toml")
        copies.append(copy_of(config.data, cluster))
        return config, copies[-1]

    yield made
    for one in copies:
        one.close()


def borrower(user: str, person: str | None = None) -> list[Event]:
    """Who logs in and borrows."""
    return [
        login(0, user, app="acme-android", user_id=user, person_id=person),
        loan(1, f"L-{user}", user_id=user, person_id=person, event_id=f"loan-{user}"),
    ]


def decided(cluster: Cluster, *events: Event) -> None:
    cluster.door().append(events)
    decide_all(cluster.worker("one"))


def archived(config: Config, copy: Copy) -> set[str]:
    """Follows, archives, and gives who is in the archive."""
    copy.follow()
    brought_up(copy.folder, ArchiveSettings(), us(60))
    return {user for brand, user, _ in everyone(copy.folder, ArchiveSettings()) if brand == "acme"}


def erased(config: Config, about: About) -> str:
    """Erases in the store alone; the receipt's number."""
    job = in_store.ask(config, about, "ada", Clock(10))
    in_store.carried_on(config, Clock(10), asks=False)
    return job.receipt


def test_a_person_leaves_the_store_with_every_user_and_comes_in_as_none(
    cluster: Cluster, a_desk: Desk
) -> None:
    config, _ = a_desk("one")
    decided(cluster, *borrower("u1", PERSON), *borrower("u2", PERSON), *borrower("u3"))
    receipt = receipt_of(config, erased(config, About(users=(), person=PERSON)))
    decided(cluster, event("registered", 20, user_id="u9", person_id=PERSON), *borrower("u4"))

    assert {place.step: place.n for place in receipt.places if place.step in ("kept_out", "log")} == {
        "kept_out": 2,
        "log": 4,
    }
    assert len(receipt.subjects) == 3
    assert {"acme:u3", "acme:u4"} == {key for key in cluster.states() if key.startswith("acme:")}


def test_asking_again_while_it_goes_on_is_the_same_erasure(cluster: Cluster, a_desk: Desk) -> None:
    config, _ = a_desk("one")
    about = About(users=(("acme", "u1"),))

    assert (
        in_store.ask(config, about, "ada", Clock(1)).receipt
        == in_store.ask(config, about, "bob", Clock(2)).receipt
    )


def test_each_desk_takes_them_out_of_its_archive_and_only_then_it_ends(
    cluster: Cluster, a_desk: Desk
) -> None:
    desks = [a_desk("one"), a_desk("two")]
    decided(cluster, *borrower("u1"), *borrower("u2"))
    for config, copy in desks:
        assert archived(config, copy) == {"u1", "u2"}
        assert not desk.has_something_to_do(config, cluster.database)
    receipt = erased(desks[0][0], About(users=(("acme", "u1"),)))

    for n, (config, copy) in enumerate(desks):
        assert receipt_of(config, receipt).ended is None, n
        assert desk.has_something_to_do(config, cluster.database)
        desk.carried_on(config, Clock(11))  # the copy has not heard of it yet
        assert archived(config, copy) >= {"u2"}
        desk.carried_on(config, Clock(12))
        assert archived(config, copy) == {"u2"}
        assert not desk.has_something_to_do(config, cluster.database) or n == 0
    in_store.carried_on(desks[0][0], Clock(13), asks=False)
    found = receipt_of(desks[1][0], receipt)
    assert found.ended is not None
    assert {(place.step, place.state) for place in found.places if place.at_desk} == {
        ("log", "done"),
        ("feeds", "not_there"),
        ("archive", "done"),
        ("audiences", "not_there"),
        ("files", "done"),
    }


def test_a_desk_that_was_put_back_erases_again_what_was_erased_since(
    cluster: Cluster, a_desk: Desk, tmp_path: Path
) -> None:
    config, copy = a_desk("one")
    decided(cluster, *borrower("u1"), *borrower("u2"))
    archived(config, copy)
    shutil.copytree(config.data, tmp_path / "before")
    erased(config, About(users=(("acme", "u1"),)))
    archived(config, copy)
    desk.carried_on(config, Clock(12))
    assert archived(config, copy) == {"u2"}

    for name in ("archive", "archive.sqlite", "archive.sqlite-wal", "erasures.sqlite"):
        path, before = config.data / name, tmp_path / "before" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if before.exists():
            (shutil.copytree if before.is_dir() else shutil.copyfile)(before, path)
    assert archived(config, copy) >= {"u1", "u2"}
    assert desk.has_something_to_do(config, cluster.database)
    desk.carried_on(config, Clock(14))
    assert archived(config, copy) == {"u2"}


def test_platforms_are_told_of_lists_by_one_ledger(cluster: Cluster, a_desk: Desk) -> None:
    one, other = a_desk("one")[0], a_desk("two")[0]
    for config, holder in ((one, "first"), (other, "second")):
        single = Single(cluster.database, DESK, holder)
        assert single.take()
        assert single.epoch is not None
        lead = Lead(holder=holder, epoch=single.epoch, until_us=2**62)
        tell_lead(DataFolder(config.data), lead)
        if config is one:
            refuse_another_ledger(one)
            single.let_go()
    with pytest.raises(LendsignalError, match="take-over"):
        refuse_another_ledger(other)

    refuse_another_ledger(other, take_over=True)
    refuse_another_ledger(other)
    with pytest.raises(LendsignalError, match="desk"):
        refuse_another_ledger(one)
