"""Predicted value: the models that were trained, what each showed on later users, which one is in force."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from lendsignal.console.page import Act, Asked, Group, Page, Panel
from lendsignal.console.reporting import spoken
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, LendsignalError, NotYet
from lendsignal.log import open_log
from lendsignal.model.member import May
from lendsignal.value import Promotion
from lendsignal.value.worth import APPLICATION

SHOWN = 20
"""Models that the page lists, the youngest first."""


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The page without its models: they are read from their files."""
    return {"horizon_days": room.config.value.horizon.days, "chosen": asked.get("version")}


def models(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Every model with its gates and its calibration, the youngest first; one of them unfolded."""
    from lendsignal.report.chart import NARROW, WIDE, svg
    from lendsignal.report.value_models import calibration, kept, versions
    from lendsignal.value.making import why_not

    known = versions(room.folder.value_models)[::-1]
    promotions, in_force = _promotions(room)
    told_of = next((one.model.version for one in promotions if one.version == in_force), None)
    wanted = asked.get("version")
    shown = wanted if wanted in known else told_of if told_of in known else next(iter(known), None)
    every = {version: kept(room.folder.value_models, version) for version in known[:SHOWN]}
    one = None if shown is None else every.get(shown) or kept(room.folder.value_models, shown)
    charts = {}
    for place, evidence in enumerate([] if one is None else one.evidence):
        if (chart := calibration(evidence)) is not None:
            told = spoken(chart, asked.words)
            charts[place] = [svg(told, width, alone=False, words=asked.words) for width in (WIDE, NARROW)]
    return {
        "known": list(every.items()),
        "one": one,
        "told_of": told_of,
        "charts": charts,
        "why_not": why_not,
        "promotions": promotions[::-1],
        "in_force": in_force,
        "may": asked.member.may(May.GOVERN),
    }


def promote(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Puts a model into force for its scopes that passed; what was decided before stays as it is."""
    from lendsignal.decide.promoting import promoted
    from lendsignal.report.training import training
    from lendsignal.report.value_models import kept, versions

    version = fields.get("version", "")
    if version not in versions(room.folder.value_models):
        raise InputError("version", "there is no such value model any more")
    one = kept(room.folder.value_models, version)
    if not any(each.passed for each in one.evidence):
        raise LendsignalError(asked.words("No scope of this model passed its trial: it stays out of force."))
    with room.tables() as tables:
        users = training(tables, room.config.value, applicants=APPLICATION in one.model.scopes)
    with room.rules() as rules:
        made = promoted(rules, one, users, asked.now_us)
    return asked.words("%(model)s comes into force as %(version)s.", model=version, version=made.version)


def _promotions(room: Room) -> tuple[Sequence[Promotion], str | None]:
    """Every promotion, oldest first, and the version that decisions go by now."""
    try:
        with closing(open_log(room.folder.log, read_only=True)) as log:
            return log.promotions(), log.value()
    except NotYet:
        return [], None


PAGE = Page(
    path="/value",
    title=_("Value models"),
    template="pages/value.html",
    look=look,
    group=Group.DECIDING,
    place=2,
    panels={"models": Panel(template="pages/value_models.html", look=models)},
    acts={"promote": Act(do=promote, may=May.GOVERN)},
)
