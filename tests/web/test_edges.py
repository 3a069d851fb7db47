"""The edges of the pages: where forms may lead, what a closed log tells, what JSON may hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.site import Site
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed


def test_forms_may_lead_where_the_flow_does(sites: Callable[..., Site]) -> None:
    """The policy lets a form follow its redirect to another origin that the configuration names."""
    site = sites(COURIER_AFTER_RECOVERY_URL="https://app.acme.example/sign-in")

    policy = Visitor(site).get("/account/recovery").headers["Content-Security-Policy"]

    assert "form-action 'self' https://app.acme.example;" in policy


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/courier/"),
        ("GET", "/courier"),
        ("PUT", "/courier/messages/x"),
        ("GET", "/courier/x"),
    ],
)
def test_a_closed_log_does_not_exist(site: Site, method: str, path: str) -> None:
    """A wrong method and a missing slash are answered like a page that does not exist."""
    assert 404 == site.client.open(path, method=method).status_code


def test_the_log_closes_nothing_beside_it(sites: Callable[..., Site]) -> None:
    """A route of the application whose path only begins like the log's stays open."""
    site = sites()
    site.app.add_url_rule("/couriers", view_func=lambda: "ours", endpoint="couriers")

    assert "ours" == site.client.get("/couriers").text


def test_a_live_link_needs_leave_to_read_content(sites: Callable[..., Site]) -> None:
    """Whoever may only list sees no live link of a log: delivery."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    mail = mailed(site, "recovery")
    site.courier.log_access(lambda permission: permission == "list")
    (row,) = site.rows("courier_message")

    page = Visitor(site).get(f"/courier/messages/{row['id']}")

    assert 200 == page.status_code
    assert mail.token not in page.text
    assert mail.code not in page.text


def test_nested_json_is_refused(site: Site) -> None:
    """JSON nested deeper than Python reads is a bad request."""
    body = "[" * 16_000 + "]" * 16_000

    answer = site.client.post("/account/recovery", data=body, content_type="application/json")

    assert (400, "body") == (answer.status_code, answer.get_json()["reason"])


def test_a_password_that_is_no_text_is_refused(sites: Callable[..., Site]) -> None:
    """A lone surrogate in a password is an error of the input, and the token still works."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    token = mailed(site, "recovery").token
    visitor = Visitor(site)

    status, problem = visitor.json(
        "/account/recovery/password", token=token, password="long enough \ud800"
    )

    assert (422, "invalid_input") == (status, problem["reason"])
    assert 200 == visitor.redeem("recovery", token)


@pytest.mark.parametrize("tail", ["=", "*#", "A"])
def test_a_token_has_one_spelling(site: Site, tail: str) -> None:
    """A token with anything behind it is refused, also where base64 would not mind."""
    site.add_user(ADA)
    token = mailed(site, "recovery").token

    assert 410 == Visitor(site).redeem("recovery", token + tail)


def test_another_link_under_an_open_form_gets_no_form(sites: Callable[..., Site]) -> None:
    """A form under which another link was opened is refused without a form to send again."""
    site = sites(**NO_LIMITS)
    for address in (ADA, "eve@example.com"):
        site.add_user(address)
    visitor = Visitor(site)
    page = visitor.follow(mailed(site, "recovery", ADA).link)
    visitor.follow(mailed(site, "recovery", "eve@example.com").link)

    refused = visitor.send(page, password="a new long password", confirm="a new long password")

    assert 422 == refused.status_code
    assert "Open the link again" in refused.text
    assert "<form" not in refused.text
