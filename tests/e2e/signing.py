"""How members come into the console."""

import re

from playwright.sync_api import Page, expect
from tests.e2e.looking import opened

PASSWORD = "correct horse battery"


def signed_in_as_first_admin(page: Page, link: str) -> None:
    """Follows the link from the terminal, and makes a name and a password."""
    joined(page, link, "ada")


def joined(page: Page, link: str, login: str) -> None:
    """Follows an invitation."""
    page.goto(link)
    page.get_by_label("Name to sign in with").fill(login)
    page.get_by_label("Password, 12 letters or more").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def invited(admin: Page, role: str) -> str:
    """The link that an admin makes for somebody."""
    opened(admin, "/people")
    card = admin.locator(".card", has=admin.get_by_role("heading", name="Ask somebody in"))
    card.get_by_label("Role").select_option(role)
    card.get_by_role("button", name="Make a link").click()
    said = admin.locator("p[role=status]").filter(has_text="Hand this over").inner_text()
    found = re.search(r"/welcome\?code=\S+", said)
    assert found is not None
    return found[0]
