"""Somebody at the site: with a browser, with one that keeps no cookies, or with a JSON client."""

from __future__ import annotations

import html
import re
from typing import Any, NamedTuple

from werkzeug.test import TestResponse

from flask_courier.core.messages import RecordedMessage
from flask_courier.testing import form_data
from tests.site import PASSWORD, PUBLIC_URL, Site, path_of

ADA = "ada@example.com"
#: Limits that a test of something else does not meet.
NO_LIMITS: dict[str, Any] = {
    "COURIER_RECIPIENT_LIMIT": "1000/minute",
    "COURIER_REQUESTER_LIMIT": "1000/minute",
}
#: The page that completes each flow.
FINAL = {
    "recovery": "/account/recovery/password",
    "verification": "/account/verification/confirm",
    "sign_in": "/account/sign-in/confirm",
    "email_change": "/account/email/confirm",
    "email_undo": "/account/email-undo/confirm",
    "not_me": "/account/not-me/confirm",
    "invitation": "/account/invitation/password",
}
#: Says that a verification had been completed already, which is answered with 200 as well.
DONE_BEFORE = 208
#: What the second use of a token is answered with.
USED = {**dict.fromkeys(FINAL, 410), "verification": DONE_BEFORE}

_ACTION = re.compile(r'<form method="post" action="([^"]+)"')


class Mail(NamedTuple):
    """What the owner of an address reads in a mail."""

    link: str
    token: str
    code: str
    text: str


class Visitor:
    """One client of a site, at its public address."""

    def __init__(self, site: Site, *, cookies: bool = True) -> None:
        self.client = site.app.test_client(use_cookies=cookies)

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        return self.client.get(path, **{"base_url": PUBLIC_URL, **options})

    def post(self, path: str, **options: Any) -> TestResponse:
        """Send what is given, as it is."""
        return self.client.post(path, **{"base_url": PUBLIC_URL, **options})

    def follow(self, link: str) -> TestResponse:
        """Open the link of a mail, and the page it leads to."""
        opened = self.get(path_of(link))
        return self.get(opened.location) if opened.status_code == 303 else opened

    def send(self, page: TestResponse, **fields: str) -> TestResponse:
        """Fill the form on ``page`` in and send it where it says."""
        action = _ACTION.search(page.text)
        assert action is not None, page.text
        return self.post(html.unescape(action[1]), data=form_data(page.text, **fields))

    def fill(self, path: str, **fields: str) -> TestResponse:
        """Open the page at ``path``, fill its form in and send it."""
        return self.send(self.get(path), **fields)

    def json(self, path: str, **fields: Any) -> tuple[int, Any]:
        """Send a JSON object; answer the status and the JSON that comes back."""
        answer = self.post(path, json=fields)
        return answer.status_code, answer.get_json()

    def press(self, page: TestResponse) -> TestResponse:
        """Send the form on ``page`` that completes a flow, with a new password where it has one."""
        sets_password = 'name="confirm"' in page.text
        fields = {"password": PASSWORD, "confirm": PASSWORD} if sets_password else {}
        return self.send(page, **fields)

    def redeem(self, kind: str, token: str, password: str = PASSWORD) -> int:
        """Complete a flow by JSON; answer the status, ``DONE_BEFORE`` where it was done already."""
        fields = {"password": password} if FINAL[kind].endswith("/password") else {}
        status, body = self.json(FINAL[kind], token=token, **fields)
        return DONE_BEFORE if body.get("status") == "already_verified" else status


def request_mail(site: Site, kind: str, email: str = ADA) -> None:
    """Queue a mail of ``kind`` to ``email`` through the public call."""
    with site.app.app_context():
        if kind == "recovery":
            site.courier.request_recovery(email)
        elif kind == "sign_in":
            site.courier.request_sign_in(email)
        else:
            site.courier.request_verification(email)
        site.db.session.commit()


def delivered(site: Site) -> list[RecordedMessage]:
    """Deliver what is due; answer the mails that were accepted."""
    with site.courier.record_messages(site.app) as outbox:
        site.deliver()
    return outbox


def mailed(site: Site, kind: str, email: str = ADA) -> Mail:
    """Have a mail of ``kind`` sent to ``email``, and read it."""
    request_mail(site, kind, email)
    (mail,) = [found for found in delivered(site) if found.kind == kind]
    assert mail.link is not None
    assert mail.token is not None
    assert mail.code is not None
    return Mail(mail.link, mail.token, mail.code, mail.text)


def token_of(link: str) -> str:
    """The token in a link."""
    return path_of(link).rsplit("/", 1)[1]


def not_me_link(text: str) -> str:
    """The "this was not me" link in the text of a mail."""
    return next(word for word in text.split() if "/account/not-me/" in word)
