"""What a check says of encryption, in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from flask_courier.core.hosts import is_host_name, is_loopback
from flask_courier.core.smtp_uri import Security, SmtpUri
from flask_courier.core.steps import State, Step
from flask_courier.delivery.probe import Certificate

#: A certificate that is not renewed by now will probably not be.
SOON = timedelta(days=14)

# OpenSSL's numbers (X509_V_ERR_*).
_NOT_YET_VALID = 9
_EXPIRED = 10
_WRONG_NAME = frozenset({62, 64})
_SELF_SIGNED = 18
_UNKNOWN_AUTHORITY = frozenset({2, 19, 20, 21, 27})
_MOST_NAMES = 6


class Agreement(NamedTuple):
    """What a session knows of its encryption."""

    tls_version: str | None
    tls_cipher: str | None
    #: When the certificate expires, if it was verified.
    not_after: datetime | None


def agreed(uri: SmtpUri, agreement: Agreement, now: datetime, *, offered: bool) -> Step:
    """What was agreed on, and what is wrong with it all the same.

    :param offered: whether the server offers STARTTLS.
    """
    if uri.security is Security.PLAINTEXT:
        return _in_the_clear(uri, offered=offered)
    if agreement.tls_version is None:
        words = "Encrypted; it ended before the certificate was verified."
        return Step("tls", State.SKIPPED, words)
    told = f"{agreement.tls_version}, {agreement.tls_cipher}"
    until = agreement.not_after
    if until is None:
        return Step(
            "tls",
            State.WARNING,
            f"{told}. The certificate is NOT verified (skip_ssl_verify): whoever is between here"
            " and the server can read the password and every link.",
            "Take skip_ssl_verify out of COURIER_SMTP_URI. For an authority of your own set"
            " COURIER_SMTP_CA_FILE, for another name on the certificate server_name.",
        )
    words = f"{told}; the certificate is good for {uri.tls_name} until {until:%Y-%m-%d}"
    if until - now < SOON:
        return Step(
            "tls",
            State.WARNING,
            f"{words}, {_days(until - now)} from now.",
            "Have the certificate renewed: once it has expired, no mail goes out.",
        )
    return Step("tls", State.OK, f"{words}.")


def _in_the_clear(uri: SmtpUri, *, offered: bool) -> Step:
    if is_loopback(uri.host):
        return Step("tls", State.OK, "Not encrypted (disable_starttls); it stays on this machine.")
    whose = "the password and every link" if uri.username is not None else "every link"
    return Step(
        "tls",
        State.WARNING,
        f"NOT ENCRYPTED (disable_starttls): {whose} can be read by everybody on the way to"
        f" {uri.host}.",
        "The server offers STARTTLS: take disable_starttls out of COURIER_SMTP_URI."
        if offered
        else "Use a port that encrypts: mostly 587 for smtp:// or 465 for smtps://.",
    )


def distrusted(code: int, text: str, facts: Certificate | None, name: str, now: datetime) -> Step:
    """Why a certificate is not believed, and what to do.

    :param code: OpenSSL's number for the first thing that is wrong.
    :param text: the same in OpenSSL's words.
    :param facts: what the certificate says; None if it could not be read.
    :param name: the name that it should be for.
    """
    if code in _WRONG_NAME:
        return _wrong_name(facts, name)
    if code == _EXPIRED:
        return _expired(facts, now)
    if code == _NOT_YET_VALID:
        begins = "" if facts is None else f" It begins on {facts.not_before:%Y-%m-%d}."
        return _failed(
            f"The server's certificate is not valid yet.{begins}",
            "Check the clock of this machine, then have the certificate issued anew.",
        )
    also = "" if facts is None else _expiry(facts, now)
    if code == _SELF_SIGNED:
        return _failed(
            f"The server's certificate is signed by nobody but itself.{also}",
            "Give the server a certificate of an authority, or name the certificate itself in"
            " COURIER_SMTP_CA_FILE.",
        )
    if code in _UNKNOWN_AUTHORITY:
        issuer = "" if facts is None else f" ({facts.issuer})"
        return _failed(
            f"The authority that signed the server's certificate{issuer} is not trusted here, or"
            f" the server does not send its intermediate certificate.{also}",
            "For an authority of your own, name its certificate in COURIER_SMTP_CA_FILE. Otherwise"
            " have the server send its whole chain.",
        )
    return _failed(
        f"The server's certificate does not prove that it is {name}. In short: {text}",
        "Have the certificate replaced, or name its authority in COURIER_SMTP_CA_FILE.",
    )


def _wrong_name(facts: Certificate | None, name: str) -> Step:
    names = () if facts is None else facts.names
    if not names:
        return _failed(
            f"The server's certificate is not for {name}.",
            "Correct the host in COURIER_SMTP_URI.",
        )
    shown = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    usable = next(filter(is_host_name, names), None)
    other = f", or add server_name={usable} to it" if usable else ""
    return _failed(
        f"The server's certificate is for {shown}{more}, and not for {name}.",
        f"If that is the server you mean, correct the host in COURIER_SMTP_URI{other}.",
    )


def _expired(facts: Certificate | None, now: datetime) -> Step:
    told = "" if facts is None else _expiry(facts, now)
    return _failed(
        f"The server's certificate has expired.{told}"
        if told
        else "A certificate in the server's chain has expired.",
        "Have it renewed. If that was done, the server has not loaded the new one yet.",
    )


def _failed(words: str, advice: str) -> Step:
    return Step("tls", State.FAILED, words, advice)


def _expiry(facts: Certificate, now: datetime) -> str:
    """A sentence on the day it expired, with a space before it; empty if it has not."""
    if facts.not_after > now:
        return ""
    return f" It expired on {facts.not_after:%Y-%m-%d}, {_days(now - facts.not_after)} ago."


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"
