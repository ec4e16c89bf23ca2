"""When users are seen in the app, and on which installation. Times are milliseconds UTC."""

from dataclasses import dataclass

import numpy as np

from lendsignal.simulate.chance import Flags, Ints, between, chosen, dice
from lendsignal.simulate.installs import Epochs, Installs
from lendsignal.simulate.loans import Book
from lendsignal.simulate.localtime import DAY, SECOND, LocalTime
from lendsignal.simulate.parameters import Parameters
from lendsignal.simulate.people import People
from lendsignal.simulate.repayments import Payments

REGISTERED, LOGGED_IN, APP_OPENED = range(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Touches:
    """One row a registration, login or opening, in the order of user and time.

    `agent` marks a call-centre agent who opens the user's account on an own phone, `first` the first touch
    that an installation shows.
    """

    user: Ints
    at: Ints
    kind: Ints
    install: Ints
    agent: Flags
    first: Flags


def touches_of(
    parameters: Parameters,
    seed: int,
    people: People,
    book: Book,
    payments: Payments,
    installs: Installs,
    epochs: Epochs,
    local: LocalTime,
    end: int,
) -> Touches:
    """Every touch before `end`: none before registration, and at most one in a user's millisecond."""
    rng = dice(seed, "touches")
    settings = parameters.logins
    everyone = np.arange(len(people))

    fresh = np.flatnonzero(epochs.fresh)
    fresh = fresh[chosen(rng, settings.after_install, len(fresh))]
    after_install = epochs.start[fresh] + rng.integers(SECOND, 20 * SECOND, len(fresh))

    asks = np.flatnonzero(chosen(rng, settings.before_application, len(book.applications.at)))
    before_asking = book.applications.at[asks] - between(rng, 20, 600, len(asks))

    pays = np.flatnonzero(chosen(rng, settings.before_repayment, len(payments.at)))
    before_paying = payments.at[pays] - between(rng, 30, 900, len(pays))

    until = _last_seen(people, book, end)
    span = np.maximum(until - people.registered_at, 0)
    visits = np.repeat(everyone, rng.poisson(settings.per_day * span / DAY))
    visited = people.registered_at[visits] + np.floor(rng.random(len(visits)) * span[visits]).astype(np.int64)
    opened = chosen(rng, settings.opened_only, len(visits))

    logins = [epochs.user[fresh], book.applications.user[asks], book.loans.user[payments.loan[pays]]]
    user = np.concatenate([everyone, *logins, visits])
    at = np.concatenate(
        [people.registered_at, after_install, before_asking, before_paying, local.awake(visited, rng)]
    )
    kind = np.concatenate(
        [
            np.full(len(everyone), REGISTERED),
            np.full(sum(len(rows) for rows in logins), LOGGED_IN),
            np.where(opened, APP_OPENED, LOGGED_IN),
        ]
    )
    known = ((kind == REGISTERED) | (at > people.registered_at[user])) & (at < end)
    user, at, kind = user[known], at[known], kind[known]
    order = np.lexsort((kind, at, user))
    user, at, kind = user[order], at[order], kind[order]
    twice = np.zeros(len(user), dtype=np.bool_)
    twice[1:] = (user[1:] == user[:-1]) & (at[1:] == at[:-1])
    user, at, kind = user[~twice], at[~twice], kind[~twice]
    return _with_agents(parameters, rng, book, installs, user, at, kind, epochs.at(user, at), end)


def _last_seen(people: People, book: Book, end: int) -> Ints:
    """Two weeks after each user's last application or loan, or after registration, but before `end`."""
    last = people.registered_at.copy()
    np.maximum.at(last, book.applications.user, book.applications.at)
    np.maximum.at(last, book.loans.user, np.minimum(book.loans.ended_at, end))
    return np.minimum(last + 14 * DAY, end)


def _with_agents(
    parameters: Parameters,
    rng: np.random.Generator,
    book: Book,
    installs: Installs,
    user: Ints,
    at: Ints,
    kind: Ints,
    install: Ints,
    end: int,
) -> Touches:
    """The users' own touches and those of agents during calls, in the order of user and time."""
    asked = book.applications
    calls = np.flatnonzero(asked.call_ended_at < end)
    calls = calls[chosen(rng, parameters.decisions.agent_login, len(calls))]
    length = asked.call_ended_at[calls] - asked.call_started_at[calls]
    called_at = asked.call_started_at[calls] + np.floor(rng.random(len(calls)) * length).astype(np.int64)
    agent = installs.agents[rng.integers(0, len(installs.agents), len(calls))]
    users = np.concatenate([user, asked.user[calls]])
    times = np.concatenate([at, called_at])
    order = np.lexsort((times, users))
    seen_on = np.concatenate([install, agent])[order]
    by_agent = np.concatenate([np.zeros(len(user), dtype=np.bool_), np.ones(len(calls), dtype=np.bool_)])
    return Touches(
        user=users[order],
        at=times[order],
        kind=np.concatenate([kind, np.full(len(calls), LOGGED_IN)])[order],
        install=seen_on,
        agent=by_agent[order],
        first=_first_of_each(seen_on, times[order]),
    )


def _first_of_each(install: Ints, at: Ints) -> Flags:
    """Which touches are the earliest of their installation."""
    order = np.lexsort((at, install))
    ranked = install[order]
    first = np.zeros(len(install), dtype=np.bool_)
    first[order] = np.concatenate([[True], ranked[1:] != ranked[:-1]]) if len(install) else first
    return first
