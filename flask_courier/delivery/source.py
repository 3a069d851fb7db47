"""A mail as it goes out, for people to read: a dot in place of each character of a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flask_courier.core.messages import Credentials, Mail
from flask_courier.core.tokens import TOKEN_LENGTH, Secret

#: Two letters that stand for secrets. They differ in every bit that ASCII has, so that they differ
#: in whatever base64 makes of them, and no encoding has to write either in another way.
_ONE, _OTHER = "F", "9"
_DOT = "\N{BULLET}"


def masked_source(compose: Callable[[Mail], bytes], mail: Mail, *, code_digits: int) -> str:
    """``mail`` as ``compose`` writes it, byte for byte but for its secrets.

    It is composed twice, with stand-ins as long as the secrets were: only what comes of them
    differs, in quoted-printable, base64 and encoded words alike.

    :raises RenderError: as ``compose`` does.
    """
    if mail.rendered.placeholder is None:
        return compose(mail).decode("utf-8", "replace")
    one, other = (
        compose(replace(mail, credentials=_stand_in(letter, code_digits)))
        .decode("utf-8", "replace")
        .split("\n")
        for letter in (_ONE, _OTHER)
    )
    return "\n".join(map(_differences, one, other))


def _stand_in(letter: str, code_digits: int) -> Credentials:
    token = Secret(letter * TOKEN_LENGTH)
    return Credentials(token, Secret(letter * code_digits), token)


def _differences(one: str, other: str) -> str:
    if one == other:
        return one
    return "".join(a if a == b else _DOT for a, b in zip(one, other, strict=True))
