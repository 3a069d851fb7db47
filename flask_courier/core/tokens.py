"""Tokens and codes: derived, never stored, compared by digest.

A token id is an HMAC of the message it travels in and a random seed; the link carries it signed,
the database keeps its digest. Both can be derived again while the seed lives, so that a retry sends
the same bytes, and not a moment longer. Signatures are ``itsdangerous.Signer`` with HMAC-SHA256 and
one salt a purpose; nothing is timed in them, the row's expiry decides.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from itsdangerous import BadSignature, SignatureExpired, Signer, TimestampSigner

TOKEN_BYTES = 16
#: Characters of a signed token: 128 bits, a dot and an HMAC-SHA256, in base64.
TOKEN_LENGTH = 22 + 1 + 43
SEED_BYTES = 16
_DIGEST = hashlib.sha256
#: By its name OpenSSL makes an HMAC in one call.
_DIGEST_NAME = "sha256"


class Purpose(str, enum.Enum):
    """What a token is good for; a token of one purpose is refused by every other."""

    RECOVERY = "recovery"
    VERIFICATION = "verification"
    #: Applies a new address, and is sent to it.
    EMAIL_CHANGE = "email_change"
    #: Takes an address change back; sent to the old address.
    EMAIL_UNDO = "email_undo"
    #: "This was not me": ends what somebody else began.
    NOT_ME = "not_me"
    SIGN_IN = "sign_in"
    #: The first password of an account that somebody else made.
    INVITATION = "invitation"

    def __str__(self) -> str:
        return self.value


class Ending(str, enum.Enum):
    """Why a token was consumed."""

    USED = "used"
    #: Another token of its account took its place, or did what it was for.
    REPLACED = "replaced"
    #: Nobody got the mail.
    UNDELIVERED = "undelivered"
    #: The account's owner said "this was not me".
    DISOWNED = "disowned"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Secret:
    """A value that no repr, log or traceback may show: a token, a code, a password."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "••••"


@dataclass(frozen=True)
class Seed:
    """What a token and its code are derived from, beside the key."""

    purpose: Purpose
    #: The message the token travels in, as text.
    message_id: str
    #: 128 random bits.
    entropy: bytes = field(repr=False)

    def of(self, purpose: Purpose) -> Seed:
        """What another token in the same message is derived from."""
        return Seed(purpose, self.message_id, self.entropy)


def _fields(*parts: bytes) -> bytes:
    """Join ``parts`` so that no two lists of parts give the same bytes."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def _encoded(parts: Sequence[str | bool | None]) -> list[bytes]:
    """``parts`` as bytes; None is no text."""
    return [b"-" if part is None else b"=" + str(part).encode() for part in parts]


def _mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, _fields(*parts), _DIGEST_NAME)


class Key:
    """The keys derived from one SECRET_KEY: one a use, so that none can stand for another."""

    def __init__(self, secret: bytes) -> None:
        def derive(use: str) -> bytes:
            return _mac(secret, b"flask_courier/1", use.encode())

        #: Names the key in a row without telling anything of it.
        self.id = derive("id").hex()[:16]
        self._mint = derive("mint")
        self._sign = derive("sign")
        self._store = derive("store")
        self._limit = derive("limit")
        self._form = derive("form")
        self._seal = derive("seal")
        self._signers = {purpose: _signer([self._sign], purpose) for purpose in Purpose}

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"

    @property
    def signing(self) -> bytes:
        """The key that link signatures are made with."""
        return self._sign

    @property
    def forms(self) -> bytes:
        """The key that form tokens are signed with."""
        return self._form

    @property
    def seals(self) -> bytes:
        """The key that places in the delivery log are sealed with."""
        return self._seal

    def token_id(self, seed: Seed) -> bytes:
        """The 128 bits that a link carries, signed."""
        message = seed.message_id.encode()
        mac = _mac(self._mint, b"token", seed.purpose.encode(), message, seed.entropy)
        return mac[:TOKEN_BYTES]

    def code(self, seed: Seed, digits: int) -> Secret:
        """The decimal code that a person can type instead (RFC 4226 section 5.3, wider)."""
        message = seed.message_id.encode()
        mac = _mac(self._mint, b"code", seed.purpose.encode(), message, seed.entropy)
        number = int.from_bytes(mac, "big") % 10**digits
        return Secret(f"{number:0{digits}d}")

    def sign(self, purpose: Purpose, token_id: bytes) -> Secret:
        """The token as the link carries it: 66 unreserved URL characters (RFC 3986 section 2.3)."""
        return Secret(self._signers[purpose].sign(_encode(token_id)).decode())

    def digest(self, token_id: bytes) -> str:
        """How the database knows the token."""
        return _mac(self._store, b"token", token_id).hex()

    def address_key(self, folded_address: str) -> str:
        """How the database knows the address a code belongs to."""
        return _mac(self._store, b"address", folded_address.encode()).hex()

    def code_digest(self, purpose: Purpose, address_key: str, code: Secret) -> str:
        """How the database knows the code."""
        parts = (purpose.encode(), address_key.encode(), code.value.encode())
        return _mac(self._store, b"code", *parts).hex()

    def fingerprint(self, purpose: Purpose, parts: Sequence[str | bool | None]) -> str:
        """A digest of the account state that a token depends on."""
        return _mac(self._store, b"fingerprint", purpose.encode(), *_encoded(parts)).hex()

    def session_mark(self, reference: str, parts: Sequence[str | bool | None]) -> str:
        """What a login session carries of the account state that it depends on: 128 bits."""
        mac = _mac(self._store, b"session", reference.encode(), *_encoded(parts))
        return mac[:TOKEN_BYTES].hex()

    def limit_key(self, *parts: str) -> str:
        """The key of a counter: says nothing about the address or client it counts."""
        return _mac(self._limit, *(part.encode() for part in parts)).hex()


class KeyRing:
    """Every key the application accepts; the newest one mints and signs.

    :param secrets: ``[*SECRET_KEY_FALLBACKS, SECRET_KEY]``, oldest first.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("a key ring needs at least one secret")
        self._keys = tuple(Key(secret) for secret in secrets)
        # Signs with the last of them, and takes what any of them has signed.
        self._forms = _form_signer([key.forms for key in self._keys])

    @property
    def current(self) -> Key:
        """The key that mints, signs and counts today."""
        return self._keys[-1]

    def get(self, key_id: str) -> Key | None:
        """The key a row names, or None once it has been dropped."""
        return next((key for key in self._keys if key.id == key_id), None)

    def verify(self, purpose: Purpose, token: Secret) -> bytes | None:
        """The token id inside ``token``, or None if no key of ours signed it for this purpose.

        The token must be what a key would write today, letter by letter: base64 has several
        spellings of the same bytes.
        """
        try:
            token_id = _decode(token.value.encode("ascii").partition(b".")[0])
        except (UnicodeEncodeError, binascii.Error):
            return None
        given = token.value.encode()
        genuine = [key.sign(purpose, token_id).value.encode() for key in self._keys]
        # All of them are compared, so that time does not tell which key it was.
        matches = [hmac.compare_digest(given, expected) for expected in genuine]
        return token_id if any(matches) and len(token_id) == TOKEN_BYTES else None

    def purpose_of(self, token: Secret) -> Purpose | None:
        """What ``token`` is good for, if a key of ours signed it."""
        found = [purpose for purpose in Purpose if self.verify(purpose, token) is not None]
        return found[0] if found else None

    def digests(self, token_id: bytes) -> list[str]:
        """Every name the database may know this token by."""
        return [key.digest(token_id) for key in self._keys]

    def code_digests(self, purpose: Purpose, folded_address: str, code: Secret) -> list[str]:
        """Every name the database may know this code by."""
        return [
            key.code_digest(purpose, key.address_key(folded_address), code) for key in self._keys
        ]

    def address_keys(self, folded_address: str) -> list[str]:
        """Every name the database may know this address by."""
        return [key.address_key(folded_address) for key in self._keys]

    def fingerprints(self, purpose: Purpose, parts: Sequence[str | bool | None]) -> list[str]:
        """Every way the database may have written this account state."""
        return [key.fingerprint(purpose, parts) for key in self._keys]

    def session_marks(self, reference: str, parts: Sequence[str | bool | None]) -> list[str]:
        """Every mark that a login session of this account may carry."""
        return [key.session_mark(reference, parts) for key in self._keys]

    def limit_keys(self, *parts: str) -> list[str]:
        """Every name the database may know this counter by."""
        return [key.limit_key(*parts) for key in self._keys]

    def sign_form(self, binding: str) -> str:
        """A token for a form that is good for ``binding`` alone; its age is sealed in."""
        return self._forms.sign(binding.encode()).decode()

    def check_form(self, token: str, binding: str, *, max_age: int) -> bool:
        """Whether ``token`` was made for ``binding`` at most ``max_age`` seconds ago."""
        try:
            signed = self._forms.unsign(token.encode(), max_age=max_age)
        except (BadSignature, SignatureExpired, UnicodeEncodeError):
            return False
        return hmac.compare_digest(signed, binding.encode())

    def seal(self, text: str, binding: str) -> str:
        """``text`` so that only this ring could have written it, and only for ``binding``."""
        return f"{text}.{_seal_of(self.current, text, binding)}"

    def unseal(self, sealed: str, binding: str) -> str | None:
        """The text that was sealed for ``binding``, or None if it was not."""
        text, _, given = sealed.rpartition(".")
        genuine = [_seal_of(key, text, binding) for key in self._keys]
        matches = [hmac.compare_digest(given.encode(), expected.encode()) for expected in genuine]
        return text if any(matches) else None


def _seal_of(key: Key, text: str, binding: str) -> str:
    return _encode(_mac(key.seals, text.encode(), binding.encode())[:TOKEN_BYTES]).decode()


def _signer(keys: Sequence[bytes], purpose: Purpose) -> Signer:
    salt = f"flask_courier.{purpose}".encode()
    base = Signer(list(keys), salt=salt, key_derivation="hmac", digest_method=_DIGEST)
    # The same, with its key derived once and for all.
    return Signer(base.derive_key(), key_derivation="none", digest_method=_DIGEST)


def _form_signer(keys: Sequence[bytes]) -> TimestampSigner:
    return TimestampSigner(
        list(keys), salt=b"flask_courier.form", key_derivation="hmac", digest_method=_DIGEST
    )


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    padded = text + b"=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)
