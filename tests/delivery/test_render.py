"""From templates to a mail that may be stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import jinja2
import pytest

from flask_courier.catalogues import Catalogues
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Rendered
from flask_courier.delivery.render import UnknownKind, render
from flask_courier.delivery.template_failure import TemplateFailed
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


SECRET = "ada@example.com"


class Person:
    """What a context may hold."""

    def __repr__(self) -> str:
        return f"<Person {SECRET}>"


def raising(value: str) -> NoReturn:
    """What applications give their templates, for cases that cannot be."""
    raise jinja2.TemplateRuntimeError(f"'{value}' is undefined in m.txt")


def reading(value: str) -> str:
    """What renders a template of its own."""
    return jinja2.Environment(autoescape=True).from_string(f"{{% {value} %}}").render()


def failed(source: str, part: str = "m.txt", **context: Any) -> str:
    """What is said of ``m`` with this source."""
    own = {"m.txt": "", "m.html": "", "parent.txt": "\n\n{{ nobody.name }}", part: source}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({**GOOD, **own}),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
    )
    values = {"name": "Ada", "raising": raising, "reading": reading, **context}
    with pytest.raises(TemplateFailed) as caught:
        render(environment, "m", values, words=WORDS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("a\nb\n{{ context.nothing.here }}", "line 3: 'context' is undefined"),
        ("{{ name.nothing.here }}", "line 1: 'str object' has no attribute 'nothing'"),
        ("a\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        ("{{ name|upcase }}", "line 1: No filter named 'upcase'."),
        ("\n{{ 1 / 0 }}", "line 2: ZeroDivisionError"),
        ("{{ name + 1 }}", "line 1: TypeError"),
        ("{% include 'absent.txt' %}", "line 1: there is no template 'absent.txt'"),
    ],
)
def test_template_that_raises(source: str, told: str) -> None:
    """What a template raises names the template, the line, and what is wrong."""
    assert f"the template m.txt, {told}" == failed(source)


def test_template_that_extends_one_that_raises() -> None:
    """Of templates that stand in one another, the one that raised is named."""
    assert "the template parent.txt, line 3: 'nobody' is undefined" == failed(
        "{% extends 'parent.txt' %}"
    )


def test_html_template_that_includes_what_is_missing() -> None:
    """An HTML template that includes a missing one is an error, not a mail without HTML."""
    said = failed("{% include 'absent.html' %}", "m.html")
    assert "the template m.html, line 1: there is no template 'absent.html'" == said


def test_template_that_is_no_text(tmp_path: Path) -> None:
    """A template that is not in UTF-8 is named with the type of the error."""
    (tmp_path / "m.subject.txt").write_bytes(b"Gr\xfc\xdfe")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(tmp_path))  # noqa: S701 - it is never rendered
    with pytest.raises(TemplateFailed) as caught:
        render(environment, "m", {}, words=WORDS)
    assert "the template m.subject.txt: UnicodeDecodeError" == str(caught.value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ {}[value].x }}", SECRET),
        ("{{ {}[value].x }}", "o'neil@example.com"),
        ("{{ {}[value].x }}", "o'neil\"@example.com"),
        ("{{ {}[value].x }}", 48151623),
        ("{% include value %}", SECRET),
        ("{{ value / 2 }}", SECRET),
        ("{{ value.x.y }}", {"x y object": SECRET}),
        ("{{ {}[value].x }}", Person()),
        ("{{ raising(value) }}", SECRET),
        ("{{ raising(value).x }}", SECRET),
        ("{{ reading(value) }}", SECRET),
    ],
)
def test_template_that_raises_names_no_value(source: str, value: Any) -> None:
    """No value of the context is said, whatever is raised over it, and by whom."""
    said = failed(source, value=value)
    assert said.startswith("the template m.txt, line 1: ")
    assert not any(word in said for word in ("@", "neil", "48151623"))
