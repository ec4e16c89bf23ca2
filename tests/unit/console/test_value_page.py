"""A value model is put into force on its page, by an admin, and the next users are valued by it."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.browsing import Browser
from tests.unit.cli.test_value_verbs import call, lender, trained

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.console import console
from lendsignal.log import DataFolder, open_log
from lendsignal.log.people import open_people
from lendsignal.model.member import MemberRole
from lendsignal.role.reports import MAKERS

__all__ = ["lender", "trained"]  # fixtures: five months of a lender whose model passes its trial

PASSWORD = "correct horse battery"


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_model_that_passed_is_promoted_by_an_admin_alone_and_is_then_in_force(
    lender: Path, trained: dict[str, Any]
) -> None:
    config = configuration.load(lender / "lendsignal.toml")
    folder, now = DataFolder(config.data), SystemClock().now_us()
    with closing(open_people(folder.people)) as people:
        app = console(config, people, MAKERS)
        browsers = []
        for role in (MemberRole.OPERATOR, MemberRole.ADMIN):
            people.welcome(people.invite(role, now, by="a test"), role, PASSWORD, now)
            browsers.append(Browser(app))
            assert browsers[-1].post("/sign-in", {"login": role, "password": PASSWORD}).status == 303
        operator, admin = browsers
        version = trained["version"]

        before = plain(admin.get("/value/panel/models").text)
        refused = operator.post(
            "/value/act/promote", {"form": operator.get("/value").form, "version": version}
        )
        assert "ready" in before
        assert "/act/promote" not in operator.get("/value/panel/models").text
        assert refused.status == 403

        admin.post("/value/act/promote", {"form": admin.get("/value").form, "version": version})
        said, after = plain(admin.get("/value").text), plain(admin.get("/value/panel/models").text)
        done = people.done()[0]
        app.state.room.close()

    with closing(open_log(folder.log, read_only=True)) as log:
        (promotion,) = log.promotions()
    assert promotion.model.version == version
    assert f"{version} comes into force as {promotion.version}" in said
    assert promotion.version in after
    assert (done.login, done.what, done.about) == ("admin", "promote", "Value models")
    assert version in call("value", "history").output
