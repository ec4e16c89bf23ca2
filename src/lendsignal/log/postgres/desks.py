"""Where the pages of a cluster are: each desk says so while it lives, by the database's clock."""

from msgspec import Struct

from lendsignal.log.postgres.connection import Database


class Desk(Struct, frozen=True):
    """A desk that lives: its process's name, and the address at which browsers find its pages."""

    name: str
    address: str


class Desks:
    """The desks of a cluster."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell(self, desk: Desk, seconds: float) -> None:
        """This desk lives, for so long unless it says so again; what others left behind long ago goes."""
        with self._database.transaction() as session:
            session.rows(
                "insert into desk values (%s, %s, clock_timestamp() + make_interval(secs => %s))"
                " on conflict (name) do update set address = excluded.address, until = excluded.until",
                desk.name,
                desk.address,
                seconds,
            )
            session.rows("delete from desk where until < clock_timestamp() - interval '1 day'")

    def end(self, name: str) -> None:
        """That desk is gone."""
        self._database.rows("delete from desk where name = %s", name)

    def alive(self) -> list[Desk]:
        """Those that live, in the order of their addresses."""
        found = self._database.rows(
            "select name, address from desk where until > clock_timestamp() order by address, name"
        )
        return [Desk(*one) for one in found]
