"""Templates to a mail that may be stored: a placeholder stands where the token and the code go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Rendered, marks

#: RFC 5322 section 2.1.1: no line of a mail is longer.
SUBJECT_LIMIT = 998


class UnknownKind(RenderError):
    """No template for this kind here; a newer release of the application may have it."""


def render(
    environment: jinja2.Environment,
    template: str,
    context: Mapping[str, Any],
    *,
    placeholder: str | None = None,
    link_prefix: str = "",
) -> Rendered:
    """Render ``<template>.subject.txt``, ``.txt`` and, where there is one, ``.html``.

    :param placeholder: stands for the token in ``link`` (behind ``link_prefix``) and for ``code``;
        None for a mail that carries neither.
    :raises UnknownKind: if there is no such template.
    :raises RenderError: if a part shows the reader neither link nor code, or the subject is empty.
    """
    values = dict(context)
    token_mark, code_mark = marks(placeholder) if placeholder else ("", "")
    if placeholder:
        values["link"] = link_prefix + token_mark
        values["code"] = code_mark
    try:
        subject = " ".join(
            environment.get_template(f"{template}.subject.txt").render(values).split()
        )
        text = environment.get_template(f"{template}.txt").render(values)
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
    for name, part in parts.items():
        if placeholder and token_mark not in part and code_mark not in part:
            raise RenderError(
                f"the template {name} shows neither {{{{ link }}}} nor {{{{ code }}}}: whoever "
                "gets the mail could not do what it asks"
            )
    for name, part in (parts | {f"{template}.subject.txt": subject}).items():
        if "\0" in part or not _is_unicode(part):
            raise RenderError(
                f"the template {name} made text with NUL or half a character (a lone surrogate), "
                "which neither a mail nor a database can hold"
            )
    return Rendered(subject, text, html, placeholder)


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _optional(environment: jinja2.Environment, name: str, values: Mapping[str, Any]) -> str | None:
    try:
        template = environment.get_template(name)
    except jinja2.TemplateNotFound:
        return None
    return template.render(values)
