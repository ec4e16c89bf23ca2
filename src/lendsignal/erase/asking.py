"""Who is to be erased: read from words, counted before anything is done, noted durably."""

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.errors import InputError, NotYet
from lendsignal.log import DataFolder, open_feeds, open_log
from lendsignal.log.erasures import About, Job, open_erasures


class Counts(Struct, frozen=True, kw_only=True):
    """What an erasure would reach in the log's own file, and which apps the users were seen in."""

    users: int
    events: int
    installations: int
    refused: int
    apps: tuple[str, ...]


def subject_of(
    config: Config,
    user: str | None,
    *,
    brand: str | None = None,
    person: str | None = None,
    spools: Sequence[Path] = (),
) -> About:
    """Whom the words mean: `user` is `user_id`, or `brand:user_id` where no brand is given.

    Raises `InputError` where the brand is not clear or not one of the lender's.
    """
    places = tuple(str(path.resolve()) for path in spools)
    if person is not None:
        if user is not None or brand is not None:
            raise InputError("person", "is given alone: it means every user of that person")
        return About(users=(), person=person, spools=places)
    if not user:
        raise InputError("user_id", "is needed, or a person")
    brands = sorted({app.brand for app in config.apps.values()})
    before, colon, rest = user.partition(":")
    if brand is None and colon and before in brands:
        brand, user = before, rest
    if brand is None:
        if len(brands) > 1:
            raise InputError("brand", f"is needed, for the user id is one brand's: {', '.join(brands)}")
        brand = brands[0]
    if brand not in brands:
        raise InputError("brand", f"is not one of yours: {', '.join(brands)}")
    if not user:
        raise InputError("user_id", "is needed")
    return About(users=((brand, user),), spools=places)


def counted(config: Config, about: About) -> Counts:
    """What the log holds of them now; changes nothing. Raises `NotYet` where there is no log."""
    with closing(open_log(DataFolder(config.data).log, read_only=True)) as log:
        users = users_of(about, log.erasing.users_of(about.person) if about.person is not None else ())
        trace = log.erasing.trace(users)
    return Counts(
        users=len(users),
        events=len(trace.events),
        installations=len(trace.devices),
        refused=len(trace.refused),
        apps=tuple(sorted({app for app, _ in trace.devices if app})),
    )


def users_of(about: About, found: Collection[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The users that were named, and those that were found for a person."""
    return tuple(sorted({*about.users, *found}))


def ask(config: Config, about: About, by: str, clock: Clock) -> Job:
    """Notes durably that they are to be erased, and that there is something to do.

    On a cluster they are kept out at every door from then on; raises `LogError` where the store is away.
    """
    if config.store is not None:
        from lendsignal.erase import in_store  # with the store's client

        return in_store.ask(config, about, by, clock)
    folder = DataFolder(config.data)
    with closing(open_erasures(folder.erasures)) as book:
        job = book.ask(about, by, clock.now_us())
    is_due(folder, 0)
    return job


def allow_again(config: Config, about: About, clock: Clock) -> int:
    """What these users do from now on is taken again, as a new user's; how many of them were kept out.

    What happened before stays outside: an old file brings nobody back.
    """
    if config.store is not None:
        from lendsignal.erase import in_store  # with the store's client

        return in_store.allow_again(config, about, clock)
    folder = DataFolder(config.data)
    if not folder.log.exists():
        raise NotYet("there is no log yet, and nobody was erased")
    with closing(open_log(folder.log)) as log:
        users = users_of(about, log.erasing.users_of(about.person) if about.person is not None else ())
        found = log.erasing.allow_again(users, about.person, clock.now_us())
    if folder.feeds.exists():
        with closing(open_feeds(folder.feeds)) as feeds:
            feeds.allow_again([(app, user) for brand, user in users for app in apps_of(config, brand)])
    return found


def apps_of(config: Config, brand: str) -> list[str]:
    """The names of a brand's apps."""
    return sorted(name for name, app in config.apps.items() if app.brand == brand)


def is_due(folder: DataFolder, at_us: int | None) -> None:
    """Says when there is something to do next: the supervisor starts the job then. `None`: nothing is."""
    if at_us is None:
        folder.erasing.unlink(missing_ok=True)
        return
    fresh = folder.erasing.with_suffix(".new")
    fresh.write_text(str(at_us // 1_000_000))
    fresh.replace(folder.erasing)
