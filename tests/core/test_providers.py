"""Providers are told to leave links and Message-IDs alone, in the words they document."""

from __future__ import annotations

import json

import pytest

from flask_courier.core.headers import read_headers
from flask_courier.core.providers import always, completed, tracking_off

HOSTS = [
    "smtp.postmarkapp.com",
    "smtp.eu.mailgun.org",
    "smtp.sendgrid.net",
    "in-v3.mailjet.com",
    "smtp.eu.sparkpostmail.com",
    "smtp.mandrillapp.com",
]


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("smtp.postmarkapp.com", {"X-PM-TrackLinks": "None", "X-PM-TrackOpens": "false"}),
        ("smtp.mailgun.org", {"X-Mailgun-Track-Clicks": "no", "X-Mailgun-Track-Opens": "no"}),
        ("in-v3.mailjet.com", {"X-Mailjet-TrackClick": "0", "X-Mailjet-TrackOpen": "0"}),
        ("smtp.mandrillapp.com", {"X-MC-Track": "none"}),
    ],
)
def test_tracking_off(host: str, fields: dict[str, str]) -> None:
    """Each provider gets the fields that it documents."""
    assert fields == tracking_off(host)


def test_tracking_off_at_sendgrid() -> None:
    """SendGrid reads its filters from JSON."""
    filters = json.loads(tracking_off("smtp.sendgrid.net")["X-SMTPAPI"])["filters"]
    assert {"enable": 0, "enable_text": False} == filters["clicktrack"]["settings"]
    assert {"enable": 0} == filters["opentrack"]["settings"]


def test_tracking_off_at_sparkpost() -> None:
    """SparkPost reads its options from JSON."""
    options = json.loads(tracking_off("smtp.sparkpostmail.com")["X-MSYS-API"])["options"]
    assert {"click_tracking": False, "open_tracking": False} == options


@pytest.mark.parametrize("host", HOSTS)
def test_fields_may_stand_in_a_mail(host: str) -> None:
    """Every field passes the check that an application's own fields pass."""
    fields = {**tracking_off(host), **always(host)}
    assert fields == read_headers("COURIER_SMTP_HEADERS", fields)


@pytest.mark.parametrize("host", ["SMTP.Mailgun.org", "smtp.mailgun.org.", "mailgun.org"])
def test_host_in_any_spelling(host: str) -> None:
    """Case and a dot at the end make no other host."""
    assert tracking_off("smtp.mailgun.org") == tracking_off(host) != {}


@pytest.mark.parametrize(
    "host",
    ["smtp.example.com", "notmailgun.org", "mailgun.org.example.com", "192.0.2.1", "2001:db8::1"],
)
def test_unknown_host(host: str) -> None:
    """No other host gets a provider's fields."""
    assert ({}, {}) == (dict(tracking_off(host)), dict(always(host)))


def test_postmark_keeps_our_message_id() -> None:
    """Postmark is told with every mail to keep its Message-ID."""
    assert {"X-PM-KeepID": "true"} == always("smtp-broadcasts.postmarkapp.com")


def test_others_keep_it_anyway() -> None:
    """Nothing is added to every mail of a provider that keeps the Message-ID."""
    assert not any(always(host) for host in HOSTS[1:])


def test_own_fields_win() -> None:
    """A field of the application's own stays, in its spelling; names ignore case."""
    own = {"x-pm-tracklinks": "HtmlOnly", "X-Tag": "a"}
    fields = completed(own, tracking_off("smtp.postmarkapp.com"))
    assert {**own, "X-PM-TrackOpens": "false"} == fields
