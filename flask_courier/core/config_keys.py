"""The keys of the configuration: one table, which the reader and the README share."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from flask_courier.core import headers, settings, urls
from flask_courier.core.durations import describe, lasting
from flask_courier.core.errors import SmtpUriError
from flask_courier.core.limits import read_limits
from flask_courier.core.sender import read_sender
from flask_courier.core.smtp_uri import SmtpUri, parse_smtp_uri

PREFIX = "COURIER_"
#: The SMTP URI under which nothing leaves: mail is only shown in the delivery log.
LOG_URI = "log:"

_DAY = timedelta(days=1)
_YEARS = timedelta(days=3650)


class WorkerMode(enum.Enum):
    """Who delivers what is queued."""

    #: A thread of each process that serves requests, started with the first message.
    THREAD = "thread"
    #: ``flask courier worker``, a process of its own.
    EXTERNAL = "external"
    #: Nobody, until ``courier.deliver_pending()`` is called.
    MANUAL = "manual"


@dataclass(frozen=True)
class Key:
    """One key of the configuration."""

    name: str
    read: settings.Reader[object]
    #: The raw value that stands for a key which is not set; None if there is none.
    default: object
    doc: str
    #: The same when testing, where it differs.
    testing_default: object = None
    #: How to set it, if mail cannot leave without it.
    needed: str | None = None

    @property
    def field(self) -> str:
        """The attribute of ``CourierConfig`` that holds the value."""
        return self.name.removeprefix(PREFIX).lower()

    @property
    def default_text(self) -> str:
        """The default as a table shows it: ``30 minutes``, ``none``."""
        if isinstance(self.default, timedelta):
            return describe(self.default)
        return str(self.default) if self.default else "none"


def _read_smtp_uri(name: str, value: object) -> SmtpUri | None:
    if not isinstance(value, str):
        raise settings.wrong_type(name, "text", value)
    if value == LOG_URI:
        return None
    try:
        return parse_smtp_uri(value)
    except SmtpUriError as error:
        problem = f"{name}: {error}"
    # Outside the handler, so that no traceback leads back to the URI.
    raise settings.refusal(problem)


#: Every key, in the order of the fields of ``CourierConfig``.
KEYS: tuple[Key, ...] = (
    Key(
        "COURIER_SMTP_URI",
        _read_smtp_uri,
        None,
        "Where mail goes. Without it, in debug and testing: `log:`, nothing leaves.",
        needed="set it to the server's URI, like smtp://user:password@smtp.acme.example:587/",
    ),
    Key(
        "COURIER_DEFAULT_SENDER",
        read_sender,
        None,
        'Who mail comes from: `"Acme <no-reply@acme.example>"` or a pair of name and address.',
        needed='set it to who mail comes from, like "Acme <no-reply@acme.example>"',
    ),
    Key(
        "COURIER_PUBLIC_URL",
        urls.read_public_url,
        None,
        "The site's address, which every link begins with. Without it, in debug and testing with"
        " `log:`: the request's host, if it is loopback.",
        needed="set it to the site's address, which every link begins with, like"
        " https://www.acme.example",
    ),
    Key(
        "COURIER_WORKER",
        settings.choice(WorkerMode),
        "thread",
        "Who delivers: `thread`, `external` (`flask courier worker`) or `manual`.",
        testing_default="manual",
    ),
    Key("COURIER_ACCOUNT_URL_PREFIX", urls.read_prefix, "/account", "Where the account pages are."),
    Key("COURIER_LOG_URL_PREFIX", urls.read_prefix, "/courier", "Where the delivery log is."),
    Key(
        "COURIER_RECOVERY_LIFETIME",
        lasting(_DAY),
        timedelta(minutes=30),
        "How long a recovery link is good; 1 day at most.",
    ),
    Key(
        "COURIER_VERIFICATION_LIFETIME",
        lasting(_YEARS),
        timedelta(days=1),
        "How long a verification link is good.",
    ),
    Key(
        "COURIER_EMAIL_CHANGE_LIFETIME",
        lasting(_YEARS),
        timedelta(days=1),
        "How long a link that confirms a new address is good.",
    ),
    Key(
        "COURIER_SIGN_IN_LIFETIME",
        lasting(_DAY),
        timedelta(minutes=15),
        "How long a sign-in link is good; 1 day at most.",
    ),
    Key(
        "COURIER_INVITATION_LIFETIME",
        lasting(_YEARS),
        timedelta(days=7),
        "How long an invitation is good.",
    ),
    Key(
        "COURIER_UNDO_LIFETIME",
        lasting(_YEARS),
        timedelta(days=7),
        'How long "this was not me" and the undoing of a new address are good.',
    ),
    Key(
        "COURIER_NOT_ME_FREEZE",
        lasting(_YEARS),
        None,
        'For how long "this was not me" holds recovery and changes of address back.',
    ),
    Key(
        "COURIER_SIGN_IN",
        settings.read_flag,
        default=False,
        doc="Offer signing in by mail; needs `@courier.sign_in`.",
    ),
    Key(
        "COURIER_CODE_LIFETIME",
        lasting(_DAY),
        timedelta(minutes=10),
        "How long a code is good; 1 day at most.",
    ),
    Key("COURIER_CODE_DIGITS", settings.whole_number(8, 12), 8, "Digits in a code, 8 to 12."),
    Key(
        "COURIER_MESSAGE_RETRIES",
        settings.whole_number(0, 50),
        5,
        "Retries after the first attempt; faults of the transport do not count.",
    ),
    Key(
        "COURIER_SMTP_CONNECTIONS",
        settings.whole_number(1, 100),
        8,
        "SMTP sessions a worker keeps at most.",
    ),
    Key(
        "COURIER_SMTP_PIPELINING",
        settings.read_flag,
        default=True,
        doc="Send several commands at once where the server offers it (RFC 2920).",
    ),
    Key("COURIER_SMTP_HEADERS", headers.read_headers, {}, "Header fields added to every mail."),
    Key(
        "COURIER_SMTP_LOCAL_NAME",
        settings.read_local_name,
        None,
        "The name given in EHLO; otherwise the host of PUBLIC_URL.",
    ),
    Key(
        "COURIER_SMTP_CLIENT_CERT",
        settings.read_path,
        None,
        "A PEM file with a certificate to show to the SMTP server.",
    ),
    Key(
        "COURIER_SMTP_CLIENT_KEY",
        settings.read_path,
        None,
        "A PEM file with that certificate's key, if it is in a file of its own.",
    ),
    Key(
        "COURIER_SMTP_CA_FILE",
        settings.read_path,
        None,
        "A PEM file with the authorities to trust instead of the system's.",
    ),
    Key(
        "COURIER_RECIPIENT_LIMIT",
        read_limits,
        "1/minute 5/hour 20/day",
        "Mails of one kind to one account; silent.",
    ),
    Key(
        "COURIER_REQUESTER_LIMIT",
        read_limits,
        "20/10 minutes",
        "Requests from one IPv4 address or IPv6 /64; answered with 429.",
    ),
    Key(
        "COURIER_HOURLY_BUDGET",
        settings.whole_number(5, 1_000_000),
        None,
        "Mails that go out in an hour at most, the last fifth of them for recovery.",
    ),
    Key(
        "COURIER_PASSWORD_MIN_LENGTH",
        # NIST SP 800-63B section 3.1.1.2: eight at least, and 64 must always be enough.
        settings.whole_number(8, 64),
        12,
        "The shortest new password, 8 to 64 characters.",
    ),
    Key(
        "COURIER_PASSWORD_STRENGTH",
        settings.whole_number(1, 4),
        None,
        "The lowest zxcvbn score of a new password, 1 to 4; needs `flask-courier[password]`.",
    ),
    Key(
        "COURIER_RETENTION",
        lasting(_YEARS),
        timedelta(days=90),
        "How long a finished message stays in the delivery log.",
    ),
    Key(
        "COURIER_CONTENT_RETENTION",
        lasting(_YEARS),
        timedelta(days=7),
        "How long its text stays.",
    ),
    Key(
        "COURIER_BASE_TEMPLATE",
        settings.read_text,
        None,
        "A template of the application that the account pages and the log extend.",
    ),
    Key(
        "COURIER_CHANGE_PASSWORD_URL",
        urls.read_onward_url,
        None,
        "Where `/.well-known/change-password` leads; without it, to the recovery page.",
    ),
    Key(
        "COURIER_AFTER_RECOVERY_URL",
        urls.read_onward_url,
        None,
        "Where the browser goes after a recovery.",
    ),
    Key(
        "COURIER_AFTER_VERIFICATION_URL",
        urls.read_onward_url,
        None,
        "Where the browser goes after a verification.",
    ),
    Key(
        "COURIER_AFTER_SIGN_IN_URL",
        urls.read_onward_url,
        "/",
        "Where the browser goes after signing in by mail.",
    ),
)
