"""What each cause of a failed attempt means, in plain words: for support staff, not for the sender.

No sentence holds an address, a name or a server's own words; those stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flask_courier.core.cause import Cause
from flask_courier.core.cause_rows import CONNECTION, ENCRYPTION_AND_LOGIN, SENDER
from flask_courier.core.cause_rows_message import HANDED_OVER, OURS, RECIPIENT

#: Causes that no server has a part in: the worker itself names them, and no row of the table.
OWN_CAUSES = frozenset(OURS)
#: Every cause that a row of the reply table or a worker names.
CAUSES: Mapping[str, Cause] = MappingProxyType(
    {**CONNECTION, **ENCRYPTION_AND_LOGIN, **SENDER, **RECIPIENT, **HANDED_OVER, **OURS}
)
