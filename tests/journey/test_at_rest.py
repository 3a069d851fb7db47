"""What the database, the log pages and the application log keep of a journey: nothing usable."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.databases import every_database
from tests.observation import dump, update
from tests.site import Site, path_of
from tests.smtp_server import PASSWORD as SMTP_PASSWORD
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, Mail, Visitor, delivered, mailed, request_mail

pytestmark = every_database

NEW_PASSWORD = "violet-harbour-lantern-42"
KINDS = ("recovery", "verification")
#: The other end of the wire is no part of the application.
SERVER_LOGGER = "mail.log"


class Remains(NamedTuple):
    """What is left after a journey, and the mails that were part of it."""

    site: Site
    #: Used mails first, then two that wait for their owner.
    mails: list[Mail]
    database: str
    pages: str
    log: str

    @property
    def text(self) -> str:
        """Everything."""
        return "\n".join(self[2:])


#: Numbers of a log record that say nothing: among so many digits any code turns up by chance.
_CLOCKS = {"created", "msecs", "relativeCreated", "thread", "process"}


class Recorder(logging.Handler):
    """Keeps everything a log record holds, also what no format shows."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in, with everything it carries beside its message."""
        if record.name != SERVER_LOGGER:
            kept = {name: value for name, value in vars(record).items() if name not in _CLOCKS}
            self.lines.append(f"{self.format(record)} {kept!r}")


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Everything that any logger says at any level."""
    recorder, loggers = Recorder(), [logging.getLogger(name) for name in (None, "sqlalchemy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(recorder)
    yield recorder.lines
    loggers[0].removeHandler(recorder)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def remains(
    log: list[str],
    sites: Callable[..., Site],
    mail_server: MailServer,
    mail_config: dict[str, Any],
) -> Remains:
    """A journey by link and by code; then mails that were sent, and one that still waits."""
    site = sites(**mail_config, **NO_LIMITS)
    site.courier.log_access(lambda _permission: True)
    site.add_user()
    mails = [*journey(site), *(mailed(site, kind) for kind in KINDS)]
    mail_server.answers["RCPT"] = "450 4.2.1 try again later"
    site.add_user("grace@example.com")
    request_mail(site, "recovery", "grace@example.com")
    assert [] == delivered(site)
    database = repr(dump(site)) + raw(site)
    return Remains(site, mails, database, log_pages(site), "\n".join(log))


def raw(site: Site) -> str:
    """The bytes of a SQLite file: what was deleted may still stand there."""
    url = sa.make_url(site.app.config["SQLALCHEMY_DATABASE_URI"])
    if url.database is None or url.get_backend_name() != "sqlite":
        return ""
    return Path(url.database).read_bytes().decode("latin-1")


def journey(site: Site) -> Iterator[Mail]:
    """Verify by link and recover by code; answer the mails."""
    visitor = Visitor(site)
    verification = mailed(site, "verification")
    assert 200 == visitor.send(visitor.follow(verification.link)).status_code
    yield verification
    recovery = mailed(site, "recovery")
    form = visitor.fill("/account/recovery/code", email=ADA, code=recovery.code)
    assert 200 == visitor.send(form, password=NEW_PASSWORD, confirm=NEW_PASSWORD).status_code
    yield recovery
    update(site, "user", email_verified_at=None)


def log_pages(site: Site) -> str:
    """Every page of the delivery log, as HTML, as JSON, and each preview."""
    visitor, as_json = Visitor(site), {"Accept": "application/json"}
    listed = visitor.get("/courier/", headers=as_json).get_json()["messages"]
    addresses = ["/courier/", *(f"/courier/messages/{message['id']}" for message in listed)]
    answers = [visitor.get(address, headers=as_json) for address in addresses]
    answers += [visitor.get(address) for address in addresses]
    assert {200} == {answer.status_code for answer in answers}
    answers += [visitor.get(f"{address}/preview") for address in addresses[1:]]
    return "\n".join(f"{answer.headers}{answer.text}" for answer in answers)


def spellings(mail: Mail) -> set[str]:
    """How a token, its id and a code may be written down."""
    encoded = mail.token.partition(".")[0]
    raw = base64.urlsafe_b64decode(encoded + "==")
    plain = base64.b64encode(raw).decode().rstrip("=")
    forms = {
        mail.token,
        mail.link,
        encoded,
        plain,
        raw.hex(),
        repr(raw),
        str(int.from_bytes(raw, "big")),
    }
    return forms | {mail.code, base64.b64encode(mail.code.encode()).decode()}


def test_s05_no_token_is_kept(remains: Remains) -> None:
    """No token, no token id and no code is kept anywhere, in any spelling."""
    secrets = set().union(*(spellings(mail) for mail in remains.mails))
    assert (4, True) == (len(remains.mails), len(secrets) > 20)
    assert [] == [secret for secret in secrets if secret in remains.text]


def test_passwords(remains: Remains) -> None:
    """Neither the new password nor the SMTP password is kept, plain or encoded."""
    plain = [NEW_PASSWORD, SMTP_PASSWORD]
    login = f"\0mailer@acme.example\0{SMTP_PASSWORD}".encode()
    encoded = [base64.b64encode(word.encode()).decode().rstrip("=") for word in plain]
    secrets = [*plain, *encoded, quote(SMTP_PASSWORD, safe=""), base64.b64encode(login).decode()]
    assert [] == [secret for secret in secrets if secret in remains.text]


def test_pages(remains: Remains) -> None:
    """The log pages show the mails all the same, with dots where token and code went."""
    assert "Choose a new password" in remains.pages
    assert "https://acme.example/account/recovery/••••••••" in remains.pages
    assert "450 4.2.1" in remains.text or "4.2.1 try again later" in remains.text


def test_s05_no_word_is_a_token(remains: Remains) -> None:
    """No word of what is kept completes a flow when it is sent as a token."""
    words = sorted(set(re.findall(r"[\w.=+/-]{16,100}", remains.database + remains.pages)))
    visitor = Visitor(remains.site)
    answers = {visitor.redeem(kind, word) for kind in KINDS for word in words}
    assert (True, {410}) == (len(words) > 50, answers)
    recovery, verification = remains.mails[2:]
    as_json = {"Accept": "application/json"}
    assert 200 == visitor.get(path_of(recovery.link), headers=as_json).status_code
    assert 200 == visitor.redeem("verification", verification.token)


def test_s05_no_word_is_a_code(remains: Remains) -> None:
    """No digits of what is kept complete a flow when they are sent as a code."""
    visitor, answers = Visitor(remains.site), set()
    words = sorted(set(re.findall(r"(?<![0-9])[0-9]{8}(?![0-9])", remains.text)))
    for word in words[:60]:
        # The limit on guesses is tested elsewhere; here every guess is to be looked at.
        update(remains.site, "courier_limit", count=0)
        for kind in KINDS:
            answers.add(visitor.json(f"/account/{kind}/code", email=ADA, code=word)[0])
    update(remains.site, "courier_limit", count=0)
    right = visitor.json("/account/recovery/code", email=ADA, code=remains.mails[2].code)
    assert ({422}, 200) == (answers, right[0])
