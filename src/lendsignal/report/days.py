"""Days as an app counts them: SQL that turns a moment into the local day of an app's time zone."""

from lendsignal.report.tables import Tables


def local_time(tables: Tables, moment_us: str, app: str) -> str:
    """SQL of the wall clock at a moment (microseconds since 1970, UTC) in an app's zone, by default UTC.

    `moment_us` and `app` are SQL: a column, or a number.
    """
    known = "".join(
        f" when {quoted(name)} then {quoted(zone.key)}" for name, zone in sorted(tables.zones.items())
    )
    zone = f"case {app}{known} else 'UTC' end" if known else "'UTC'"
    return f"(make_timestamptz({moment_us}) at time zone {zone})"


def local_day(tables: Tables, moment_us: str, app: str) -> str:
    """SQL of the local day, as a date: an hour that daylight saving repeats or leaves out changes no day."""
    return f"{local_time(tables, moment_us, app)}::date"


def quoted(text: str) -> str:
    """The text as a word of SQL."""
    return "'" + text.replace("'", "''") + "'"
