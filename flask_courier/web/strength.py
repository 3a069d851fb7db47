"""How hard a password is to guess, by zxcvbn (Wheeler, USENIX Security 2016)."""

from __future__ import annotations

from collections.abc import Sequence

#: zxcvbn's time grows steeply with the length, and a guess of the beginning is a lower bound.
_CHARACTERS = 24


def is_weak(password: str, least: int, personal: Sequence[str]) -> bool:
    """Whether ``password`` falls short of the score ``least``, 1 to 4.

    :param personal: what a guesser would try first: the account's address, the site's name.
    """
    # The extra [password]; init_app has made sure of it.
    from zxcvbn import zxcvbn  # noqa: PLC0415

    score: int = zxcvbn(password[:_CHARACTERS], user_inputs=list(personal))["score"]
    return score < least
