"""``flask courier check``: how its steps are printed, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import jinja2
import pytest

from tests.site import Site
from tests.smtp_server import PASSWORD, USERNAME, MailServer, closed_port

MakeSite = Callable[..., Site]
#: Columns of a terminal.
WIDTH = 80


def run(site: Site, *arguments: str) -> tuple[int, str]:
    """``flask courier check …``: its exit code and what it prints."""
    result = site.app.test_cli_runner().invoke(args=["courier", "check", *arguments])
    return result.exit_code, result.output


def states(output: str) -> dict[str, str]:
    """The state of each step in the JSON."""
    return {step["name"]: step["state"] for step in json.loads(output)["steps"]}


def test_good(mailing_site: Site) -> None:
    """A site that can send ends with 0, each step on a line of its own."""
    code, output = run(mailing_site)
    assert 0 == code
    assert "ok       auth           Logged in with AUTH PLAIN.\n" in output
    assert "failed" not in output.lower()


def test_good_as_json(mailing_site: Site) -> None:
    """The JSON says that all is good, and has for each step its name, state, words and advice."""
    code, output = run(mailing_site, "--json")
    told = json.loads(output)
    assert (0, True) == (code, told["ok"])
    assert {("name", "state", "words", "advice")} == {tuple(step) for step in told["steps"]}
    assert "ok" == states(output)["sender"]


def test_failed(mailing_site: Site, mail_server: MailServer) -> None:
    """A step that failed stands out, with what to do below it, and the end is 1."""
    mail_server.answers["AUTH"] = "535 5.7.8 no"
    code, output = run(mailing_site)
    assert 1 == code
    assert "FAILED   auth           User name or password was refused." in output
    assert f"\n{' ' * 24}-> Correct them in COURIER_SMTP_URI;" in output
    assert ", 1 failed, " in output.splitlines()[-1]


def test_failed_as_json(mailing_site: Site, mail_server: MailServer) -> None:
    """The JSON says what failed and what was skipped; the end is 1 all the same."""
    mail_server.answers["AUTH"] = "535 5.7.8 no"
    code, output = run(mailing_site, "--json")
    assert (1, False) == (code, json.loads(output)["ok"])
    assert ("failed", "skipped") == (states(output)["auth"], states(output)["sender"])


def test_warnings_only(site: Site) -> None:
    """Warnings end with 0."""
    code, output = run(site)
    assert (0, True) == (code, "warning  configuration  NOTHING LEAVES" in output)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_database_out_of_reach(
    sites: MakeSite, mail_config: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Without its database it ends with 3, and has looked at the SMTP server all the same."""
    site = sites("sqlite:////nonexistent/site.sqlite", create=False, **mail_config)
    code, output = run(site, *arguments)
    assert 3 == code
    assert "Logged in with AUTH PLAIN." in output


def test_missing_tables(sites: MakeSite) -> None:
    """Without its tables it ends with 1."""
    code, output = run(sites(create=False))
    assert 1 == code
    assert "FAILED   tables         Tables that are missing: all 8." in output


def put(site: Site, name: str, source: str) -> None:
    """Put a template of the application's own before one of ours."""
    put_loader(site, jinja2.DictLoader({name: source}))


def put_loader(site: Site, added: jinja2.BaseLoader) -> None:
    """Let a loader of the application's own come before the others."""
    with site.app.app_context():
        present = site.app.jinja_env.loader
        assert present is not None
        site.app.jinja_env.loader = jinja2.ChoiceLoader([added, present])


def templates(site: Site) -> tuple[int, dict[str, str]]:
    """How the check ends, and its step about templates."""
    code, output = run(site, "--json")
    [step] = [step for step in json.loads(output)["steps"] if step["name"] == "templates"]
    return code, step


def test_good_templates(sites: MakeSite) -> None:
    """Every mail of our own is made, that of a flow which is switched on among them."""
    (code, step), (_, other) = templates(sites()), templates(sites(COURIER_SIGN_IN=True))
    assert (0, "ok", "The templates of 7 kinds of mail make mails.") == (
        code,
        step["state"],
        step["words"],
    )
    assert "The templates of 8 kinds of mail make mails." == other["words"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("hello", "shows neither {{ link }} nor {{ code }}: whoever gets the mail could not do"),
        ("hello\n{% if %}", ", line 2: Expected an expression, got 'end of statement block'."),
        ("{{ context.nothing.here }}", ", line 1: 'context' is undefined."),
    ],
)
@pytest.mark.parametrize("name", ["recovery.txt", "recovery.html", "email_changed.txt"])
def test_own_template_that_makes_no_mail(site: Site, name: str, source: str, told: str) -> None:
    """A template of the application's own of which no mail can be made fails the check."""
    put(site, f"courier/mail/{name}", source)
    code, step = templates(site)
    assert (1, "failed") == (code, step["state"])
    assert step["words"].startswith(f"The template courier/mail/{name}")
    assert told in step["words"]


def test_what_many_templates_share_is_told_once(site: Site) -> None:
    """A fault in a part that stands in every mail is one sentence."""
    put(site, "courier/mail/footer.txt", "{{ nobody.name }}")
    _, step = templates(site)
    assert "The template courier/mail/footer.txt, line 1: 'nobody' is undefined." == step["words"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "names 'layout.html', and there is no such template."),
        ("{% if %}", "cannot be used: the template layout.html, line 1: Expected an expression,"),
    ],
)
def test_base_template_that_cannot_be_used(sites: MakeSite, source: str | None, told: str) -> None:
    """A layout that is missing or cannot be read fails the check: no page of ours opens."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    if source is not None:
        put(site, "layout.html", source)
    code, step = templates(site)
    assert (1, "failed") == (code, step["state"])
    assert step["words"].startswith(f"COURIER_BASE_TEMPLATE {told}")


def test_loader_that_raises(sites: MakeSite) -> None:
    """A loader of the application's own that raises is told of with the type of its error."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")

    def load(name: str) -> None:
        if name == "layout.html":
            raise LookupError(name)

    put_loader(site, jinja2.FunctionLoader(load))
    code, step = templates(site)
    told = "COURIER_BASE_TEMPLATE cannot be used: the template layout.html: LookupError."
    assert (1, told) == (code, step["words"])


def test_base_template_that_is_there(sites: MakeSite) -> None:
    """A layout of the application's own that is there is good."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    put(site, "layout.html", "{% block courier %}{% endblock %}")
    assert "ok" == templates(site)[1]["state"]


def test_fits_a_terminal(sites: MakeSite) -> None:
    """No line is wider than a terminal of 80 columns."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=f"smtp://127.0.0.1:{port}/")
    _, output = run(site)
    assert [] == [line for line in output.splitlines() if len(line) > WIDTH]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_credentials(
    sites: MakeSite, mail_config: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Neither user name nor password nor the sender's address is printed; its domain is."""
    _, output = run(sites(**mail_config), *arguments)
    secrets = (PASSWORD, USERNAME, quote(PASSWORD, safe=""), quote(USERNAME, safe=""), "no-reply@")
    assert [] == [secret for secret in secrets if secret in output]
    assert "acme.example" in output


def test_help(site: Site) -> None:
    """The help says what it does and how it ends."""
    code, output = run(site, "--help")
    assert 0 == code
    assert "Say whether mail would go out" in output
    assert "3 if the database is out of reach" in " ".join(output.split())
