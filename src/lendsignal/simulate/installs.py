"""Installations: the first, those after it, and which one is in a user's hand at any moment.

A user's life is cut into epochs: from its start until the next one's, the user holds one installation.
Times are milliseconds UTC.
"""

from dataclasses import dataclass

import numpy as np

from lendsignal.simulate.chance import Flags, Ints, chosen, dice, drawn
from lendsignal.simulate.loans import Applications
from lendsignal.simulate.localtime import DAY, MINUTE, SECOND
from lendsignal.simulate.parameters import Parameters
from lendsignal.simulate.people import Campaigns, People
from lendsignal.simulate.phones import Phones, appsflyer_ids, firebase_ids, phones_of

FIRST, NEW_PHONE, REINSTALL, OTHER_PLATFORM, STRANGER, AGENT = range(6)
KINDS = ("first", "new_phone", "reinstall", "other_platform", "stranger", "agent")


@dataclass(frozen=True, kw_only=True, slots=True)
class Installs:
    """One row an installation. `user` made it (-1: a stranger, who never registers, or an agent).

    `phone` is a row of `phones`; `retargeting` marks installs credited to a retargeting campaign.
    """

    user: Ints
    at: Ints
    kind: Ints
    phone: Ints
    campaign: Ints
    retargeting: Flags
    ios: Flags
    firebase_id: tuple[str, ...]
    appsflyer_id: tuple[str, ...]
    phones: Phones
    agents: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Epochs:
    """Which installation a user holds from when on, in the order of user and time."""

    user: Ints
    start: Ints
    install: Ints
    fresh: Flags
    _key: Ints
    _origin: int
    _span: int

    def at(self, user: Ints, moment: Ints) -> Ints:
        """The installation each user holds at each moment; a moment before the first epoch has the first."""
        key = user * self._span + np.clip(moment - self._origin, 0, self._span - 1)
        place = np.searchsorted(self._key, key, side="right") - 1
        first = np.searchsorted(self.user, user)
        return self.install[np.maximum(place, first)]


def installs_of(
    parameters: Parameters,
    seed: int,
    people: People,
    campaigns: Campaigns,
    applications: Applications,
    end: int,
) -> tuple[Installs, Epochs]:
    """All installations before `end`, and who holds which when."""
    rng = dice(seed, "installs")
    count = len(people)
    user, at, kind, soon = _later_installs(parameters, rng, people, applications, end)

    # Everybody's installations in the order of user and time; guests have no first one of their own.
    owns = np.flatnonzero(people.host < 0)
    every_user = np.concatenate([owns, user])
    every_at = np.concatenate([people.installed_at[owns], at])
    every_kind = np.concatenate([np.full(len(owns), FIRST), kind])
    every_soon = np.concatenate([np.zeros(len(owns), dtype=np.bool_), soon])
    order = np.lexsort((every_at, every_user))
    user, at, kind, soon = every_user[order], every_at[order], every_kind[order], every_soon[order]
    base_ios = _first_platform(people)
    crossings = np.cumsum(kind == OTHER_PLATFORM)
    begin = np.searchsorted(user, np.arange(count))
    before = np.concatenate([[0], crossings])[begin]
    ios = base_ios[user] ^ ((crossings - before[user]) % 2 == 1)
    phone = np.cumsum(kind != REINSTALL) - 1
    retargeting = (kind == REINSTALL) & chosen(rng, parameters.phones.retargeted, len(user))
    later = np.where(retargeting, campaigns.draw(rng, True, len(user)), campaigns.draw(rng, False, len(user)))
    campaign = np.where(kind == FIRST, people.campaign[user], later)

    # Strangers and agents come last.
    strangers, agents = len(people.strangers_at), parameters.decisions.agents
    organic = campaigns.draw(rng, False, agents)
    own = len(user)
    others = np.arange(strangers + agents)
    start = int(people.installed_at.min()) if count else 0
    all_ios = np.concatenate([ios, people.strangers_ios, np.zeros(agents, dtype=np.bool_)])
    all_at = np.concatenate([at, people.strangers_at, np.full(agents, start) + np.arange(agents) * MINUTE])
    phone = np.concatenate([phone, (phone[-1] + 1 if own else 0) + others])
    phone_ios = np.zeros(int(phone[-1]) + 1 if len(phone) else 0, dtype=np.bool_)
    phone_ios[phone] = all_ios
    installs = Installs(
        user=np.concatenate([user, np.full(strangers + agents, -1)]),
        at=all_at,
        kind=np.concatenate([kind, np.full(strangers, STRANGER), np.full(agents, AGENT)]),
        phone=phone,
        campaign=np.concatenate([campaign, people.strangers_campaign, organic]),
        retargeting=np.concatenate([retargeting, np.zeros(strangers + agents, dtype=np.bool_)]),
        ios=all_ios,
        firebase_id=firebase_ids(rng, len(all_at)),
        appsflyer_id=appsflyer_ids(rng, all_at, all_ios),
        phones=phones_of(parameters, rng, phone_ios),
        agents=own + strangers + np.arange(agents),
    )
    return installs, _epochs(parameters, rng, people, user, at, kind, soon, end)


def _later_installs(
    parameters: Parameters, rng: np.random.Generator, people: People, applications: Applications, end: int
) -> tuple[Ints, Ints, Ints, Flags]:
    """User, time, kind, and whether it was made because a loan is wanted now, of every later installation."""
    settings, count = parameters.phones, len(people)
    hazards = np.array([settings.new_phone, settings.reinstall, settings.other_platform])
    start = people.registered_at + DAY // 2
    months = np.maximum(end - start, 0) / (30 * DAY)
    user = np.repeat(np.arange(count), rng.poisson(hazards.sum() * months))
    at = start[user] + np.floor(rng.random(len(user)) * (end - start[user])).astype(np.int64)
    if not len(user):
        return user, at, user, np.zeros(0, dtype=np.bool_)
    kind = np.array([NEW_PHONE, REINSTALL, OTHER_PLATFORM])[drawn(rng, hazards, len(user))]
    # A guest owns no phone yet: what would be a reinstall is a new phone.
    kind = np.where((people.host[user] >= 0) & (kind == REINSTALL), NEW_PHONE, kind)

    wanted, ahead = _next_application(applications, user, at)
    soon = chosen(rng, settings.before_loan, len(user)) & (ahead >= 0)
    moved = wanted - rng.integers(2 * MINUTE, 7 * MINUTE, len(user))
    at = np.where(soon, np.maximum(moved, at), at)
    order = np.lexsort((at, user))
    user, at, kind, soon = user[order], at[order], kind[order], soon[order]
    crowded = np.zeros(len(user), dtype=np.bool_)
    crowded[1:] = (user[1:] == user[:-1]) & (at[1:] - at[:-1] < 15 * MINUTE)
    keep = ~crowded
    return user[keep], at[keep], kind[keep], soon[keep]


def _next_application(applications: Applications, user: Ints, at: Ints) -> tuple[Ints, Ints]:
    """The time of each user's next application after `at` and its row, or -1 where there is none."""
    if not len(applications.at):
        return at, np.full(len(user), -1)
    order = np.lexsort((applications.at, applications.user))
    of, when = applications.user[order], applications.at[order]
    origin, span = _scale(np.concatenate([when, at]))
    place = np.searchsorted(of * span + (when - origin), user * span + (at - origin), side="right")
    inside = np.minimum(place, len(of) - 1)
    found = (place < len(of)) & (of[inside] == user)
    return when[inside], np.where(found, order[inside], -1)


def _first_platform(people: People) -> Flags:
    """The platform each user starts on; a guest starts on that of the host's first phone."""
    return np.where(people.host >= 0, people.ios[np.maximum(people.host, 0)], people.ios)


def _epochs(
    parameters: Parameters,
    rng: np.random.Generator,
    people: People,
    user: Ints,
    at: Ints,
    kind: Ints,
    soon: Flags,
    end: int,
) -> Epochs:
    """The rows of installations as epochs, with the days on which an old phone is used once more."""
    install = np.arange(len(user))
    lag = np.where(soon, rng.integers(20 * SECOND, 60 * SECOND, len(user)), SECOND)
    own = _sorted_epochs(user, at + lag, install, np.ones(len(user), dtype=np.bool_), end)

    guests = np.flatnonzero(people.host >= 0)
    theirs = own.at(people.host[guests], people.registered_at[guests])

    back = np.flatnonzero((kind == NEW_PHONE) & chosen(rng, parameters.phones.returns, len(user)))
    back = back[(back > 0) & (user[np.maximum(back - 1, 0)] == user[back])]
    leaves = at[back] + rng.integers(DAY, 20 * DAY, len(back))
    comes = leaves + rng.integers(DAY // 5, 3 * DAY, len(back))
    following = np.full(len(user), end, dtype=np.int64)
    following[:-1] = np.where(user[1:] == user[:-1], at[1:], end)
    fits = comes < following[back]
    back, leaves, comes = back[fits], leaves[fits], comes[fits]

    old = np.zeros(2 * len(back) + len(guests), dtype=np.bool_)
    return _sorted_epochs(
        np.concatenate([user, guests, user[back], user[back]]),
        np.concatenate([own.start, people.registered_at[guests], leaves, comes]),
        np.concatenate([install, theirs, back - 1, back]),
        np.concatenate([kind != FIRST, old]),
        end,
    )


def _sorted_epochs(user: Ints, start: Ints, install: Ints, fresh: Flags, end: int) -> Epochs:
    order = np.lexsort((start, user))
    origin, span = _scale(np.concatenate([start, [end]]))
    return Epochs(
        user=user[order],
        start=start[order],
        install=install[order],
        fresh=fresh[order],
        _key=user[order] * span + (start[order] - origin),
        _origin=origin,
        _span=span,
    )


def _scale(moments: Ints) -> tuple[int, int]:
    """Origin and span that make user × span + (moment - origin) a sortable key."""
    if not len(moments):
        return 0, 1
    origin = int(moments.min())
    return origin, int(moments.max()) - origin + 1
