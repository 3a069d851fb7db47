"""Addresses: what is one, when two are the same, and how much of one is shown."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.accounts import (
    AccountState,
    fold,
    mask_address,
    normalise_address,
    spellings,
)
from flask_courier.core.errors import AddressError

DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"
KELVIN = "\N{KELVIN SIGN}"
FULLWIDTH_A = "\N{FULLWIDTH LATIN CAPITAL LETTER A}"
CYRILLIC_A = "\N{CYRILLIC SMALL LETTER A}"
ACUTE = "\N{COMBINING ACUTE ACCENT}"

addresses = st.builds(
    "{}@{}".format,
    st.text(min_size=1, max_size=12),
    st.one_of(st.text(max_size=12), st.sampled_from(["example.com", "Bücher.example", "xn--a"])),
)


@pytest.mark.parametrize(
    ("spelling", "folded"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@EXAMPLE.Com", "ada@example.com"),
        (f"{FULLWIDTH_A}da@example.com", "ada@example.com"),
        (f"{KELVIN}ate@example.com", "kate@example.com"),
        (f"jose{ACUTE}@example.com", "josé@example.com"),
        ("JOSÉ@example.com", "josé@example.com"),
        (f"\u03aa{ACUTE}@example.com", "\u0390@example.com"),
        ("ada@Bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ("ada@example\N{IDEOGRAPHIC FULL STOP}com", "ada@example.com"),
        (f"ada@{KELVIN}.example", "ada@k.example"),
        ("ada@[192.0.2.1]", "ada@[192.0.2.1]"),
        ("ada@LOCALHOST", "ada@localhost"),
        ("no-at-sign", "@no-at-sign"),
        ("two@at@example.com", "two@at@example.com"),
        ("", "@"),
    ],
)
def test_fold(spelling: str, folded: str) -> None:
    """Two spellings of one address have one folded form; what is no address has one too."""
    assert folded == fold(spelling)


@pytest.mark.parametrize(
    "look_alike",
    [
        f"m{DOTLESS_I}ke@example.com",
        "m\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}ke@example.com",
        "m\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}ke@example.com",
        f"mike@ex{CYRILLIC_A}mple.com",
        "míke@example.com",
        "mike@examp1e.com",
        "mike @example.com",
        "mike\0@example.com",
    ],
    ids=ascii,
)
def test_s28_look_alikes_stay_different(look_alike: str) -> None:
    """CVE-2019-19844: an address of other letters is never the same address."""
    assert fold("mike@example.com") != fold(look_alike)


@given(address=addresses)
@example(address="\u0130@example.com")
@example(address="\u03d4@example.com")
@example(address="ΟΔΟΣ@example.com")
@example(address="a@\u0130.example")
@example(address="\u03aa\u0301@example.com")
def test_folding_twice_changes_nothing(address: str) -> None:
    """A folded address is its own folded form."""
    assert fold(address) == fold(fold(address))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@EXAMPLE.com", "Ada@example.com"),
        ("ada+tag@example.com", "ada+tag@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        (f"jose{ACUTE}@bücher.example", "josé@xn--bcher-kva.example"),
        (f"m{DOTLESS_I}ke@example.com", f"m{DOTLESS_I}ke@example.com"),
        (f"mike@ex{DOTLESS_I}t.example", "mike@xn--ext-kua.example"),
        ("ada@smtp.test", "ada@smtp.test"),
    ],
    ids=ascii,
)
def test_normalise(text: str, address: str) -> None:
    """The local part stays as it was written, in NFC; the domain is lower case and ASCII."""
    assert address == normalise_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "ada@example",
        "ada@localhost",
        "ada@[192.0.2.1]",
        "ada@-example.com",
        " ada@example.com",
        "ada@example.com ",
        "ada@example.com\n",
        "ada\r\nBcc: eve@example.com@example.com",
        "ada\0@example.com",
        "ada@exa\0mple.com",
        "Ada <ada@example.com>",
        "ada@example.com,eve@example.com",
        '"a b"@example.com',
        "a" * 250 + "@example.com",
        "ada@" + "b" * 250 + ".com",
        "\ud800@example.com",
    ],
    ids=ascii,
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The error says how an address looks and repeats nothing."""
    with pytest.raises(AddressError) as caught:
        normalise_address(text)
    expected = "a recipient is not an e-mail address; it must look like name@example.com"
    assert expected == str(caught.value)
    assert caught.value.__suppress_context__ is True


@given(text=st.one_of(st.text(), addresses, st.emails()))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """Any text is refused, or is an address that is its own normal form, of one line and 254."""
    try:
        address = normalise_address(text)
    except AddressError:
        return
    assert address == normalise_address(address)
    assert (1, True) == (len(address.splitlines()), len(address) <= 254)


@given(text=st.emails())
def test_normalising_keeps_the_folded_form(text: str) -> None:
    """What was typed and what is mailed to are one address."""
    assert fold(text) == fold(normalise_address(text))


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("ada@example.com", ["ada@example.com"]),
        ("Ada@Example.com", ["Ada@Example.com", "ada@example.com"]),
        (
            "Ada@xn--bcher-kva.example",
            [
                "Ada@xn--bcher-kva.example",
                "ada@xn--bcher-kva.example",
                "ada@bücher.example",
            ],
        ),
        ("ada@[192.0.2.1]", ["ada@[192.0.2.1]"]),
    ],
)
def test_spellings(address: str, stored: list[str]) -> None:
    """An address is looked for as it came, folded, and with its domain in its own script."""
    assert stored == spellings(address)


@given(address=addresses)
def test_every_spelling_is_the_same_address(address: str) -> None:
    """Whatever is looked for folds to what was asked."""
    assert {fold(address)} == {fold(spelling) for spelling in spellings(address)}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada@example.com", "a•••@example.com"),
        ("a@example.com", "a•••@example.com"),
        ("é@xn--bcher-kva.example", "é•••@xn--bcher-kva.example"),
        ('"a@b"@example.com', '"•••@example.com'),
        ("@example.com", "•••@example.com"),
    ],
)
def test_mask(address: str, shown: str) -> None:
    """One character and the domain are shown, and not how long the rest is."""
    assert shown == mask_address(address)


def test_state_shows_no_hash_and_no_stamp() -> None:
    """The repr of an account's state leaves out what an attacker could use."""
    state = AccountState(
        "ada@example.com", active=True, verified=False, password_hash="hunter2", security_stamp="s3"
    )
    expected = "AccountState(address='ada@example.com', active=True, verified=False, locale=None)"
    assert expected == repr(state)
