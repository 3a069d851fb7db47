"""schemathesis against the OpenAPI file: whatever is sent is answered as the file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from werkzeug.test import TestResponse

from tests.databases import IMPATIENT, locked, sqlite_url
from tests.delivery.mails import queue_own
from tests.everything import Everything
from tests.observation import age, update
from tests.openapi import DOCUMENT, FILE, REASONS
from tests.site import PASSWORD, Site
from tests.visitor import ADA, Visitor, mailed, not_me_link, token_of

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/json"}
#: What stands in other paths where a link has its token.
PAGES = {path.rpartition("/")[2] for path in DOCUMENT["paths"]}


def contract(checks: dict[str, Any], **generation: Any) -> Any:
    """The file, with the same examples in every run.

    :param checks: how they differ; beside them all that schemathesis has are on.
    """
    again = {
        # GET there is a link whose token is "again": dead, and answered with 410 as every other.
        "include-path-regex": "/invitation/again$",
        "checks": {
            "allow_header_conformance": {"enabled": False},
            "unsupported_method": {"enabled": False},
        },
    }
    # A method that the log does not have is answered as if there were no log.
    closed = {"unsupported_method": {"enabled": False}}
    # It leaves parameters alone that it does not know.
    lenient = {**closed, "negative_data_rejection": {"enabled": False}}
    log = [
        {"include-path-regex": "^/(export.*|messages/[^/]*|health|bulk)?$", "checks": lenient},
        {"include-path-regex": "^/(messages/.*|test|check)$", "checks": closed},
    ]
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"deterministic": True, "database": "none", **generation},
            "checks": checks,
            "operations": [again, *log],
            # What it learns from answers, or from the modules that happen to be imported, would
            # make examples depend on the order of the tests.
            "analysis": {"constants": {"enabled": False}},
            "phases": {
                "fuzzing": {
                    "extra-data-sources": {"responses": False},
                    "error-feedback": {"enabled": False},
                }
            },
        }
    )
    schema = schemathesis.openapi.from_path(FILE, config=config)

    @schema.hook
    def filter_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> bool:
        """Leave out tokens that make the path another one of the file."""
        return path_parameters is None or path_parameters.get("token") not in PAGES

    return schema


ANY = contract(
    {
        # 410 beside the usual ones: what is no token of ours is dead, however it is spelled.
        "negative_data_rejection": {"expected-statuses": [400, 403, 404, 405, 410, 413, 415, 422]},
        # Made-up tokens and codes are refused, in the right form too; VALID has real ones.
        "positive_data_acceptance": {"enabled": False},
    },
    **{"max-examples": 20},
)
VALID = contract(
    # 303 only where the file says so: another check sees to that.
    {"positive_data_acceptance": {"expected-statuses": ["2xx", 303]}},
    **{"max-examples": 5, "mode": "positive"},
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """A site for all examples; its shortest password is the file's."""
    config = dict.fromkeys(("COURIER_REQUESTER_LIMIT", "COURIER_RECIPIENT_LIMIT"), "9999/minute")
    url = sqlite_url(tmp_path_factory.mktemp("contract"))
    everything = Everything(url, COURIER_PASSWORD_MIN_LENGTH=8, **config)
    yield everything
    everything.close()


def base_of(case: Any) -> str:
    """Where the path of an example is: for an application in this process it must be told."""
    servers = DOCUMENT["paths"][case.path].get("servers", DOCUMENT["servers"])
    return f"http://localhost{servers[0]['variables']['prefix']['default']}"


@ANY.parametrize()
def test_any_input(case: Any, shared: Everything) -> None:
    """Whatever is sent gets a status, headers and a body that the file promises."""
    case.call_and_validate(app=shared.site.app, headers=JSON, base_url=base_of(case))


@VALID.parametrize()
def test_valid_input(case: Any, shared: Everything) -> None:
    """What the file calls valid is accepted, with the token or the code of a real mail."""
    body = case.body if isinstance(case.body, dict) else {}
    if "message_id" in case.path_parameters:
        waits = case.path.endswith(("/retry", "/cancel"))
        case.path_parameters["message_id"] = waiting(shared) if waits else sent(shared)
        if body.get("known") is not None:
            body["known"] = 0
    elif case.path_parameters or case.cookies or {"token", "code"} & set(body):
        address, mail = shared.mailed(case.path.split("/")[1])
        real = {"token": mail.token, "code": mail.code, "email": address}
        # That one member equals another, no schema can say.
        real["confirm"] = body.get("password", "")
        body.update({name: real[name] for name in real if name in body})
        case.path_parameters.update(dict.fromkeys(case.path_parameters, mail.token))
        case.cookies.update(dict.fromkeys(case.cookies, mail.token))
    if "q" in case.query:
        # Nor can it say what a search may be.
        case.query["q"] = "to:ada -status:sent"
    case.call_and_validate(app=shared.site.app, headers=JSON, base_url=base_of(case))


def sent(everything: Everything) -> str:
    """The id of a message that went out."""
    everything.mailed("recovery")
    return newest(everything)


def waiting(everything: Everything) -> str:
    """The id of a message that waits for an hour."""
    queue_own(everything.site)
    # As the database stores it: UTC, and no zone.
    later = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(hours=1)
    update(everything.site, "courier_message", next_attempt_at=later)
    return newest(everything)


def newest(everything: Everything) -> str:
    """The id of the last message."""
    return str(max(row["id"] for row in everything.site.rows("courier_message")))


class Answer(NamedTuple):
    """The answer to an operation of the file."""

    operation: str
    response: TestResponse


def open_link(site: Site, token: str) -> Answer:
    """Open the link of a recovery mail."""
    path = f"/account/recovery/{token}"
    return Answer("GET /recovery/{token}", Visitor(site).get(path, headers=JSON))


def send(site: Site, path: str, **options: Any) -> Answer:
    """Send something to an account page; a JSON object with an address unless it is told."""
    options.setdefault("json", {"email": ADA})
    return Answer(f"POST {path}", Visitor(site).post(f"/account{path}", headers=JSON, **options))


def link_expired(everything: Everything) -> Answer:
    """A link that has run out."""
    token = everything.mailed("recovery")[1].token
    age(everything.site, "courier_token", timedelta(days=2))
    return open_link(everything.site, token)


def link_used(everything: Everything) -> Answer:
    """A link that was used."""
    token = everything.mailed("recovery")[1].token
    Visitor(everything.site).redeem("recovery", token)
    return open_link(everything.site, token)


def link_replaced(everything: Everything) -> Answer:
    """A link whose account recovered with a newer one."""
    address, older = everything.mailed("recovery")
    newer = mailed(everything.site, "recovery", address)
    Visitor(everything.site).redeem("recovery", newer.token)
    return open_link(everything.site, older.token)


def link_disowned(everything: Everything) -> Answer:
    """A link whose owner said "this was not me"."""
    mail = everything.mailed("recovery")[1]
    disown = token_of(not_me_link(mail.text))
    Visitor(everything.site).json("/account/not-me/confirm", token=disown)
    return open_link(everything.site, mail.token)


def link_changed(everything: Everything) -> Answer:
    """A link whose account has another password by now."""
    token = everything.mailed("recovery")[1].token
    update(everything.site, "user", password_hash="another")
    return open_link(everything.site, token)


def second_factor_required(everything: Everything) -> Answer:
    """A new password before the second factor."""
    everything.site.courier.second_factor(lambda _account: "/second-factor")
    token = everything.mailed("recovery")[1].token
    body = {"token": token, "password": PASSWORD}
    return send(everything.site, "/recovery/password", json=body)


def not_signed_in(everything: Everything) -> Answer:
    """A new address for nobody."""
    everything.site.courier.current_account(lambda: None)
    return send(everything.site, "/email")


def reauthentication_required(everything: Everything) -> Answer:
    """A new address long after the login."""
    everything.site.courier.recent_authentication(lambda _account: "/login")
    return send(everything.site, "/email")


def too_many_requests(everything: Everything) -> Answer:
    """A request more than the client has."""
    send(everything.site, "/recovery")
    update(everything.site, "courier_limit", count=2**30)
    return send(everything.site, "/recovery")


def busy(everything: Everything) -> Answer:
    """A request while somebody else writes, for long."""
    with locked(everything.site.url):
        return send(everything.site, "/recovery")


def act(everything: Everything, action: str, message_id: str, **body: Any) -> Answer:
    """Do something with a message."""
    path = f"/courier/messages/{message_id}/{action}"
    answer = Visitor(everything.site).post(path, headers=JSON, json=body)
    return Answer(f"POST /messages/{{message_id}}/{action}", answer)


def retry_of(everything: Everything, **state: Any) -> Answer:
    """Retry a message in this state."""
    message_id = sent(everything)
    update(everything.site, "courier_message", **state)
    return act(everything, "retry", message_id)


def not_allowed(everything: Everything) -> Answer:
    """A check by somebody who may look and not act."""
    everything.site.courier.log_access(lambda permission: permission != "act")
    answer = Visitor(everything.site).post("/courier/check", headers=JSON, json={})
    return Answer("POST /check", answer)


def twice(everything: Everything, action: str, **said: Any) -> Answer:
    """Do the same once more."""
    message_id = sent(everything)
    act(everything, action, message_id, **said)
    return act(everything, action, message_id, **said)


def key_taken(everything: Everything) -> Answer:
    """A resend with a key that another message has."""
    message_id = sent(everything)
    act(everything, "resend", message_id, key="k")
    update(everything.site, "courier_message", resend_of=None)
    return act(everything, "resend", message_id, key="k")


REFUSALS: dict[str, Callable[[Everything], Answer]] = {
    "body": lambda full: send(full.site, "/recovery", json=[]),
    "invalid_input": lambda full: send(full.site, "/recovery", json={"email": "nobody"}),
    "form_expired": lambda full: send(full.site, "/recovery", json=None, data={"email": ADA}),
    "code_wrong": lambda full: send(full.site, "/recovery/code", json={"email": ADA, "code": "0"}),
    "link_invalid": lambda full: open_link(full.site, "forged"),
    "link_expired": link_expired,
    "link_used": link_used,
    "link_replaced": link_replaced,
    "link_disowned": link_disowned,
    "link_changed": link_changed,
    "link_wrong_purpose": lambda full: open_link(full.site, full.mailed("verification")[1].token),
    "second_factor_required": second_factor_required,
    "not_signed_in": not_signed_in,
    "reauthentication_required": reauthentication_required,
    "cross_site": lambda full: send(
        full.site, "/recovery", environ_overrides={"HTTP_ORIGIN": "https://evil.example"}
    ),
    "too_many_requests": too_many_requests,
    "payload_too_large": lambda full: send(full.site, "/recovery", json={"email": "x" * 40_000}),
    "unsupported_media_type": lambda full: send(
        full.site, "/recovery", json=None, data="nobody", content_type="text/plain"
    ),
    "busy": busy,
    "query": lambda full: Answer(
        "GET /", Visitor(full.site).get("/courier/?q=foo:bar", headers=JSON)
    ),
    "not_allowed": not_allowed,
    "not_found": lambda full: act(full, "resend", "00000000-0000-7000-8000-000000000000"),
    "wrong_status": lambda full: act(full, "cancel", sent(full)),
    "rejected": lambda full: retry_of(full, status="abandoned", reason="rejected"),
    "due": lambda full: retry_of(full, status="queued"),
    "resent": lambda full: twice(full, "resend", known=0),
    "no_content": lambda full: twice(full, "delete-content"),
    "key_taken": key_taken,
    "public_url_missing": lambda full: send(full.site, "/recovery", base_url="http://www.example"),
}


@pytest.fixture
def everything(database_url: str, request: pytest.FixtureRequest) -> Iterator[Everything]:
    """A site of the test's own; one whose address is not configured where that is the reason."""
    config: dict[str, Any] = dict(IMPATIENT)
    if request.getfixturevalue("reason") == "public_url_missing":
        config["COURIER_PUBLIC_URL"] = None
    everything = Everything(database_url, **config)
    yield everything
    everything.close()


@pytest.mark.parametrize("reason", REASONS)
def test_refusal(everything: Everything, reason: str) -> None:
    """Every reason is answered as the file says, and where it says so."""
    operation, response = REFUSALS[reason](everything)
    method, path = operation.split()
    assert reason == response.get_json()["reason"]
    assert str(response.status_code) in DOCUMENT["paths"][path][method.lower()]["responses"]
    ANY[path][method].validate_response(response)
