"""Browsers that keep no cookies: the link is pasted where the cookie would have carried it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_courier.testing import form_data
from tests.databases import every_database
from tests.observation import age
from tests.purposes import every_purpose, link_of, open_house
from tests.site import Site
from tests.visitor import FINAL, Visitor

SAYS = "your browser keeps no cookies"


@pytest.fixture
def house(sites: Callable[..., Site]) -> Site:
    """A site with every flow."""
    return open_house(sites)


@every_database
@every_purpose
def test_pasted_link_completes(house: Site, purpose: str) -> None:
    """Every flow that a link begins is completed in HTML without cookies."""
    mail, visitor = link_of(house, purpose), Visitor(house, cookies=False)
    before = house.rows("user")
    page = visitor.follow(mail.link)
    assert (410, True) == (page.status_code, SAYS in page.text)
    form = visitor.send(page, link=f" {mail.link}.")
    assert (200, before) == (form.status_code, house.rows("user"))
    assert visitor.press(form).status_code in {200, 303}
    assert before != house.rows("user")


@every_purpose
def test_dead_link_says_why(house: Site, purpose: str) -> None:
    """A link that has run out is told as anywhere, and changes nothing."""
    mail, visitor = link_of(house, purpose), Visitor(house, cookies=False)
    age(house, "courier_token", timedelta(days=30))
    before = house.rows("user")
    dead = visitor.send(visitor.get(FINAL[purpose]), link=mail.link)
    assert (410, True) == (dead.status_code, "This link has run out" in dead.text)
    assert before == house.rows("user")


@pytest.mark.parametrize("link", ["", "\u200b", "x" * 3000])
def test_no_link(house: Site, link: str) -> None:
    """What is no link is asked for again."""
    visitor = Visitor(house, cookies=False)
    again = visitor.send(visitor.get(FINAL["not_me"]), link=link)
    assert (422, True) == (again.status_code, 'aria-invalid="true"' in again.text)


def test_another_pages_form(house: Site) -> None:
    """A form token that was made for another page is not good for this one."""
    visitor = Visitor(house, cookies=False)
    hidden = form_data(visitor.get(FINAL["recovery"]).text)
    fields = {**hidden, "link": link_of(house, "not_me").link}
    assert 422 == visitor.post(FINAL["not_me"], data=fields).status_code
