"""A made-up lender on disk: what the product is given, and apart from it the hidden truth.

    events.jsonl.gz         one event a line in the order of arrival, `received_at` beside
    attribution.csv         one installation a line, as an MMP reports it
    spend.csv               one campaign and local day a line
    parameters.toml         the parameters it was made from
    truth/answers.csv.gz    one loan event a line: the installation it belongs to
    truth/users.csv.gz      one user a line: quality, campaign, what became of the loans
    truth/loans.csv.gz      one loan a line: probability of default, default, margin
    truth/faults.csv.gz     one faulty arrival a line
    truth/summary.json      counts and shares

Same parameters and seed, same bytes (with the same versions of NumPy and zlib).
Text columns are UTF-8 CSV with a header; times are RFC 3339 in UTC with milliseconds.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import IO, cast

import msgspec
import numpy as np
from msgspec import Struct

from lendsignal.model import EventType
from lendsignal.simulate.arrivals import CODE, KINDS, Fault
from lendsignal.simulate.chance import Ints, dice
from lendsignal.simulate.installs import AGENT
from lendsignal.simulate.installs import KINDS as INSTALL_KINDS
from lendsignal.simulate.lender import Progress, World, event_ids, events, instants, loan_id, make, user_id
from lendsignal.simulate.localtime import day_of
from lendsignal.simulate.parameters import Parameters, as_toml

_CHUNK = 20_000
_LEVEL = 3  # of gzip: level 6 takes three times as long for files a tenth smaller


class Quality(Struct, frozen=True, kw_only=True):
    """What a campaign's first loans are truly worth: a shares-and-means row of the summary."""

    media_source: str
    campaign: str
    users: int
    quality: float
    loans: int
    default_rate: float
    margin_per_user: float


class Summary(Struct, frozen=True, kw_only=True):
    """Counts and shares of a world; written to truth/summary.json.

    `events` are arrivals, copies included. `moved_to_another_install` is, by event type, the share whose
    last-login installation is not the first one; `touch_came_too_late` counts answers that differ when only
    arrived touches are known. `disbursed_by_media_source` counts disbursements under both rules.
    """

    seed: int
    users: int
    events: int
    by_type: dict[str, int]
    touches: int
    loans: int
    installations: dict[str, int]
    faults: dict[str, int]
    answers: int
    without_touch: int
    moved_to_another_install: dict[str, float]
    touch_came_too_late: dict[str, int]
    disbursed_by_media_source: dict[str, dict[str, int]]
    campaigns: list[Quality]


def generate(out: Path, parameters: Parameters, seed: int, progress: Progress | None = None) -> Summary:
    """Makes a lender and writes it to the folder `out`, made if need be; files in it are replaced.

    Raises ConfigError where parameters contradict each other, OSError where the folder cannot be written.
    """
    tell = progress or (lambda doing, done: None)
    world = make(parameters, seed, lambda doing, done: tell(doing, 0.15 * done))
    return write(world, out, lambda doing, done: tell(doing, 0.15 + 0.85 * done))


def write(world: World, folder: Path, progress: Progress | None = None) -> Summary:
    """Writes all files of a world and gives its summary."""
    tell = progress or (lambda doing, done: None)
    truth = folder / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    (folder / "parameters.toml").write_text(as_toml(world.parameters), encoding="utf-8")
    _write_events(world, folder / "events.jsonl.gz", tell)
    tell("attribution and spend", 0.8)
    _write_attribution(world, folder / "attribution.csv")
    _write_spend(world, folder / "spend.csv")
    tell("the truth", 0.85)
    _write_answers(world, truth / "answers.csv.gz")
    _write_users(world, truth / "users.csv.gz")
    _write_loans(world, truth / "loans.csv.gz")
    _write_faults(world, truth / "faults.csv.gz")
    summary = summary_of(world)
    (truth / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
    tell("written", 1.0)
    return summary


def summary_of(world: World) -> Summary:
    """The counts and shares of a world."""
    happened, answers, installs = world.events, world.answers, world.installs
    kinds = np.bincount(happened.kind, minlength=len(KINDS))
    asked = happened.kind[answers.event]
    bound = answers.last_login >= 0
    moved = bound & (answers.last_login != answers.first_install)
    too_late = answers.last_login != answers.last_login_as_arrived
    told = np.flatnonzero(kinds)
    about = [code for code in told if (asked == code).any()]
    paid_out = bound & (asked == CODE[EventType.DISBURSED])
    of_kind = np.bincount(installs.kind, minlength=len(INSTALL_KINDS))
    return Summary(
        seed=world.seed,
        users=len(world.people),
        events=len(happened),
        by_type={KINDS[code].value: int(kinds[code]) for code in told},
        touches=len(world.touches.at),
        loans=int((world.book.loans.at < world.end).sum()),
        installations={name: int(of_kind[kind]) for kind, name in enumerate(INSTALL_KINDS)},
        faults={str(fault.name).lower(): int(happened.has(fault).sum()) for fault in Fault},
        answers=len(answers.event),
        without_touch=int((~bound).sum()),
        moved_to_another_install={KINDS[c].value: round(float(moved[asked == c].mean()), 5) for c in about},
        touch_came_too_late={KINDS[c].value: int(too_late[asked == c].sum()) for c in about},
        disbursed_by_media_source={
            "last_login": _by_source(world, answers.last_login[paid_out]),
            "first_install": _by_source(world, answers.first_install[paid_out]),
        },
        campaigns=_qualities(world),
    )


def _by_source(world: World, installs: Ints) -> dict[str, int]:
    campaigns = np.bincount(world.installs.campaign[installs], minlength=len(world.campaigns.name)).tolist()
    counts = dict.fromkeys(sorted(set(world.campaigns.media_source)), 0)
    for source, count in zip(world.campaigns.media_source, campaigns, strict=True):
        counts[source] += count
    return counts


def _qualities(world: World) -> list[Quality]:
    """Users of each acquiring campaign, by the campaign of their registration."""
    people, loans, campaigns = world.people, world.book.loans, world.campaigns
    told = loans.at < world.end
    margin = np.bincount(loans.user[told], weights=loans.margin[told], minlength=len(people))
    rows = []
    for place in np.flatnonzero(~campaigns.retargeting).tolist():
        mine = people.campaign == place
        of = told & mine[loans.user]
        if mine.any():
            rows.append(
                Quality(
                    media_source=campaigns.media_source[place],
                    campaign=campaigns.name[place],
                    users=int(mine.sum()),
                    quality=round(float(people.quality[mine].mean()), 4),
                    loans=int(of.sum()),
                    default_rate=round(float(loans.defaults[of].mean()), 5) if of.any() else 0.0,
                    margin_per_user=round(float(margin[mine].mean()), 2),
                )
            )
    return rows


def _write_events(world: World, path: Path, tell: Progress) -> None:
    total, done = max(1, len(world.events)), 0
    encode = msgspec.json.Encoder().encode_lines
    told = events(world)
    with _zipped(path) as file:
        while chunk := list(islice(told, _CHUNK)):
            file.write(encode(chunk))
            done += len(chunk)
            tell("events", 0.8 * done / total)


def _write_attribution(world: World, path: Path) -> None:
    installs, campaigns, brand = world.installs, world.campaigns, world.parameters.lender.brand
    order = np.lexsort((np.arange(len(installs.at)), installs.at))
    order = order[installs.kind[order] != AGENT]
    columns = zip(
        order.tolist(),
        installs.ios[order].tolist(),
        instants(installs.at[order]),
        installs.campaign[order].tolist(),
        installs.retargeting[order].tolist(),
        strict=True,
    )
    rows = (
        (
            installs.appsflyer_id[row],
            installs.firebase_id[row],
            f"{brand}-{'ios' if ios else 'android'}",
            at,
            campaigns.media_source[campaign],
            campaigns.name[campaign],
            int(retargeting),
        )
        for row, ios, at, campaign, retargeting in columns
    )
    header = "appsflyer_id firebase_app_instance_id app install_time media_source campaign is_retargeting"
    with path.open("wb") as file:
        _write_rows(file, header, rows)


def _write_spend(world: World, path: Path) -> None:
    """Installs of each campaign and local day, at a price that differs by a fifth from day to day."""
    installs, campaigns, lender = world.installs, world.campaigns, world.parameters.lender
    rng = dice(world.seed, "spend")
    first = day_of(world.parameters.period.start)
    length = world.parameters.period.days
    counted = np.flatnonzero((installs.kind != AGENT) & (installs.at < world.end))
    day = np.clip(world.local.day(installs.at[counted]) - first, 0, length - 1)
    place = day * len(campaigns.name) + installs.campaign[counted]
    count = np.bincount(place, minlength=length * len(campaigns.name)).reshape(length, -1)
    noise = np.exp(0.2 * rng.standard_normal(count.shape) - 0.02)
    spend = np.round(count * campaigns.cost * noise, 2)
    dates = np.datetime_as_string(np.arange(first, first + length).astype("datetime64[D]")).tolist()
    rows = (
        (
            dates[d],
            campaigns.media_source[c],
            campaigns.name[c],
            lender.country,
            lender.currency,
            f"{spend[d, c]:.2f}",
            int(count[d, c]),
        )
        for d, c in np.argwhere((count > 0) & (campaigns.cost > 0)).tolist()
    )
    with path.open("wb") as file:
        _write_rows(file, "day media_source campaign country currency spend installs", rows)


def _write_answers(world: World, path: Path) -> None:
    header = (
        "event event_id user_id loan_id occurred_at last_login first_install app touch_at touch_received_at "
        "last_login_as_arrived quality binds_at in_hand"
    )
    with _zipped(path) as file:
        _write_rows(file, header, _answer_rows(world))


def _answer_rows(world: World) -> Iterator[tuple[object, ...]]:
    answers, brand = world.answers, world.parameters.lender.brand
    apps = (f"{brand}-android", f"{brand}-ios")
    ids = (*world.installs.firebase_id, "")  # the row -1 is "none"
    ios = world.installs.ios
    for begin in range(0, len(answers.event), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        rows = world.events.take(answers.event[part])
        last = answers.last_login[part]
        columns = zip(
            rows.kind.tolist(),
            event_ids(rows),
            rows.user.tolist(),
            _loan_of(world, rows.kind, rows.about).tolist(),
            instants(rows.occurred_at),
            last.tolist(),
            answers.first_install[part].tolist(),
            ios[last].tolist(),
            instants(answers.touch_at[part]),
            instants(answers.touch_received_at[part]),
            answers.last_login_as_arrived[part].tolist(),
            world.people.quality[rows.user].round(4).tolist(),
            instants(answers.binds_at[part]),
            answers.in_hand[part].tolist(),
            strict=True,
        )
        for (
            kind,
            event_id,
            user,
            loan,
            at,
            install,
            first,
            apple,
            seen,
            got,
            known,
            q,
            binds,
            held,
        ) in columns:
            bound = install >= 0
            yield (
                KINDS[kind].value,
                event_id,
                user_id(user),
                loan_id(loan) if loan >= 0 else "",
                at,
                ids[install],
                ids[first],
                apps[apple] if bound else "",
                seen if bound else "",
                got if bound else "",
                ids[known],
                q,
                binds,
                ids[held],
            )


def _loan_of(world: World, kind: Ints, about: Ints) -> Ints:
    """The loan of each event, or -1 for events of applications."""
    applications = [
        CODE[name]
        for name in (
            EventType.APPLIED,
            EventType.REVIEW_STARTED,
            EventType.REVIEW_ENDED,
            EventType.PHONE_CHECK_STARTED,
            EventType.PHONE_CHECK_ENDED,
            EventType.CREDIT_GRANTED,
            EventType.CREDIT_DENIED,
        )
    ]
    payments = np.isin(kind, [CODE[EventType.REPAID], CODE[EventType.REPAYMENT_REVERSED]])
    loan = np.where(np.isin(kind, applications), -1, about)
    loan[payments] = world.payments.loan[about[payments]]
    return loan


def _write_users(world: World, path: Path) -> None:
    people, loans, campaigns = world.people, world.book.loans, world.campaigns
    told = np.flatnonzero(loans.at < world.end)
    count = len(people)
    taken = np.bincount(loans.user[told], minlength=count)
    defaults = np.bincount(loans.user[told], weights=loans.defaults[told], minlength=count).astype(np.int64)
    margin = np.bincount(loans.user[told], weights=loans.margin[told], minlength=count).astype(np.int64)
    settings = world.parameters.repayments
    first = settings.default_logit + settings.default_quality * people.quality + settings.default_loan
    probability = 1 / (1 + np.exp(-first))
    sources = [campaigns.media_source[campaign] for campaign in people.campaign.tolist()]
    names = [campaigns.name[campaign] for campaign in people.campaign.tolist()]
    hosts = [user_id(host) if host >= 0 else "" for host in people.host.tolist()]
    rows = zip(
        map(user_id, range(count)),
        people.quality.round(4).tolist(),
        people.need.round(4).tolist(),
        sources,
        names,
        instants(people.installed_at),
        instants(people.registered_at),
        probability.round(5).tolist(),
        taken.tolist(),
        defaults.tolist(),
        margin.tolist(),
        hosts,
        people.in_ring.astype(np.int64).tolist(),
        people.test.astype(np.int64).tolist(),
        strict=True,
    )
    header = (
        "user_id quality need media_source campaign installed_at registered_at default_probability loans "
        "defaults margin phone_of in_ring test"
    )
    with _zipped(path) as file:
        _write_rows(file, header, rows)


def _write_loans(world: World, path: Path) -> None:
    loans = world.book.loans
    told = np.flatnonzero(loans.at < world.end)
    columns = zip(
        told.tolist(),
        loans.user[told].tolist(),
        loans.number[told].tolist(),
        instants(loans.at[told]),
        instants(loans.ended_at[told]),
        loans.amount[told].tolist(),
        loans.fee[told].tolist(),
        loans.term[told].tolist(),
        loans.default_probability[told].round(5).tolist(),
        loans.defaults[told].tolist(),
        loans.margin[told].tolist(),
        strict=True,
    )
    rows = (
        (loan_id(loan), user_id(user), number, at, ended, amount, fee, term, risk, int(defaults), margin)
        for loan, user, number, at, ended, amount, fee, term, risk, defaults, margin in columns
    )
    header = (
        "loan_id user_id loan_number disbursed_at ended_at amount fee term_days default_probability "
        "defaults margin"
    )
    with _zipped(path) as file:
        _write_rows(file, header, rows)


def _write_faults(world: World, path: Path) -> None:
    """One line for each arrival with a fault: which, joined by spaces where there are several."""
    faulty = world.events.take(world.events.faults != 0)
    names = {
        mask: " ".join(str(f.name).lower() for f in Fault if f & mask)
        for mask in np.unique(faulty.faults).tolist()
    }
    columns = zip(
        event_ids(faulty),
        faulty.kind.tolist(),
        instants(faulty.received_at),
        faulty.faults.tolist(),
        strict=True,
    )
    rows = ((event_id, KINDS[kind].value, got, names[mask]) for event_id, kind, got, mask in columns)
    with _zipped(path) as file:
        _write_rows(file, "event_id event received_at faults", rows)


def _write_rows(file: IO[bytes], header: str, rows: Iterable[Sequence[object]]) -> None:
    remaining = iter(rows)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header.split())
    while chunk := list(islice(remaining, _CHUNK)):
        writer.writerows(chunk)
        file.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    file.write(text.getvalue().encode())


@contextmanager
def _zipped(path: Path) -> Iterator[IO[bytes]]:
    """A gzip file without name and time inside, so that equal content is equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
        yield cast(IO[bytes], file)
