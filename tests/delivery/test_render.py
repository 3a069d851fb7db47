"""From templates to a mail that may be stored."""

from __future__ import annotations

import jinja2
import pytest

from flask_courier.catalogues import Catalogues
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Rendered
from flask_courier.delivery.render import UnknownKind, render
from tests.delivery.parcels import CODE_MARK, PLACEHOLDER, TOKEN_MARK

WORDS = Catalogues().words()
LINK = f"https://acme.example/account/recovery/{TOKEN_MARK}"
GOOD = {
    "m.subject.txt": "Hello {{ name }}\n",
    "m.txt": "{{ link }} {{ code }}",
    "m.html": "<a href='{{ link }}'>{{ name }}</a>",
}


def rendered(
    changes: dict[str, str | None] | None = None, *, secret: bool = True, name: str = "Ada"
) -> Rendered:
    """``m`` rendered from the good templates, with some changed or, with None, absent."""
    given = {**GOOD, **(changes or {})}
    templates = {key: text for key, text in given.items() if text is not None}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(templates),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
    )
    if not secret:
        return render(environment, "m", {"name": name}, words=WORDS)
    prefix = "https://acme.example/account/recovery/"
    return render(
        environment,
        "m",
        {"name": name},
        words=WORDS,
        placeholder=PLACEHOLDER,
        link_prefix=prefix,
    )


def test_placeholders_stand_for_token_and_code() -> None:
    """Link and code come out as marks of the placeholder, which goes with the mail."""
    expected = Rendered(
        "Hello Ada", f"{LINK} {CODE_MARK}", f"<a href='{LINK}'>Ada</a>", PLACEHOLDER
    )
    assert expected == rendered()


def test_html_is_optional() -> None:
    """Without an HTML template the mail has no HTML."""
    assert rendered({"m.html": None}).html is None


def test_html_is_escaped_and_text_is_not() -> None:
    """A name is escaped where it is HTML, and stands as it is where it is text."""
    mail = rendered({"m.txt": "{{ name }} {{ link }}"}, name="<b>")
    assert (f"<b> {LINK}", f"<a href='{LINK}'>&lt;b&gt;</a>") == (mail.text, mail.html)


def test_subject_is_one_line() -> None:
    """Line breaks and runs of blanks in a subject become one blank."""
    assert "Hello a b" == rendered(name="a\r\n\t b\n").subject


def test_mail_without_a_token() -> None:
    """A mail that carries no token has no placeholder."""
    mail = rendered({"m.txt": "hello", "m.html": None}, secret=False)
    assert Rendered("Hello Ada", "hello", None, None) == mail


@pytest.mark.parametrize("missing", ["m.subject.txt", "m.txt"])
def test_unknown_kind(missing: str) -> None:
    """Without its subject or its text, the kind is unknown here; a newer release may know it."""
    with pytest.raises(UnknownKind) as caught:
        rendered({missing: None})
    assert f"there is no mail template '{missing}'; a kind needs m.subject.txt and m.txt" == str(
        caught.value
    )


@pytest.mark.parametrize("part", ["m.txt", "m.html"])
def test_part_without_link_and_code(part: str) -> None:
    """A part that shows neither link nor code is an error that names it."""
    with pytest.raises(RenderError) as caught:
        rendered({part: "hello"})
    assert (
        f"the template {part} shows neither {{{{ link }}}} nor {{{{ code }}}}: whoever gets the "
        "mail could not do what it asks" == str(caught.value)
    )


def test_code_alone_is_enough() -> None:
    """A part may show the code and no link."""
    assert CODE_MARK == rendered({"m.txt": "{{ code }}"}).text


def test_empty_subject() -> None:
    """A subject that comes out empty is an error."""
    with pytest.raises(RenderError) as caught:
        rendered({"m.subject.txt": "  \n"})
    assert "the template m.subject.txt came out empty" == str(caught.value)


def test_endless_subject() -> None:
    """A subject longer than a line of a mail may be is an error."""
    with pytest.raises(RenderError) as caught:
        rendered(name="x" * 1000)
    assert "the template m.subject.txt made a subject of more than 998 characters" == str(
        caught.value
    )


def test_template_that_includes_what_is_missing() -> None:
    """An HTML template that includes a missing one is an error, not a mail without HTML."""
    with pytest.raises(jinja2.TemplateNotFound):
        rendered({"m.html": "{% include 'absent.html' %}"})
