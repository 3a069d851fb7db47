"""The configuration: read once into one frozen value, or one error that lists everything."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from flask_courier.core.config_keys import KEYS, LOG_URI, PREFIX, Key, WorkerMode
from flask_courier.core.errors import ConfigError
from flask_courier.core.limits import Limit
from flask_courier.core.sender import Sender
from flask_courier.core.settings import wrong_type
from flask_courier.core.smtp_uri import SmtpUri
from flask_courier.core.urls import collide, is_cleartext

__all__ = [
    "KEYS",
    "LOG_SENDER",
    "SECRET_KEY_BYTES",
    "CourierConfig",
    "Key",
    "Limit",
    "Sender",
    "WorkerMode",
    "from_mapping",
]

#: Who mail comes from as long as nothing leaves.
LOG_SENDER = Sender("flask_courier", "courier@localhost")
#: 128 bits, the length of the tokens that the keys protect.
SECRET_KEY_BYTES = 16

_MAKE_A_KEY = "python -c 'import secrets; print(secrets.token_hex())'"


@dataclass(frozen=True)
class CourierConfig:
    """The configuration of one application; :data:`KEYS` says what each field means.

    Its repr shows no secret key, no credentials and no header values.
    """

    #: None: ``log:`` delivery.
    smtp_uri: SmtpUri | None
    default_sender: Sender
    #: Without a slash at the end. None: the request's host, if it is loopback.
    public_url: str | None
    worker: WorkerMode
    account_url_prefix: str
    log_url_prefix: str
    recovery_lifetime: timedelta
    verification_lifetime: timedelta
    email_change_lifetime: timedelta
    sign_in_lifetime: timedelta
    invitation_lifetime: timedelta
    undo_lifetime: timedelta
    #: None: saying "this was not me" holds no later mail back.
    not_me_freeze: timedelta | None
    sign_in: bool
    code_lifetime: timedelta
    code_digits: int
    message_retries: int
    smtp_connections: int
    smtp_pipelining: bool
    smtp_headers: Mapping[str, str] = field(repr=False)
    smtp_local_name: str | None
    smtp_client_cert: str | None
    smtp_client_key: str | None
    smtp_ca_file: str | None
    #: Shortest window first, as in ``requester_limit``.
    recipient_limit: tuple[Limit, ...]
    requester_limit: tuple[Limit, ...]
    hourly_budget: int | None
    password_min_length: int
    password_strength: int | None
    retention: timedelta
    content_retention: timedelta
    base_template: str | None
    change_password_url: str | None
    after_recovery_url: str | None
    after_verification_url: str | None
    after_sign_in_url: str
    #: Oldest first, the current one last; empty only in debug and testing, without a SECRET_KEY.
    secret_keys: tuple[bytes, ...] = field(repr=False)
    debug: bool
    testing: bool

    @property
    def longest_window(self) -> timedelta:
        """How long a counter can matter: the longest limit, a day at least."""
        limits = (*self.recipient_limit, *self.requester_limit)
        windows = [timedelta(seconds=limit.seconds) for limit in limits]
        return max(timedelta(days=1), self.not_me_freeze or timedelta(0), *windows)


def from_mapping(
    mapping: Mapping[str, object],
    *,
    debug: bool,
    testing: bool,
    problems: Sequence[str] = (),
) -> CourierConfig:
    """Read the configuration from ``mapping``, which is ``app.config``; None counts as not set.

    ``problems`` are those the caller has found already; they come first.

    :raises ConfigError: with every problem there is.
    """
    strict = not (debug or testing)
    found = list(problems)
    secret_keys = _read_secret_keys(mapping, found, debug=debug, strict=strict)
    values = _read_values(mapping, found, testing=testing, strict=strict)
    found.extend(_contradictions(values, strict=strict))
    found.extend(_unknown_keys(mapping))
    if found:
        raise ConfigError(found)
    values["default_sender"] = values["default_sender"] or LOG_SENDER
    return CourierConfig(**values, secret_keys=secret_keys, debug=debug, testing=testing)


def _read_values(
    mapping: Mapping[str, object], found: list[str], *, testing: bool, strict: bool
) -> dict[str, Any]:
    """The fields that could be read; what is wrong with the others is added to ``found``."""
    values: dict[str, Any] = {}
    for key in KEYS:
        raw = mapping.get(key.name)
        # SMTP_URI is the first key: what a real one needs comes after it.
        if raw is None and key.needed and (strict or values.get("smtp_uri")):
            found.append(f"{key.name} is not set: {key.needed}.")
            continue
        if raw is None:
            raw = (testing and key.testing_default) or key.default
        try:
            values[key.field] = None if raw is None else key.read(key.name, raw)
        except ConfigError as error:
            found.extend(error.problems)
    return values


def _contradictions(values: Mapping[str, Any], *, strict: bool) -> Iterator[str]:
    """What is wrong between keys that are each in order."""
    if strict and values.get("smtp_uri", LOG_URI) is None:
        yield (
            "COURIER_SMTP_URI is `log:`, which sends nothing and is for debug and testing only:"
            " set it to the server's URI, like smtp://user:password@smtp.acme.example:587/."
        )
    if strict and is_cleartext(values.get("public_url") or ""):
        yield (
            "COURIER_PUBLIC_URL must begin with https://: links that set a password may not cross"
            " a network in cleartext."
        )
    account, log = values.get("account_url_prefix"), values.get("log_url_prefix")
    if account and log and collide(account, log):
        yield (
            "COURIER_ACCOUNT_URL_PREFIX and COURIER_LOG_URL_PREFIX collide: give each a path that"
            " is not among the other's routes."
        )
    if values.get("smtp_client_key") and values.get("smtp_client_cert", "") is None:
        yield (
            "COURIER_SMTP_CLIENT_KEY is set without COURIER_SMTP_CLIENT_CERT: set the certificate"
            " too, or remove the key."
        )


def _unknown_keys(mapping: Mapping[str, object]) -> Iterator[str]:
    known = [key.name for key in KEYS]
    for name in sorted(mapping):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it."
            yield f"{name} is not a key of flask_courier: {hint}"


def _read_secret_keys(
    mapping: Mapping[str, object], found: list[str], *, debug: bool, strict: bool
) -> tuple[bytes, ...]:
    """``[*SECRET_KEY_FALLBACKS, SECRET_KEY]`` as bytes; what is wrong is added to ``found``."""
    current, older = mapping.get("SECRET_KEY"), mapping.get("SECRET_KEY_FALLBACKS") or ()
    if not current:
        if strict or older:
            found.append(
                "SECRET_KEY is not set: every token is signed with it; set it to what"
                f" `{_MAKE_A_KEY}` prints."
            )
        return ()
    if not isinstance(older, (list, tuple)):
        wanted = "a list of keys (of text, each letter would become a key)"
        found.extend(wrong_type("SECRET_KEY_FALLBACKS", wanted, older).problems)
        older = ()
    named = {
        f"SECRET_KEY_FALLBACKS[{number}]": key
        for number, key in enumerate(cast("Sequence[object]", older))
    }
    named["SECRET_KEY"] = current
    return tuple(_encode_keys(named, found, shortest=1 if debug else SECRET_KEY_BYTES))


def _encode_keys(
    named: Mapping[str, object], found: list[str], *, shortest: int
) -> Iterator[bytes]:
    for name, key in named.items():
        if not isinstance(key, (str, bytes)):
            found.extend(wrong_type(name, "text or bytes", key).problems)
            continue
        encoded = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
        if len(encoded) < shortest:
            found.append(
                f"{name} is shorter than {SECRET_KEY_BYTES} bytes: whoever guesses it can forge"
                f" every token; set it to what `{_MAKE_A_KEY}` prints."
            )
        yield encoded
