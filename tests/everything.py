"""A site with every flow switched on, and mail of every flow for accounts of its own."""

from __future__ import annotations

from itertools import count
from typing import Any

from flask_courier.core.messages import RecordedMessage
from tests.site import make_site
from tests.visitor import NO_LIMITS, Mail, Visitor, delivered, not_me_link, token_of


class Everything:
    """The site; its visitors are signed in to one account."""

    def __init__(self, url: str, **config: Any) -> None:
        self.site = make_site(url, **{**NO_LIMITS, "COURIER_SIGN_IN": True, **config})
        self._numbers = count(1)
        self.signed_in = self.site.add_user()
        courier = self.site.courier
        courier.current_account(lambda: self._account(self.signed_in))
        courier.recent_authentication(lambda _account: True)
        courier.second_factor(lambda _account: True)
        courier.sign_in(lambda _account: None)
        courier.log_access(lambda _permission: True)

    def close(self) -> None:
        """Close its connections."""
        with self.site.app.app_context():
            self.site.db.engine.dispose()

    def mailed(self, path: str) -> tuple[str, Mail]:
        """A mail of the flow at ``path`` to a new account, and the address it went to."""
        number = next(self._numbers)
        email, new = f"person{number}@example.com", f"person{number}@new.example"
        identity = self.site.add_user(email)
        if path == "not-me":
            link = not_me_link(self._ask("recovery", identity, email).text)
            return email, Mail(link, token_of(link), "", "")
        if path == "email-undo":
            changed = self._ask("email", identity, new)
            Visitor(self.site).json("/account/email/confirm", token=changed.token)
            return email, _read(self._delivered("email_changed"))
        to = new if path == "email" else email
        return to, _read(self._ask(path, identity, to))

    def _ask(self, path: str, identity: int, email: str) -> RecordedMessage:
        courier = self.site.courier
        with self.site.app.app_context():
            account = self._account(identity)
            ask = {
                "recovery": lambda: courier.request_recovery(email),
                "verification": lambda: courier.request_verification(account),
                "email": lambda: courier.request_email_change(account, email),
                "sign-in": lambda: courier.request_sign_in(email),
                "invitation": lambda: courier.invite(account),
            }
            ask[path]()
            self.site.db.session.commit()
        return self._delivered({"email": "email_change"}.get(path, path.replace("-", "_")))

    def _delivered(self, kind: str) -> RecordedMessage:
        return [mail for mail in delivered(self.site) if mail.kind == kind][-1]

    def _account(self, identity: int) -> Any:
        return self.site.db.session.get(self.site.user, identity)


def _read(mail: RecordedMessage) -> Mail:
    assert mail.link is not None
    return Mail(mail.link, token_of(mail.link), mail.code or "", mail.text)
