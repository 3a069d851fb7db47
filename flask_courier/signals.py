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
