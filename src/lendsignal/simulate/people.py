"""Who installs the app, from which campaign, and who they are underneath."""

from dataclasses import dataclass

import numpy as np

from lendsignal.simulate.chance import NEVER, Flags, Floats, Ints, chosen, dice, drawn, waits
from lendsignal.simulate.localtime import DAY, MINUTE, LocalTime, day_of, daytime
from lendsignal.simulate.parameters import Parameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaigns:
    """All campaigns of all channels, in the order of the parameters."""

    media_source: tuple[str, ...]
    name: tuple[str, ...]
    weight: Floats
    quality: Floats
    cost: Floats
    retargeting: Flags

    def draw(self, rng: np.random.Generator, retargeting: bool, count: int) -> Ints:
        """Campaigns drawn by weight among those for new users, or those that bring users back."""
        weights = np.where(self.retargeting == retargeting, self.weight, 0.0)
        if not weights.any():
            weights = np.where(self.retargeting, 0.0, self.weight)
        return drawn(rng, weights, count)


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """One row a user, in the order of registration. Times are milliseconds UTC.

    `host` is the user on whose phone this one registers, or -1. `luck` is what the score gets wrong.
    `strangers` are installations without a registration: campaign and time of each.
    """

    quality: Floats
    need: Floats
    luck: Floats
    campaign: Ints
    installed_at: Ints
    registered_at: Ints
    ios: Flags
    test: Flags
    host: Ints
    in_ring: Flags
    consents: Flags
    withdrawn_at: Ints
    strangers_campaign: Ints
    strangers_at: Ints
    strangers_ios: Flags

    def __len__(self) -> int:
        return len(self.quality)


def campaigns_of(parameters: Parameters) -> Campaigns:
    """The channels' campaigns as columns; a campaign's weight is its part in all installs."""
    rows = []
    for channel in parameters.channels:
        acquiring = sum(c.weight for c in channel.campaigns if not c.retargeting) or 1.0
        bringing_back = sum(c.weight for c in channel.campaigns if c.retargeting) or 1.0
        for campaign in channel.campaigns:
            total = bringing_back if campaign.retargeting else acquiring
            rows.append((channel, campaign, channel.weight * campaign.weight / total))
    return Campaigns(
        media_source=tuple(channel.media_source for channel, _, _ in rows),
        name=tuple(campaign.name for _, campaign, _ in rows),
        weight=np.array([weight for _, _, weight in rows]),
        quality=np.array([channel.quality + campaign.quality for channel, campaign, _ in rows]),
        cost=np.array([channel.cost_per_install for channel, _, _ in rows], dtype=np.float64),
        retargeting=np.array([campaign.retargeting for _, campaign, _ in rows]),
    )


def people_of(parameters: Parameters, seed: int, campaigns: Campaigns, local: LocalTime, end: int) -> People:
    """Everyone who installs before `end` (milliseconds UTC), users in the order of registration."""
    rng = dice(seed, "people")
    settings, phones, count = parameters.people, parameters.phones, parameters.period.users
    installed_at = _install_times(parameters, rng, local, count)
    registered_at = np.minimum(installed_at + 2_000 + waits(rng, settings.registration, count), end - MINUTE)
    order = np.lexsort((installed_at, registered_at))
    installed_at, registered_at = installed_at[order], registered_at[order]

    campaign = campaigns.draw(rng, False, count)
    host, in_ring = _hosts(parameters, rng, count)
    quality = campaigns.quality[campaign] + rng.standard_normal(count) + phones.ring_quality * in_ring
    need = settings.need_on_quality * quality + rng.standard_normal(count)
    consents = chosen(rng, settings.consent_given, count)
    withdrawn = consents & chosen(rng, settings.consent_withdrawn, count)
    withdrawn_at = registered_at + rng.integers(DAY, 60 * DAY, count)

    strangers = round(count * settings.never_register / (1 - settings.never_register))
    return People(
        quality=quality,
        need=need,
        luck=rng.standard_normal(count),
        campaign=campaign,
        installed_at=installed_at,
        registered_at=registered_at,
        ios=chosen(rng, phones.ios, count),
        test=chosen(rng, settings.test_user, count),
        host=host,
        in_ring=in_ring,
        consents=consents,
        withdrawn_at=np.where(withdrawn, withdrawn_at, NEVER),
        strangers_campaign=campaigns.draw(rng, False, strangers),
        strangers_at=_install_times(parameters, rng, local, strangers),
        strangers_ios=chosen(rng, phones.ios, strangers),
    )


def _install_times(parameters: Parameters, rng: np.random.Generator, local: LocalTime, count: int) -> Ints:
    """Moments spread over the period by growth, with Sundays half as busy as other days."""
    period = parameters.period
    days = np.arange(period.days)
    first = day_of(period.start)
    sunday = (days + first + 3) % 7 == 6
    weights = (1 + period.monthly_growth) ** (days / 30) * np.where(sunday, 0.5, 1.0)
    return local.moment((first + drawn(rng, weights, count)) * DAY + daytime(rng, count))


def _hosts(parameters: Parameters, rng: np.random.Generator, count: int) -> tuple[Ints, Flags]:
    """Whose phone each user registers on (-1: an own one), and who belongs to a ring around one phone."""
    phones = parameters.phones
    luck = rng.random(count)
    in_ring = luck < phones.ring_users
    shares = ~in_ring & (luck < phones.ring_users + phones.shared)
    owners = np.flatnonzero(~in_ring & ~shares)
    rings = max(1, round(int(in_ring.sum()) / phones.ring_size))
    early = owners[: max(1, len(owners) // 2)]
    centres = np.sort(rng.choice(early, min(rings, len(early)), replace=False)) if len(early) else owners
    host = np.full(count, -1, dtype=np.int64)
    for members, candidates in ((in_ring, centres), (shares, owners)):
        guests = np.flatnonzero(members)
        earlier = np.searchsorted(candidates, guests)
        pick = np.floor(rng.random(len(guests)) * earlier).astype(np.int64)
        found = earlier > 0
        host[guests[found]] = candidates[pick[found]]
    return host, in_ring & (host >= 0)
