"""Token rows: found by digest, consumed once, open by the database's clock, and never derivable."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.messages import Claim
from flask_courier.core.replies import Outcome
from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.core.tokens import Purpose, Seed
from flask_courier.storage import attempts, dialect, outbox, tokens
from flask_courier.storage.models import Message, Token
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import (
    ENTROPY,
    KEY,
    add_token,
    ago,
    at_once,
    change_token,
    claimed,
    enqueue,
    result,
    row,
    rows,
)

pytestmark = every_database

MESSAGE = uuid.UUID("018f0000-0000-7000-8000-000000000001")
OTHER = uuid.UUID("018f0000-0000-7000-8000-000000000002")
HOUR = timedelta(hours=1)


def find(
    database: Database, digest: str, purpose: Purpose = Purpose.RECOVERY
) -> tokens.TokenRow | None:
    """The token with this digest."""
    return database.transact(lambda session: tokens.find(session, purpose, ["x", digest]))


def claim(database: Database, digest: str) -> bool:
    """Consume the token."""
    return database.transact(lambda session: tokens.claim(session, digest))


def find_by_code(database: Database, **changes: Any) -> tokens.TokenRow | None:
    """The token that ``add_token`` stores, by its code."""
    values: dict[str, Any] = {
        "address_keys": ["x", "address"],
        "code_digests": ["x", "code"],
        "lifetime": timedelta(minutes=10),
    }
    purpose = changes.pop("purpose", Purpose.RECOVERY)
    return database.transact(
        lambda session: tokens.find_by_code(session, purpose, **(values | changes))
    )


def test_found_token(database: Database) -> None:
    """A row tells account, message, key and end of a token, and that it is open."""
    digest = add_token(database, MESSAGE)
    found = find(database, digest)
    assert found is not None
    expected = tokens.TokenRow(
        digest, Purpose.RECOVERY, "1", MESSAGE, KEY.id, "fingerprint", found.expires_at, open=True
    )
    assert expected == found
    left = found.expires_at - database.transact(dialect.now)
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)


def test_token_of_another_purpose_is_not_found(database: Database) -> None:
    """A recovery token is no verification token, even by its digest."""
    assert find(database, add_token(database, MESSAGE), Purpose.VERIFICATION) is None


def test_unknown_digest_is_not_found(database: Database) -> None:
    """A digest that no row has leads nowhere, and cannot be consumed."""
    assert (None, False) == (find(database, "unknown"), claim(database, "unknown"))


def test_token_is_consumed_once(database: Database) -> None:
    """The second use of a token fails; the row is still found, closed."""
    digest = add_token(database, MESSAGE)
    assert [True, False] == [claim(database, digest), claim(database, digest)]
    found = find(database, digest)
    assert found is not None
    assert found.open is False


def test_one_of_eight_consumes(database: Database) -> None:
    """Eight transactions at once: one consumes the token, seven are refused."""
    digest = add_token(database, MESSAGE)

    def work(_: int) -> bool:
        try:
            return claim(database, digest)
        except Conflict:  # asked twice, busy twice: a refusal too
            return False

    assert 1 == sum(at_once(8, work))


def test_rolled_back_claim_leaves_the_token(database: Database) -> None:
    """A password that could not be set does not cost the token."""
    digest = add_token(database, MESSAGE)

    def work(session: Session) -> None:
        assert tokens.claim(session, digest)
        raise KeyError

    with pytest.raises(KeyError):
        database.transact(work)
    assert claim(database, digest)


@pytest.mark.parametrize(("seconds", "is_open"), [(-30, True), (0, False), (1, False)])
def test_token_ends_by_the_databases_clock(
    database: Database, seconds: int, *, is_open: bool
) -> None:
    """A token is open before its end, and neither found open nor consumed from then on."""
    digest = add_token(database, MESSAGE)
    change_token(database, digest, expires_at=ago(seconds=seconds))
    found = find(database, digest)
    assert found is not None
    assert (is_open, is_open) == (found.open, claim(database, digest))


def test_seed_derives_the_token_again(database: Database) -> None:
    """While its message is not final, a row leads back to the token's seed and key."""
    digest = add_token(database, MESSAGE)
    found = database.transact(lambda session: tokens.seed_of(session, MESSAGE))
    assert tokens.SeedRow(Seed(Purpose.RECOVERY, str(MESSAGE), ENTROPY), KEY.id) == found
    assert found is not None
    assert digest == KEY.digest(KEY.token_id(found.seed))


def test_wiped_seed_derives_nothing(database: Database) -> None:
    """After the wipe of its message nothing leads to the token; other messages keep theirs."""
    add_token(database, MESSAGE)
    add_token(database, OTHER)
    database.transact(lambda session: tokens.wipe_seeds(session, [MESSAGE]))
    seeds = [
        database.transact(lambda session, m=m: tokens.seed_of(session, m))  # type: ignore[misc]
        for m in (MESSAGE, OTHER)
    ]
    assert [None, tokens.SeedRow(Seed(Purpose.RECOVERY, str(OTHER), ENTROPY), KEY.id)] == seeds


def test_token_handed_over_at_once_keeps_no_seed(database: Database) -> None:
    """A token that travels in no mail is never derivable."""
    add_token(database, MESSAGE, keep_seed=False)
    assert [(None,)] == rows(database, Token.seed)


def test_renewed_token_lives_from_now(database: Database) -> None:
    """A renewal counts from the attempt: an expired token is open again for its lifetime."""
    digest = add_token(database, MESSAGE)
    change_token(database, digest, issued_at=ago(hours=1), expires_at=ago(minutes=30))
    database.transact(lambda session: tokens.renew(session, MESSAGE, HOUR))
    [(issued, expires)] = rows(database, Token.issued_at, Token.expires_at)
    now = database.transact(dialect.now)
    assert timedelta(0) <= now - issued < timedelta(seconds=30)
    assert abs(expires - issued - HOUR) < timedelta(seconds=1)


def test_consumed_token_is_not_renewed(database: Database) -> None:
    """What was used stays used, whatever happens to its message."""
    digest = add_token(database, MESSAGE)
    claim(database, digest)
    before = rows(database, Token.expires_at)
    database.transact(lambda session: tokens.renew(session, MESSAGE, HOUR))
    assert (False, before) == (claim(database, digest), rows(database, Token.expires_at))


def test_dropped_tokens_are_gone(database: Database) -> None:
    """A message that is prepared again starts without tokens; others keep theirs."""
    add_token(database, MESSAGE)
    kept = add_token(database, OTHER)
    database.transact(lambda session: tokens.drop(session, MESSAGE))
    assert [(kept,)] == rows(database, Token.digest)


def test_code_leads_to_its_token(database: Database) -> None:
    """Purpose, address and digits together find the open token."""
    digest = add_token(database, MESSAGE)
    found = find_by_code(database)
    assert found is not None
    assert (digest, True) == (found.digest, found.open)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": Purpose.VERIFICATION},
        {"address_keys": ["another"]},
        {"code_digests": ["another"]},
        {"lifetime": timedelta(0)},
    ],
    ids=["purpose", "address", "code", "lifetime"],
)
def test_wrong_code_finds_nothing(database: Database, changes: dict[str, Any]) -> None:
    """Another purpose, another address, other digits or a code past its life find nothing."""
    add_token(database, MESSAGE)
    assert find_by_code(database, **changes) is None


@pytest.mark.parametrize("column", ["issued_at", "expires_at", "consumed_at"])
def test_code_of_a_closed_token_finds_nothing(database: Database, column: str) -> None:
    """A code dies with its own life, with its token's, and with its use."""
    digest = add_token(database, MESSAGE)
    change_token(database, digest, **{column: ago(minutes=10)})
    assert find_by_code(database) is None


def test_consuming_others_spares_other_accounts_and_purposes(database: Database) -> None:
    """A success ends every open token of that account and purpose, and nothing else."""
    ended = [add_token(database, m, entropy=bytes(16)) for m in (MESSAGE, OTHER)]
    spared = [
        add_token(database, MESSAGE, account_ref="2", entropy=b"2" * 16),
        add_token(database, MESSAGE, purpose=Purpose.VERIFICATION, entropy=b"3" * 16),
    ]
    database.transact(
        lambda session: tokens.consume_others(session, account_ref="1", purpose=Purpose.RECOVERY)
    )
    assert [False, False] == [claim(database, digest) for digest in ended]
    assert [True, True] == [claim(database, digest) for digest in spared]


@pytest.mark.parametrize("other", ["A1", "á1"])
def test_consuming_spares_a_reference_that_looks_alike(database: Database, other: str) -> None:
    """No collation ends the tokens of an account that differs by case or accent."""
    spared = add_token(database, MESSAGE, account_ref=other)
    database.transact(
        lambda session: tokens.consume_others(session, account_ref="a1", purpose=Purpose.RECOVERY)
    )
    assert claim(database, spared)


def test_first_fetch_is_noted(database: Database) -> None:
    """``opened_at`` tells when the link was first fetched; later fetches change nothing."""
    digest = add_token(database, MESSAGE)
    for _ in range(2):
        database.transact(lambda session: tokens.mark_opened(session, digest))
        change_token(database, digest, issued_at=ago(hours=2))
    [(opened,)] = rows(database, Token.opened_at)
    change_token(database, digest, opened_at=ago(hours=1))
    [(before,)] = rows(database, Token.opened_at)
    database.transact(lambda session: tokens.mark_opened(session, digest))
    assert [(before,)] == rows(database, Token.opened_at)
    assert opened > before


def test_fetch_of_an_unknown_token_is_not_noted(database: Database) -> None:
    """A digest that no row has marks nothing."""
    add_token(database, MESSAGE)
    database.transact(lambda session: tokens.mark_opened(session, "unknown"))
    assert [(None,)] == rows(database, Token.opened_at)


def accept(database: Database, taken: Claim) -> None:
    """Let an SMTP server have taken the message."""
    database.transact(
        lambda session: outbox.record(session, taken, result(), Decision(Status.SENT), worker="w")
    )


def codes(database: Database) -> dict[uuid.UUID, str | None]:
    """Which messages' codes still work."""
    return dict(rows(database, Token.message_id, Token.code_digest))


def test_only_the_last_accepted_code_works(database: Database) -> None:
    """When a mail is accepted, codes of mails accepted before it end; all links stay good."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    digests = [add_token(database, taken.id) for taken in (first, second)]
    accept(database, first)
    assert {first.id: "code", second.id: "code"} == codes(database)
    accept(database, second)
    assert {first.id: None, second.id: "code"} == codes(database)
    assert [True, True] == [claim(database, digest) for digest in digests]


@pytest.mark.parametrize(
    "changes", [{"account_ref": "2"}, {"purpose": Purpose.VERIFICATION}], ids=["account", "purpose"]
)
def test_other_codes_stay_good(database: Database, changes: dict[str, Any]) -> None:
    """An accepted mail ends no code of another account or another purpose."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    add_token(database, first.id, **changes)
    add_token(database, second.id)
    accept(database, first)
    accept(database, second)
    assert {first.id: "code", second.id: "code"} == codes(database)


def test_code_of_a_mail_under_way_stays_good(database: Database) -> None:
    """A mail that nobody has accepted yet keeps its code: it may be the one that arrives."""
    waiting, accepted = (claimed(database, account_ref="1") for _ in range(2))
    add_token(database, waiting.id)
    add_token(database, accepted.id)
    accept(database, accepted)
    assert {waiting.id: "code", accepted.id: "code"} == codes(database)


def test_mail_without_a_code_retires_none(database: Database) -> None:
    """A notice that is accepted ends no code."""
    first, notice = (claimed(database, account_ref="1") for _ in range(2))
    add_token(database, first.id)
    accept(database, first)
    accept(database, notice)
    assert {first.id: "code"} == codes(database)
    assert [("sent",), ("sent",)] == rows(database, Message.status)


def test_message_has_open_token(database: Database) -> None:
    """``is_open_for`` tells messages with an open token from those without."""
    with_token, without = enqueue(database), enqueue(database)
    add_token(database, with_token)
    found = [message_id for (message_id,) in rows_where(database, tokens.is_open_for(Message.id))]
    assert ([with_token], "queued") == (found, row(database, without).status)


def rows_where(database: Database, condition: Any) -> list[Any]:
    """Ids of the messages that fit."""
    return database.transact(
        lambda session: list(dialect.run(session, sa.select(Message.id).where(condition)))
    )


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        (Status.SENT, True),
        (Status.HELD, True),
        (Status.SUPPRESSED, True),
        (Status.ABANDONED, False),
        (Status.EXPIRED, False),
    ],
)
def test_token_of_mail_that_nobody_got_is_closed(
    database: Database, status: Status, *, is_open: bool
) -> None:
    """Mail that was given up leaves nothing behind that works."""
    taken = claimed(database)
    digest = add_token(database, taken.id)
    end(database, taken, status)
    assert is_open is claim(database, digest)


def end(database: Database, taken: Claim, status: Status) -> None:
    """End a message after a refusal."""
    refused, decision = result(Outcome.DEFERRED), Decision(status)
    database.transact(lambda session: outbox.record(session, taken, refused, decision, worker="w"))


def test_token_of_mail_that_may_have_arrived_stays_open(database: Database) -> None:
    """One attempt whose end nobody knows is enough for the link to stay good."""
    taken = claimed(database)
    digest = add_token(database, taken.id)
    unknown = result(Outcome.UNKNOWN)
    database.transact(lambda session: attempts.add(session, taken.id, unknown, worker="w"))
    end(database, taken, Status.ABANDONED)
    assert claim(database, digest)


def test_superseded_token_is_closed(database: Database) -> None:
    """A message that was cancelled before it was sent leaves nothing behind that works."""
    digest = add_token(database, enqueue(database, account_ref="1"))
    newest = uuid.UUID(int=2**128 - 1)
    database.transact(
        lambda session: outbox.supersede(session, by=newest, kind="recovery", account_ref="1")
    )
    assert claim(database, digest) is False
