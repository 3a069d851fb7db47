"""No log of requests holds a token."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from flask_courier import MaskTokens
from flask_courier.web.masking import MASK, SERVER_LOGGERS
from tests.site import Site
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed, not_me_link, token_of


@pytest.mark.parametrize("kind", ["recovery", "verification"])
def test_real_tokens(
    sites: Callable[..., Site], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The tokens of links are masked in a request line, in arguments of either kind."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    mail = mailed(site, kind)
    logger = logging.getLogger("werkzeug")
    for token in (mail.token, token_of(not_me_link(mail.text))):
        logger.warning('"%s" %s', f"GET /account/{kind}/{token} HTTP/1.1", 303)
        logger.warning("%(r)s", {"r": f"GET /account/{kind}/{token}?x=1"})
        logger.warning(f"/account/{kind}/{token}")  # noqa: G004 - as Flask logs a path
        assert token not in caplog.text
    assert 6 == caplog.text.count(f"/account/{kind}/{MASK}")


def test_arguments_stay(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A server's own formatter finds the arguments it has logged, the token in them masked."""
    token = f"{'t' * 22}.{'s' * 43}"
    site.app.logger.warning("%s - %s %s", "192.0.2.1:5000", f"/account/recovery/{token}", 303)
    (record,) = caplog.records
    assert ("192.0.2.1:5000", f"/account/recovery/{MASK}", 303) == record.args


@pytest.mark.parametrize(
    "token",
    [
        f"{'t' * 22}%2E{'s' * 43}",
        f"{'t' * 21}%2d.%5F{'s' * 42}",
        "".join(f"%{ord(character):02x}" for character in f"{'t' * 22}.{'s' * 43}"),
    ],
)
def test_escaped_token(site: Site, caplog: pytest.LogCaptureFixture, token: str) -> None:
    """A token is masked that a client wrote with escapes, which opens the same page."""
    site.app.logger.warning("GET /account/recovery/%s HTTP/1.1", token)
    assert [f"GET /account/recovery/{MASK} HTTP/1.1"] == caplog.messages


def test_other_lines(caplog: pytest.LogCaptureFixture, site: Site) -> None:
    """Other lines are logged as they are, arguments apart."""
    logging.getLogger(site.app.name).warning("GET %s", "/static/app.3f2a91.js")
    assert ["GET /static/app.3f2a91.js"] == caplog.messages
    assert ("/static/app.3f2a91.js",) == caplog.records[0].args


def test_once(sites: Callable[..., Site]) -> None:
    """However many applications there are, each logger has one filter."""
    for _ in range(3):
        sites()
    for name in SERVER_LOGGERS:
        found = [one for one in logging.getLogger(name).filters if isinstance(one, MaskTokens)]
        assert 1 == len(found)


def test_error_of_the_application(
    sites: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    """Flask's own line for a request that failed does not hold the token of its path."""
    site = sites(**NO_LIMITS, PROPAGATE_EXCEPTIONS=False)
    site.add_user(ADA)
    token = mailed(site, "recovery").token

    @site.app.after_request
    def fail(_response: object) -> object:
        raise RuntimeError("broken")

    answer = Visitor(site).get(f"/account/recovery/{token}")

    assert 500 == answer.status_code
    assert f"Exception on /account/recovery/{MASK} [GET]" in caplog.text
    assert token not in caplog.text
