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
from flask_courier.core.tokens import Ending, Purpose, Seed
from flask_courier.storage import dialect, outbox, seeds, tokens
from flask_courier.storage.models import Message, Token
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import (
    ENTROPY,
    KEY,
    add_attempt,
    add_token,
    ago,
    at_once,
    change_token,
    claimed,
    enqueue,
    record,
    result,
    row,
    rows,
    settlement,
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


def renew(session: Session) -> None:
    """Give the token of the message another hour."""
    seeds.renew(session, [MESSAGE], purpose=Purpose.RECOVERY, lifetime=HOUR)


def test_found_token(database: Database) -> None:
    """A row tells account, message, key and end of a token, and that it is open."""
    digest = add_token(database, MESSAGE)
    found = find(database, digest)
    assert found is not None
    expected = tokens.TokenRow(
        digest,
        Purpose.RECOVERY,
        "1",
        MESSAGE,
        KEY.id,
        "fingerprint",
        found.expires_at,
        "address",
        None,
        open=True,
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
def test_s07_token_ends_by_the_databases_clock(
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
    found = database.transact(lambda session: seeds.find_all(session, [MESSAGE]))
    assert {MESSAGE: seeds.SeedRow(Seed(Purpose.RECOVERY, str(MESSAGE), ENTROPY), KEY.id)} == found
    assert digest == KEY.digest(KEY.token_id(found[MESSAGE].seed))


def test_wiped_seed_derives_nothing(database: Database) -> None:
    """After the wipe of its message nothing leads to the token; other messages keep theirs."""
    add_token(database, MESSAGE)
    add_token(database, OTHER)
    database.transact(lambda session: seeds.wipe(session, [MESSAGE]))
    found = database.transact(lambda session: seeds.find_all(session, [MESSAGE, OTHER]))
    assert {OTHER: seeds.SeedRow(Seed(Purpose.RECOVERY, str(OTHER), ENTROPY), KEY.id)} == found


def test_token_handed_over_at_once_keeps_no_seed(database: Database) -> None:
    """A token that travels in no mail is never derivable."""
    add_token(database, MESSAGE, keep_seed=False)
    assert [(None,)] == rows(database, Token.seed)


def test_renewed_token_lives_from_now(database: Database) -> None:
    """A renewal counts from the attempt: an expired token is open again for its lifetime."""
    digest = add_token(database, MESSAGE)
    change_token(database, digest, issued_at=ago(hours=1), expires_at=ago(minutes=30))
    database.transact(renew)
    [(issued, expires)] = rows(database, Token.issued_at, Token.expires_at)
    now = database.transact(dialect.now)
    assert timedelta(0) <= now - issued < timedelta(seconds=30)
    assert abs(expires - issued - HOUR) < timedelta(seconds=1)


def test_consumed_token_is_not_renewed(database: Database) -> None:
    """What was used stays used, whatever happens to its message."""
    digest = add_token(database, MESSAGE)
    claim(database, digest)
    before = rows(database, Token.expires_at)
    database.transact(renew)
    assert (False, before) == (claim(database, digest), rows(database, Token.expires_at))


def test_dropped_tokens_are_gone(database: Database) -> None:
    """A message that is prepared again starts without tokens; others keep theirs."""
    add_token(database, MESSAGE)
    kept = add_token(database, OTHER)
    database.transact(lambda session: tokens.drop(session, [MESSAGE]))
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
        lambda session: tokens.end(
            session, account_ref="1", purposes=[Purpose.RECOVERY], ending=Ending.REPLACED
        )
    )
    assert [False, False] == [claim(database, digest) for digest in ended]
    assert [True, True] == [claim(database, digest) for digest in spared]


@pytest.mark.parametrize("other", ["A1", "á1"])
def test_consuming_spares_a_reference_that_looks_alike(database: Database, other: str) -> None:
    """No collation ends the tokens of an account that differs by case or accent."""
    spared = add_token(database, MESSAGE, account_ref=other)
    database.transact(
        lambda session: tokens.end(
            session, account_ref="a1", purposes=[Purpose.RECOVERY], ending=Ending.REPLACED
        )
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
    record(database, settlement(taken, Decision(Status.SENT)))


def add_code(database: Database, taken: Claim, **changes: Any) -> str:
    """Store a token of the claimed message, with a code of its own; answer its digest."""
    return add_token(database, taken.id, code_digest=str(taken.id), **changes)


def works(database: Database, taken: Claim, purpose: Purpose = Purpose.RECOVERY) -> bool:
    """Whether the code of this message leads to its token."""
    found = find_by_code(database, code_digests=[str(taken.id)], purpose=purpose)
    return found is not None and found.message_id == taken.id


def test_only_the_last_accepted_code_works(database: Database) -> None:
    """When a mail is accepted, codes of mails accepted before it end; all links stay good."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    digests = [add_code(database, taken) for taken in (first, second)]
    accept(database, first)
    assert [True, True] == [works(database, taken) for taken in (first, second)]
    accept(database, second)
    assert [False, True] == [works(database, taken) for taken in (first, second)]
    assert [True, True] == [claim(database, digest) for digest in digests]


def test_code_of_the_mail_that_arrived_last_works(database: Database) -> None:
    """An older mail that is accepted after a younger one has the code that works."""
    older, younger = (claimed(database, account_ref="1") for _ in range(2))
    for taken in (older, younger):
        add_code(database, taken)
    accept(database, younger)
    accept(database, older)
    assert [True, False] == [works(database, taken) for taken in (older, younger)]


def test_another_accounts_code_stays_good(database: Database) -> None:
    """An accepted mail ends no code of another account."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    add_code(database, first, account_ref="2")
    add_code(database, second)
    accept(database, first)
    accept(database, second)
    assert [True, True] == [works(database, taken) for taken in (first, second)]


def test_another_purposes_code_stays_good(database: Database) -> None:
    """An accepted mail ends no code of another purpose."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    add_code(database, first, purpose=Purpose.VERIFICATION)
    add_code(database, second)
    accept(database, first)
    accept(database, second)
    assert works(database, first, Purpose.VERIFICATION)


def test_code_of_a_mail_under_way_stays_good(database: Database) -> None:
    """A mail that nobody has accepted yet keeps its code: it may be the one that arrives."""
    waiting, accepted = (claimed(database, account_ref="1") for _ in range(2))
    add_code(database, waiting)
    add_code(database, accepted)
    accept(database, accepted)
    assert [True, True] == [works(database, taken) for taken in (waiting, accepted)]


def test_typed_code_does_not_retire_itself(database: Database) -> None:
    """The token that a right code is answered with has no code, and ends none."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    add_code(database, first)
    add_token(database, second.id, code_digest=None)
    accept(database, first)
    accept(database, second)
    assert works(database, first)


def accept_together(database: Database, *claims: Claim) -> None:
    """Let an SMTP server have taken these messages, all recorded in one transaction."""
    record(database, *(settlement(taken, Decision(Status.SENT)) for taken in claims))


@pytest.mark.parametrize("order", [1, -1], ids=["oldest first", "newest first"])
def test_of_mails_accepted_together_the_youngest_code_works(database: Database, order: int) -> None:
    """Of two mails of an account in one batch the younger one's code works, links of both."""
    first, second = (claimed(database, account_ref="1") for _ in range(2))
    digests = [add_code(database, taken) for taken in (first, second)]
    accept_together(database, *(first, second)[::order])
    assert [False, True] == [works(database, taken) for taken in (first, second)]
    assert [True, True] == [claim(database, digest) for digest in digests]


def test_batch_ends_the_older_codes_of_each_account(database: Database) -> None:
    """One batch ends the older codes of its accounts, and of nobody else."""
    before = {ref: claimed(database, account_ref=ref) for ref in "123"}
    for ref, taken in before.items():
        add_code(database, taken, account_ref=ref)
        accept(database, taken)
    batch = {ref: claimed(database, account_ref=ref) for ref in "12"}
    for ref, taken in batch.items():
        add_code(database, taken, account_ref=ref)
    accept_together(database, *batch.values())
    assert [False, False, True] == [works(database, taken) for taken in before.values()]
    assert [True, True] == [works(database, taken) for taken in batch.values()]


def test_batch_wipes_every_seed(database: Database) -> None:
    """What a batch of accepted mails carried cannot be derived any more."""
    claims = [claimed(database, account_ref=ref) for ref in "12"]
    for taken, ref in zip(claims, "12", strict=True):
        add_token(database, taken.id, account_ref=ref)
    accept_together(database, *claims)
    assert [(None,), (None,)] == rows(database, Token.seed)


def test_tokens_of_a_batch_have_their_own_lives(database: Database) -> None:
    """Tokens that are stored together live as long as each was given."""
    made = [
        tokens.NewToken(
            key=KEY,
            seed=Seed(Purpose.RECOVERY, str(message_id), ENTROPY),
            message_id=message_id,
            account_ref="1",
            address_key="address",
            code_digest=None,
            fingerprint="fingerprint",
            lifetime=lifetime,
        )
        for message_id, lifetime in ((MESSAGE, HOUR), (OTHER, 3 * HOUR))
    ]
    database.transact(lambda session: tokens.add(session, made))
    found = rows(database, Token.message_id, Token.issued_at, Token.expires_at)
    lives = {one.message_id: one.expires_at - one.issued_at for one in found}
    assert abs(lives[MESSAGE] - HOUR) < timedelta(seconds=1)
    assert abs(lives[OTHER] - 3 * HOUR) < timedelta(seconds=1)


def test_seeds_of_many_messages(database: Database) -> None:
    """Each seed is answered for its message; a message without one is left out."""
    for message_id in (MESSAGE, OTHER):
        add_token(database, message_id)
    database.transact(lambda session: seeds.wipe(session, [OTHER]))
    found = database.transact(lambda session: seeds.find_all(session, [MESSAGE, OTHER]))
    seed = Seed(Purpose.RECOVERY, str(MESSAGE), ENTROPY)
    assert {MESSAGE: seeds.SeedRow(seed, KEY.id)} == found


def test_mail_without_a_code_retires_none(database: Database) -> None:
    """A notice that is accepted ends no code."""
    first, notice = (claimed(database, account_ref="1") for _ in range(2))
    add_code(database, first)
    accept(database, first)
    accept(database, notice)
    assert works(database, first)
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
    record(database, settlement(taken, Decision(status), result(Outcome.DEFERRED)))


def test_token_of_mail_that_may_have_arrived_stays_open(database: Database) -> None:
    """One attempt whose end nobody knows is enough for the link to stay good."""
    taken = claimed(database)
    digest = add_token(database, taken.id)
    add_attempt(database, taken.id, result(Outcome.UNKNOWN))
    end(database, taken, Status.ABANDONED)
    assert claim(database, digest)


def test_superseded_token_is_closed(database: Database) -> None:
    """A message that was cancelled before it was sent leaves nothing behind that works."""
    digest = add_token(database, enqueue(database, account_ref="1"))
    newest = uuid.UUID(int=2**128 - 1)
    database.transact(lambda session: outbox.supersede(session, kind="recovery", by={"1": newest}))
    assert claim(database, digest) is False
