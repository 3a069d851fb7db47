"""What the delivery log says where mail does not flow: outcomes, reasons, causes, breakers."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flask_courier.core.causes import CAUSES
from flask_courier.core.replies import Outcome
from flask_courier.web import wording
from tests.delivery.mails import LONG_AGO, make_due, only, queue_own
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site

MakeSite = Callable[..., Site]
MakeTrouble = Callable[..., Site]

REFUSED_LOGIN = "535 5.7.8 we do not know <you>"


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log, with one message in it."""
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    return site


@pytest.fixture
def troubled(sites: MakeSite) -> Any:
    """Makes sites whose SMTP server says what the test wants, and has them deliver one mail."""
    with ExitStack() as stack:

        def make(**script: Any) -> Site:
            server = stack.enter_context(scripted_smtp(**script))
            site = sites(COURIER_SMTP_URI=server.uri.replace("//", "//mailer:hunter2@", 1))
            site.courier.log_access(lambda _permission: True)
            queue_own(site)
            site.deliver()
            return site

        yield make


def list_text(site: Site) -> str:
    """The list, without its tags."""
    return text_of(site.client.get("/courier/").text)


def page_text(site: Site) -> str:
    """The page of the only message, without its tags."""
    return text_of(site.client.get(f"/courier/messages/{only(site)['id']}").text)


def text_of(page: str) -> str:
    """What a page says."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def banners(site: Site) -> list[str]:
    """What the list says first."""
    page = site.client.get("/courier/").text
    return [
        text_of(found)
        for found in re.findall(r'<div class="courier-banner">(.*?)</div>', page, re.DOTALL)
    ]


# Words


def test_every_outcome_has_a_label() -> None:
    """Each outcome that an attempt can have is put in words."""
    assert set(Outcome) == set(wording.OUTCOME_LABELS)


@pytest.mark.parametrize("reason", wording.REASON_LABELS)
def test_every_reason_is_told(open_site: Site, reason: str) -> None:
    """The page says each reason in words, and not its stable name."""
    update(open_site, "courier_message", status="abandoned", reason=reason)
    assert f"Reason {wording.REASON_LABELS[reason]} " in page_text(open_site)


def test_reason_of_a_newer_release(open_site: Site) -> None:
    """A reason that this release does not know is shown as it is."""
    update(open_site, "courier_message", reason="moonlight")
    assert "Reason moonlight " in page_text(open_site)


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        ("queued", "throttled", "the SMTP server wants less mail for now."),
        ("queued", "operator_fault", "This mail is waiting until somebody changes a setting."),
        ("queued", "transport_fault", "which says nothing of this mail"),
        ("queued", "lease_expired", "The worker that had it is gone."),
        ("queued", "template", "Mend the template and release it"),
        ("expired", "template", "not sent in time: its template failed."),
        ("abandoned", "poison", "Something in the mail may be the cause."),
        ("abandoned", "operator_fault", "It was tried once, as a test"),
        ("expired", "operator_fault", "not sent in time: a setting had to be changed first."),
        ("expired", "throttled", "not sent in time: the SMTP server wanted less mail."),
        ("cancelled", "superseded", "This mail was taken back: a newer one took its place."),
        ("cancelled", "operator", "This mail was taken back by an operator."),
    ],
)
def test_advice(open_site: Site, status: str, reason: str, told: str) -> None:
    """The page says what a status and its reason mean, and what follows."""
    update(open_site, "courier_message", status=status, reason=reason)
    assert told in page_text(open_site)


# Attempts


@pytest.mark.parametrize(
    ("script", "label", "cause"),
    [
        ({"AUTH": REFUSED_LOGIN}, "Needs a change here", "login_refused"),
        ({"BANNER": "421 4.3.2 closing"}, "Connection failed", "server_closing"),
        ({"DOT": "454 4.7.0 Throttling failure"}, "Slowed down", "rate_limit"),
        ({"RCPT": "450 4.2.0 greylisted, come back"}, "Put off", "greylisted"),
        ({"RCPT": "550 5.1.1 no such user"}, "Refused", "no_such_mailbox"),
    ],
)
def test_attempt_in_plain_words(
    troubled: MakeTrouble, script: dict[str, str], label: str, cause: str
) -> None:
    """An attempt shows what it came to, what that means, what to do, and the server's words."""
    page = page_text(troubled(**script))
    [said] = script.values()
    assert f"Attempt 1 {label} " in page
    assert f"{said} {CAUSES[cause].meaning} {CAUSES[cause].advice} " in page


def test_attempt_of_a_stopped_worker(troubled: MakeTrouble) -> None:
    """That the worker itself hung up, because it was told to stop, is told."""
    site = troubled(RCPT="450 4.2.0 later")
    update(site, "courier_attempt", outcome="transport_fault", cause="worker_stopped")
    assert "This worker was told to stop and hung up" in page_text(site)


@pytest.mark.parametrize("cause", [None, "moonlight"])
def test_attempt_without_a_known_cause(troubled: MakeTrouble, cause: str | None) -> None:
    """Where an older or newer release wrote the row, the server's words stand alone."""
    site = troubled(RCPT="550 5.1.1 no such user")
    update(site, "courier_attempt", cause=cause)
    page = page_text(site)
    assert re.search(r"worker \S+ 550 5\.1\.1 no such user Ended at RCPT TO", page)


def test_accepted_attempt_is_not_explained(troubled: MakeTrouble) -> None:
    """What went well needs no advice."""
    page = page_text(troubled())
    assert "Attempt 1 Accepted " in page
    assert CAUSES["accepted"].advice not in page


def test_transport_is_host_and_port(troubled: MakeTrouble) -> None:
    """The page names the server, without what tells its configurations apart in the rows."""
    site = troubled(RCPT="550 5.1.1 no such user")
    stored = only(site)["transport"]
    assert "#" in stored
    page = page_text(site)
    assert f"Transport {stored.partition('#')[0]} " in page
    assert stored.partition("#")[2] not in page


# The list


@pytest.mark.parametrize(
    ("reason", "told"),
    [("throttled", "The SMTP server wants less mail"), ("lease_expired", "Its worker is gone")],
)
def test_list_tells_the_reason(open_site: Site, reason: str, told: str) -> None:
    """Where no server has said anything, the list says the reason in words."""
    update(open_site, "courier_message", reason=reason)
    assert f"0 of 6 {told} due just now" in list_text(open_site)


def test_next_try_and_due(troubled: MakeTrouble) -> None:
    """What lies ahead is the next try; what has waited since is due."""
    site = troubled(RCPT="450 4.2.0 later")
    update(site, "courier_message", next_attempt_at=datetime(9999, 1, 1))  # noqa: DTZ001 - as stored
    assert ("next try in" in list_text(site), "Next in" in page_text(site)) == (True, True)
    make_due(site)
    assert re.search(r"\bdue \d+ days ago", list_text(site))
    assert re.search(r"\bDue \d+ days ago", page_text(site))


def test_distances() -> None:
    """What is almost now is told apart by whether it is over."""
    now = datetime.now(timezone.utc)
    told = [
        text_of(wording.relative(now + timedelta(seconds=seconds))) for seconds in (-2, 3, 90, -90)
    ]
    assert ["just now", "in a moment", "in 1 minute", "1 minute ago"] == told


def test_claims_that_came_to_nothing(open_site: Site) -> None:
    """How often workers took the mail up is told where it differs from the attempts."""
    update(open_site, "courier_message", claims=1)
    assert "Attempts 0 of 6, taken up 1 time " in page_text(open_site)
    update(open_site, "courier_message", claims=3)
    assert "Attempts 0 of 6, taken up 3 times " in page_text(open_site)


def test_banner_of_an_open_breaker(troubled: MakeTrouble) -> None:
    """The list says that mail waits, why, what the server said, what to do, and when it goes on."""
    site = troubled(AUTH=REFUSED_LOGIN)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    update(site, "courier_transport", next_probe_at=now + timedelta(minutes=4, seconds=30))
    server = only(site)["transport"].partition("#")[0]
    [banner] = banners(site)
    assert banner == (
        f"Mail waits, and nothing is lost: {server} cannot be used now. "
        f"{CAUSES['login_refused'].meaning} {CAUSES['login_refused'].advice} "
        "5.7.8 we do not know <you> One mail tries again in 4 minutes . "
        "A check of the connection looks closer, and lets mail go at once if it gets through."
    )


def test_banner_offers_only_what_may_be_done(troubled: MakeTrouble) -> None:
    """Who may not act is led to no check of the connection."""
    site = troubled(AUTH=REFUSED_LOGIN)
    site.courier.log_access(lambda permission: permission == "list")
    [banner] = banners(site)
    assert "One mail tries again" in banner
    assert "check of the connection" not in banner


def test_banner_once_the_probe_is_due(troubled: MakeTrouble) -> None:
    """Where a probe is due, the banner names no time in the past."""
    site = troubled(AUTH=REFUSED_LOGIN)
    update(site, "courier_transport", next_probe_at=LONG_AGO)
    [banner] = banners(site)
    assert "One mail tries again as soon as one waits." in banner


def test_banner_of_an_unknown_cause(troubled: MakeTrouble) -> None:
    """A cause of a newer release is told by its reason alone."""
    site = troubled(AUTH=REFUSED_LOGIN)
    update(site, "courier_transport", cause="moonlight", reason="The moon is full.")
    [banner] = banners(site)
    assert "cannot be used now. The moon is full. 5.7.8 we do not know" in banner


def test_no_banner_once_the_breaker_is_closed(troubled: MakeTrouble) -> None:
    """When mail gets through again, the banner goes."""
    site = troubled(AUTH=[REFUSED_LOGIN, "235 2.7.0 welcome"])
    assert 1 == len(banners(site))
    make_due(site)
    update(site, "courier_transport", next_probe_at=LONG_AGO)
    assert {"sent": 1} == site.deliver()
    assert [] == banners(site)


def test_no_banner_for_a_uri_that_was_changed(troubled: MakeTrouble, sites: MakeSite) -> None:
    """A breaker that another SMTP URI has left open says nothing of the present one."""
    troubled(AUTH=REFUSED_LOGIN)
    mended = sites(COURIER_SMTP_URI="smtp://mail.acme.example/")
    mended.courier.log_access(lambda _permission: True)
    assert [] == banners(mended)


def test_banners_stand_together(troubled: MakeTrouble) -> None:
    """An open breaker hides neither that nobody works, nor the other way round."""
    site = troubled(AUTH=REFUSED_LOGIN)
    make_due(site)
    breaker, worker = banners(site)
    assert "cannot be used now" in breaker
    assert "no worker is at work" in worker
