"""What the senders of a cluster share, in rows: who speaks for all, first runs, and the pace of accounts.

**Pace.** An account's row is a token bucket by the database's clock. A sender draws for about a tenth of a
second at a time, and what it draws is good for `GOOD_SECONDS`, counted from before it asked. So over any
second all senders together start no more than rate and burst allow. With `R` the rate, `B` the burst and `T`
that time, what starts within `W` seconds was drawn within `W + T`. The bucket holds `R·T` less than the
burst, so that `R·(W + T) + (B - R·T) = R·W + B`. A burst smaller than that leaves the bucket one request, and
the rate is lowered so that the sum over a second stays `R + B`.
"""

from collections.abc import Collection
from datetime import timedelta

from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.deliveries import slot_of_delivery
from lendsignal.log.shared import Grant

GOOD_SECONDS = 0.25
"""How long what was drawn may be used: a busy loop comes round in time, and what is lost is little."""

CHUNK_SECONDS = 0.1
"""A sender draws for so long at most, and where there are many, until its turn comes again."""

DRAW_SECONDS = 0.05
"""An account's row is written 20 times a second at most, by all senders together: each waits so long times
their number between two draws."""

SLOWEST = 0.01
RECOVERY_SECONDS = 60.0
LONGEST_WAIT_SECONDS = 60.0
"""As `deliver.pace` has them."""

_DRAW = f"""
with before as materialized (
    select platform, name, clock_timestamp() as now, at, tokens, share, ceiling, waits_until, slowed
    from account where platform = %s and name = %s for update
), rated as (
    select *, %s::float8 * share as rate, %s::float8 as burst,
        greatest(0, extract(epoch from now - at))::float8 as passed
    from before
), sized as (
    select *, greatest(1, burst - rate * {GOOD_SECONDS}) as size from rated
), filled as (
    select *, least(rate, (rate + burst - size) / (1 + {GOOD_SECONDS})) as pours from sized
), full_ as (
    select *, least(size, coalesce(tokens, size) + passed * pours) as there from filled
), given as (
    select *, case when now < waits_until then 0
        else least(floor(there), %s::float8, greatest(1, floor(rate * %s::float8))) end as given
    from full_
)
update account set
    tokens = there - given,
    at = greatest(account.at, now),
    share = least(account.ceiling, account.share + passed / {RECOVERY_SECONDS})
from given where account.platform = given.platform and account.name = given.name
returning given::integer, rate, greatest(0, 1 - (there - given)) / pours,
    greatest(0, extract(epoch from account.waits_until - now))::float8, account.slowed, account.ceiling
"""

_SLOW_DOWN = f"""
with before as materialized (
    select platform, name, clock_timestamp() as now, slowed, waits_until from account
    where platform = %s and name = %s for update
), said as (
    select *, now < waits_until as waits, coalesce(
        %s::float8,
        case when now < waits_until then 1 else least({LONGEST_WAIT_SECONDS}, power(2, slowed)) end
    ) as seconds
    from before
)
update account set
    slowed = case when waits then account.slowed else least(account.slowed + 1, 6) end,
    share = case when waits then share else greatest({SLOWEST}, share / 2) end,
    tokens = case when waits then tokens else least(coalesce(tokens, 1), 1) end,
    waits_until = greatest(account.waits_until, now + make_interval(secs => seconds))
from said where account.platform = said.platform and account.name = said.name
returning extract(epoch from account.waits_until - now)::float8
"""


class Together:
    """The other senders, as one of them sees them: it has the slots `mine`, of `senders` in all."""

    def __init__(self, database: Database, slots: int, mine: Collection[int], senders: int = 1) -> None:
        self._database = database
        self._slots = slots
        self._draw_seconds = DRAW_SECONDS * senders
        found = database.rows(
            "select slot, orders from sending where slot = any(%b::smallint[])", sorted(mine)
        )
        self._obeyed: dict[int, int] = dict(found)

    def speaks(self, order: int) -> bool:
        """Whether what an order says of destinations is ours to carry out: the first slot's sender does."""
        return self._obeyed.get(0, order) < order

    def concerns(self, order: int, delivery: int) -> bool:
        """Whether what an order says of a delivery is ours to carry out, and was not carried out before."""
        return self._obeyed.get(slot_of_delivery(delivery, self._slots), order) < order

    def begins(self, destination: str, delivery: int, cap: int, before: int) -> bool:
        """Whether a delivery may be among the first `cap` of its destination, over all senders."""
        with self._database.transaction() as session:
            session.rows("select pg_advisory_xact_lock(hashtext(%s), hashtext('begun'))", destination)
            found = session.row(
                "select count(*), coalesce(bool_or(id = %s), false) from begun where destination = %s",
                delivery,
                destination,
            )
            assert found is not None, "a count gives one row"
            if found[1]:
                return True
            if max(found[0], before) >= cap:
                return False
            session.rows("insert into begun values (%s, %s)", destination, delivery)
        return True

    def is_on_its_way(self, destination: str, delivery: int, since_us: int) -> bool:
        """Whether another sender's delivery, first tried since then, is on its way or to be tried again."""
        slot = slot_of_delivery(delivery, self._slots)
        if slot in self._obeyed:
            return False
        found = self._database.row(
            "select 1 from open where slot = %s and destination = %s and id = %s"
            " and stage in (0, 1, 3) and first_us > %s",
            slot,
            destination,
            delivery,
            since_us,
        )
        return found is not None

    def purse(self, account: tuple[str, str]) -> "AccountRow":
        """The pace of an account: (platform, name)."""
        return AccountRow(self._database, account, self._draw_seconds)


class AccountRow:
    """The pace of one account, which all senders draw from."""

    def __init__(self, database: Database, account: tuple[str, str], draw_seconds: float) -> None:
        self._database = database
        self._account = account
        self._draw_seconds = draw_seconds
        self._database.rows("insert into account values (%s, %s) on conflict do nothing", *account)

    def draw(self, most: float, burst: float, wanted: int) -> Grant:
        """Hands out at most so many requests, of `most` a second and `burst` at once."""
        found = self._database.row(
            _DRAW, *self._account, most, burst, float(wanted), max(CHUNK_SECONDS, self._draw_seconds)
        )
        assert found is not None, "made with this row"
        given, rate, ready_in, waits, slowed, ceiling = found
        again = self._draw_seconds if given >= wanted else max(self._draw_seconds, ready_in)
        return Grant(given, rate, GOOD_SECONDS, again, waits, slowed, ceiling)

    def slow_down(self, after: timedelta | None) -> float:
        """The platform asked for less: for how many seconds nothing is given now, to any sender.

        Half the rate, unless it waits already. Without a time of its own a second, doubled each time.
        """
        seconds = None if after is None else after.total_seconds()
        found = self._database.row(_SLOW_DOWN, *self._account, seconds)
        assert found is not None, "made with this row"
        return max(0.0, float(found[0]))

    def limit(self, ceiling: float) -> None:
        """The platform leaves this share of the full rate."""
        self._database.rows(
            "update account set ceiling = %s, share = least(share, %s) where platform = %s and name = %s",
            ceiling,
            ceiling,
            *self._account,
        )

    def taken(self) -> None:
        """A request was taken: the next slow-down starts from a short wait again."""
        self._database.rows(
            "update account set slowed = 0 where platform = %s and name = %s and slowed > 0", *self._account
        )
