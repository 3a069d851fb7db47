"""Signals that an application may listen to; the sender is the application, no payload is secret.

Each is sent after the commit of what it tells. A receiver that raises changes nothing that was
committed.
"""

from __future__ import annotations

from blinker import NamedSignal, Namespace

_signals = Namespace()

#: A new password was set through recovery; ``account_ref`` names the account.
recovery_completed: NamedSignal = _signals.signal("recovery-completed")
#: An address was verified; ``account_ref`` names the account.
verification_completed: NamedSignal = _signals.signal("verification-completed")
#: The first password of an invited account was set; ``account_ref`` names it.
invitation_completed: NamedSignal = _signals.signal("invitation-completed")
#: An account has a new address; ``account_ref`` names it.
email_changed: NamedSignal = _signals.signal("email-changed")
#: A change of address was taken back; ``account_ref`` names the account.
email_change_undone: NamedSignal = _signals.signal("email-change-undone")
#: Somebody was let in by mail; ``account_ref`` names the account.
signed_in: NamedSignal = _signals.signal("signed-in")
#: An account's owner said "this was not me"; ``account_ref`` names it.
account_disowned: NamedSignal = _signals.signal("account-disowned")
#: A link did not work: ``purpose`` and ``outcome`` (``expired``, ``used``, ``replaced``,
#: ``disowned``, ``changed``, ``wrong_purpose``, ``forged``) say which and why; ``account_ref``
#: names its account, or is None where that is not known.
link_refused: NamedSignal = _signals.signal("link-refused")
