"""Days as an app counts them: SQL that turns a moment into the local day of an app's time zone."""

from lendsignal.report.tables import Tables


def know_zones(tables: Tables) -> None:
    """Fills the table `zone`, which `local_day` and `local_time` need: the IANA name of each app's zone."""
    tables.db.execute("create or replace temp table zone (app varchar, name varchar)")
    known = [(app, zone.key) for app, zone in tables.zones.items()]
    tables.fill_rows("zone", ("app", "name"), known)


def local_time(moment_us: str, app: str) -> str:
    """SQL of the wall clock at a moment (microseconds since 1970, UTC) in an app's zone, by default UTC."""
    zone = f"coalesce((select any_value(z.name) from zone z where z.app = {app}), 'UTC')"
    return f"(make_timestamptz({moment_us}) at time zone {zone})"


def local_day(moment_us: str, app: str) -> str:
    """SQL of the local day, as a date: an hour that daylight saving repeats or leaves out changes no day."""
    return f"{local_time(moment_us, app)}::date"
