"""Templates to a mail that may be stored: a placeholder stands where the token and the code go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from flask_courier.catalogues import Words
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Rendered, marks
from flask_courier.delivery.template_failure import failure

#: RFC 5322 section 2.1.1: no line of a mail is longer.
SUBJECT_LIMIT = 998


class UnknownKind(RenderError):
    """No template for this kind here; a newer release of the application may have it."""


def render(
    environment: jinja2.Environment,
    template: str,
    context: Mapping[str, Any],
    *,
    words: Words,
    placeholder: str | None = None,
    link_prefix: str | None = None,
    not_me_prefix: str | None = None,
    with_code: bool = True,
) -> Rendered:
    """Render ``<template>.subject.txt``, ``.txt`` and, where there is one, ``.html``.

    :param context: spans and moments in it are put in words.
    :param words: the language of the mail.
    :param placeholder: stands for the token in ``link`` (behind ``link_prefix``), for ``code`` and
        for the token in ``not_me_link`` (behind ``not_me_prefix``); None for a mail without any.
    :param with_code: False for a flow that has no page to type a code on.
    :raises UnknownKind: if there is no such template.
    :raises TemplateFailed: if one cannot be read, or raised.
    :raises RenderError: if a part shows the reader neither link nor code, or the subject is empty.
    """
    values: dict[str, Any] = {
        **environment.globals,
        "_": words.gettext,
        "paragraph": words.paragraph,
        "lang": words.language,
        "dir": words.direction,
        **{name: words.say(value) for name, value in context.items()},
    }
    token_mark, code_mark, not_me_mark = marks(placeholder or "")
    if placeholder and link_prefix is not None:
        values["link"] = link_prefix + token_mark
        if with_code:
            values["code"] = code_mark
    if placeholder and not_me_prefix is not None:
        values["not_me_link"] = not_me_prefix + not_me_mark
    try:
        subject = " ".join(_part(environment, f"{template}.subject.txt", values).split())
        text = _part(environment, f"{template}.txt", values)
    except jinja2.TemplateNotFound as error:
        raise UnknownKind(
            f"there is no mail template {error.name!r}; a kind needs {template}.subject.txt and "
            f"{template}.txt"
        ) from None
    if len(subject) > SUBJECT_LIMIT:
        raise RenderError(
            f"the template {template}.subject.txt made a subject of more than {SUBJECT_LIMIT} "
            "characters"
        )
    html = _optional(environment, f"{template}.html", values)
    if not subject:
        raise RenderError(f"the template {template}.subject.txt came out empty")
    parts = {f"{template}.txt": text} | ({f"{template}.html": html} if html is not None else {})
    if placeholder and link_prefix is not None:
        _refuse_useless(parts, token_mark, code_mark)
    _refuse_unwritable(parts | {f"{template}.subject.txt": subject})
    return Rendered(subject, text, html, placeholder)


def _refuse_useless(parts: Mapping[str, str], token_mark: str, code_mark: str) -> None:
    for name, part in parts.items():
        if token_mark not in part and code_mark not in part:
            raise RenderError(
                f"the template {name} shows neither {{{{ link }}}} nor {{{{ code }}}}: whoever "
                "gets the mail could not do what it asks"
            )


def _refuse_unwritable(parts: Mapping[str, str]) -> None:
    for name, part in parts.items():
        if "\0" in part or not _is_unicode(part):
            raise RenderError(
                f"the template {name} made text with NUL or half a character (a lone surrogate), "
                "which neither a mail nor a database can hold"
            )


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _optional(environment: jinja2.Environment, name: str, values: Mapping[str, Any]) -> str | None:
    try:
        return _part(environment, name, values)
    except jinja2.TemplateNotFound:
        return None


def _part(environment: jinja2.Environment, name: str, values: Mapping[str, Any]) -> str:
    """What ``template.render`` answers, without one copy of all globals for every part."""
    try:
        template = environment.get_template(name)
    except jinja2.TemplateNotFound:
        raise
    except Exception as error:  # noqa: BLE001 - not UTF-8, for instance
        raise failure(environment, name, error) from None
    try:
        return "".join(template.root_render_func(template.new_context(dict(values), shared=True)))
    except Exception as error:  # noqa: BLE001 - a template may raise anything
        raise failure(environment, name, error) from None
