"""What a template raised, in words for whoever mends it: which template, which line, what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import jinja2

from flask_courier.core.errors import RenderError

_SAYS = re.compile(
    "'([^']+)' is undefined|'([^']+)' has no attribute '([^']+)'|there is no template '([^']+)'"
)


class TemplateFailed(RenderError):
    """A template raised; a corrected release of the application can make the mail.

    :param own: whether Jinja raised it, and nothing that the template called: nothing else has
        been touched, then.
    """

    def __init__(self, words: str, *, own: bool) -> None:
        super().__init__(words)
        self.own = own


def failure(environment: jinja2.Environment, name: str, error: Exception) -> TemplateFailed:
    """What ``error`` says of the template ``name``, or of the one in it that raised.

    No value of the context is in it: that may be a token or an address.
    """
    own = isinstance(error, jinja2.TemplateError) and _is_jinjas(error.__traceback__)
    if own and isinstance(error, jinja2.TemplateSyntaxError):
        # It speaks of the source alone.
        found, line, words = error.name or name, error.lineno, error.message or "cannot be read"
    else:
        found, line = _place(error.__traceback__) or (name, 0)
        words = _words(error, _source(environment, found)) if own else type(error).__name__
    place = f"the template {found}, line {line}" if line else f"the template {found}"
    return TemplateFailed(f"{place}: {words}", own=own)


def _is_jinjas(step: TracebackType | None) -> bool:
    """Whether nothing that a template called has a part in this; by the names of modules."""
    inside = False
    while step is not None:
        names = step.tb_frame.f_globals
        if "__jinja_template__" in names:
            inside = True
        # The second stands for a line of a template that could not be read.
        elif inside and not (_is_jinja(names) or "__jinja_exception__" in names):
            return False
        step = step.tb_next
    return True


def _is_jinja(names: Mapping[str, Any]) -> bool:
    return str(names.get("__name__")).partition(".")[0] == "jinja2"


def _place(step: TracebackType | None) -> tuple[str, int] | None:
    """The innermost template and its line; by the marks that Jinja's own tracebacks go by."""
    found = None
    while step is not None:
        template = step.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template) and template.name is not None:
            found = template.name, template.get_corresponding_lineno(step.tb_lineno)
        step = step.tb_next
    return found


def _words(error: Exception, source: str) -> str:
    """What Jinja says, if every name in it is one that the template itself writes."""
    words = str(error)
    if isinstance(error, jinja2.TemplateNotFound):
        words = f"there is no template '{error.name}'"
    said = _SAYS.fullmatch(words)
    named = [] if said is None else [name for name in said.groups() if name is not None]
    # {{ prices[address] }} would name the address.
    is_known = named and all(name in source or _is_type(name) for name in named)
    return words if is_known else type(error).__name__


def _is_type(word: str) -> bool:
    return word == "None" or re.fullmatch(r"[\w.]+ object", word) is not None


def _source(environment: jinja2.Environment, name: str) -> str:
    try:
        return environment.loader.get_source(environment, name)[0] if environment.loader else ""
    except (RuntimeError, ValueError, OSError, jinja2.TemplateNotFound):
        # A loader of compiled templates has none: then nothing is quoted.
        return ""
