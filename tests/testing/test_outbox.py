"""``Outbox``: the mails of an application, delivered when a test looks at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from flask_courier.core.status import Status
from flask_courier.testing import FaultServer, Outbox
from tests.delivery.mails import queue_own, queue_recovery
from tests.site import Site


@pytest.fixture
def outbox(site: Site) -> Iterator[Outbox]:
    """The outbox of the site, as the pytest fixture makes it."""
    site.add_user()
    with site.courier.record_messages(site.app) as recorded:
        yield Outbox(lambda: site.courier.deliver_pending(site.app), recorded)


def test_looking_delivers(site: Site, outbox: Outbox) -> None:
    """A mail that is due is delivered by looking for it, with its link and code in the clear."""
    queue_recovery(site)

    message = outbox[-1]

    assert message.link is not None
    assert message.link.startswith("https://acme.example/account/recovery/")
    assert message.code is not None
    assert 1 == len(outbox)
    assert [message] == outbox


def test_delivered_delivers_nothing(site: Site, outbox: Outbox) -> None:
    """``delivered`` and the repr show what has been, and deliver nothing."""
    queue_own(site)

    assert [] == outbox.delivered
    assert "<Outbox: it has nothing; deliveries came to nothing>" == repr(outbox)
    assert {"queued"} == {row["status"] for row in site.rows("courier_message")}


def test_deliver_counts(site: Site, outbox: Outbox) -> None:
    """``deliver`` answers how often each status was reached, and ``outcomes`` adds it up."""
    queue_own(site)
    queue_recovery(site, "nobody@example.com")

    assert Counter({Status.SENT: 1, Status.SUPPRESSED: 1}) == outbox.deliver()
    queue_own(site, "bob@example.com")
    assert Counter({Status.SENT: 1}) == outbox.deliver()
    assert Counter({Status.SENT: 2, Status.SUPPRESSED: 1}) == outbox.outcomes


def test_to_and_of(site: Site, outbox: Outbox) -> None:
    """Mails are found by their recipient, however it is spelt, and by their kind."""
    queue_recovery(site)
    queue_own(site, "bob@example.com")

    assert ["recovery"] == [message.kind for message in outbox.to("Ada@EXAMPLE.com")]
    assert ["ada@example.com"] == [message.recipient for message in outbox.of("recovery")]
    assert [] == outbox.to("eve@example.com")


def test_only(site: Site, outbox: Outbox) -> None:
    """``only`` answers the one mail there is, and otherwise says what there is instead."""
    queue_recovery(site)
    queue_own(site, "bob@example.com")

    assert "ada@example.com" == outbox.only("recovery").recipient
    assert "bob@example.com" == outbox.only(to="bob@example.com").recipient
    with pytest.raises(AssertionError, match=r"^2 mails, not one; it has own.*, recovery x1"):
        outbox.only()
    with pytest.raises(AssertionError) as caught:
        outbox.only("verification", to="ada@example.com")
    assert "0 verification mails to that address, not one; it has " in str(caught.value)
    assert "deliveries came to sent x2" in str(caught.value)


def test_missing_mail_says_what_came_of_it(site: Site, outbox: Outbox) -> None:
    """An index that is not there says which statuses were reached instead."""
    queue_recovery(site, "nobody@example.com")

    with pytest.raises(IndexError) as caught:
        outbox[0]

    assert "the outbox has no mail 0; it has nothing; deliveries came to suppressed x1" == str(
        caught.value
    )


def test_clear(site: Site, outbox: Outbox) -> None:
    """``clear`` forgets what was due as well."""
    queue_own(site)
    outbox.clear()

    assert 0 == len(outbox)
    assert Counter({Status.SENT: 1}) == outbox.outcomes


def test_behaves_as_a_list(site: Site, outbox: Outbox) -> None:
    """It slices, iterates, compares and has no hash, as a list."""
    for to in ("ada@example.com", "bob@example.com", "eve@example.com"):
        queue_own(site, to)

    assert ["ada@example.com", "bob@example.com"] == [one.recipient for one in outbox[:2]]
    assert ["eve@example.com"] == [one.recipient for one in list(outbox)[2:]]
    assert outbox == outbox.delivered
    assert outbox == Outbox(Counter, outbox.delivered)
    assert outbox != "mails"
    with pytest.raises(TypeError, match="unhashable"):
        hash(outbox)


def test_outbox_of_a_site_that_mails(sites: object, server: FaultServer) -> None:
    """With a real server behind it, the outbox has what the server took, and nothing else."""
    site: Site = sites(**server.config)  # type: ignore[operator]  # the fixture's own type is long
    server.on("RCPT", "550 5.1.1 no such user", to="bob@example.com")
    queue_own(site)
    queue_own(site, "bob@example.com")
    with site.courier.record_messages(site.app) as recorded:
        outbox = Outbox(lambda: site.courier.deliver_pending(site.app), recorded)

        assert ["ada@example.com"] == [message.recipient for message in outbox]

    assert [("ada@example.com",)] == [message.recipients for message in server.messages]
    assert Counter({Status.SENT: 1, Status.ABANDONED: 1}) == outbox.outcomes


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server with STARTTLS and a login."""
    with FaultServer(security="starttls", login=("mailer@acme.example", "s3cret/+")) as server:
        yield server
