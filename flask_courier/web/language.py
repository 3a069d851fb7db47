"""The language of a page: what the application says, else what the browser asks for."""

from __future__ import annotations

from typing import Any, cast

from flask import has_request_context, request
from jinja2 import pass_context
from jinja2.runtime import Context

from flask_courier.catalogues import Words
from flask_courier.state import current_state

_KEPT = "flask_courier.words"
#: The delivery log is for support staff, and in English.
_ENGLISH = "courier_log"


def gettext(message: str, /, **values: object) -> str:
    """``message`` in the visitor's language."""
    return words().gettext(message, **values)


def ngettext(singular: str, plural: str, count: int, /, **values: object) -> str:
    """The form for ``count`` things in the visitor's language."""
    return words().ngettext(singular, plural, count, **values)


def words() -> Words:
    """The words of the visitor's language, chosen once for each request."""
    kept = request.environ.get(_KEPT)
    if isinstance(kept, Words):
        return kept
    wanted = () if request.blueprint == _ENGLISH else _wanted()
    chosen = request.environ[_KEPT] = current_state().catalogues.words(wanted)
    return chosen


def spoken() -> str | None:
    """The language of what was said in this request; None if no word of ours was."""
    kept = request.environ.get(_KEPT)
    return kept.language if isinstance(kept, Words) else None


def of_request() -> str | None:
    """The language of the request, as mail can be written in it; None where nobody asked."""
    if not has_request_context():
        return None
    return current_state().flows.language(*_wanted())


@pass_context
def in_template(context: Context, message: str, /, **values: object) -> str:
    """``_()`` of our pages: what none of our catalogues has is the application's to say.

    Its own layout (``COURIER_BASE_TEMPLATE``) is rendered with the page and may have a ``_()`` too.
    """
    theirs: Any = context.environment.globals.get("_")
    if theirs is None or words().knows(message):
        return gettext(message, **values)
    return cast("str", context.call(theirs, message, **values))


def _wanted() -> list[str | None]:
    """Language tags, the most welcome first."""
    hook: Any = current_state().hooks().language
    said: str | None = None if hook is None else hook()
    asked = [tag for tag, quality in request.accept_languages if quality > 0]
    return [said, *asked]
