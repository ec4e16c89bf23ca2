"""Who is on a list: each ready list as a condition over `customer`, and the lender's own.

Pure. A condition is SQL over the columns of `customer` (docs/reference/audiences.md); `$now` is the moment.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.audience.rule import rule_sql
from lendsignal.audience.settings import AudienceSettings, Kind
from lendsignal.model.audience import Use

DAY = timedelta(days=1)

Given = Mapping[str, int]


class Ready(Struct, frozen=True, kw_only=True):
    """A ready list: what it is for, whom it holds, and what counts where the configuration says nothing.

    `follows`: it follows the state of a loan, and is brought up to date within minutes. `sensitive`: it is
    made of people who did not pay or were turned down.
    """

    use: Use
    says: str
    condition: str
    follows: bool = False
    sensitive: bool = False
    within: timedelta | None = None
    cooling: timedelta | None = None
    at_least: int = 1
    late_days: int = 3
    value: str | None = None


GOOD = "closed_loans >= {at_least} and not defaulted and max_dpd <= {late_days} and arrears_loans = 0"

READY: Mapping[Kind, Ready] = {
    "good_repayers": Ready(
        use="seed",
        says="paid back at least `at_least` loans, never more than `late_days` late, nothing lost",
        condition=f"{GOOD} and last_closed_us >= {{since}}",
        value="realised",
    ),
    "top_tier": Ready(
        use="seed",
        says="were once in the best `share` percent of the tiers by `basis`",
        condition="user_key in (select user_key from raw_conversions where name = '{tier}'"
        " and epoch_us(occurred_at) >= {since}) and not defaulted",
    ),
    "repeat_eligible": Ready(
        use="retargeting",
        says="paid back `at_least` loans, owe nothing, and have not applied again since",
        condition=f"{GOOD} and open_loans = 0 and last_closed_us >= {{since}}"
        " and last_closed_us <= {until} and coalesce(applied_us, 0) <= last_closed_us"
        " and coalesce(denied_us, 0) <= last_closed_us",
        follows=True,
    ),
    "applied_not_disbursed": Ready(
        use="retargeting",
        says="applied, were not turned down, and no money was paid out since",
        condition="applied_us >= {since} and applied_us <= {until}"
        " and coalesce(last_loan_us, 0) < applied_us and coalesce(denied_us, 0) < applied_us",
        follows=True,
        within=30 * DAY,
        cooling=timedelta(hours=1),
    ),
    "granted_not_drawn": Ready(
        use="retargeting",
        says="were granted credit, and no money was paid out since",
        condition="granted_us >= {since} and granted_us <= {until}"
        " and coalesce(last_loan_us, 0) < granted_us and coalesce(denied_us, 0) < granted_us",
        follows=True,
        within=30 * DAY,
        cooling=timedelta(hours=1),
    ),
    "lapsed_good": Ready(
        use="retargeting",
        says="good repayers who owe nothing and were not seen for `cooling`",
        condition=f"{GOOD} and open_loans = 0 and last_closed_us >= {{since}}"
        " and greatest(last_closed_us, coalesce(login_us, 0), coalesce(applied_us, 0)) <= {until}",
        follows=True,
        cooling=60 * DAY,
    ),
    "existing_customers": Ready(
        use="exclusion",
        says="had a loan before: kept out of campaigns for new users",
        condition="loans > 0 and last_loan_us >= {since}",
        follows=True,
    ),
    "open_loan": Ready(
        use="exclusion",
        says="have a loan that is not paid back",
        condition="open_loans > 0",
        follows=True,
    ),
    "in_arrears": Ready(
        use="exclusion",
        says="are past due now",
        condition="arrears_loans > 0",
        follows=True,
        sensitive=True,
    ),
    "written_off": Ready(
        use="exclusion",
        says="lost a loan: `defaulted`, or `derive.default_dpd` days past due",
        condition="defaulted",
        follows=True,
        sensitive=True,
    ),
}


class Definition(Struct, frozen=True, kw_only=True):
    """A list as it is built: `condition` is SQL over `customer`, or `query` is the lender's own statement."""

    name: str
    use: Use
    condition: str = "true"
    query: str | None = None
    follows: bool = False
    sensitive: bool = False
    value: str | None = None
    top: int | None = None
    apps: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    within: timedelta | None = None
    cooling: timedelta | None = None

    def checksum(self) -> str:
        """Another one where something else is built."""
        return sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def asks_for(self, columns: Collection[str]) -> bool:
        """Whether it may ask for any of these columns of `customer`: your own statement may for all."""
        return self.query is not None or any(f'"{column}"' in self.condition for column in columns)

    def where(self, now_us: int) -> str:
        """The condition at a moment, apps and countries included."""
        since = now_us - _us(self.within) if self.within is not None else 0
        until = now_us - _us(self.cooling) if self.cooling is not None else now_us
        parts = [self.condition.replace("{since}", str(since)).replace("{until}", str(until))]
        for column, words in (("app", self.apps), ("country", self.countries)):
            if words:
                parts.append(f"{column} in ({', '.join(_word(one) for one in words)})")
        return " and ".join(f"({part})" for part in parts)


def definition_of(name: str, settings: AudienceSettings) -> Definition:
    """What a list's settings mean. They have been checked (`problems`)."""
    ready = None if settings.kind is None else READY[settings.kind]
    if ready is None:
        return Definition(
            name=name,
            use=settings.use or "retargeting",
            condition="true" if settings.rule is None else rule_sql(settings.rule),
            query=settings.sql,
            # Whom your own list holds, we cannot know.
            sensitive=settings.use == "exclusion",
            value=settings.value,
            top=settings.top,
            apps=settings.apps,
            countries=settings.countries,
            within=settings.within,
            cooling=settings.cooling,
        )
    tier = f"{'value' if settings.basis == 'predicted_value' else 'credit'}_top{settings.share or 20}"
    condition = (
        ready.condition.replace("{at_least}", str(settings.at_least or ready.at_least))
        .replace("{late_days}", str(ready.late_days if settings.late_days is None else settings.late_days))
        .replace("{tier}", tier)
    )
    return Definition(
        name=name,
        use=settings.use or ready.use,
        condition=condition,
        follows=ready.follows,
        sensitive=ready.sensitive,
        value=settings.value or ready.value,
        top=settings.top,
        apps=settings.apps,
        countries=settings.countries,
        within=settings.within or ready.within,
        cooling=settings.cooling or ready.cooling,
    )


def variants(settings: AudienceSettings) -> Mapping[str, AudienceSettings]:
    """The same list with each number of its rule a little different: how much hangs on it."""
    ready = None if settings.kind is None else READY[settings.kind]
    found: dict[str, AudienceSettings] = {}
    for key in ("within", "cooling"):
        span = getattr(settings, key) or (None if ready is None else getattr(ready, key))
        if span is not None:
            found[f"{key} halved"] = replace(settings, **{key: span / 2})
            found[f"{key} doubled"] = replace(settings, **{key: span * 2})
    if ready is not None and "{at_least}" in ready.condition:
        at_least = settings.at_least or ready.at_least
        late = ready.late_days if settings.late_days is None else settings.late_days
        found[f"at_least = {at_least + 1}"] = replace(settings, at_least=at_least + 1)
        found["late_days = 0"] = replace(settings, late_days=0)
        found[f"late_days = {late + 7}"] = replace(settings, late_days=late + 7)
    if settings.kind == "top_tier":
        for share in (20, 30, 50, 70):
            if share != (settings.share or 20):
                found[f"share = {share}"] = replace(settings, share=share)
    return found


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _word(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
