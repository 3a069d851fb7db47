"""The list of messages, newest first, and what of it a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request, url_for

from flask_courier.core.ids import moment_of
from flask_courier.state import CourierState, current_state
from flask_courier.storage import health, log, search
from flask_courier.storage.health import Count
from flask_courier.storage.log import Entry
from flask_courier.storage.search import Found, Place
from flask_courier.web import guard
from flask_courier.web.guard import Refused
from flask_courier.web.log import access, chips, filters, forms, live, pages, representation
from flask_courier.web.log.banners import Banner, banners
from flask_courier.web.log.filters import Filter

_PAGE_SIZE = 50
_LONGEST_PAGE = 200
_NOTHING = Found((), more=False, searched_to=None, by_status=None, counts_all=False)
_LOST = "This place in the list is not known any more. Here is its beginning."


@dataclass(frozen=True)
class Page:
    """What one page of the list is made of."""

    filter: Filter
    size: int
    place: Place
    #: Whether the address named a place that is not known.
    is_lost: bool
    found: Found = _NOTHING
    entries: Sequence[Entry] = ()
    banners: Sequence[Banner] = ()
    #: How many messages there are by status; of those that match, where there is a search.
    counts: Mapping[Any, Count] | None = None
    attention: Count | None = None

    def url(self, place: Place, **more: str) -> str:
        """This list from another place on."""
        size = str(self.size) if self.size != _PAGE_SIZE else None
        arguments: dict[str, Any] = {**self.filter.arguments(), **more}
        return url_for(".messages", **arguments, after=self.filter.sealed(place), n=size)

    @property
    def older(self) -> str | None:
        """The page after this one, or where the search goes on; None at the end."""
        beside = self.entries[-1].id if self.entries else self.place.beside
        if self.place.newer:
            # It was left for this one, so it is there; where this one is empty, with its first.
            return self.url(Place(beside if self.entries else None))
        if self.found.more:
            return self.url(Place(beside))
        ended = self.found.searched_to
        return None if ended is None else self.url(Place(ended))

    @property
    def newer(self) -> str | None:
        """The page before this one; None for the newest."""
        if self.place.beside is None:
            return None
        if not self.place.newer:
            return self.url(Place(self.entries[0].id if self.entries else self.place.beside, True))  # noqa: FBT003
        if self.found.more:
            return self.url(Place(self.entries[0].id, newer=True))
        ended = self.found.searched_to
        return None if ended is None else self.url(Place(ended, newer=True))


def messages() -> Response:
    """``/courier/``: messages, newest first."""
    state, page = current_state(), _asked()
    asks_json = guard.wants_json()
    if page.filter.problems and asks_json:
        raise filters.refusal(page.filter.problems)
    page, watched = state.database.transact(lambda session: _read(state, session, page))
    if live.is_asked():
        return live.fragment(state, [*page.entries, *watched])
    return _as_json(state, page) if asks_json else _as_page(state, page)


def _asked() -> Page:
    """What the address asks for.

    :raises Refused: if its size cannot be read.
    """
    shown = filters.read(request.args)
    try:
        size = int(request.args.get("n") or _PAGE_SIZE)
    except ValueError:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "query",
            "This address cannot be read",
            "n is how many messages a page has: a number.",
        ) from None
    sealed = request.args.get("after")
    place = shown.place(sealed) if sealed else Place()
    size = min(max(size, 1), _LONGEST_PAGE)
    return Page(shown, size, place or Place(), is_lost=place is None)


def _read(state: CourierState, session: Any, page: Page) -> tuple[Page, list[Entry]]:
    """The page with what is on it, and what the reader's page still shows beside that."""
    shown = page.filter
    found = _NOTHING
    if not shown.problems:
        found = search.find(
            session, shown.search, place=page.place, limit=page.size, status=shown.status_term
        )
    entries = access.shown(log.entries_of(session, found.ids))
    page = replace(page, found=found, entries=entries)
    if live.is_asked():
        return page, access.shown(live.watched(session, entries))
    if guard.wants_json():
        return page, []
    counts = chips.counted(session, page.filter, found)
    return replace(
        page,
        counts=counts,
        attention=health.attention(session, filters.viewpoint_of(state).now),
        banners=banners(state, session),
    ), []


def _as_json(state: CourierState, page: Page) -> Response:
    answer = jsonify(
        messages=[representation.of_entry(state, entry) for entry in page.entries],
        next=page.older,
        previous=page.newer,
        note=_LOST if page.is_lost else None,
    )
    links = {"next": page.older, "prev": page.newer}
    found = [f'<{url}>; rel="{name}"' for name, url in links.items() if url]
    if found:
        answer.headers["Link"] = ", ".join(found)
    return answer


def _as_page(state: CourierState, page: Page) -> Response:
    ended = page.found.searched_to
    return pages.render(
        "list.html",
        messages=[pages.row(state, entry) for entry in page.entries],
        filter=page.filter,
        chips=chips.chips(page.filter, page.counts, page.attention),
        counts_all=page.found.counts_all or not page.filter.search.terms,
        note=_LOST if page.is_lost else None,
        searched_to=None if ended is None else moment_of(ended),
        newer_url=page.newer,
        older_url=page.older,
        newest_url=page.url(Place()) if page.place.beside is not None else None,
        live_url=page.url(page.place, fragment="1"),
        banners=page.banners,
        exports=_exports(page.filter) if access.is_allowed("export") else [],
        account_url=url_for("courier.recovery"),
        zone=str(filters.reader_zone()),
        bulk=_bulk(page.filter),
    )


def _bulk(shown: Filter) -> dict[str, str] | None:
    """Where the selected, and all that the list finds, can be acted on; None for who may not."""
    if not access.is_allowed("act"):
        return None
    return {
        "token": forms.token(forms.BULK),
        "act_url": url_for(".bulk_act", **shown.arguments()),
        "all_url": url_for(".bulk", **shown.arguments()),
    }


def _exports(shown: Filter) -> list[tuple[str, str]]:
    if shown.problems:
        return []
    return [
        (label, url_for(".export", form=form, **shown.arguments()))
        for label, form in (("CSV", "csv"), ("JSON lines", "jsonl"))
    ]
