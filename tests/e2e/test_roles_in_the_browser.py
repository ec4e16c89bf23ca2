"""Members of each role in a browser: they see and do what the role allows, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.house import DESTINATION, SOURCE, Beginning
from tests.e2e.looking import Looker, opened
from tests.e2e.signing import invited, joined, signed_in_as_first_admin
from tests.running import Stand

from lendsignal.console.app import every_page
from lendsignal.model.member import May, Member, MemberRole


@pytest.fixture
def begun(tmp_path: Path, chromium: Browser) -> Iterator[Beginning]:
    stand = Stand(tmp_path / "sandbox")
    one = Beginning(tmp_path / "service", stand.address)
    one.write(SOURCE, DESTINATION)
    try:
        one.start()
        yield one
    finally:
        one.close()
        stand.close()


def test_members_see_and_do_only_what_their_role_allows(begun: Beginning, looker: Looker) -> None:
    base = f"http://{begun.pages}"
    admin = looker.window(base)
    signed_in_as_first_admin(admin, begun.link())

    for role in (MemberRole.VIEWER, MemberRole.OPERATOR):
        theirs = looker.window(base)
        joined(theirs, invited(admin, role), role)
        member = Member(login=role, role=role)
        for page in every_page():
            assert (named_at_the_side(theirs, page.title) == 1) == page.is_open_to(member), page.path
        opened(theirs, "/destinations")
        operates = member.may(May.OPERATE)
        expect(theirs.get_by_role("button", name="Pause", exact=True)).to_have_count(1 if operates else 0)
        expect(theirs.get_by_role("button", name="Send a test event")).to_have_count(1 if operates else 0)
        theirs.goto("/people")
        expect(theirs.get_by_text("Your role does not open this page.")).to_be_visible()
        looker.expected(r"/people: .*403")


def test_an_operator_pauses_and_resumes_and_the_audit_names_him(begun: Beginning, looker: Looker) -> None:
    base = f"http://{begun.pages}"
    admin = looker.window(base)
    signed_in_as_first_admin(admin, begun.link())
    operator = looker.window(base)
    joined(operator, invited(admin, MemberRole.OPERATOR), MemberRole.OPERATOR)

    opened(operator, "/destinations")
    operator.get_by_role("button", name="Pause", exact=True).click()
    expect(operator.locator("p[role=status]")).to_contain_text("paused: warehouse")
    operator.get_by_role("button", name="Resume", exact=True).click()
    expect(operator.locator("p[role=status]")).to_contain_text("let go: warehouse")

    opened(admin, "/people")
    done = admin.get_by_role("row").filter(has_text=re.compile("operator.*(pause|resume).*Destinations"))
    expect(done).to_have_count(2)


def named_at_the_side(page: Page, title: str) -> int:
    """How many links of the navigation lead there."""
    return page.locator(".side").get_by_role("link", name=title, exact=True).count()
