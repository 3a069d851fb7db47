"""``flask courier retry``, ``resend`` and ``cancel``: exit codes, words, and JSON."""

from __future__ import annotations

import getpass
import uuid

import pytest

from flask_courier.core.messages import DOTS
from tests.cli.commands import NOBODY, queue, run, run_json
from tests.delivery.mails import make_due, queue_own, queue_recovery, states
from tests.delivery.threads import worker_threads
from tests.observation import update
from tests.site import Site


def message_in(site: Site, status: str, reason: str | None = None) -> uuid.UUID:
    """A message that has come to this status."""
    message_id = queue(site)
    with site.app.app_context():
        table = site.db.metadata.tables["courier_message"]
        changed = table.update().where(table.c.id == message_id)
        site.db.session.execute(changed.values(status=status, reason=reason))
        site.db.session.commit()
    return message_id


def test_retry(site: Site) -> None:
    """A held message is queued again, and the log knows by whom."""
    message_id = message_in(site, "held")
    assert (0, f"{message_id}  queued again\n") == run(site, "retry", message_id)
    assert [("queued", "retried")] == states(site)
    [event] = site.rows("courier_event")
    assert (f"cli:{getpass.getuser()}", "retried") == (event["actor"], event["what"])


def test_what_is_not_possible_stops_no_other(site: Site) -> None:
    """Each ID gets its own answer; one that is not possible makes the exit code 1."""
    waiting, held = queue(site), message_in(site, "held")
    rejected = message_in(site, "abandoned", "rejected")
    code, output = run(site, "retry", waiting, NOBODY, rejected, held)
    told = dict(line.split("  ", 1) for line in output.splitlines())
    assert 1 == code
    assert "not possible: it is due already" in told[str(waiting)]
    assert "not possible: there is no such message" == told[str(NOBODY)]
    assert "not possible: the server rejected it for good" in told[str(rejected)]
    assert "queued again" == told[str(held)]


def test_answers_as_json(site: Site) -> None:
    """JSON says for each ID whether it was done, and why not in a stable word."""
    held, rejected = message_in(site, "held"), message_in(site, "abandoned", "rejected")
    code, answers = run_json(site, "retry", held, rejected)
    assert 1 == code
    assert [
        {"id": str(held), "done": True, "why_not": None, "new_id": None},
        {"id": str(rejected), "done": False, "why_not": "rejected", "new_id": None},
    ] == answers


def test_an_id_given_twice_is_done_once(site: Site) -> None:
    """The same ID twice is one ID."""
    held = message_in(site, "held")
    assert 0 == run(site, "retry", held, held)[0]


def test_resend(site: Site) -> None:
    """A rejected message is sent anew as another one, whose id is told."""
    message_id = message_in(site, "abandoned", "rejected")
    code, [answer] = run_json(site, "resend", message_id)
    new_id = uuid.UUID(answer["new_id"])
    assert (0, True) == (code, answer["done"])
    assert (0, 1) == (run(site, "show", new_id)[0], run(site, "resend", new_id)[0])
    assert f"queued anew as {uuid.UUID(int=0)}"[:15] in run(site, "resend", message_id)[1]


def test_resend_with_a_key_is_done_once(site: Site) -> None:
    """A script that is run again with its key sends nothing again, and ends with 0."""
    message_id = message_in(site, "sent")
    first, second = (run_json(site, "resend", message_id, "--key", "k") for _ in range(2))
    assert first == second
    assert 2 == len(states(site))


def test_resend_with_a_key_says_that_it_was_done(site: Site) -> None:
    """The second run with a key does not say that it has queued anything."""
    message_id = message_in(site, "sent")
    (_, first), (_, second) = (run(site, "resend", message_id, "--key", "k") for _ in range(2))
    new_id = first.split()[-1]
    assert f"{message_id}  queued anew as {new_id}\n" == first
    assert f"{message_id}  was already resent as {new_id}\n" == second


def test_key_goes_with_one_id(site: Site) -> None:
    """A key for several IDs is a wrong command line."""
    code, output = run(site, "resend", NOBODY, uuid.UUID(int=8), "--key", "k")
    assert 2 == code
    assert "--key goes with one ID" in output


def test_cancel(site: Site) -> None:
    """What waits is taken back; what is done is not."""
    message_id = queue(site)
    assert (0, f"{message_id}  cancelled\n") == run(site, "cancel", message_id)
    assert [("cancelled", "operator")] == states(site)
    assert 1 == run(site, "cancel", message_id)[0]


@pytest.mark.parametrize("verb", ["retry", "resend", "cancel", "show"])
def test_malformed_id(site: Site, verb: str) -> None:
    """What is no id is a wrong command line, not a message that is not there."""
    assert (2, 2) == (run(site, verb, "x")[0], run(site, verb)[0])


def test_retried_recovery_mail_has_a_new_working_link(site: Site) -> None:
    """Account mail whose seed is gone is made anew by the worker, and its link works."""
    site.add_user()
    queue_recovery(site)
    update(site, "courier_message", status="abandoned", reason="retries_exhausted")
    [row] = site.rows("courier_message")
    assert 0 == run(site, "retry", row["id"])[0]
    with site.courier.record_messages(site.app) as outbox:
        site.deliver()
    [mail] = outbox
    assert mail.link is not None
    assert 200 == site.client.get(mail.link, follow_redirects=True).status_code


def test_resent_recovery_mail_shows_dots_alone(site: Site) -> None:
    """The link of a mail is in nothing that a command prints."""
    site.add_user()
    queue_recovery(site)
    [row] = site.rows("courier_message")
    with site.courier.record_messages(site.app) as outbox:
        site.deliver()
        run(site, "resend", row["id"])
        make_due(site)
        site.deliver()
    printed = "".join(
        run(site, "show", one["id"], *options)[1]
        for one in site.rows("courier_message")
        for options in ((), ("--json",))
    )
    assert 4 <= printed.count(DOTS)
    for mail in outbox:
        assert mail.token is not None
        assert mail.code is not None
        assert (False, False) == (mail.token in printed, mail.code in printed)


def test_resend_in_a_threaded_application_starts_no_worker(sites: object, site: Site) -> None:
    """A command queues and ends: the application's own worker delivers."""
    queue_own(site)
    site.deliver()
    before = set(worker_threads())
    [row] = site.rows("courier_message")
    assert callable(sites)
    threaded: Site = sites(COURIER_WORKER="thread")
    assert 0 == run(threaded, "resend", row["id"])[0]
    assert before == set(worker_threads())
