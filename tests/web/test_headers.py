"""Headers, cookies and links: what no cache, no frame, no referrer and no forged Host gets."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_courier.core.messages import RecordedMessage
from flask_courier.testing import form_data
from tests.delivery.mails import only, queue_own, queue_recovery, recorded
from tests.site import PASSWORD, Site

MakeSite = Callable[..., Site]

PAGES = [
    "/account/recovery",
    "/account/recovery/code",
    "/account/recovery/not-a-token",
    "/account/recovery/password",
    "/account/verification",
    "/account/verification/code",
    "/account/verification/not-a-token",
    "/account/verification/confirm",
    "/courier/",
    "/courier/?status=lost",
    "/courier/messages/00000000-0000-7000-8000-000000000000",
]
ACCOUNT_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
LOG_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
FORGED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "host=evil.example;proto=http",
}


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    site.courier.log_access(lambda _permission: True)
    return site


def recovery_mail(site: Site) -> RecordedMessage:
    """Have a recovery mail sent to an account."""
    site.add_user()
    queue_recovery(site)
    [mail] = recorded(site)
    return mail


def open_link(site: Site, **options: Any) -> TestResponse:
    """Follow the link of a recovery mail."""
    prefix = site.app.extensions["courier"].config.account_url_prefix
    return site.client.get(f"{prefix}/recovery/{recovery_mail(site).token}", **options)


def cookie_of(answer: TestResponse) -> Morsel[str]:
    """The one cookie that the answer sets."""
    [line] = answer.headers.getlist("Set-Cookie")
    [morsel] = SimpleCookie(line).values()
    return morsel


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("path", PAGES)
def test_s23_no_answer_is_kept(open_site: Site, path: str, accept: str) -> None:
    """Every answer forbids caches and indexes, and is not guessed at."""
    headers = open_site.client.get(path, headers={"Accept": accept}).headers
    assert ("no-store", "noindex, nofollow", "nosniff") == (
        headers["Cache-Control"],
        headers["X-Robots-Tag"],
        headers["X-Content-Type-Options"],
    )
    assert "Accept" in headers.getlist("Vary")


@pytest.mark.parametrize("path", PAGES)
def test_s10_policies(open_site: Site, path: str) -> None:
    """Every page allows no foreign script, no frame around it, and refers nobody to a token."""
    headers = open_site.client.get(path).headers
    expected = LOG_POLICY if path.startswith("/courier") else ACCOUNT_POLICY
    referrer = "no-referrer" if path.endswith("not-a-token") else "same-origin"
    assert (expected, referrer) == (
        headers["Content-Security-Policy"],
        headers["Referrer-Policy"],
    )


@pytest.mark.parametrize("path", ["/account/recovery", "/account/verification"])
def test_s23_refused_post_has_the_same_headers(site: Site, path: str) -> None:
    """A POST that is refused is not kept either."""
    answer = site.client.post(path, data={"email": "ada@example.com"})
    assert (422, "no-store", "same-origin") == (
        answer.status_code,
        answer.headers["Cache-Control"],
        answer.headers["Referrer-Policy"],
    )


def test_style_sheet_may_be_kept(site: Site) -> None:
    """The style sheet is no secret."""
    with site.client.get("/account/static/courier/courier.css") as answer:
        headers = answer.headers
    assert "no-store" not in headers.get("Cache-Control", "")
    assert "nosniff" == headers["X-Content-Type-Options"]


def test_no_account_page_has_a_session(site: Site) -> None:
    """No account page sets a cookie before a link has been opened."""
    answers = [site.client.get(path) for path in PAGES[:8]]
    answers.append(site.post(site.client, "/account/recovery", email="ada@example.com"))
    assert [] == [line for answer in answers for line in answer.headers.getlist("Set-Cookie")]


def test_s10_link_leads_away_without_a_referrer(site: Site) -> None:
    """The answer to a link tells the next page nothing of where it came from."""
    answer = open_link(site)
    assert (303, "/account/recovery/password") == (answer.status_code, answer.location)
    assert ("no-referrer", "no-store") == (
        answer.headers["Referrer-Policy"],
        answer.headers["Cache-Control"],
    )


def test_s32_cookie_of_a_link(site: Site) -> None:
    """The cookie of an opened link is for this flow's pages, for ten minutes, and for no script.

    It holds the link's token, which has neither code nor address in it.
    """
    opened = open_link(site)
    morsel = cookie_of(opened)
    assert morsel.value == opened.request.path.rpartition("/")[2]
    assert ("courier_recovery", "/account/recovery", "600", True, True, "Lax") == (
        morsel.key,
        morsel["path"],
        morsel["max-age"],
        morsel["httponly"],
        morsel["secure"],
        morsel["samesite"],
    )
    assert "" == morsel["domain"]


def test_cookie_under_a_path_of_the_public_url(sites: MakeSite) -> None:
    """A PUBLIC_URL with a path puts that path before the cookie's."""
    site = sites(COURIER_PUBLIC_URL="https://acme.example/shop", COURIER_ACCOUNT_URL_PREFIX="/me")
    assert "/shop/me/recovery" == cookie_of(open_link(site))["path"]


def test_cookie_of_a_site_without_https(sites: MakeSite) -> None:
    """A PUBLIC_URL without https, as in tests, makes a cookie that works there."""
    site = sites(COURIER_PUBLIC_URL="http://localhost:5000")
    assert "" == cookie_of(open_link(site))["secure"]


def test_cookie_is_secure_behind_a_proxy(site: Site) -> None:
    """That PUBLIC_URL is https decides, not how the proxy speaks to us."""
    assert cookie_of(open_link(site, base_url="http://10.0.0.7:8000"))["secure"] is True


def test_cookie_is_taken_back(site: Site) -> None:
    """A completed recovery takes the cookie back, on the path where it was set."""
    client, mail = site.client, recovery_mail(site)
    client.get(f"/account/recovery/{mail.token}", base_url="https://acme.example")
    page = client.get("/account/recovery/password", base_url="https://acme.example")
    done = client.post(
        "/account/recovery/password",
        data=form_data(page.text, password=PASSWORD, confirm=PASSWORD),
        base_url="https://acme.example",
    )
    morsel = cookie_of(done)
    assert ("courier_recovery", "/account/recovery", "0", "") == (
        morsel.key,
        morsel["path"],
        morsel["max-age"],
        morsel.value,
    )


def test_dead_link_sets_no_cookie(site: Site) -> None:
    """A link that opens nothing sets nothing."""
    answer = site.client.get("/account/recovery/not-a-token")
    assert (410, []) == (answer.status_code, answer.headers.getlist("Set-Cookie"))


# Links


@pytest.mark.parametrize("host", ["http://evil.example", "http://localhost", "http://acme.example"])
def test_s09_links_come_from_the_public_url(site: Site, host: str) -> None:
    """Whatever Host and forwarding headers say, a link begins with PUBLIC_URL."""
    site.add_user()
    client = site.client
    page = client.get("/account/recovery", base_url=host, headers=FORGED)
    client.post(
        "/account/recovery",
        data=form_data(page.text, email="ada@example.com"),
        base_url=host,
        headers=FORGED,
    )
    [mail] = recorded(site)
    assert f"https://acme.example/account/recovery/{mail.token}" == mail.link
    assert "evil" not in mail.text + (mail.html or "")


def test_no_page_repeats_a_forged_host(open_site: Site) -> None:
    """No page or redirect names a host that the client made up."""
    queue_own(open_site)
    paths = [*PAGES, f"/courier/messages/{only(open_site)['id']}"]
    answers = [
        open_site.client.get(path, base_url="http://evil.example", headers=FORGED) for path in paths
    ]
    assert [] == [a.request.path for a in answers if "evil" in a.text + str(a.headers)]


def ask(site: Site, base_url: str, **headers: str) -> TestResponse:
    """Ask for a recovery by JSON."""
    return site.client.post(
        "/account/recovery",
        json={"email": "ada@example.com"},
        base_url=base_url,
        headers=headers,
    )


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:8080", "[::1]:5000"])
def test_loopback_host_without_public_url(sites: MakeSite, host: str) -> None:
    """Without PUBLIC_URL, in debug and testing, a loopback host is where links lead."""
    site = sites(COURIER_PUBLIC_URL=None)
    site.add_user()
    assert 202 == ask(site, f"http://{host}").status_code
    [mail] = recorded(site)
    assert f"http://{host}/account/recovery/{mail.token}" == mail.link


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.0.2.1", "[2001:db8::1]"],
)
def test_other_host_without_public_url(sites: MakeSite, host: str) -> None:
    """Without PUBLIC_URL any other host is refused, and nothing is queued."""
    site = sites(COURIER_PUBLIC_URL=None)
    answer = ask(site, f"http://{host}")
    assert (503, "public_url_missing") == (answer.status_code, answer.get_json()["reason"])
    assert [] == site.rows("courier_message")


def test_s09_forwarded_host_is_not_believed(sites: MakeSite) -> None:
    """A forwarding header changes no link without PUBLIC_URL either."""
    site = sites(COURIER_PUBLIC_URL=None)
    site.add_user()
    ask(site, "http://localhost:5000", **FORGED)
    assert ["http://localhost:5000"] == [
        (mail.link or "").partition("/account")[0] for mail in recorded(site)
    ]


def test_live_link_under_another_host(sites: MakeSite) -> None:
    """A live link in the log needs a loopback host too, where PUBLIC_URL is not set."""
    site = sites(COURIER_PUBLIC_URL=None)
    site.courier.log_access(lambda _permission: True)
    site.add_user()
    ask(site, "http://localhost:5000")
    site.deliver()
    path = f"/courier/messages/{only(site)['id']}"
    assert 503 == site.client.get(path, base_url="http://evil.example").status_code
    assert 200 == site.client.get(path, base_url="http://localhost:5000").status_code
