"""Whether the templates of our own mails make mails, and whether the pages' layout is there."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Claim, Draft
from flask_courier.core.steps import State, Step
from flask_courier.delivery.prepare import Preparer
from flask_courier.delivery.template_failure import failure

_NAME = "templates"


def look(preparer: Preparer, samples: Sequence[tuple[Claim, Draft]]) -> Step:
    """Render each sample, in the default language, and load COURIER_BASE_TEMPLATE."""
    faults: list[str] = []
    for claim, draft in samples:
        try:
            preparer.rendered(claim, draft)
        except RenderError as error:
            faults.append(_sentence(str(error)))
    faults += _base_template(preparer.environment(), preparer.config.base_template)
    if not faults:
        words = f"The templates of {len(samples)} kinds of mail make mails."
        return Step(_NAME, State.OK, words)
    advice = "Mend what is named. Mail whose template raises an error waits for that."
    # A layout or a footer that is in all of them is told of once.
    return Step(_NAME, State.FAILED, " ".join(dict.fromkeys(faults)), advice)


def _base_template(environment: jinja2.Environment, name: str | None) -> list[str]:
    if name is None:
        return []
    try:
        environment.get_template(name)
    except jinja2.TemplateNotFound:
        return [f"COURIER_BASE_TEMPLATE names {name!r}, and there is no such template."]
    except Exception as error:  # noqa: BLE001 - a loader may raise anything
        return [
            _sentence(f"COURIER_BASE_TEMPLATE cannot be used: {failure(environment, name, error)}")
        ]
    return []


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
