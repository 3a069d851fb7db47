"""The configuration: each key's good and bad values, and one error for everything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.config import (
    KEYS,
    CourierConfig,
    Key,
    Limit,
    Sender,
    WorkerMode,
    from_mapping,
)
from flask_courier.core.errors import ConfigError
from flask_courier.core.smtp_uri import Security, SmtpUri

SECRET = "an-old-secret-of-29-characters"
PASSWORD = "hunter2-S3CRET"
COMPLETE: Mapping[str, object] = {
    "SECRET_KEY": SECRET,
    "COURIER_SMTP_URI": f"smtp://user:{PASSWORD}@mail.acme.example/",
    "COURIER_DEFAULT_SENDER": "Acme <no-reply@acme.example>",
    "COURIER_PUBLIC_URL": "https://www.acme.example",
}
NO_SECRET_KEY = (
    "SECRET_KEY is not set: every token is signed with it; set it to what"
    " `python -c 'import secrets; print(secrets.token_hex())'` prints."
)
SHORT = (
    "{} is shorter than 16 bytes: whoever guesses it can forge every token; set it to what"
    " `python -c 'import secrets; print(secrets.token_hex())'` prints."
)
NO_SENDER = (
    "COURIER_DEFAULT_SENDER is not set: set it to who mail comes from, like"
    ' "Acme <no-reply@acme.example>".'
)
NO_PUBLIC_URL = (
    "COURIER_PUBLIC_URL is not set: set it to the site's address, which every link begins with,"
    " like https://www.acme.example."
)


def production(**settings: object) -> CourierConfig:
    """A complete configuration outside debug and testing, with some keys changed."""
    return from_mapping({**COMPLETE, **settings}, debug=False, testing=False)


def problems(
    mapping: Mapping[str, object], *, debug: bool = False, testing: bool = False
) -> tuple[str, ...]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        from_mapping(mapping, debug=debug, testing=testing)
    return caught.value.problems


def refused(**settings: object) -> tuple[str, ...]:
    """What is wrong with a complete configuration after some keys were changed."""
    return problems({**COMPLETE, **settings})


def test_the_defaults_are_those_of_the_table() -> None:
    """A complete production configuration has the documented default for everything else."""
    expected = CourierConfig(
        smtp_uri=SmtpUri(
            "mail.acme.example", 587, Security.STARTTLS, username="user", password=PASSWORD
        ),
        default_sender=Sender("Acme", "no-reply@acme.example"),
        public_url="https://www.acme.example",
        worker=WorkerMode.THREAD,
        account_url_prefix="/account",
        log_url_prefix="/courier",
        recovery_lifetime=timedelta(minutes=30),
        verification_lifetime=timedelta(hours=24),
        email_change_lifetime=timedelta(days=1),
        sign_in_lifetime=timedelta(minutes=15),
        invitation_lifetime=timedelta(days=7),
        undo_lifetime=timedelta(days=7),
        not_me_freeze=None,
        sign_in=False,
        code_lifetime=timedelta(minutes=10),
        code_digits=8,
        message_retries=5,
        smtp_connections=8,
        smtp_pipelining=True,
        smtp_headers=MappingProxyType({}),
        smtp_local_name=None,
        smtp_client_cert=None,
        smtp_client_key=None,
        smtp_ca_file=None,
        recipient_limit=(Limit(1, 60), Limit(5, 3600), Limit(20, 86400)),
        requester_limit=(Limit(20, 600),),
        hourly_budget=None,
        password_min_length=12,
        password_strength=None,
        retention=timedelta(days=90),
        content_retention=timedelta(days=7),
        base_template=None,
        change_password_url=None,
        after_recovery_url=None,
        after_verification_url=None,
        after_sign_in_url="/",
        secret_keys=(SECRET.encode(),),
        debug=False,
        testing=False,
    )

    assert expected == production()


def test_nothing_is_needed_in_debug() -> None:
    """The four-line quickstart: nothing leaves, the request's host serves, no key yet."""
    config = from_mapping({}, debug=True, testing=False)

    assert config.smtp_uri is None
    assert config.public_url is None
    assert Sender("flask_courier", "courier@localhost") == config.default_sender
    assert () == config.secret_keys
    assert WorkerMode.THREAD is config.worker


def test_nothing_is_needed_in_testing() -> None:
    """A test delivers by hand unless it says otherwise."""
    config = from_mapping({}, debug=False, testing=True)

    assert (None, WorkerMode.MANUAL) == (config.smtp_uri, config.worker)


def test_testing_leaves_a_chosen_worker_alone() -> None:
    """Only the default of COURIER_WORKER depends on testing."""
    config = from_mapping({"COURIER_WORKER": "thread"}, debug=False, testing=True)

    assert WorkerMode.THREAD is config.worker


def test_an_empty_production_configuration_names_all_that_is_missing() -> None:
    """One error, with every missing key and how to set it."""
    with pytest.raises(ConfigError) as caught:
        from_mapping({}, debug=False, testing=False)

    assert str(caught.value) == (
        "flask_courier cannot start:\n"
        f"  - {NO_SECRET_KEY}\n"
        "  - COURIER_SMTP_URI is not set: set it to the server's URI, like"
        " smtp://user:password@smtp.acme.example:587/.\n"
        f"  - {NO_SENDER}\n"
        f"  - {NO_PUBLIC_URL}"
    )


def test_everything_wrong_is_in_one_error() -> None:
    """The caller's problems, secret keys, the keys in order, contradictions, unknown keys."""
    mapping = {
        "SECRET_KEY": "short",
        "COURIER_SMTP_URI": f"smtp://user:{PASSWORD}@",
        "COURIER_PUBLIC_URL": "http://www.acme.example",
        "COURIER_CODE_DIGITS": 6,
        "COURIER_RETENTION": "90 days",
        "COURIER_WORKERS": "thread",
    }
    with pytest.raises(ConfigError) as caught:
        from_mapping(mapping, debug=False, testing=False, problems=["the database is upset."])

    assert caught.value.problems == (
        "the database is upset.",
        SHORT.format("SECRET_KEY"),
        "COURIER_SMTP_URI: The SMTP URI has no host: write smtp://host or smtp://user:password@host.",
        NO_SENDER,
        "COURIER_CODE_DIGITS must be a whole number from 8 to 12.",
        "COURIER_RETENTION must be a timedelta or a whole number of seconds, not text.",
        (
            "COURIER_PUBLIC_URL must begin with https://: links that set a password may not cross a"
            " network in cleartext."
        ),
        "COURIER_WORKERS is not a key of flask_courier: did you mean COURIER_WORKER?",
    )


def test_problems_of_the_caller_alone_are_an_error() -> None:
    """A configuration in order does not hide what its reader found."""
    with pytest.raises(ConfigError) as caught:
        from_mapping(COMPLETE, debug=False, testing=False, problems=["no database."])

    assert caught.value.problems == ("no database.",)


@pytest.mark.parametrize("mode", ["debug", "testing"])
def test_a_real_server_always_needs_sender_and_public_url(mode: str) -> None:
    """Debug and testing excuse neither once mail can leave."""
    found = problems(
        {"COURIER_SMTP_URI": "smtp://h"}, debug=mode == "debug", testing=mode == "testing"
    )

    assert (NO_SENDER, NO_PUBLIC_URL) == found


@pytest.mark.parametrize("mode", ["debug", "testing"])
def test_log_delivery_may_be_asked_for(mode: str) -> None:
    """``log:`` as the SMTP URI is what debug and testing have by themselves."""
    config = from_mapping(
        {"COURIER_SMTP_URI": "log:"}, debug=mode == "debug", testing=mode == "testing"
    )

    assert config.smtp_uri is None


def test_log_delivery_is_refused_in_production() -> None:
    """A production site whose mail goes nowhere does not start."""
    assert refused(COURIER_SMTP_URI="log:") == (
        (
            "COURIER_SMTP_URI is `log:`, which sends nothing and is for debug and testing only:"
            " set it to the server's URI, like smtp://user:password@smtp.acme.example:587/."
        ),
    )


@pytest.mark.parametrize("mode", ["debug", "testing"])
def test_cleartext_links_are_for_debug_and_testing(mode: str) -> None:
    """PUBLIC_URL may be http there, on any host."""
    config = from_mapping(
        {"COURIER_PUBLIC_URL": "http://dev.acme.example"},
        debug=mode == "debug",
        testing=mode == "testing",
    )

    assert config.public_url == "http://dev.acme.example"


@pytest.mark.parametrize("host", ["localhost", "site.localhost", "127.0.0.1:5000", "[::1]:5000"])
def test_cleartext_links_to_this_machine_are_fine(host: str) -> None:
    """A link to loopback never leaves the machine, so production takes it too."""
    assert f"http://{host}" == production(COURIER_PUBLIC_URL=f"http://{host}").public_url


def test_unknown_keys_are_refused() -> None:
    """Keys of others are left alone; an unlike one of ours is to be removed."""
    assert refused(COURIER_XYZZY=1, MAIL_SERVER="x", COURIER_smtp_uri=None) == (
        "COURIER_XYZZY is not a key of flask_courier: remove it.",
        "COURIER_smtp_uri is not a key of flask_courier: did you mean COURIER_SMTP_URI?",
    )


def test_none_counts_as_not_set() -> None:
    """A key that is None has its default."""
    assert production() == production(**{key.name: None for key in KEYS if not key.needed})


GOOD: tuple[tuple[str, object, object], ...] = (
    ("COURIER_SMTP_URI", "smtps://h", SmtpUri("h", 465, Security.IMPLICIT)),
    ("COURIER_DEFAULT_SENDER", "no-reply@acme.example", Sender("", "no-reply@acme.example")),
    ("COURIER_DEFAULT_SENDER", "a@localhost", Sender("", "a@localhost")),
    ("COURIER_DEFAULT_SENDER", " a@corp.local ", Sender("", "a@corp.local")),
    ("COURIER_DEFAULT_SENDER", "a@x.test", Sender("", "a@x.test")),
    ("COURIER_DEFAULT_SENDER", "<a@x.example>", Sender("", "a@x.example")),
    ("COURIER_DEFAULT_SENDER", '"A \\"B\\" C" <a@x.example>', Sender('A "B" C', "a@x.example")),
    ("COURIER_DEFAULT_SENDER", "A <B> C <a@x.example>", Sender("A <B> C", "a@x.example")),
    ("COURIER_DEFAULT_SENDER", ("Łódź, S.A.", "a@x.example"), Sender("Łódź, S.A.", "a@x.example")),
    ("COURIER_DEFAULT_SENDER", ["", "a@x.example"], Sender("", "a@x.example")),
    ("COURIER_DEFAULT_SENDER", "a@MÜLLER.example", Sender("", "a@xn--mller-kva.example")),
    ("COURIER_PUBLIC_URL", "HTTPS://WWW.Acme.Example:443/", "https://www.acme.example"),
    ("COURIER_PUBLIC_URL", "https://acme.example:8443/app/", "https://acme.example:8443/app"),
    ("COURIER_PUBLIC_URL", "https://[2001:DB8::1]/a.b/~c", "https://[2001:db8::1]/a.b/~c"),
    ("COURIER_WORKER", "external", WorkerMode.EXTERNAL),
    ("COURIER_WORKER", "manual", WorkerMode.MANUAL),
    ("COURIER_WORKER", WorkerMode.THREAD, WorkerMode.THREAD),
    ("COURIER_ACCOUNT_URL_PREFIX", "/my/account-pages", "/my/account-pages"),
    ("COURIER_LOG_URL_PREFIX", "/account/mail", "/account/mail"),
    ("COURIER_RECOVERY_LIFETIME", 86400, timedelta(days=1)),
    ("COURIER_RECOVERY_LIFETIME", timedelta(minutes=5), timedelta(minutes=5)),
    ("COURIER_VERIFICATION_LIFETIME", timedelta(days=3), timedelta(days=3)),
    ("COURIER_EMAIL_CHANGE_LIFETIME", timedelta(hours=2), timedelta(hours=2)),
    ("COURIER_SIGN_IN_LIFETIME", 600, timedelta(minutes=10)),
    ("COURIER_INVITATION_LIFETIME", timedelta(days=30), timedelta(days=30)),
    ("COURIER_UNDO_LIFETIME", timedelta(days=14), timedelta(days=14)),
    ("COURIER_NOT_ME_FREEZE", timedelta(hours=12), timedelta(hours=12)),
    ("COURIER_SIGN_IN", True, True),
    ("COURIER_CODE_LIFETIME", 1, timedelta(seconds=1)),
    ("COURIER_CODE_DIGITS", 12, 12),
    ("COURIER_MESSAGE_RETRIES", 0, 0),
    ("COURIER_SMTP_CONNECTIONS", 1, 1),
    ("COURIER_SMTP_PIPELINING", False, False),
    ("COURIER_SMTP_HEADERS", {"X-Tag": "é"}, MappingProxyType({"X-Tag": "é"})),
    ("COURIER_SMTP_HEADERS", {"Reply-To": "a@b.c"}, MappingProxyType({"Reply-To": "a@b.c"})),
    ("COURIER_SMTP_LOCAL_NAME", "web-1.acme.example", "web-1.acme.example"),
    ("COURIER_SMTP_LOCAL_NAME", "[192.0.2.1]", "[192.0.2.1]"),
    ("COURIER_SMTP_LOCAL_NAME", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    ("COURIER_SMTP_CLIENT_CERT", PurePosixPath("/etc/c.pem"), "/etc/c.pem"),
    ("COURIER_SMTP_CA_FILE", "ca.pem", "ca.pem"),
    ("COURIER_RECIPIENT_LIMIT", "20 per 10 minutes", (Limit(20, 600),)),
    ("COURIER_RECIPIENT_LIMIT", "5/hour,1/Minute", (Limit(1, 60), Limit(5, 3600))),
    ("COURIER_RECIPIENT_LIMIT", "9 / 2 days; 1/day", (Limit(1, 86400), Limit(9, 172800))),
    ("COURIER_REQUESTER_LIMIT", " 100/90 seconds; ", (Limit(100, 90),)),
    ("COURIER_REQUESTER_LIMIT", "1000000/minute", (Limit(1_000_000, 60),)),
    ("COURIER_HOURLY_BUDGET", 30, 30),
    ("COURIER_PASSWORD_MIN_LENGTH", 64, 64),
    ("COURIER_PASSWORD_STRENGTH", 4, 4),
    ("COURIER_RETENTION", timedelta(days=3650), timedelta(days=3650)),
    ("COURIER_CONTENT_RETENTION", 3600, timedelta(hours=1)),
    ("COURIER_BASE_TEMPLATE", "base.html", "base.html"),
    ("COURIER_CHANGE_PASSWORD_URL", "/settings/password", "/settings/password"),
    ("COURIER_AFTER_RECOVERY_URL", "/login?next=%2F#top", "/login?next=%2F#top"),
    ("COURIER_AFTER_VERIFICATION_URL", "https://app.acme.example?x", "https://app.acme.example?x"),
    ("COURIER_AFTER_SIGN_IN_URL", "/home", "/home"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_a_good_value_is_read(name: str, value: object, expected: object) -> None:
    """Each key takes what its documentation says, in canonical form."""
    field = name.removeprefix("COURIER_").lower()

    assert expected == getattr(production(**{name: value}), field)


def test_a_client_key_goes_with_its_certificate() -> None:
    """Both files are taken."""
    config = production(COURIER_SMTP_CLIENT_CERT="c.pem", COURIER_SMTP_CLIENT_KEY="k.pem")

    assert ("c.pem", "k.pem") == (config.smtp_client_cert, config.smtp_client_key)


SENDER_TYPE = (
    '{} must be "Name <name@example.com>", an address, or a pair of name and address, not {}.'
)
SENDER = (
    "{} has no valid address, or one that is not ASCII before the '@': write"
    ' "Name <name@example.com>", an address, or a pair of name and address.'
)
CONTROL = "{} contains a line break or another control character: remove it."
EMPTY = "{} is empty: give it a value, or leave it out."
BLANK = "{} contains whitespace, a backslash or an invisible character: remove it."
HOST = (
    "{} has no valid host and port: write it like https://www.acme.example, an international name"
    " in its ASCII form (xn--…)."
)
QUERY = "{} must end before any '?' or '#': links are built by adding to it."
PATH = (
    "{} has a path that is not plain: use letters, digits, '-', '_', '~' and '.' between its"
    " slashes."
)
PREFIX = (
    "{} must be a path like /account: a slash first and none at the end, then letters, digits, '-',"
    " '_', '~' and '.'."
)
WORKER = "{} must be thread, external or manual"
SECONDS = "{} must be a timedelta or a whole number of seconds, not {}."
UP_TO_A_DAY = "{} must be between 1 second and 1 day."
UP_TO_YEARS = "{} must be between 1 second and 3650 days."
LOCAL_NAME = (
    "{} is neither a host name nor an address literal: write it like mail.acme.example,"
    " [192.0.2.1] or [IPv6:2001:db8::1]."
)
LIMITS = '{} cannot be read: write it like "1/minute 5/hour 20/10 minutes".'
WINDOW = "{} must allow between 1 and 999999999 in a window between 1 second and 366 days."
FIELD_NAME = (
    "{} has a header name that is not one: use printable ASCII without spaces and colons, 76"
    " characters at most."
)
FIELD_VALUE = "{}['X-A'] has a line break, another control character, or more than 900 characters."
LOGIN = "{} must not contain a user name or password."
MAPPING = "{} must be a mapping of header names to text, not a list."
TWICE = "{}['x-a'] is there twice: header names ignore case."
WINDOWS = "{} has two limits for the same window: keep one."
SITE = "{} begins with '//', which is another site: write one slash, or https://."
ONWARD = "{} must be a path like /login, or begin with https:// or http://."

BAD: tuple[tuple[str, object, str], ...] = (
    ("COURIER_SMTP_URI", 587, "{} must be text, not a number."),
    ("COURIER_DEFAULT_SENDER", 1, SENDER_TYPE.format("{}", "a number")),
    ("COURIER_DEFAULT_SENDER", ["a@x.example"], SENDER_TYPE.format("{}", "a list")),
    ("COURIER_DEFAULT_SENDER", ("A", None), SENDER_TYPE.format("{}", "a list")),
    ("COURIER_DEFAULT_SENDER", b"a@x.example", SENDER_TYPE.format("{}", "bytes")),
    ("COURIER_DEFAULT_SENDER", "", SENDER),
    ("COURIER_DEFAULT_SENDER", "Acme", SENDER),
    ("COURIER_DEFAULT_SENDER", "Acme <>", SENDER),
    ("COURIER_DEFAULT_SENDER", "Acme <a@x.example", SENDER),
    ("COURIER_DEFAULT_SENDER", "a@", SENDER),
    ("COURIER_DEFAULT_SENDER", "a@x.", SENDER),
    ("COURIER_DEFAULT_SENDER", "a@10.0.0.1", SENDER),
    ("COURIER_DEFAULT_SENDER", "ä@x.example", SENDER),
    ("COURIER_DEFAULT_SENDER", "a@x.example, b@x.example", SENDER),
    ("COURIER_DEFAULT_SENDER", "A\r\nBcc: b <a@x.example>", CONTROL),
    ("COURIER_DEFAULT_SENDER", ("A\0", "a@x.example"), CONTROL),
    ("COURIER_DEFAULT_SENDER", ("A", "a@x.example\n"), CONTROL),
    ("COURIER_PUBLIC_URL", True, "{} must be text, not a boolean."),
    ("COURIER_PUBLIC_URL", "", EMPTY),
    ("COURIER_PUBLIC_URL", "www.acme.example", "{} must begin with https:// or http://."),
    ("COURIER_PUBLIC_URL", "ftp://acme.example", "{} must begin with https:// or http://."),
    ("COURIER_PUBLIC_URL", "https://acme .example", BLANK),
    ("COURIER_PUBLIC_URL", "https://acme.example\n", CONTROL),
    ("COURIER_PUBLIC_URL", "https:\\\\acme.example", BLANK),
    ("COURIER_PUBLIC_URL", "https://", HOST),
    ("COURIER_PUBLIC_URL", "https:///app", HOST),
    ("COURIER_PUBLIC_URL", "https://:443", HOST),
    ("COURIER_PUBLIC_URL", "https://acme.example:x", HOST),
    ("COURIER_PUBLIC_URL", "https://[::1", HOST),
    ("COURIER_PUBLIC_URL", "https://müller.example", HOST),
    ("COURIER_PUBLIC_URL", "https://u:p@acme.example", LOGIN),
    ("COURIER_PUBLIC_URL", "https://acme.example?", QUERY),
    ("COURIER_PUBLIC_URL", "https://acme.example/#x", QUERY),
    ("COURIER_PUBLIC_URL", "https://acme.example/a/../b", PATH),
    ("COURIER_PUBLIC_URL", "https://acme.example/a//b", PATH),
    ("COURIER_PUBLIC_URL", "https://acme.example/%61", PATH),
    ("COURIER_WORKER", "threads", WORKER + "."),
    ("COURIER_WORKER", False, WORKER + ", not a boolean."),
    ("COURIER_ACCOUNT_URL_PREFIX", "account", PREFIX),
    ("COURIER_ACCOUNT_URL_PREFIX", "/", PREFIX),
    ("COURIER_ACCOUNT_URL_PREFIX", "/account/", PREFIX),
    ("COURIER_ACCOUNT_URL_PREFIX", "/<name>", PREFIX),
    ("COURIER_LOG_URL_PREFIX", "//courier", PREFIX),
    ("COURIER_LOG_URL_PREFIX", "/..", PREFIX),
    ("COURIER_LOG_URL_PREFIX", "", EMPTY),
    ("COURIER_RECOVERY_LIFETIME", "1800", SECONDS.format("{}", "text")),
    ("COURIER_RECOVERY_LIFETIME", True, SECONDS.format("{}", "a boolean")),
    ("COURIER_RECOVERY_LIFETIME", 1800.0, SECONDS.format("{}", "a number")),
    ("COURIER_RECOVERY_LIFETIME", 86401, UP_TO_A_DAY),
    ("COURIER_RECOVERY_LIFETIME", timedelta(hours=25), UP_TO_A_DAY),
    ("COURIER_RECOVERY_LIFETIME", timedelta(seconds=1.5), "{} must be of whole seconds."),
    ("COURIER_VERIFICATION_LIFETIME", 0, UP_TO_YEARS),
    ("COURIER_VERIFICATION_LIFETIME", -5, UP_TO_YEARS),
    ("COURIER_VERIFICATION_LIFETIME", 10**400, UP_TO_YEARS),
    ("COURIER_EMAIL_CHANGE_LIFETIME", 0, UP_TO_YEARS),
    ("COURIER_SIGN_IN_LIFETIME", 90000, UP_TO_A_DAY),
    ("COURIER_INVITATION_LIFETIME", -1, UP_TO_YEARS),
    ("COURIER_UNDO_LIFETIME", "7 days", SECONDS.format("{}", "text")),
    ("COURIER_NOT_ME_FREEZE", 0, UP_TO_YEARS),
    ("COURIER_SIGN_IN", "yes", "{} must be True or False, not text."),
    ("COURIER_CODE_LIFETIME", 90000, UP_TO_A_DAY),
    ("COURIER_CODE_DIGITS", 7, "{} must be a whole number from 8 to 12."),
    ("COURIER_CODE_DIGITS", 13, "{} must be a whole number from 8 to 12."),
    ("COURIER_CODE_DIGITS", True, "{} must be a whole number from 8 to 12, not a boolean."),
    ("COURIER_CODE_DIGITS", "8", "{} must be a whole number from 8 to 12, not text."),
    ("COURIER_MESSAGE_RETRIES", -1, "{} must be a whole number from 0 to 50."),
    ("COURIER_SMTP_CONNECTIONS", 0, "{} must be a whole number from 1 to 100."),
    ("COURIER_SMTP_PIPELINING", "no", "{} must be True or False, not text."),
    ("COURIER_SMTP_HEADERS", ["X-A: b"], MAPPING),
    ("COURIER_SMTP_HEADERS", {"X-A": 1}, "{}['X-A'] must be text, not a number."),
    ("COURIER_SMTP_HEADERS", {"X-A": "b\r\nBcc: c"}, FIELD_VALUE),
    ("COURIER_SMTP_HEADERS", {"X-A": "b\0"}, FIELD_VALUE),
    ("COURIER_SMTP_HEADERS", {"X-A": "b" * 901}, FIELD_VALUE),
    ("COURIER_SMTP_HEADERS", {"X-A:": "b"}, FIELD_NAME),
    ("COURIER_SMTP_HEADERS", {"X A": "b"}, FIELD_NAME),
    ("COURIER_SMTP_HEADERS", {"": "b"}, FIELD_NAME),
    ("COURIER_SMTP_HEADERS", {"X-A\n": "b"}, FIELD_NAME),
    ("COURIER_SMTP_HEADERS", {1: "b"}, FIELD_NAME),
    ("COURIER_SMTP_HEADERS", {"X-A": "b", "x-a": "c"}, TWICE),
    ("COURIER_SMTP_LOCAL_NAME", "web_1", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "192.0.2.1", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "[mail.acme.example]", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "[192.0.2.1]:25", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "[192.0.2.1:25]", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "[2001:db8::1]", LOCAL_NAME),
    ("COURIER_SMTP_LOCAL_NAME", "a\r\nMAIL", CONTROL),
    ("COURIER_SMTP_CLIENT_CERT", b"c.pem", "{} must be text, not bytes."),
    ("COURIER_SMTP_CLIENT_CERT", "c\0.pem", CONTROL),
    ("COURIER_SMTP_CA_FILE", " ", EMPTY),
    ("COURIER_RECIPIENT_LIMIT", 5, "{} must be text, not a number."),
    ("COURIER_RECIPIENT_LIMIT", "", EMPTY),
    ("COURIER_RECIPIENT_LIMIT", ",", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "5", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "5/fortnight", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "1/minute5/hour", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "1/minute and 5/hour", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "-1/minute", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "\u0665/hour", LIMITS),
    ("COURIER_RECIPIENT_LIMIT", "0/hour", WINDOW),
    ("COURIER_RECIPIENT_LIMIT", "1/0 hours", WINDOW),
    ("COURIER_RECIPIENT_LIMIT", "1/367 days", WINDOW),
    ("COURIER_RECIPIENT_LIMIT", "1000000000/minute", WINDOW),
    ("COURIER_RECIPIENT_LIMIT", f"1/{10**20} seconds", WINDOW),
    ("COURIER_REQUESTER_LIMIT", "1/minute 2/60 seconds", WINDOWS),
    ("COURIER_PASSWORD_STRENGTH", 5, "{} must be a whole number from 1 to 4."),
    ("COURIER_HOURLY_BUDGET", 4, "{} must be a whole number from 5 to 1000000."),
    ("COURIER_PASSWORD_MIN_LENGTH", 7, "{} must be a whole number from 8 to 64."),
    ("COURIER_RETENTION", object(), SECONDS.format("{}", "an object")),
    ("COURIER_CONTENT_RETENTION", timedelta(0), UP_TO_YEARS),
    ("COURIER_BASE_TEMPLATE", {}, "{} must be text, not a mapping."),
    ("COURIER_CHANGE_PASSWORD_URL", "password", ONWARD),
    ("COURIER_AFTER_RECOVERY_URL", "login", ONWARD),
    ("COURIER_AFTER_RECOVERY_URL", "javascript:alert(1)", ONWARD),
    ("COURIER_AFTER_RECOVERY_URL", "https://?x", HOST),
    ("COURIER_AFTER_RECOVERY_URL", "https://a@b", LOGIN),
    ("COURIER_AFTER_VERIFICATION_URL", "//evil.example", SITE),
    ("COURIER_AFTER_SIGN_IN_URL", "//evil.example", SITE),
    ("COURIER_AFTER_VERIFICATION_URL", "/\\evil.example", BLANK),
    ("COURIER_AFTER_VERIFICATION_URL", "/a b", BLANK),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value", "problem"), BAD)
def test_a_bad_value_is_refused(name: str, value: object, problem: str) -> None:
    """The one problem names the key and says what to write; it does not repeat the value."""
    assert (problem.replace("{}", name),) == refused(**{name: value})


@pytest.mark.parametrize(
    "header",
    ["From", "to", "SUBJECT", "Date", "Message-ID", "Content-Type", "MIME-Version", "Bcc", "Cc",
     "Sender", "Resent-To", "Received", "Return-Path", "Auto-Submitted", "DKIM-Signature"],
)  # fmt: skip
def test_headers_of_ours_cannot_be_overridden(header: str) -> None:
    """What the extension or a mail server writes is not the application's to set."""
    assert refused(COURIER_SMTP_HEADERS={header: "x"}) == (
        f"COURIER_SMTP_HEADERS[{header!r}] is written by flask_courier itself: remove it.",
    )


@pytest.mark.parametrize(
    ("account", "log"),
    [
        ("/courier", "/courier"),
        ("/account", "/account/recovery"),
        ("/account", "/account/verification/log"),
        ("/courier/messages", "/courier"),
        ("/courier/health", "/courier"),
    ],
)
def test_prefixes_may_not_take_each_others_requests(account: str, log: str) -> None:
    """Equal prefixes collide, and one among the routes of the other."""
    found = refused(COURIER_ACCOUNT_URL_PREFIX=account, COURIER_LOG_URL_PREFIX=log)

    assert found == (
        (
            "COURIER_ACCOUNT_URL_PREFIX and COURIER_LOG_URL_PREFIX collide: give each a path that"
            " is not among the other's routes."
        ),
    )


def test_a_client_key_alone_is_refused() -> None:
    """A key without a certificate proves nothing."""
    assert refused(COURIER_SMTP_CLIENT_KEY="k.pem") == (
        (
            "COURIER_SMTP_CLIENT_KEY is set without COURIER_SMTP_CLIENT_CERT: set the certificate"
            " too, or remove the key."
        ),
    )


def test_a_broken_prefix_is_the_only_problem() -> None:
    """What could not be read is not compared with anything."""
    found = refused(
        COURIER_ACCOUNT_URL_PREFIX="x",
        COURIER_SMTP_CLIENT_CERT="",
        COURIER_SMTP_CLIENT_KEY="k.pem",
    )

    assert found == (
        PREFIX.format("COURIER_ACCOUNT_URL_PREFIX"),
        EMPTY.format("COURIER_SMTP_CLIENT_CERT"),
    )


def test_secret_keys_are_newest_last() -> None:
    """Fallbacks in their order, then the current key; text becomes UTF-8."""
    config = production(
        SECRET_KEY=b"current-key-16-b",
        SECRET_KEY_FALLBACKS=["äldest-key-16-by", b"newer-key-16-byt"],
    )

    assert config.secret_keys == (
        "äldest-key-16-by".encode(),
        b"newer-key-16-byt",
        b"current-key-16-b",
    )


@pytest.mark.parametrize("fallbacks", [None, [], ()])
def test_no_fallbacks_are_none(fallbacks: object) -> None:
    """An empty list of older keys is no list."""
    assert (SECRET.encode(),) == production(SECRET_KEY_FALLBACKS=fallbacks).secret_keys


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"SECRET_KEY": ""}, NO_SECRET_KEY),
        ({"SECRET_KEY": "15-byte-secret!"}, SHORT.format("SECRET_KEY")),
        ({"SECRET_KEY": 10**20}, "SECRET_KEY must be text or bytes, not a number."),
        ({"SECRET_KEY_FALLBACKS": [SECRET, "short"]}, SHORT.format("SECRET_KEY_FALLBACKS[1]")),
        (
            {"SECRET_KEY_FALLBACKS": [None]},
            "SECRET_KEY_FALLBACKS[0] must be text or bytes, not an object.",
        ),
        (
            {"SECRET_KEY_FALLBACKS": SECRET},
            (
                "SECRET_KEY_FALLBACKS must be a list of keys (of text, each letter would become a"
                " key), not text."
            ),
        ),
        ({"SECRET_KEY": None, "SECRET_KEY_FALLBACKS": [SECRET]}, NO_SECRET_KEY),
    ],
)
def test_weak_or_odd_secret_keys_are_refused(settings: dict[str, Any], problem: str) -> None:
    """Each key of production has 16 bytes at least and is text or bytes."""
    assert (problem,) == refused(**settings)


def test_a_short_secret_key_will_do_in_debug() -> None:
    """Nobody has to think of 16 bytes to try something out."""
    config = from_mapping({"SECRET_KEY": "dev"}, debug=True, testing=False)

    assert (b"dev",) == config.secret_keys


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"SECRET_KEY_FALLBACKS": ["old"]}, NO_SECRET_KEY),
        (
            {"SECRET_KEY": "dev", "SECRET_KEY_FALLBACKS": [""]},
            SHORT.format("SECRET_KEY_FALLBACKS[0]"),
        ),
    ],
)
def test_debug_does_not_excuse_empty_keys(settings: dict[str, Any], problem: str) -> None:
    """A fallback must not become the current key, and an empty one protects nothing."""
    assert (problem,) == problems(settings, debug=True)


def test_a_short_secret_key_is_refused_in_testing() -> None:
    """Only debug is let off: its pages are for loopback."""
    assert (SHORT.format("SECRET_KEY"),) == problems({"SECRET_KEY": "dev"}, testing=True)


def test_the_configuration_shows_no_secrets() -> None:
    """No repr holds a secret key, the SMTP password or a header's value."""
    config = production(
        SECRET_KEY_FALLBACKS=[f"{PASSWORD}-16-bytes"], COURIER_SMTP_HEADERS={"X-Token": PASSWORD}
    )

    assert PASSWORD not in f"{config} {config!r}"
    assert SECRET not in f"{config} {config!r}"


def test_problems_show_no_secrets() -> None:
    """An error about a key with a secret in it does not repeat the secret."""
    found = refused(
        SECRET_KEY=[PASSWORD],
        COURIER_SMTP_URI=f"smtp://user:{PASSWORD}@h:{PASSWORD}",
        COURIER_PUBLIC_URL=f"https://user:{PASSWORD}@h",
        COURIER_DEFAULT_SENDER=f"{PASSWORD}@",
        COURIER_SMTP_HEADERS={"X-Token": f"{PASSWORD}\n"},
        COURIER_RECIPIENT_LIMIT=PASSWORD,
    )

    assert len(found) == 6
    assert PASSWORD not in "".join(found)


def test_values_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """``app.config.from_prefixed_env()`` gives JSON values, and they are what is asked for."""
    app = Flask(__name__)
    for name, value in {
        **COMPLETE,
        "COURIER_DEFAULT_SENDER": json.dumps(["Acme", "no-reply@acme.example"]),
        "COURIER_RECOVERY_LIFETIME": "600",
        "COURIER_REQUESTER_LIMIT": "5/minute",
        "COURIER_SMTP_HEADERS__X-Tag": "accounts",
        "COURIER_BASE_TEMPLATE": "null",
    }.items():
        monkeypatch.setenv(f"FLASK_{name}", str(value))
    app.config.from_prefixed_env()

    assert from_mapping(app.config, debug=False, testing=False) == production(
        COURIER_RECOVERY_LIFETIME=600,
        COURIER_REQUESTER_LIMIT="5/minute",
        COURIER_SMTP_HEADERS={"X-Tag": "accounts"},
    )


def test_the_table_has_a_key_for_every_field() -> None:
    """``KEYS`` and the dataclass name the same things in the same order."""
    fields = [field.name for field in dataclasses.fields(CourierConfig)]

    assert fields == [*(key.field for key in KEYS), "secret_keys", "debug", "testing"]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_is_documented(key: Key) -> None:
    """A key has its prefix and one line that says what it is."""
    assert key.name.startswith("COURIER_")
    assert key.doc.endswith(".")
    assert "\n" not in key.doc


def test_every_key_has_good_and_bad_values_here() -> None:
    """No key was added without its tests."""
    names = {key.name for key in KEYS}

    assert names - {"COURIER_SMTP_CLIENT_KEY"} == {name for name, _, _ in GOOD}
    assert names - {"COURIER_SMTP_CLIENT_KEY"} == {name for name, _, _ in BAD}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COURIER_RECOVERY_LIFETIME", "30 minutes"),
        ("COURIER_VERIFICATION_LIFETIME", "1 day"),
        ("COURIER_WORKER", "thread"),
        ("COURIER_CODE_DIGITS", "8"),
        ("COURIER_SMTP_HEADERS", "none"),
        ("COURIER_SMTP_URI", "none"),
    ],
)
def test_a_default_can_be_shown(name: str, text: str) -> None:
    """Durations in words, a missing value as "none"."""
    assert [text] == [key.default_text for key in KEYS if key.name == name]


@pytest.mark.parametrize(
    ("limit", "text"),
    [(Limit(5, 3600), "5/hour"), (Limit(20, 600), "20/10 minutes"), (Limit(1, 90), "1/90 seconds")],
)
def test_a_limit_is_shown_as_it_is_written(limit: Limit, text: str) -> None:
    """The longest unit that divides the window."""
    assert text == str(limit)


@given(
    st.dictionaries(st.integers(1, 366 * 86400), st.integers(1, 999_999), min_size=1, max_size=5)
)
def test_limits_are_read_back(counts: dict[int, int]) -> None:
    """Limits that are shown can be configured, and come back in order."""
    expected = tuple(Limit(counts[seconds], seconds) for seconds in sorted(counts))
    shown = " ".join(str(limit) for limit in reversed(expected))

    assert expected == production(COURIER_RECIPIENT_LIMIT=shown).recipient_limit


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)


@given(st.sampled_from(KEYS), VALUES)
def test_any_value_is_read_or_refused(key: Key, value: object) -> None:
    """Whatever JSON holds, the result is a configuration or a ``ConfigError``."""
    try:
        result: object = from_mapping({key.name: value}, debug=True, testing=False)
    except ConfigError as error:
        result = error

    assert isinstance(result, (CourierConfig, ConfigError))
