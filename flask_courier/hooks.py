"""What an application tells its ``Courier`` by decorating functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from flask_courier.state import Hooks

HookT = TypeVar("HookT", bound=Callable[..., Any])


class HookDecorators:
    """The decorators of a ``Courier``; each function is asked when its answer is needed."""

    def __init__(self) -> None:
        self._hooks = Hooks()

    def log_access(self, function: HookT) -> HookT:
        """Decorate the function that says who may see the delivery log.

        It gets a permission's name (``list``, ``read_content``, ``act``, ``export``) and answers
        True; anything else, an exception too, refuses.
        """
        return self._keep("log_access", function)

    def password_policy(self, function: HookT) -> HookT:
        """Decorate the function that gets a new password and answers what is wrong, or None."""
        return self._keep("password_policy", function)

    def current_account(self, function: HookT) -> HookT:
        """Decorate the function that answers the account of whoever is signed in, or None.

        The page ``/account/email`` exists where this and ``recent_authentication`` do.
        """
        return self._keep("current_account", function)

    def recent_authentication(self, function: HookT) -> HookT:
        """Decorate the function that says whether an account's owner signed in lately.

        It gets the account and answers True, or the URL of a page to sign in on again; anything
        else refuses. A new address is not asked for without it.
        """
        return self._keep("recent_authentication", function)

    def second_factor(self, function: HookT) -> HookT:
        """Decorate the function that guards the password form and signing in by mail.

        It gets the account and answers True if it has no second factor or it was passed in this
        browser, or the URL of a page to pass it on, which leads back; anything else refuses. A mail
        alone then opens no account that has one (NIST SP 800-63B-4 section 4.2.2.2).
        """
        return self._keep("second_factor", function)

    def sign_in(self, function: HookT) -> HookT:
        """Decorate the function that gets an account and begins its login session.

        It is called after the commit, in the request that completes ``sign_in``.
        """
        return self._keep("sign_in", function)

    def language(self, function: HookT) -> HookT:
        """Decorate the function that answers the visitor's language, as a tag like ``"de"``.

        It is asked in requests; without it, or where it answers None, the browser's
        ``Accept-Language`` decides.
        """
        return self._keep("language", function)

    def _keep(self, name: str, function: HookT) -> HookT:
        self._hooks = replace(self._hooks, **{name: function})
        return function
