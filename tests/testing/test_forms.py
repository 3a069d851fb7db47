"""``form_data``: what a browser would send back from one of our pages."""

from __future__ import annotations

import pytest

from flask_courier.testing import form_data

PAGE = """
<form method="get"><input name="q" value="search"></form>
<form method="POST" action="/account/recovery">
  <input type="hidden" name="form_token" value="a&amp;b">
  <input name="email"><input type="submit" value="Send"><input type="checkbox" checked name="on">
</form>
<form method="post"><input name="other"></form>
<input name="outside">
"""


def test_fields_of_the_first_form_that_posts() -> None:
    """Hidden fields keep their value, empty ones are empty, and given ones are filled in."""
    assert {
        "form_token": "a&b",
        "email": "ada@example.com",
        "on": "",
    } == form_data(PAGE, email="ada@example.com")


def test_no_form_that_posts() -> None:
    """A page without a form that posts is an error."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        form_data("<form><input name='q'></form>")
    assert "there is no form on this page that posts" == str(caught.value)


def test_unknown_field() -> None:
    """A field that the form does not have is an error that names those it has."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        form_data(PAGE, mail="ada@example.com")
    assert "the form has no field 'mail'; it has email, form_token, on" == str(caught.value)
