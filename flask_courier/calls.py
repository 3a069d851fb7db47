"""What an application calls its ``Courier`` for. Nothing here commits."""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, has_request_context

from flask_courier.core import links
from flask_courier.core.accounts import ChangesAddresses, normalise_address
from flask_courier.core.errors import SetupError
from flask_courier.core.messages import RecordedMessage
from flask_courier.core.status import Status
from flask_courier.delivery import runner
from flask_courier.flows import challenge, notice, recovery, sessions
from flask_courier.flows.challenge import Asked, Challenge
from flask_courier.flows.email_change import EMAIL_CHANGE, by_owner
from flask_courier.flows.recovery import INVITATION, RECOVERY
from flask_courier.flows.sign_in import SIGN_IN
from flask_courier.flows.verification import VERIFICATION
from flask_courier.state import current_state, state_of
from flask_courier.web import browser, guard, language

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
#: What callers pass by mistake; never said with its value.
_NO_ACCOUNTS: tuple[tuple[type, str], ...] = (
    (str, "text"),
    (bytes, "bytes"),
    (int, "a number"),
    (uuid.UUID, "a key"),
    (type(None), "None"),
)


class Calls:
    """The calls of a ``Courier``: each finds the application of the current context."""

    def request_recovery(self, email: str) -> None:
        """Queue a recovery mail to whoever has this address, in ``db.session``'s transaction.

        :raises AddressError: if ``email`` is not an e-mail address.
        """
        _request(RECOVERY, _asked(email))

    def request_verification(self, account_or_email: Any) -> None:
        """Queue a verification mail to an account, in ``db.session``'s transaction.

        :param account_or_email: an account (flushed, so that it has its key), or an address.
        :raises AddressError: if an address is not one.
        :raises SetupError: if it is neither (None, for instance), or an account without a key.
        """
        # For an address as for an account: a sign-up answers alike whoever has an account already.
        name = browser.name() if has_request_context() else None
        if isinstance(account_or_email, str):
            _request(VERIFICATION, _asked(account_or_email))
            return
        reference, address = _named(account_or_email, "request_verification()")
        asked = _asked(address, account_ref=reference)
        if name is not None:
            asked = replace(asked, browser_key=current_state().flows.browser_key(name))
        _request(VERIFICATION, asked)

    def request_sign_in(self, email: str) -> None:
        """Queue a mail that signs whoever has this address in, in ``db.session``'s transaction.

        :raises AddressError: if ``email`` is not an e-mail address.
        :raises SetupError: if COURIER_SIGN_IN is not set.
        """
        if not current_state().config.sign_in:
            raise SetupError("signing in by mail is switched off; set COURIER_SIGN_IN to True")
        _request(SIGN_IN, _asked(email))

    def request_email_change(self, account: Any, new_address: str) -> None:
        """Queue a mail to ``new_address`` that makes it the account's once it is confirmed.

        In ``db.session``'s transaction. Ask for a fresh login before you call it; the page
        ``/account/email`` does so by ``@courier.recent_authentication``.

        :raises AddressError: if ``new_address`` is not an e-mail address.
        :raises SetupError: if the account store cannot change addresses, or ``account`` is no
            account, as for :meth:`invite`.
        """
        if not isinstance(current_state().accounts, ChangesAddresses):
            raise SetupError(
                "the account store has no change_address(session, account, address); write one to "
                "let accounts change their address"
            )
        reference, _ = _named(account, "request_email_change()")
        asked = _asked(new_address, account_ref=reference)
        _request(EMAIL_CHANGE, by_owner(current_state().flows, account, asked))

    def invite(self, account: Any) -> None:
        """Queue a mail in which the owner of a new account sets its first password.

        In ``db.session``'s transaction. An account whose address is verified gets none.

        :param account: flushed, so that it has its key.
        :raises SetupError: if ``account`` is an address, a key or None (look it up first, as in
            ``db.session.scalar(db.select(User).filter_by(email=address))``), or has no key yet.
        """
        reference, address = _named(account, "invite()")
        _request(INVITATION, _asked(address, account_ref=reference))

    def recovery_link(
        self, account: Any, *, expires: timedelta = _HOUR, actor: str = "operator"
    ) -> str:
        """A recovery link for support to hand over, once: nothing keeps it, and no mail carries it.

        In ``db.session``'s transaction; the link works after its commit. The delivery log shows
        that it was made, and by whom.

        :param expires: how long it is good, a day at most.
        :param actor: who asked for it, as the log shows it.
        :raises ValueError: if ``expires`` is not between a second and a day.
        :raises SetupError: if ``account`` is no account, as for :meth:`invite`.
        """
        if not timedelta(seconds=1) <= expires <= _DAY:
            raise ValueError("a recovery link is good for a second at least and a day at most")
        state = current_state()
        _named(account, "recovery_link()")
        secret = recovery.hand_over(
            state.caller_session(), state.flows, account, lifetime=expires, actor=actor
        )
        path = RECOVERY.link_path(state.config) + secret.value
        return links.absolute(state.config.public_url or str(_public_url()), path)

    def session_id(self, account: Any) -> str:
        """What a login session keeps of ``account``: Flask-Login's ``get_id``.

        It ends with the password and with the security stamp that the account has now: after a
        recovery, a change of address taken back, "this was not me".

        :raises SetupError: if ``account`` is no account, as for :meth:`invite`.
        """
        _named(account, "session_id()")
        return sessions.name(current_state().flows, account)

    def load_account(self, session_id: str) -> Any | None:
        """The account of a login session: Flask-Login's ``user_loader``.

        None if the account is gone or switched off, or has another password or stamp by now; and
        for an id that :meth:`session_id` did not make.
        """
        state = current_state()
        return sessions.load(state.caller_session(), state.flows, session_id)

    def send(
        self,
        kind_or_template: str,
        *,
        to: str,
        context: Mapping[str, Any] | None = None,
        locale: str | None = None,
        send_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> uuid.UUID:
        """Queue a mail of the application's own in ``db.session``'s transaction; answer its id.

        :param kind_or_template: ``"welcome"`` renders ``courier/mail/welcome.subject.txt``,
            ``.txt`` and ``.html``; ``"mail/welcome"`` renders ``mail/welcome.…``.
        :param context: what the templates get; JSON.
        :param locale: the mail's language, a tag like ``"de"``; without it the one of the request.
        :param send_at: when it is due, with a time zone; at once without it.
        :param idempotency_key: at most 128 characters; a second call for the same kind and key
            queues nothing and answers the first one's id, as long as that is in the delivery log.
        :raises AddressError: if ``to`` is not an e-mail address.
        :raises ContextError: if the kind, the context, the time or the key cannot be stored.
        """
        return notice.send(
            current_state().caller_session(),
            kind_or_template,
            to=to,
            context=context or {},
            public_url=_request_url(),
            locale=current_state().flows.language(locale, language.of_request()),
            send_at=send_at,
            idempotency_key=idempotency_key,
        )

    def deliver_pending(self, app: Flask | None = None) -> Counter[Status]:
        """Deliver everything that is due now, in this thread; answer how often each status came.

        SQLite in memory has one connection for everybody: commit your own work first.

        :param app: the application, where no context says it.
        """
        state = current_state() if app is None else state_of(app)
        return runner.drain(state.worker_parts("manual"))

    @contextlib.contextmanager
    def record_messages(self, app: Flask | None = None) -> Iterator[list[RecordedMessage]]:
        """Collect accepted mail with its links, tokens and codes in the clear, for tests.

        :param app: the application, where no context says it.
        """
        recorders = (current_state() if app is None else state_of(app)).recorders
        outbox: list[RecordedMessage] = []
        recorders.append(outbox)
        try:
            yield outbox
        finally:
            recorders[:] = [recorder for recorder in recorders if recorder is not outbox]


def _named(account: Any, call: str) -> tuple[str, str]:
    """The reference and the address of an account that has its key."""
    accounts = current_state().accounts
    try:
        reference = accounts.reference(account)
    except (AttributeError, TypeError, LookupError):
        # What an account is, its store says: text or a number is refused where the store does.
        what = next((word for kind, word in _NO_ACCOUNTS if isinstance(account, kind)), None)
        if what is None:
            raise
        raise SetupError(
            f"{call} wants an account, not {what}; look it up first, as in db.session.scalar("
            "db.select(User).filter_by(email=address)), and see that there is one"
        ) from None
    if reference in ("", "None"):
        raise SetupError(f"the account has no key yet; call db.session.flush() before {call}")
    return reference, accounts.state(account).address


def _asked(email: str, *, account_ref: str | None = None) -> Asked:
    public_url = _public_url()
    delay = guard.unseen_delay() if account_ref is None else guard.NO_DELAY
    return Asked(
        address=normalise_address(email),
        account_ref=account_ref,
        locale=language.of_request(),
        public_url=public_url,
        delay=delay,
    )


def _public_url() -> str | None:
    """What a message must remember of where links lead, where something has to say it."""
    public_url = _request_url()
    if public_url is None and current_state().config.public_url is None:
        raise SetupError(
            "set COURIER_PUBLIC_URL: without it, links are only made in a request that comes from "
            "this machine"
        )
    return public_url


def _request_url() -> str | None:
    """What a message must remember of where links lead; nothing outside a request."""
    if not has_request_context():
        return None
    try:
        return guard.stored_public_url()
    except guard.Refused:
        return None


def _request(flow: Challenge, asked: Asked) -> None:
    challenge.request(current_state().caller_session(), flow, asked)
