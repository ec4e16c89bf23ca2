"""The tables of the archive, column by column: names, types, units and what they mean.

Written as Parquet under `<table>/day=YYYY-MM-DD/`, where the day is the UTC day on which a row came to be
known here: an event's arrival, a plan's making, an answer's coming. A day that is over gets no further rows.
What a column means never changes; a new column comes last, and `VERSION` says so.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

VERSION = 2
"""Of the layout; `_layout.json` beside the tables says which one a folder has.

2: instalments, attributions, recorded events and spend; what a snapshot shows as one number."""


class Kind(StrEnum):
    """What a column holds, as DuckDB names it; each stands for one Parquet type."""

    TEXT = "varchar"
    WHOLE = "bigint"
    TRUTH = "boolean"
    REAL = "double"
    MONEY = "decimal(38, 8)"
    DAY = "date"
    MOMENT = "timestamptz"


class Column(Struct, frozen=True):
    """One column: its name, what it holds, what that means, and how it is read from a row's facts."""

    name: str
    kind: Kind
    meaning: str


class Table(Struct, frozen=True):
    """One table. `moment` is the column whose UTC day says where a row lies; `key` tells rows apart."""

    name: str
    meaning: str
    key: tuple[str, ...]
    moment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)


Row = tuple[Any, ...]
"""One row, in the order of its table's columns. Moments are microseconds since 1970, UTC."""


def _table(name: str, meaning: str, key: str, moment: str, columns: str) -> Table:
    """A table from lines of `name kind meaning`."""
    read: list[Column] = []
    for line in filter(str.strip, columns.splitlines()):
        column, kind, said = line.strip().split(None, 2)
        read.append(Column(column, Kind[kind.upper()], said))
    return Table(name, meaning, tuple(key.split()), moment, tuple(read))


_IDS = "appsflyer_id adjust_adid firebase_app_instance_id branch_identity singular_sdid kochava_device_id"
_DEVICE_IDS = "gaid idfa idfv oaid android_id"


def _ids(prefix: str, of: str) -> str:
    lines = [f"{prefix}{name} text {of}: install-scoped id" for name in _IDS.split()]
    lines += [f"{prefix}{name} text {of}: device-scoped id" for name in _DEVICE_IDS.split()]
    return "\n".join(lines)


EVENTS = _table(
    "events",
    "What came in, and what was decided of it. Touches are here too, and their devices in `touches`.",
    "seq",
    "received_at",
    """
    seq whole the event's number in the log, in the order of arrival
    event_id text the sender's id, or the one that was derived for it
    type text disbursed, repaid, …, or a custom name
    brand text the brand
    user_id text the lender's id of the user, unique within the brand
    person_id text the lender's id of the human across brands, where given
    app text the app it was sent for, where given
    source text who sent it
    occurred_at moment when it happened, the sender's clock corrected
    received_at moment when it reached the door
    time_precision text instant, or day where only the local day is known
    verdict text taken, duplicate, conflict, outdated or failed
    revision whole a higher one of the same key supersedes
    actor text user, agent or system
    purpose text optimisation, or analytics, which is never routed
    test truth of a test or staff user
    history truth imported past: it sends nothing
    flags text what the door noticed, separated by blanks
    application_id text the application it is about
    grant_id text the grant it is about
    loan_id text the loan it is about
    payment_id text the payment it is about
    loan_number whole the user's n-th loan, where the lender says
    product text the lender's product
    amount money principal or payment, in major units of currency
    currency text ISO 4217
    fee money what the lender earns on it, in major units
    principal money the principal in a payment, in major units
    credit_limit money what was granted, in major units
    term_days whole the loan's term in days
    due_date day the local day on which it is due
    outstanding money what is left to pay, in major units
    closes_loan truth whether a payment ends the loan
    dpd whole days past due, 0 on the due date
    score real the lender's score
    score_version text the model that gave it
    properties text further facts, as a JSON object
    user_key whole equal where brand and user_id are: quicker to join by than both
    fact_key whole equal where user_key, type and the key of that kind are; empty where there is no such key
    loan_key whole equal where user_key and loan_id are; empty without a loan
    """,
)

TOUCHES = _table(
    "touches",
    "Logins and openings of the user's own that show an installation.",
    "seq",
    "received_at",
    """
    seq whole the event's number in the log
    event_id text the event's id
    type text registered, logged_in or app_opened
    brand text the brand
    user_id text the lender's id of the user
    app text the app that was opened
    occurred_at moment when, the phone's clock corrected
    received_at moment when it reached the door
    test truth of a test or staff user
    os text operating system
    os_version text its version
    model text the phone's model
    app_version text the app's version
    locale text the phone's language and region
    timezone text the phone's time zone
    carrier text the network
    att_status whole iOS tracking permission: 0 not determined, 1 restricted, 2 denied, 3 authorised
    limit_ad_tracking truth the user switched ad tracking off
    emulator truth an emulator
    """
    + _ids("", "of the installation")
    + """
    meta_anon_id text of the installation: install-scoped id
    shown whole equal where app and ids are equal; empty where no id is shown
    user_key whole as in events
    """,
)

INSTALMENTS = _table(
    "instalments",
    "What a loan is to bring and when, as its event told.",
    "seq place",
    "received_at",
    """
    seq whole the event's number in the log
    place whole its place in the schedule, from 0
    brand text the brand
    user_id text the lender's id of the user
    loan_id text the loan
    due_date day the local day on which it is due
    amount money what is due, in major units of currency
    currency text ISO 4217
    received_at moment when the event reached the door
    """,
)

CONVERSIONS = _table(
    "conversions",
    "What was derived from events, bound by both rules. A late touch adds a row with `rebinds` set.",
    "record",
    "planned_at",
    """
    record whole the number of the decision, rising in time
    rebinds whole the record whose binding this one replaces, where it does
    conversion_id text the id that platforms are told
    name text disbursement, first_loan, …
    seq whole the event it was derived from
    event_id text that event's id
    brand text the brand
    user_id text the lender's id of the user
    loan_id text the loan, where there is one
    payment_id text the payment, where there is one
    loan_number whole the user's n-th loan, where known
    occurred_at moment when it happened
    received_at moment when the event reached the door
    planned_at moment when it was decided
    amount money principal or payment, in major units of currency
    currency text ISO 4217
    fee money what the lender earns on it, in major units
    certain truth whether a first really is the first
    predicted truth whether it is a prediction
    tier_version text the cuts that put it into a tier
    test truth of a test or staff user
    history truth imported past: it sends nothing
    app text the app of the last login's installation
    touched_at moment when that login was
    first_app text the app of the first installation
    first_touched_at moment when that was first seen
    """
    + _ids("", "of the last login")
    + "\n"
    + _ids("first_", "of the first installation")
    + """
    event_type text the type of the event it was derived from
    meta_anon_id text of the last login: install-scoped id
    first_meta_anon_id text of the first installation: install-scoped id
    shown whole equal to that of touches with the same app and ids; of the last login
    first_shown whole the same of the first installation
    entries whole deliveries that were planned with it, those that are skipped at once included
    user_key whole as in events
    event_app text the app that the event was sent for, where given
    """,
)

DELIVERIES = _table(
    "deliveries",
    "One conversion for one destination, as it was planned.",
    "delivery",
    "planned_at",
    """
    delivery whole the delivery's number, as receipts speak of it
    record whole the decision that planned it: a row of `conversions`, unless it is a correction
    rebinds whole set where it stands for one of that record, moved by a late touch
    conversion_id text the id that the platform is told
    conversion text disbursement, first_loan, …; of a correction disbursement_retraction or …_restatement
    destination text where it goes, by its name in the configuration
    kind text the platform
    name text what the conversion is called there
    value money the value it is sent with, in major units
    value_currency text ISO 4217
    unvalued truth the route wanted a value and there was none
    skip text why it is never sent, where it is not
    planned_at moment when it was planned
    settle_us whole how long it waits for the phone's own login, in microseconds
    """,
)

WITHDRAWALS = _table(
    "withdrawals",
    "Plans that were taken back: what was not yet sent is not sent any more.",
    "record",
    "withdrawn_at",
    """
    record whole the number of this decision
    withdraws whole the decision that is taken back
    reason text why
    skip text the reason its deliveries are skipped with; empty where they are cancelled
    withdrawn_at moment when
    """,
)

OUTCOMES = _table(
    "outcomes",
    "What came of every try of a delivery, and of those that ended without one.",
    "pack place",
    "at",
    """
    pack whole the commit it was written in, rising in time
    place whole its place in that commit
    delivery whole the delivery, as in `deliveries`
    destination text where it went
    what text accepted, dead, skipped, cancelled, retry, paused, held or pending
    reason text why, in one of the words of reasons.md
    attempt whole the n-th try that counts; 0: none was made
    sent_at moment when its request left; empty where none did
    at moment when this was known
    status whole the HTTP status; empty where there was no answer
    """,
)

_AD = """
    channel text where the user came from: organic, google, meta, …
    media_source text the source as the MMP or account calls it
    campaign text its name
    campaign_id text its id
    ad_set text the ad set's or ad group's name
    ad_set_id text its id
    ad text the ad's name
    ad_id text its id
"""

ATTRIBUTIONS = _table(
    "attributions",
    "Where users came from, as the MMPs said. Of several sayings about one coming the one told last holds.",
    "key",
    "came_at",
    """
    key text tells sayings apart: a saying told again is the same row
    feed text which feed it came by
    mmp text who says so
    app text the app
    mmp_id text the MMP's id of the installation
    kind text install, reinstall, re_engagement or re_attribution
    came_at moment when the user came; empty where that was not told
    told_at moment when it was told
    """
    + _AD
    + """
    touch text click or impression, as the MMP says
    touched_at moment when the ad was clicked or seen
    user_id text the lender's id of the user, where the MMP knows it
    click_ids text ids of the click, as a JSON object
    """,
)

RECORDED = _table(
    "recorded",
    "Events that the MMPs say they recorded.",
    "key",
    "happened_at",
    """
    key text tells them apart
    feed text which feed it came by
    mmp text who says so
    app text the app
    mmp_id text the MMP's id of the installation
    name text what the event is called there
    happened_at moment when it happened
    conversion_id text the conversion id that we sent with it, where there was one
    amount money the value that was recorded, in major units of currency
    currency text ISO 4217
    sent_by text SDK or S2S, as the MMP says
    kind text of the coming that it was counted under
    is_primary truth not under an older attribution alone
    """
    + _AD
    + """
    user_id text the lender's id of the user, where the MMP knows it
    copies whole how often one file had it
    """,
)

SPEND = _table(
    "spend",
    "What ads cost, by day. A day that an account tells anew takes the place of what it told before.",
    "feed account spent_on channel campaign_id campaign ad_set_id ad_set ad_id ad country currency",
    "spent_on",
    """
    feed text which feed it came by
    account text the ad account
    spent_on day the day, in the account's own time zone
    """
    + _AD
    + """
    country text ISO 3166, where told
    currency text ISO 4217
    amount money what it cost, in major units of currency
    impressions whole how often ads were shown
    clicks whole how often they were clicked
    """,
)

FEEDS: tuple[Table, ...] = (ATTRIBUTIONS, RECORDED, SPEND)
"""What others tell us: a day's file is written anew whenever something of that day is told."""

TABLES: tuple[Table, ...] = (
    EVENTS,
    TOUCHES,
    INSTALMENTS,
    CONVERSIONS,
    DELIVERIES,
    WITHDRAWALS,
    OUTCOMES,
    *FEEDS,
)
"""Every table of the archive."""

Of = Callable[[Any], Row]
"""What makes a table's row."""


def day_of(us: int) -> int:
    """The UTC day of a moment, in days since 1970."""
    return us // 86_400_000_000


def place_of(table: Table) -> int:
    """Where in a row the moment stands that says on which day it lies."""
    return table.names.index(table.moment)


def days_of(table: Table, rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Rows by the UTC day on which they lie, each day's in the given order."""
    place, days = place_of(table), dict[int, list[Row]]()
    for row in rows:
        days.setdefault(day_of(row[place]), []).append(row)
    return days
