"""``Courier``: what ``init_app`` does and does not do, and what its calls say when they cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import StaticPool
from sqlalchemy.orm import Mapped, mapped_column

from flask_courier import ConfigError, Courier, SetupError, SQLAlchemyAccounts
from flask_courier.core.accounts import AccountState
from flask_courier.core.status import Status
from flask_courier.testing import form_data
from tests.delivery.mails import queue_own, queue_recovery, recorded
from tests.scripted_smtp import scripted_smtp
from tests.site import PUBLIC_URL, SECRET, SENDER, RequiredMethods, Site, path_of

MakeSite = Callable[..., Site]

SETTINGS = {
    "TESTING": True,
    "SECRET_KEY": SECRET,
    "COURIER_DEFAULT_SENDER": SENDER,
    "COURIER_PUBLIC_URL": PUBLIC_URL,
}
ROOT = Path(__file__).parents[1]


MADE: list[Flask] = []


@pytest.fixture(autouse=True)
def _close_databases() -> Iterator[None]:
    """Close what the applications of a test have opened."""
    yield
    for app in MADE:
        with app.app_context():
            for engine in app.extensions["sqlalchemy"].engines.values():
                engine.dispose()
    MADE.clear()


def make_app(**config: Any) -> Flask:
    """An application without a courier."""
    app = Flask("tests.site")
    app.config.update({**SETTINGS, "SQLALCHEMY_DATABASE_URI": "sqlite://", **config})
    return app


def make_db(app: Flask | None = None) -> tuple[SQLAlchemy, type[Any]]:
    """A database object, set up on ``app``, and its accounts."""
    db = SQLAlchemy()

    class User(db.Model):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        email_verified_at: Mapped[str | None]
        password_hash: Mapped[str]

    if app is not None:
        db.init_app(app)
        MADE.append(app)
    return db, User


def problems(app: Flask, db: SQLAlchemy | None, courier: Courier) -> list[str]:
    """Everything that ``init_app`` finds wrong."""
    with pytest.raises(ConfigError) as caught:
        courier.init_app(app, db)
    return list(caught.value.problems)


def problem(app: Flask, db: SQLAlchemy | None, courier: Courier) -> str:
    """The one thing that ``init_app`` finds wrong."""
    [only] = problems(app, db, courier)
    return only


# What setting up touches

AUDITED = """
    import sys, threading
    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy.orm import Mapped, mapped_column
    from flask_courier import Courier
    url, smtp = sys.argv[1:]
    app = Flask("tests.site")
    app.config.update(
        SECRET_KEY="a" * 32, SQLALCHEMY_DATABASE_URI=url, COURIER_SMTP_URI=smtp,
        COURIER_DEFAULT_SENDER="a@acme.example", COURIER_PUBLIC_URL="https://acme.example",
    )
    db = SQLAlchemy()
    class User(db.Model):
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        email_verified_at: Mapped[str | None]
        password_hash: Mapped[str]
    db.init_app(app)
    seen = []
    def audit(event, arguments):
        if event.startswith(("socket.", "sqlite3.connect", "_thread.start", "os.fork")):
            seen.append(event)
    sys.addaudithook(audit)
    before = threading.enumerate()
    Courier(app, db, user_model=User)
    assert before == threading.enumerate()
    print(seen)
    import socket
    socket.socket().close()
    print(seen)
"""


@pytest.mark.parametrize("database_name", ["sqlite", "postgresql", "mysql"], indirect=True)
def test_init_app_opens_nothing(database_url: str) -> None:
    """``init_app``, thread and SMTP server configured, opens no socket, connection or thread."""
    code = textwrap.dedent(AUDITED)
    smtp = "smtp://user:password@mail.acme.example:587/"
    done = subprocess.run(
        [sys.executable, "-c", code, database_url, smtp],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("[]\n['socket.__new__']\n", "") == (done.stdout, done.stderr)


def test_constructor_and_init_app_are_alike(tmp_path: Path) -> None:
    """``Courier(app, db, …)`` does what ``init_app`` does."""
    made = []
    for _ in range(2):
        app = make_app()
        made.append((app, *make_db(app)))
    Courier(made[0][0], made[0][1], user_model=made[0][2])
    Courier(user_model=made[1][2]).init_app(made[1][0], made[1][1])
    first, second = ([rule.rule for rule in app.url_map.iter_rules()] for app, _, _ in made)
    assert first == second
    assert list(made[0][1].metadata.tables) == list(made[1][1].metadata.tables)


def test_tables_are_on_the_metadata() -> None:
    """When ``init_app`` returns, our tables are on the metadata that ``create_all`` uses."""
    app = make_app()
    db, user = make_db(app)
    Courier(app, db, user_model=user)
    names = {name for name in db.metadata.tables if name.startswith("courier_")}
    assert {
        "courier_message",
        "courier_content",
        "courier_attempt",
        "courier_token",
        "courier_limit",
        "courier_transport",
        "courier_worker",
        "courier_event",
    } == names


def test_database_is_found_on_the_application() -> None:
    """Without ``db``, the application's own Flask-SQLAlchemy object is taken."""
    app = make_app()
    db, user = make_db(app)
    Courier(app, user_model=user)
    assert "courier_message" in db.metadata.tables


def test_store_of_the_applications_own(site: Site) -> None:
    """``accounts=`` takes a store as it is."""
    app = make_app()
    db, user = make_db(app)
    store = SQLAlchemyAccounts(user)
    Courier(app, db, accounts=store)
    assert store is app.extensions["courier"].accounts


# What cannot be set up


def test_both_user_model_and_accounts() -> None:
    """Two ways to say what accounts are, at once, are refused."""
    _, user = make_db(make_app())
    with pytest.raises(SetupError) as caught:
        Courier(user_model=user, accounts=SQLAlchemyAccounts(user))
    assert "pass Courier either user_model= or accounts=, not both" == str(caught.value)


def test_second_init_app(site: Site) -> None:
    """An application gets one courier."""
    with pytest.raises(SetupError) as caught:
        site.courier.init_app(site.app, site.db)
    assert "the application 'tests.site' has a Courier already; call init_app once" == str(
        caught.value
    )


def test_no_database() -> None:
    """Without a database the error says what to pass."""
    _, user = make_db(make_app())
    assert (
        "Courier has no database: pass your Flask-SQLAlchemy object, as in Courier(app, db)."
        == problem(make_app(), None, Courier(user_model=user))
    )


def test_no_accounts() -> None:
    """Without accounts the error says what to pass."""
    app = make_app()
    db, _ = make_db(app)
    assert (
        "Courier has no accounts: pass user_model= (your mapped class) or accounts= (an "
        "AccountStore)." == problem(app, db, Courier())
    )


def test_database_not_set_up() -> None:
    """A Flask-SQLAlchemy object that the application does not know yet is refused."""
    app = make_app()
    db, user = make_db()
    assert (
        "the database is not set up: call db.init_app(app) before courier.init_app(app, db)."
        == problem(app, db, Courier(user_model=user))
    )


def test_binds_alone() -> None:
    """A database with binds and no default is refused."""
    app = make_app(
        SQLALCHEMY_DATABASE_URI=None, SQLALCHEMY_BINDS={"other": "sqlite:///other.sqlite"}
    )
    db, user = make_db(app)
    assert (
        "SQLALCHEMY_DATABASE_URI is not set: messages live in the default database, beside the "
        "accounts; a bind of its own would be a second transaction."
        == problem(app, db, Courier(user_model=user))
    )


def test_user_model_in_another_bind() -> None:
    """Accounts in another bind are refused: two engines are not one transaction."""
    app = make_app(SQLALCHEMY_BINDS={"people": "sqlite://"})
    db = SQLAlchemy()

    class Person(db.Model):  # type: ignore[name-defined]
        __bind_key__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        email_verified_at: Mapped[str | None]
        password_hash: Mapped[str]

    db.init_app(app)
    assert (
        "user_model Person lives in another bind; accounts and messages must share the default "
        "database, or a password and its token could not change in one transaction"
        == problem(app, db, Courier(user_model=Person))
    )


MEMORY = [
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:///file:a?mode=memory&cache=shared&uri=true",
]


@pytest.mark.parametrize("url", MEMORY)
def test_thread_with_sqlite_in_memory(url: str) -> None:
    """An embedded worker beside SQLite in memory would share its one connection: refused."""
    app = make_app(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS={"poolclass": StaticPool},
        COURIER_WORKER="thread",
    )
    db, user = make_db(app)
    assert (
        "COURIER_WORKER is 'thread', but SQLite in memory has one connection, which the worker "
        "would share with your requests: use a file, or set COURIER_WORKER to 'manual'."
        == problem(app, db, Courier(user_model=user))
    )


@pytest.mark.parametrize("worker", ["manual", "external"])
def test_other_workers_with_sqlite_in_memory(worker: str) -> None:
    """Without an embedded worker SQLite in memory is fine."""
    app = make_app(COURIER_WORKER=worker)
    db, user = make_db(app)
    courier = Courier(app, db, user_model=user)
    with app.app_context():
        db.create_all()
        courier.request_recovery("ada@example.com")
        db.session.commit()
    assert {Status.SUPPRESSED: 1} == courier.deliver_pending(app)


def test_everything_wrong_at_once() -> None:
    """One error lists what is wrong with the database, the accounts and every key."""
    app = make_app(COURIER_CODE_DIGITS=4, COURIER_WORKRE="thread")
    assert [
        "Courier has no database: pass your Flask-SQLAlchemy object, as in Courier(app, db).",
        "Courier has no accounts: pass user_model= (your mapped class) or accounts= (an AccountStore).",  # noqa: E501
        "COURIER_CODE_DIGITS must be a whole number from 8 to 12.",
        "COURIER_WORKRE is not a key of flask_courier: did you mean COURIER_WORKER?",
    ] == problems(app, None, Courier())


def test_user_model_that_is_not_mapped() -> None:
    """A class that SQLAlchemy does not know is refused by name of the argument."""
    app = make_app()
    db, _ = make_db(app)
    text = "user_model is not a class that SQLAlchemy has mapped"
    assert text == problem(app, db, Courier(user_model=dict))


def test_unusable_ca_file(tmp_path: Path) -> None:
    """A certificate file that cannot be read stops the start, and names its key."""
    path = str(tmp_path / "absent.pem")
    app = make_app(COURIER_SMTP_URI="smtp://mail.acme.example/", COURIER_SMTP_CA_FILE=path)
    db, user = make_db(app)
    text = f"COURIER_SMTP_CA_FILE {path!r} cannot be used: No such file or directory"
    assert text == problem(app, db, Courier(user_model=user))


def test_unusable_client_certificate(tmp_path: Path) -> None:
    """A client certificate that cannot be read stops the start, and names its key."""
    (tmp_path / "empty.pem").touch()
    app = make_app(
        COURIER_SMTP_URI="smtp://mail.acme.example/",
        COURIER_SMTP_CLIENT_CERT=str(tmp_path / "empty.pem"),
    )
    db, user = make_db(app)
    text = problem(app, db, Courier(user_model=user))
    assert text.startswith("COURIER_SMTP_CLIENT_CERT or its key cannot be used: ")


CALLS: dict[str, Callable[[Courier], Any]] = {
    "request_recovery": lambda courier: courier.request_recovery("ada@example.com"),
    "request_verification": lambda courier: courier.request_verification("ada@example.com"),
    "send": lambda courier: courier.send("welcome", to="ada@example.com"),
    "deliver_pending": lambda courier: courier.deliver_pending(),
    "record_messages": lambda courier: courier.record_messages().__enter__(),
}


@pytest.mark.parametrize("call", CALLS)
def test_call_outside_a_context(site: Site, call: str) -> None:
    """Outside an application context each call says what to wrap it in."""
    with pytest.raises(SetupError) as caught:
        CALLS[call](site.courier)
    assert (
        "flask_courier was used outside an application context; wrap the call in 'with "
        "app.app_context():'" == str(caught.value)
    )


@pytest.mark.parametrize("call", CALLS)
def test_call_before_init_app(call: str) -> None:
    """On an application without a courier each call says what to do first."""
    with make_app().app_context(), pytest.raises(SetupError) as caught:
        CALLS[call](Courier())
    assert (
        "flask_courier is not set up on the application 'tests.site'; call "
        "courier.init_app(app, db) first" == str(caught.value)
    )


def test_account_without_a_key(site: Site) -> None:
    """An account that was not flushed has no key yet."""
    with site.app.app_context(), pytest.raises(SetupError) as caught:
        site.courier.request_verification(site.user(email="ada@example.com"))
    assert (
        "the account has no key yet; call db.session.flush() before request_verification()"
        == str(caught.value)
    )


@pytest.mark.parametrize(
    ("call", "given", "what"),
    [
        ("request_verification", None, "None"),
        ("invite", "ada@example.com", "text"),
        ("invite", 42, "a number"),
        ("invite", uuid.UUID(int=7), "a key"),
        ("recovery_link", "ada@example.com", "text"),
        ("session_id", None, "None"),
        ("request_email_change", "ada@example.com", "text"),
    ],
)
def test_no_account(site: Site, call: str, given: object, what: str) -> None:
    """What is no account is refused in words that say how to come by one, and repeat nothing."""
    rest = ["new@example.com"] if call == "request_email_change" else []
    with site.app.app_context(), pytest.raises(SetupError) as caught:
        getattr(site.courier, call)(given, *rest)
    assert (
        f"{call}() wants an account, not {what}; look it up first, as in db.session.scalar("
        "db.select(User).filter_by(email=address)), and see that there is one" == str(caught.value)
    )


def test_account_that_is_text(sites: MakeSite) -> None:
    """What an account is, its store says: it may be text."""

    class Names(RequiredMethods):
        """A store whose accounts are addresses."""

        def __init__(self, model: type[Any]) -> None:
            super().__init__(model)
            self.reference = lambda account: f"name-{account}"
            self.state = lambda account: AccountState(account, active=True, verified=False)

    site = sites(accounts=Names)
    with site.app.app_context():
        site.courier.invite("ada@example.com")
        site.db.session.commit()
    assert ["name-ada@example.com"] == [row["account_ref"] for row in site.rows("courier_message")]


def test_no_public_url_outside_a_request(sites: MakeSite) -> None:
    """Outside a request, without PUBLIC_URL, nothing says where a link should lead."""
    site = sites(COURIER_PUBLIC_URL=None)
    with site.app.app_context(), pytest.raises(SetupError) as caught:
        site.courier.request_recovery("ada@example.com")
    assert (
        "set COURIER_PUBLIC_URL: without it, links are only made in a request that comes from "
        "this machine" == str(caught.value)
    )


def test_public_url_of_a_loopback_request(sites: MakeSite) -> None:
    """Inside a request of this machine, its host is where links lead."""
    site = sites(COURIER_PUBLIC_URL=None)
    site.add_user()
    with site.app.test_request_context(base_url="http://localhost:5000"):
        queue_recovery(site)
    [mail] = recorded(site)
    assert f"http://localhost:5000/account/recovery/{mail.token}" == mail.link


def test_no_public_url_in_a_request_from_afar(sites: MakeSite) -> None:
    """Inside a request to another host, without PUBLIC_URL, the call is refused."""
    site = sites(COURIER_PUBLIC_URL=None)
    with (
        site.app.test_request_context(base_url="http://evil.example"),
        pytest.raises(SetupError) as caught,
    ):
        site.courier.request_recovery("ada@example.com")
    assert str(caught.value).startswith("set COURIER_PUBLIC_URL: ")


@pytest.mark.parametrize("before", [True, False])
def test_csrf_protection_of_the_host(before: bool) -> None:  # noqa: FBT001
    """A host's CSRFProtect, set up before or after, leaves the account forms to their own token."""
    app = make_app(WTF_CSRF_CHECK_DEFAULT=True)
    db, user = make_db(app)
    if before:
        CSRFProtect(app)
    courier = Courier(app, db, user_model=user)
    if not before:
        CSRFProtect(app)
    courier.log_access(lambda _permission: True)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    page = client.get("/account/recovery").text
    fields = form_data(page, email="ada@example.com")
    assert 303 == client.post("/account/recovery", data=fields).status_code
    assert 1 == len(app.extensions["csrf"]._exempt_blueprints)


def test_deliver_pending_in_a_running_loop(site: Site) -> None:
    """Inside a running event loop ``deliver_pending`` says why it cannot wait."""

    async def work() -> None:
        site.courier.deliver_pending(site.app)

    with pytest.raises(SetupError) as caught:
        asyncio.run(work())
    assert (
        "mail was to be delivered inside a running event loop, which cannot wait for it; call this "
        "from ordinary code, or run 'flask courier worker'" == str(caught.value)
    )


# Calls that join the caller's transaction


@pytest.mark.parametrize("call", list(CALLS)[:3])
def test_call_joins_the_callers_transaction(site: Site, call: str) -> None:
    """What a call queued is gone after the caller's rollback, and there after a commit."""
    with site.app.app_context():
        CALLS[call](site.courier)
        site.db.session.rollback()
        assert [] == site.rows("courier_message")
        CALLS[call](site.courier)
        site.db.session.commit()
        site.db.session.rollback()
    assert 1 == len(site.rows("courier_message"))


def test_account_and_its_mail_are_one_transaction(site: Site) -> None:
    """A new account and its verification mail are committed together."""
    with site.app.app_context():
        user = site.user(email="ada@example.com")
        site.db.session.add(user)
        site.db.session.flush()
        site.courier.request_verification(user)
        site.db.session.commit()
    [mail] = recorded(site)
    assert ("verification", "ada@example.com") == (mail.kind, mail.recipient)


def test_mail_goes_to_the_address_of_the_account(site: Site) -> None:
    """A mail asked for by account goes to the address that the account has by then."""
    identity = site.add_user("old@example.com")
    with site.app.app_context():
        user = site.db.session.get(site.user, identity)
        site.courier.request_verification(user)
        assert user is not None
        user.email = "new@example.com"
        site.db.session.commit()
    assert ["new@example.com"] == [mail.recipient for mail in recorded(site)]


def test_send_answers_the_id_of_the_message(site: Site) -> None:
    """``send`` answers under which id the delivery log has the message."""
    with site.app.app_context():
        message_id = site.courier.send("welcome", to="ada@example.com")
        site.db.session.commit()
    [row] = site.rows("courier_message")
    assert str(message_id).replace("-", "") == str(row["id"]).replace("-", "")


# Recording


def test_recorded_mail_has_everything(site: Site) -> None:
    """A recorded mail shows link, token and code, which open the flow."""
    site.add_user()
    queue_recovery(site)
    [mail] = recorded(site)
    assert mail.link == f"https://acme.example/account/recovery/{mail.token}"
    assert mail.code is not None
    assert mail.code in mail.text
    assert 303 == site.client.get(path_of(mail.link)).status_code


def test_recorded_mail_hides_its_secrets_in_its_repr(site: Site) -> None:
    """The repr of a recorded mail has no link, token or code fields."""
    site.add_user()
    queue_recovery(site)
    [mail] = recorded(site)
    assert "link=" not in repr(mail)
    assert "token=" not in repr(mail)
    assert "code=" not in repr(mail)


def test_recorders_nest(site: Site) -> None:
    """Two recorders each see what was sent while they were open."""
    with site.courier.record_messages(site.app) as outer:
        queue_own(site, "ada@example.com")
        site.deliver()
        with site.courier.record_messages(site.app) as inner:
            queue_own(site, "bob@example.com")
            site.deliver()
        queue_own(site, "eve@example.com")
        site.deliver()
    assert ["bob@example.com"] == [mail.recipient for mail in inner]
    assert 3 == len(outer)


def test_recorder_ends_with_an_error(site: Site) -> None:
    """A recorder is closed where its block raises."""
    with pytest.raises(ValueError, match="over"), site.courier.record_messages(site.app):
        raise ValueError("over")
    assert [] == site.app.extensions["courier"].recorders


# Two applications


@pytest.fixture
def two(sites: MakeSite, tmp_path: Path) -> tuple[Site, Site]:
    """Two applications in one process, each with its own configuration and database."""
    first = sites(f"sqlite:///{tmp_path}/first.sqlite")
    second = sites(
        f"sqlite:///{tmp_path}/second.sqlite",
        SECRET_KEY="another-secret-key-for-the-second",
        COURIER_DEFAULT_SENDER="Second <second@second.example>",
        COURIER_PUBLIC_URL="https://second.example",
        COURIER_ACCOUNT_URL_PREFIX="/users",
    )
    return first, second


def test_two_applications_keep_their_tokens_apart(two: tuple[Site, Site]) -> None:
    """A token of one application opens nothing in the other."""
    first, second = two
    mails = []
    for site in two:
        site.add_user()
        queue_recovery(site)
        mails += recorded(site)
    assert [
        f"https://acme.example/account/recovery/{mails[0].token}",
        f"https://second.example/users/recovery/{mails[1].token}",
    ] == [mail.link for mail in mails]
    assert 303 == second.client.get(f"/users/recovery/{mails[1].token}").status_code
    assert 410 == second.client.get(f"/users/recovery/{mails[0].token}").status_code
    assert 410 == first.client.get(f"/account/recovery/{mails[1].token}").status_code


def test_two_applications_keep_their_mail_apart(two: tuple[Site, Site]) -> None:
    """What one application queued the other neither delivers, nor records, nor shows."""
    first, second = two
    second.courier.log_access(lambda _permission: True)
    queue_own(first)
    with second.courier.record_messages(second.app) as elsewhere:
        assert ({}, {"sent": 1}) == (second.deliver(), first.deliver())
    assert [] == elsewhere
    listed = second.client.get("/courier/", headers={"Accept": "application/json"}).get_json()
    assert [] == listed["messages"]


def test_two_applications_send_as_themselves(sites: MakeSite, tmp_path: Path) -> None:
    """Each application sends from its own sender through its own server."""
    with scripted_smtp() as one, scripted_smtp() as other:
        for number, server in enumerate((one, other)):
            site = sites(
                f"sqlite:///{tmp_path}/{number}.sqlite",
                COURIER_SMTP_URI=server.uri,
                COURIER_DEFAULT_SENDER=f"sender{number}@acme.example",
            )
            queue_own(site)
            site.deliver()
    senders = [server.dialogues[0].commands[1] for server in (one, other)]
    assert [b"MAIL FROM:<sender0@acme.example>", b"MAIL FROM:<sender1@acme.example>"] == senders


def statuses(app: Flask, db: SQLAlchemy) -> list[str]:
    """The status of each message of an application."""
    with app.app_context():
        table = db.metadata.tables["courier_message"]
        return [row.status for row in db.session.execute(table.select())]


def test_one_courier_serves_two_applications() -> None:
    """One ``Courier`` object on two applications keeps them apart; the context decides."""
    courier, apps = Courier(), []
    for number in range(2):
        app = make_app(SECRET_KEY=f"{number}" * 32)
        db, user = make_db(app)
        courier._user_model = user
        courier.init_app(app, db)
        apps.append((app, db))
        with app.app_context():
            db.create_all()
    with apps[0][0].app_context():
        courier.request_recovery("ada@example.com")
        apps[0][1].session.commit()
    assert [["queued"], []] == [statuses(app, db) for app, db in apps]
    assert apps[0][0].extensions["courier"].keys is not apps[1][0].extensions["courier"].keys


def test_one_database_object_serves_two_applications(tmp_path: Path) -> None:
    """One Flask-SQLAlchemy object on two applications: each queue has its own database."""
    db, user = make_db()
    courier, apps = Courier(user_model=user), []
    for number in range(2):
        app = make_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/{number}.sqlite")
        db.init_app(app)
        MADE.append(app)
        courier.init_app(app, db)
        apps.append(app)
        with app.app_context():
            db.create_all()
    with apps[0].app_context():
        courier.request_recovery("ada@example.com")
        db.session.commit()
    assert {} == courier.deliver_pending(apps[1])
    courier.deliver_pending(apps[0])
    assert [["suppressed"], []] == [statuses(app, db) for app in apps]


# Hooks


def test_hooks_answer_their_function(site: Site) -> None:
    """``log_access`` and ``password_policy`` give back what they decorate."""

    def access(_permission: str) -> bool:
        return True

    def policy(_password: str) -> str | None:
        return None

    assert (access, policy) == (
        site.courier.log_access(access),
        site.courier.password_policy(policy),
    )


def test_hook_may_come_after_init_app(site: Site) -> None:
    """A hook that is given after ``init_app`` counts from then on, and keeps the other one."""
    assert 404 == site.client.get("/courier/").status_code
    site.courier.log_access(lambda _permission: True)
    site.courier.password_policy(lambda _password: None)
    assert 200 == site.client.get("/courier/").status_code
