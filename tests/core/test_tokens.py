"""Tokens, codes and form tokens: what derives what, who verifies what, and what is never shown."""

from __future__ import annotations

import cProfile
import hashlib
import pstats
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from itsdangerous import Signer, TimestampSigner
from itsdangerous.encoding import base64_encode, int_to_bytes

from flask_courier.core import tokens
from flask_courier.core.tokens import Key, KeyRing, Purpose, Secret, Seed

OLD, NEW, FOREIGN = b"an old secret of sixteen", b"a new secret of sixteen", b"another app's secret"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SEED = Seed(Purpose.RECOVERY, "018f0000-0000-7000-8000-000000000000", bytes(range(16)))
ID = bytes(range(100, 116))

RING = KeyRing([NEW])
ROTATED = KeyRing([OLD, NEW])

purposes = st.sampled_from(Purpose)
entropies = st.binary(min_size=16, max_size=16)
seeds = st.builds(Seed, purposes, st.uuids().map(str), entropies)


def sign(secret: bytes, purpose: Purpose = Purpose.RECOVERY) -> Secret:
    """``ID`` as the application with ``secret`` puts it in a link."""
    return Key(secret).sign(purpose, ID)


@given(seed=seeds)
def test_same_seed_gives_same_token_bytes(seed: Seed) -> None:
    """A retry in another process sends the same link and the same code, byte for byte."""
    first, second = Key(NEW), Key(NEW)
    link = first.sign(seed.purpose, first.token_id(seed))
    assert link == second.sign(seed.purpose, second.token_id(seed))
    assert first.code(seed, 8) == second.code(seed, 8)


@given(one=seeds, other=seeds)
def test_different_seeds_give_different_ids(one: Seed, other: Seed) -> None:
    """Purpose, message and entropy each change the token id."""
    assert (one == other) == (Key(NEW).token_id(one) == Key(NEW).token_id(other))


@given(seed=seeds)
def test_s27_token_is_66_unreserved_characters(seed: Seed) -> None:
    """A link carries 66 characters that no URL, mail client or header has to escape."""
    token = Key(NEW).sign(seed.purpose, Key(NEW).token_id(seed)).value
    assert (66, set()) == (len(token), set(token) - set(BASE64URL) - {"."})


@given(seed=seeds)
def test_s04_token_carries_its_id_alone(seed: Seed) -> None:
    """Nothing but the 128 bits of the token id is inside a token."""
    token_id = Key(NEW).token_id(seed)
    assert token_id == RING.verify(seed.purpose, Key(NEW).sign(seed.purpose, token_id))


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("other", Purpose)
def test_s33_token_of_one_purpose_is_refused_by_the_other(purpose: Purpose, other: Purpose) -> None:
    """A token verifies for the purpose it was signed for, and for no other."""
    assert (ID if purpose is other else None) == RING.verify(other, sign(NEW, purpose))


@pytest.mark.parametrize("salt", ["itsdangerous", "cookie-session", "flask_courier", ""])
def test_s33_token_of_another_salt_is_refused(salt: str) -> None:
    """What another extension signed with the same SECRET_KEY and its own salt is no token."""
    encoded = sign(NEW).value.partition(".")[0]
    for derivation in ("hmac", "django-concat"):
        signer = Signer(NEW, salt=salt, key_derivation=derivation, digest_method=hashlib.sha256)
        assert RING.verify(Purpose.RECOVERY, Secret(signer.sign(encoded).decode())) is None


def comparisons(token: str) -> int:
    """How many comparisons in constant time it takes to look at ``token``."""
    profile = cProfile.Profile()
    profile.runcall(ROTATED.verify, Purpose.RECOVERY, Secret(token))
    found = pstats.Stats(profile).get_stats_profile().func_profiles
    return sum(int(part.ncalls) for name, part in found.items() if "compare_digest" in name)


def test_s31_every_key_is_compared_in_constant_time() -> None:
    """Right or wrong, at the first letter or the last, of the old key or the new: as many looks."""
    right = sign(NEW).value
    first, last = ("A" if right[place] != "A" else "B" for place in (23, -1))
    tokens_ = (
        right,
        sign(OLD).value,
        sign(FOREIGN).value,
        f"{right[:23]}{first}{right[24:]}",
        f"{right[:-1]}{last}",
    )
    assert {2} == {comparisons(token) for token in tokens_}


def test_purposes_give_different_codes() -> None:
    """One message's seed gives each purpose a code of its own."""
    other = Seed(Purpose.VERIFICATION, SEED.message_id, SEED.entropy)
    assert Key(NEW).code(SEED, 8) != Key(NEW).code(other, 8)


def test_s31_newest_key_signs() -> None:
    """A rotated ring mints and signs with the secret that stands last."""
    assert Key(NEW).id == ROTATED.current.id
    assert sign(NEW) == ROTATED.current.sign(Purpose.RECOVERY, ID)


@pytest.mark.parametrize(
    ("secret", "verified"), [(NEW, ID), (OLD, ID), (FOREIGN, None)], ids=["new", "old", "foreign"]
)
def test_rotated_ring_verifies_its_own_keys(secret: bytes, verified: bytes | None) -> None:
    """A fallback key still verifies, another application's key does not."""
    assert verified == ROTATED.verify(Purpose.RECOVERY, sign(secret))


def test_s31_dropped_key_does_not_verify() -> None:
    """A token of a key that has left the ring is refused."""
    assert RING.verify(Purpose.RECOVERY, sign(OLD)) is None


def test_key_id_finds_its_key() -> None:
    """A row's key id leads to the key that minted it, while that key is in the ring."""
    found = ROTATED.get(Key(OLD).id)
    assert found is not None
    assert Key(OLD).token_id(SEED) == found.token_id(SEED)


def test_key_id_of_a_dropped_key_finds_none() -> None:
    """A row whose key was dropped is known by that, and its mail is prepared again."""
    assert RING.get(Key(OLD).id) is None


def test_key_ids_are_16_digits_of_their_secret() -> None:
    """A key is named by 16 hexadecimal digits that differ between secrets."""
    assert {16} == {len(Key(secret).id) for secret in (OLD, NEW, FOREIGN)}
    assert 3 == len({Key(secret).id for secret in (OLD, NEW, FOREIGN)})


def test_one_secret_gives_five_unlike_keys() -> None:
    """Minting, signing, storage, limits and forms never share a key, nor does the id show one."""
    key = Key(NEW)
    derived = [key._mint, key._sign, key._store, key._limit, key._form]
    assert 5 == len(set(derived))
    assert not any(part.hex().startswith(key.id) for part in derived)


def test_empty_ring_is_refused() -> None:
    """A ring without a secret is an error and not a ring that verifies nothing."""
    with pytest.raises(ValueError, match=r"^a key ring needs at least one secret$"):
        KeyRing([])


@given(position=st.integers(0, 65), character=st.sampled_from(BASE64URL + ".~= \n\0é"))
def test_tampered_token_is_refused(position: int, character: str) -> None:
    """Another character at any position makes a token that nobody signed."""
    token = sign(NEW).value
    tampered = token[:position] + character + token[position + 1 :]
    expected = ID if tampered == token else None
    assert expected == RING.verify(Purpose.RECOVERY, Secret(tampered))


@pytest.mark.parametrize("character", BASE64URL)
def test_token_has_one_spelling(character: str) -> None:
    """Two bits of the last character carry nothing, and are still not free to choose."""
    token = sign(NEW).value
    expected = ID if character == token[-1] else None
    assert expected == RING.verify(Purpose.RECOVERY, Secret(token[:-1] + character))


@pytest.mark.parametrize("tail", ["=", "!!!!", "\n", " ", ".", "A", "é", "\ud800"], ids=ascii)
def test_token_with_a_tail_is_refused(tail: str) -> None:
    """Nothing may follow a token, not even what lenient base64 skips."""
    assert RING.verify(Purpose.RECOVERY, Secret(sign(NEW).value + tail)) is None


@pytest.mark.parametrize("length", range(66))
def test_truncated_token_is_refused(length: int) -> None:
    """No beginning of a token is a token."""
    assert RING.verify(Purpose.RECOVERY, Secret(sign(NEW).value[:length])) is None


@pytest.mark.parametrize("cut", range(1, 66))
def test_beheaded_token_is_refused(cut: int) -> None:
    """No end of a token is a token."""
    assert RING.verify(Purpose.RECOVERY, Secret(sign(NEW).value[cut:])) is None


@given(text=st.text())
@example(text="")
@example(text=".")
@example(text="\ud800")
@example(text="AAAA.AAAA")
def test_any_text_is_refused_without_an_error(text: str) -> None:
    """Whatever a visitor puts in the URL is answered with None."""
    assert RING.verify(Purpose.RECOVERY, Secret(text)) is None


@pytest.mark.parametrize("inside", [b"", ID[:15], ID + b"x"], ids=["empty", "short", "long"])
def test_signed_id_of_another_length_is_refused(inside: bytes) -> None:
    """What our key signed still has to be 128 bits long."""
    assert RING.verify(Purpose.RECOVERY, Key(NEW).sign(Purpose.RECOVERY, inside)) is None


def test_signed_text_that_is_no_base64_is_refused() -> None:
    """What our key signed still has to be base64."""
    signed = tokens._signer([Key(NEW).signing], Purpose.RECOVERY).sign(b"!" * 22)
    assert RING.verify(Purpose.RECOVERY, Secret(signed.decode())) is None


@given(seed=seeds, digits=st.integers(6, 12))
def test_s26_code_has_exactly_the_digits_asked_for(seed: Seed, digits: int) -> None:
    """A code is ASCII digits, leading zeros kept."""
    code = Key(NEW).code(seed, digits).value
    assert (digits, set()) == (len(code), set(code) - set("0123456789"))


@given(seed=seeds)
def test_shorter_code_is_the_end_of_a_longer_one(seed: Seed) -> None:
    """Digits come from the low end of one number, so that none is likelier for being first."""
    assert Key(NEW).code(seed, 12).value.endswith(Key(NEW).code(seed, 6).value)


def test_digests_name_a_token_under_every_key() -> None:
    """A look-up asks for the digest of each key, oldest first."""
    assert [Key(OLD).digest(ID), Key(NEW).digest(ID)] == ROTATED.digests(ID)


def test_code_digests_name_a_code_under_every_key() -> None:
    """A code is looked up by each key's digest of the address as that same key knows it."""
    code = Secret("12345678")
    expected = [
        key.code_digest(Purpose.RECOVERY, key.address_key("ada@example.com"), code)
        for key in (Key(OLD), Key(NEW))
    ]
    assert expected == ROTATED.code_digests(Purpose.RECOVERY, "ada@example.com", code)


def test_address_keys_name_an_address_under_every_key() -> None:
    """An address is looked up by each key's HMAC of it."""
    expected = [key.address_key("ada@example.com") for key in (Key(OLD), Key(NEW))]
    assert expected == ROTATED.address_keys("ada@example.com")


def test_code_digest_depends_on_purpose_address_and_code() -> None:
    """The same digits are another code for another address or another purpose."""
    key, code = Key(NEW), Secret("12345678")
    digests = {
        key.code_digest(Purpose.RECOVERY, "a", code),
        key.code_digest(Purpose.VERIFICATION, "a", code),
        key.code_digest(Purpose.RECOVERY, "b", code),
        key.code_digest(Purpose.RECOVERY, "a", Secret("12345679")),
    }
    assert 4 == len(digests)


states = st.lists(st.one_of(st.none(), st.booleans(), st.text(max_size=5)), max_size=4)


def as_text(parts: list[str | bool | None]) -> list[str | None]:
    """What a fingerprint distinguishes: texts, and nothing at all."""
    return [None if part is None else str(part) for part in parts]


@given(one=states, other=states)
@example(one=["ab", "c"], other=["a", "bc"])
@example(one=[None], other=["None"])
@example(one=[None], other=["-"])
@example(one=[""], other=[])
def test_fingerprints_differ_where_the_parts_differ(
    one: list[str | bool | None], other: list[str | bool | None]
) -> None:
    """No two different states share a fingerprint, wherever their parts begin and end."""
    same = Key(NEW).fingerprint(Purpose.RECOVERY, one) == Key(NEW).fingerprint(
        Purpose.RECOVERY, other
    )
    assert (as_text(one) == as_text(other)) == same


def test_fingerprints_name_a_state_under_every_key() -> None:
    """A state is looked up by each key's fingerprint of it, oldest first."""
    expected = [key.fingerprint(Purpose.RECOVERY, ["a", None]) for key in (Key(OLD), Key(NEW))]
    assert expected == ROTATED.fingerprints(Purpose.RECOVERY, ["a", None])


def test_fingerprint_depends_on_purpose() -> None:
    """A fingerprint of one purpose says nothing to another."""
    key = Key(NEW)
    assert key.fingerprint(Purpose.RECOVERY, ["a"]) != key.fingerprint(Purpose.VERIFICATION, ["a"])


def test_limit_keys_keep_their_parts_apart() -> None:
    """``ab`` with ``c`` is counted apart from ``a`` with ``bc``."""
    assert Key(NEW).limit_key("ab", "c") != Key(NEW).limit_key("a", "bc")


def test_digests_fit_their_columns() -> None:
    """Whatever a row keeps of a token, a code or an address is 64 hexadecimal digits."""
    key = Key(NEW)
    kept = [
        key.digest(ID),
        key.address_key("a"),
        key.code_digest(Purpose.RECOVERY, "a", Secret("1")),
        key.fingerprint(Purpose.RECOVERY, []),
        key.limit_key(),
    ]
    assert {(64, True)} == {(len(text), set(text) <= set("0123456789abcdef")) for text in kept}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (repr(Secret("hunter2")), "Secret()"),
        (str(Secret("hunter2")), "••••"),
        (f"{Secret('hunter2')}", "••••"),
        (repr([Secret("hunter2")]), "[Secret()]"),
    ],
    ids=["repr", "str", "format", "inside"],
)
def test_secret_shows_no_value(shown: str, expected: str) -> None:
    """Whatever a log line or a traceback does with a secret shows none of it."""
    assert expected == shown


def test_seed_shows_no_entropy() -> None:
    """The repr of a seed names purpose and message alone."""
    shown = "Seed(purpose=<Purpose.RECOVERY: 'recovery'>, message_id='m')"
    assert shown == repr(Seed(Purpose.RECOVERY, "m", b"hunter2hunter2hu"))


def test_key_shows_its_id_alone() -> None:
    """The repr of a key is its public name."""
    assert f"Key(id='{Key(NEW).id}')" == repr(Key(NEW))


def form_token_of_age(seconds: int, binding: str, secret: bytes = NEW) -> str:
    """The form token that was signed ``seconds`` ago: an older time under a true signature."""
    signer: TimestampSigner = tokens._form_signer([Key(secret).forms])
    moment = base64_encode(int_to_bytes(int(time.time()) - seconds))
    signed = binding.encode() + b"." + moment
    return (signed + b"." + signer.get_signature(signed)).decode()


def check_aged_form(age: int, *, max_age: int) -> bool:
    """Whether a form token is good at exactly ``age`` seconds; asks again if the clock ticked."""
    while True:
        second = int(time.time())
        good = RING.check_form(form_token_of_age(age, "b"), "b", max_age=max_age)
        if int(time.time()) == second:
            return good


def test_aged_token_is_made_as_the_ring_makes_it() -> None:
    """What these tests call a token of age 0 is what ``sign_form`` answers in that second."""
    while True:
        second = int(time.time())
        pair = RING.sign_form("b"), form_token_of_age(0, "b")
        if int(time.time()) == second:
            break
    assert pair[0] == pair[1]


@pytest.mark.parametrize(
    ("age", "good"), [(0, True), (3599, True), (3600, True), (3601, False), (86_400, False)]
)
def test_form_token_ends_with_its_age(age: int, *, good: bool) -> None:
    """A form is good up to and including its last second."""
    assert good is check_aged_form(age, max_age=3600)


@pytest.mark.parametrize(
    ("secret", "good"), [(NEW, True), (OLD, True), (FOREIGN, False)], ids=["new", "old", "foreign"]
)
def test_form_token_of_a_fallback_key_is_good(secret: bytes, *, good: bool) -> None:
    """A form that was open when the secret changed can still be sent."""
    token = KeyRing([secret]).sign_form("b")
    assert good is ROTATED.check_form(token, "b", max_age=60)


@pytest.mark.parametrize("binding", ["", "a", "bb", "B", "b."])
def test_form_token_is_good_for_its_binding_alone(binding: str) -> None:
    """A form made for one token's page is refused on another's."""
    assert RING.check_form(RING.sign_form("b"), binding, max_age=60) is False


@given(binding=st.text(st.characters(codec="utf-8")))
def test_form_token_takes_any_binding(binding: str) -> None:
    """A form may be bound to any text, dots and letters of any script included."""
    assert RING.check_form(RING.sign_form(binding), binding, max_age=60) is True


@given(text=st.text())
@example(text="")
@example(text="b..")
@example(text="b.AAAA.AAAA")
def test_any_text_is_no_form_token(text: str) -> None:
    """Whatever a client sends as form token is answered with False."""
    assert RING.check_form(text, "b", max_age=60) is False


def test_link_token_is_no_form_token() -> None:
    """A token from a mail opens no form: forms are signed with a key of their own."""
    token = sign(NEW).value
    binding = token.partition(".")[0]
    assert RING.check_form(token, binding, max_age=60) is False
