"""Row ids against RFC 9562, and the randomness they are made of."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.ids import first_id, fraction, new_id, nonce, random_bytes, uuid7
from flask_courier.core.tokens import SEED_BYTES, TOKEN_BYTES

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
moments = st.datetimes(
    datetime(1970, 1, 1, 0, 0, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(timezone.utc),
)
entropies = st.binary(min_size=10, max_size=10)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, counted without floating point."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def test_example_of_the_rfc() -> None:
    """RFC 9562 appendix A.6: its time and its random bits give its UUID."""
    # 2022-02-22 14:22:22 -05:00, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    now = datetime(2022, 2, 22, 14, 22, 22, tzinfo=timezone(timedelta(hours=-5)))
    entropy = ((0xCC3 << 62 | 0x18C4DC0C0C07398F) << 6).to_bytes(10, "big")
    assert uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == uuid7(now, entropy)


@given(now=moments, entropy=entropies)
def test_version_and_variant(now: datetime, entropy: bytes) -> None:
    """Version 7, variant of RFC 9562, whatever the other bits are."""
    made = uuid7(now, entropy)
    assert (7, uuid.RFC_4122) == (made.version, made.variant)


@given(now=moments, entropy=entropies)
@example(now=datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=timezone.utc), entropy=bytes(10))
@example(now=datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=timezone.utc), entropy=bytes(10))
@example(now=datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=timezone.utc), entropy=bytes(10))
def test_first_48_bits_are_the_millisecond(now: datetime, entropy: bytes) -> None:
    """The time in an id is the millisecond of ``now``, never a neighbour of it."""
    assert milliseconds(now) == uuid7(now, entropy).int >> 80


@given(now=moments, entropy=entropies)
def test_all_74_free_bits_are_entropy(now: datetime, entropy: bytes) -> None:
    """Every bit that is not time, version or variant comes from the entropy, in its order."""
    value = uuid7(now, entropy).int
    free = (value >> 64 & 0xFFF) << 62 | value & ((1 << 62) - 1)
    assert int.from_bytes(entropy, "big") >> 6 == free


@given(one=moments, other=moments, entropy=entropies, other_entropy=entropies)
def test_ids_sort_by_time(
    one: datetime, other: datetime, entropy: bytes, other_entropy: bytes
) -> None:
    """An id of a later millisecond is greater, as a number and as text."""
    first, second = uuid7(one, entropy), uuid7(other, other_entropy)
    if milliseconds(one) < milliseconds(other):
        assert first < second
        assert first.hex < second.hex


@given(moment=moments, entropy=entropies)
def test_first_id_is_the_smallest_of_its_moment(moment: datetime, entropy: bytes) -> None:
    """No id of the same millisecond sorts before the first, and none of an earlier one after."""
    earlier = uuid7(moment - timedelta(milliseconds=1), b"\xff" * 10)
    assert first_id(moment) <= uuid7(moment, entropy)
    assert earlier < first_id(moment)


@pytest.mark.parametrize("size", [0, 9, 11, 16])
def test_other_amounts_of_entropy_are_refused(size: int) -> None:
    """Exactly 10 bytes of entropy make an id."""
    with pytest.raises(ValueError, match=f"^uuid7 needs 10 bytes of entropy, got {size}$"):
        uuid7(EPOCH, bytes(size))


def test_new_ids_of_one_moment_differ() -> None:
    """A thousand ids of the same millisecond are a thousand ids."""
    assert 1000 == len({new_id(EPOCH) for _ in range(1000)})


def test_nonce_is_32_hexadecimal_digits() -> None:
    """Lease tokens and placeholders are 128 bits, never the same twice."""
    made = {nonce() for _ in range(1000)}
    assert (1000, {32}) == (len(made), {len(text) for text in made})
    assert set().union(*made) == set("0123456789abcdef")


def test_random_bytes_are_as_many_as_asked_for() -> None:
    """``random_bytes`` answers the number of bytes it was asked for."""
    assert [0, 1, 16, 32] == [len(random_bytes(count)) for count in (0, 1, 16, 32)]


def test_s04_randomness_is_the_csprng(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is random here, 128 bits for each token, comes from ``secrets`` and nowhere else."""
    monkeypatch.setattr(secrets, "token_bytes", lambda count: b"\x5a" * count)
    assert (b"\x5a" * SEED_BYTES, "5a" * 16) == (random_bytes(SEED_BYTES), nonce())
    assert (True, True) == (SEED_BYTES * 8 >= 128, TOKEN_BYTES * 8 >= 128)


def test_fraction_is_at_least_0_and_below_1() -> None:
    """Jitter never reaches 1."""
    assert all(0 <= fraction() < 1 for _ in range(1000))
