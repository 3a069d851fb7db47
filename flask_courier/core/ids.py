"""The one door to randomness, and the identifiers made of it."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta, timezone

_PLACEHOLDER_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_RANDOM = secrets.SystemRandom()


def random_bytes(count: int) -> bytes:
    """``count`` bytes from the CSPRNG."""
    return secrets.token_bytes(count)


def fraction() -> float:
    """A number in [0, 1), for jitter."""
    return _RANDOM.random()


def uuid7(now: datetime, entropy: bytes) -> uuid.UUID:
    """A time-ordered UUID of ``now`` and 10 fresh bytes (RFC 9562 section 5.7).

    All 74 free bits are random: there is no counter, so an id tells its millisecond and nothing
    about its neighbours. The 6 bits left over of ``entropy`` are dropped.
    """
    if len(entropy) != 10:
        raise ValueError(f"uuid7 needs 10 bytes of entropy, got {len(entropy)}")
    # In whole numbers: a float of seconds can fall a millisecond short.
    milliseconds = (now - _EPOCH) // timedelta(milliseconds=1)
    noise = int.from_bytes(entropy, "big") >> 6
    rand_a, rand_b = noise >> 62, noise & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | rand_a << 64
    value |= 0b10 << 62 | rand_b
    return uuid.UUID(int=value)


def new_id(now: datetime) -> uuid.UUID:
    """A fresh row id of ``now``."""
    return uuid7(now, random_bytes(10))


def first_id(moment: datetime) -> uuid.UUID:
    """The smallest id that a row made at ``moment`` could have: older rows sort before it."""
    return uuid7(moment, bytes(10))


def moment_of(identity: uuid.UUID) -> datetime:
    """When an id of :func:`new_id` was made; the first moment of all for what is none."""
    milliseconds = identity.int >> 80
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return _EPOCH


def nonce() -> str:
    """128 random bits as 32 hexadecimal digits: lease tokens, placeholders, Message-IDs."""
    return random_bytes(_PLACEHOLDER_BYTES).hex()
