"""Whose fault a refusal is: one message's, or the transport's."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome
from flask_courier.core.suspicion import Suspicion

IDS = [uuid.UUID(int=number) for number in range(1, 9)]
FAULT = Outcome.TRANSPORT_FAULT
LOGIN = Outcome.OPERATOR_FAULT
SLOWER = Outcome.THROTTLED

suspects = st.sampled_from(sorted(TRANSPORT_OUTCOMES))
notes = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.integers(0, 50), st.sampled_from(["a.example", "b.example", "c.example"])),
    ),
    max_size=60,
)


def noted(
    suspicion: Suspicion, *said: tuple[int, str, Outcome]
) -> list[tuple[Outcome, list[uuid.UUID]] | None]:
    """What each of these notes was answered."""
    return [suspicion.note(IDS[number], f"{name}.example", what) for number, name, what in said]


def test_third_domain_blames_the_transport() -> None:
    """Three messages for three domains in a row: it is not the messages."""
    answers = noted(Suspicion(), (0, "a", FAULT), (1, "b", FAULT), (2, "c", FAULT))
    assert [None, None, (FAULT, IDS[:3])] == answers


def test_acceptance_between_clears_it() -> None:
    """A message that got through says that the transport works."""
    suspicion = Suspicion()
    noted(suspicion, (0, "a", FAULT), (1, "b", FAULT))
    suspicion.note_accepted()
    assert [None, None] == noted(suspicion, (2, "c", FAULT), (3, "d", FAULT))


def test_many_messages_for_two_domains_prove_nothing() -> None:
    """Two recipients' servers may be down together."""
    said = [(number, "ab"[number % 2], FAULT) for number in range(8)]
    assert [None] * 8 == noted(Suspicion(), *said)


def test_upper_case_is_no_other_domain() -> None:
    """Domains are compared as DNS does."""
    answers = noted(Suspicion(), (0, "a", FAULT), (1, "A", FAULT), (2, "b", FAULT))
    assert [None] * 3 == answers


def test_message_noted_again_is_one_message() -> None:
    """A retry of the same message adds nothing, and its id is handed back once."""
    said = [(0, "a", FAULT), (1, "b", FAULT), (0, "a", FAULT), (2, "c", FAULT)]
    assert (FAULT, IDS[:3]) == noted(Suspicion(), *said)[-1]


def test_verdict_is_forgotten_once_given() -> None:
    """The next suspicion starts from nothing."""
    suspicion = Suspicion()
    noted(suspicion, (0, "a", FAULT), (1, "b", FAULT), (2, "c", FAULT))
    assert [None, None] == noted(suspicion, (3, "d", FAULT), (4, "e", FAULT))


@pytest.mark.parametrize(
    ("said", "blamed"),
    [
        ([FAULT, LOGIN, LOGIN], LOGIN),
        ([LOGIN, LOGIN, FAULT], LOGIN),
        ([FAULT, LOGIN, SLOWER], SLOWER),
    ],
)
def test_most_common_suspicion_is_the_verdict(said: list[Outcome], blamed: Outcome) -> None:
    """What most messages met is what the transport has; of equally common ones the latest."""
    answers = noted(
        Suspicion(), *((number, "abc"[number], what) for number, what in enumerate(said))
    )
    assert (blamed, IDS[:3]) == answers[-1]


def test_latest_of_equally_common_suspicions_need_not_be_the_last() -> None:
    """Two of one, then two of another, then one of a third: the second kind."""
    answers = noted(
        Suspicion(),
        (0, "a", FAULT),
        (1, "b", FAULT),
        (2, "a", LOGIN),
        (3, "b", LOGIN),
        (4, "c", SLOWER),
    )
    assert (LOGIN, IDS[:5]) == answers[-1]


def test_message_counts_with_what_it_met_last() -> None:
    """A message that met one thing and then another speaks for the other only."""
    answers = noted(Suspicion(), (0, "a", FAULT), (1, "b", FAULT), (0, "a", LOGIN), (2, "c", LOGIN))
    assert (LOGIN, IDS[:3]) == answers[-1]


def test_take_hands_over_the_suspects_once() -> None:
    """When a breaker opens for another reason, each suspect gets its attempt back once."""
    suspicion = Suspicion()
    noted(suspicion, (0, "a", FAULT), (1, "a", FAULT))
    assert [IDS[:2], []] == [suspicion.take(), suspicion.take()]


def test_memory_is_bounded_and_other_domains_stay_suspect() -> None:
    """Thousands for one domain push its own oldest out, and nobody else's."""
    suspicion = Suspicion()
    first = suspicion.note(IDS[0], "b.example", FAULT)
    many = [uuid.UUID(int=number) for number in range(100, 5100)]
    flood = {suspicion.note(each, "a.example", FAULT) for each in many}
    assert (None, {None}) == (first, flood)
    assert (FAULT, [IDS[0], *many[-32:], IDS[1]]) == suspicion.note(IDS[1], "c.example", FAULT)


@given(notes=notes, suspect=suspects)
def test_verdict_comes_with_three_domains_since_the_last_acceptance(
    notes: list[tuple[int, str] | None], suspect: Outcome
) -> None:
    """Exactly when three domains were met since an acceptance or a verdict, whatever the order."""
    suspicion = Suspicion()
    domains: set[str] = set()
    for note in notes:
        if note is None:
            suspicion.note_accepted()
            domains.clear()
            continue
        number, domain = note
        domains.add(domain)
        # One message has one domain.
        answer = suspicion.note(
            uuid.uuid5(uuid.NAMESPACE_DNS, f"{number}.{domain}"), domain, suspect
        )
        assert (len(domains) == 3) == (answer is not None)
        if answer is not None:
            domains.clear()
