"""The queue side of the message table, and the only writer of a message's status.

A worker *claims* a message: one statement gives it a lease that two workers cannot both win. Every
later write names the lease, so that a worker which lost it changes nothing. Times are the
database's; each transaction begins with its write, which SQLite needs.
"""

from flask_courier.storage.outbox.claims import (
    claim,
    give_back,
    hold,
    reclaim_expired_leases,
    retake,
)
from flask_courier.storage.outbox.limited import enqueue_limited
from flask_courier.storage.outbox.queue import (
    Queued,
    enqueue,
    expire_overdue,
    find_queued,
    record_handed_over,
    supersede,
    withdraw,
)
from flask_courier.storage.outbox.results import (
    LeaseLost,
    Prepared,
    Settlement,
    close,
    keep_history,
    prepared,
    record,
    refund,
    release,
)

__all__ = [
    "LeaseLost",
    "Prepared",
    "Queued",
    "Settlement",
    "claim",
    "close",
    "enqueue",
    "enqueue_limited",
    "expire_overdue",
    "find_queued",
    "give_back",
    "hold",
    "keep_history",
    "prepared",
    "reclaim_expired_leases",
    "record",
    "record_handed_over",
    "refund",
    "release",
    "retake",
    "supersede",
    "withdraw",
]
