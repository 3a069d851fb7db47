"""The SMTP URI: what it means, what is refused and how, and what it never gives away."""

from __future__ import annotations

import ipaddress
import logging
import string
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.errors import SmtpUriError
from flask_courier.core.smtp_uri import (
    Security,
    SmtpUri,
    format_with_credentials,
    parse_smtp_uri,
)

MARK = "hunter2-S3CRET"

MODES = {
    "smtp://user:pass@mail.acme.example:2525/": SmtpUri(
        "mail.acme.example", 2525, Security.STARTTLS, username="user", password="pass"
    ),
    "smtp://user:pass@mail.acme.example/?skip_ssl_verify=true": SmtpUri(
        "mail.acme.example",
        587,
        Security.STARTTLS,
        verify=False,
        username="user",
        password="pass",
    ),
    "smtp://user:pass@mail.acme.example/?disable_starttls=true": SmtpUri(
        "mail.acme.example", 25, Security.PLAINTEXT, username="user", password="pass"
    ),
    "smtps://user:pass@mail.acme.example/": SmtpUri(
        "mail.acme.example", 465, Security.IMPLICIT, username="user", password="pass"
    ),
    "smtps://user:pass@mail.acme.example/?skip_ssl_verify=true": SmtpUri(
        "mail.acme.example",
        465,
        Security.IMPLICIT,
        verify=False,
        username="user",
        password="pass",
    ),
    "smtps://user:pass@10.0.0.25/?server_name=mail.acme.example": SmtpUri(
        "10.0.0.25",
        465,
        Security.IMPLICIT,
        username="user",
        password="pass",
        server_name="mail.acme.example",
    ),
}

# What each provider's documentation gives as user name and password, percent-encoded.
PROVIDERS = {
    "smtp://some-user%40mailgun.example.org:pa55@smtp.mailgun.org:587/": (
        "some-user@mailgun.example.org",
        "pa55",
    ),
    "smtp://AKIAIOSFODNN7EXAMPLE:BLl%2Fx0%2B4c+q%3D@email-smtp.eu-west-1.amazonaws.com/": (
        "AKIAIOSFODNN7EXAMPLE",
        "BLl/x0+4c+q=",
    ),
    "smtp://8f0c1d2e-token:8f0c1d2e-token@smtp.postmarkapp.com:587/": (
        "8f0c1d2e-token",
        "8f0c1d2e-token",
    ),
}

BLANK = (
    "The SMTP URI contains whitespace or a control character: remove it, or write a space in a"
    " user name or password as %20."
)
NO_SCHEME = (
    "The SMTP URI has no scheme: begin it with smtp:// (STARTTLS) or smtps:// (TLS from the first"
    " byte)."
)
UNKNOWN_SCHEME = (
    "The SMTP URI has an unknown scheme: begin it with smtp:// (STARTTLS) or smtps:// (TLS from"
    " the first byte)."
)
FRAGMENT = (
    "The SMTP URI contains '#': in a user name or password write it as %23; a fragment has no"
    " meaning here."
)
PERCENT = (
    "The SMTP URI contains a '%' without two hexadecimal digits after it: write a percent sign as"
    " %25."
)
LATE_AT = (
    "The SMTP URI has an '@' after its first '/' or '?': in a user name or password write '/' as"
    " %2F, '?' as %3F and '@' as %40."
)
NOT_UTF8 = (
    "The SMTP URI has percent-encoded bytes that are not UTF-8: encode the text as UTF-8 before its"
    " percent-encoding."
)
CONTROL = (
    "The SMTP URI has a control character behind a percent-encoding (such as %0A, %0D or %00):"
    " remove it."
)
NO_PASSWORD = (
    "The SMTP URI has a user name but no password: write user:password@host, or the host alone."
)
NO_USER = (
    "The SMTP URI has a password but no user name: write user:password@host, or the host alone."
)
NO_LOGIN = (
    "The SMTP URI has an '@' but neither user name nor password: write user:password@host, or the"
    " host alone."
)
NO_HOST = "The SMTP URI has no host: write smtp://host or smtp://user:password@host."
BAD_IPV6 = (
    "The SMTP URI has an IPv6 address that cannot be read: write it in brackets and without a zone,"
    " like smtp://[2001:db8::25]:587/."
)
BAD_HOST = (
    "The SMTP URI has a host that is neither a host name nor an IP address: use letters, digits,"
    " hyphens and dots, and write an international name in its ASCII form (xn--…)."
)
BAD_PORT = (
    "The SMTP URI has a port that is not a number from 1 to 65535: correct it, or leave it out; a"
    " user name and password are followed by '@' and the host."
)
PATH = "The SMTP URI has a path: nothing but '/' may stand between the host and '?'."
UNKNOWN = (
    "The SMTP URI has an unknown parameter: the known ones are skip_ssl_verify, disable_starttls"
    " and server_name."
)
NEAR = (
    "The SMTP URI has an unknown parameter (did you mean skip_ssl_verify?): the known ones are"
    " skip_ssl_verify, disable_starttls and server_name."
)
SERVER_NAME = (
    "The SMTP URI has a server_name that is not a host name: write the name on the server's"
    " certificate, like smtp.example.com."
)
SMTPS_CLEARTEXT = (
    "The SMTP URI combines smtps:// with disable_starttls: smtps:// is TLS from the first byte;"
    " remove disable_starttls, or write smtp:// for cleartext."
)


def not_boolean(name: str) -> str:
    """The refusal of a boolean parameter's value."""
    return f"The SMTP URI has a {name} that is not a boolean: write true or false (or 1 or 0)."


def useless(name: str) -> str:
    """The refusal of a parameter about TLS in cleartext."""
    return (
        f"The SMTP URI combines disable_starttls with {name}: a cleartext connection has no"
        " certificate; remove one of the two."
    )


REFUSED = {
    "": "The SMTP URI is empty: write it like smtp://user:password@smtp.example.com:587/.",
    " ": BLANK,
    " smtp://h": BLANK,
    "smtp://h\n": BLANK,
    "smtp://u:a b@h": BLANK,
    "smtp://u:a\tb@h": BLANK,
    "smtp://u:a\r\nb@h": BLANK,
    "smtp://u:a\0b@h": BLANK,
    "smtp://u:a\x7fb@h": BLANK,
    "smtp://u:a\u2028b@h": BLANK,
    "\ufeffsmtp://h": BLANK,
    "smtp://u:\ud800@h": BLANK,
    "smtp.acme.example:587": NO_SCHEME,
    "smtp:h": NO_SCHEME,
    "log:": NO_SCHEME,
    "://h": UNKNOWN_SCHEME,
    "http://h": UNKNOWN_SCHEME,
    "smtp+tls://h": UNKNOWN_SCHEME,
    '"smtp://h"': UNKNOWN_SCHEME,
    "smtp://h#x": FRAGMENT,
    "smtp://u:p#ss@h": FRAGMENT,
    "smtp://u:100%@h": PERCENT,
    "smtp://u:%4@h": PERCENT,
    "smtp://u:%zz@h": PERCENT,
    "smtp://[fe80::1%eth0]": PERCENT,
    "smtp://h?server_name=%": PERCENT,
    "smtp://u:p/ss@h": LATE_AT,
    "smtp://u:p?ss@h": LATE_AT,
    "smtp://h/?server_name=a@b": LATE_AT,
    "smtp://u@mail.example:p@h": (
        "The SMTP URI has more than one '@': in a user name or password write it as %40."
    ),
    "smtp://u:%ff@h": NOT_UTF8,
    "smtp://%C3:p@h": NOT_UTF8,
    "smtp://u:p%0D%0AQUIT@h": CONTROL,
    "smtp://u%00:p@h": CONTROL,
    "smtp://u:p%09@h": CONTROL,
    "smtp://u:%C2%85@h": CONTROL,
    "smtp://u:%E2%80%A9@h": CONTROL,
    "smtp://h?server_name=a%00": CONTROL,
    "smtp://user@h": NO_PASSWORD,
    "smtp://user:@h": NO_PASSWORD,
    "smtp://:pass@h": NO_USER,
    "smtp://@h": NO_LOGIN,
    "smtp://:@h": NO_LOGIN,
    "smtp://": NO_HOST,
    "smtp:///": NO_HOST,
    "smtp://?skip_ssl_verify=true": NO_HOST,
    "smtp://u:p@": NO_HOST,
    "smtp://u:p@:25": NO_HOST,
    "smtp://[]": BAD_IPV6,
    "smtp://[::1": BAD_IPV6,
    "smtp://[::1]25": BAD_IPV6,
    "smtp://[::g]": BAD_IPV6,
    "smtp://[127.0.0.1]": BAD_IPV6,
    "smtp://[fe80::1%25eth0]": BAD_IPV6,
    "smtp://::1": BAD_IPV6,
    "smtp://2001:db8::25:587": BAD_IPV6,
    "smtp://::1]": BAD_IPV6,
    "smtp://a..b": BAD_HOST,
    "smtp://.": BAD_HOST,
    "smtp://-a": BAD_HOST,
    "smtp://a%2Eb": BAD_HOST,
    "smtp://a,b": BAD_HOST,
    "smtp://a\\b": BAD_HOST,
    "smtp://m\u00fcller.example": BAD_HOST,
    "smtp://10.0.0.256": BAD_HOST,
    "smtp://10.0.1": BAD_HOST,
    "smtp://10.0.0.1.": BAD_HOST,
    f"smtp://{'a' * 64}.example": BAD_HOST,
    f"smtp://{'a.' * 127}example": BAD_HOST,
    "smtp://h:": BAD_PORT,
    "smtp://h:0": BAD_PORT,
    "smtp://h:65536": BAD_PORT,
    "smtp://h:-25": BAD_PORT,
    "smtp://h:+25": BAD_PORT,
    "smtp://h:2_5": BAD_PORT,
    "smtp://h:smtp": BAD_PORT,
    "smtp://h:\u0662\u0665": BAD_PORT,
    f"smtp://h:{'9' * 5000}": BAD_PORT,
    "smtp://user:pass": BAD_PORT,
    "smtp://[::1]:": BAD_PORT,
    "smtp://h/inbox": PATH,
    "smtp://h//": PATH,
    "smtp://h?verify=false": UNKNOWN,
    "smtp://h?skip_ssl_verify=true&": UNKNOWN,
    "smtp://h?&": UNKNOWN,
    "smtp://h?server%5Fname=a": (
        "The SMTP URI has an unknown parameter (did you mean server_name?): the known ones are"
        " skip_ssl_verify, disable_starttls and server_name."
    ),
    "smtp://h?skip_tls_verify=true": NEAR,
    "smtp://h?Skip_SSL_Verify=true": NEAR,
    "smtp://h?skip_ssl_verify=1&skip_ssl_verify=1": (
        "The SMTP URI has skip_ssl_verify more than once: keep one."
    ),
    "smtp://h?server_name=a&server_name=b": (
        "The SMTP URI has server_name more than once: keep one."
    ),
    "smtp://h?skip_ssl_verify": not_boolean("skip_ssl_verify"),
    "smtp://h?skip_ssl_verify=": not_boolean("skip_ssl_verify"),
    "smtp://h?skip_ssl_verify=yes": not_boolean("skip_ssl_verify"),
    "smtp://h?disable_starttls=True": not_boolean("disable_starttls"),
    "smtp://h?disable_starttls=true;skip_ssl_verify=true": not_boolean("disable_starttls"),
    "smtps://h?disable_starttls=true": SMTPS_CLEARTEXT,
    "smtps://h?disable_starttls=1&server_name=a": SMTPS_CLEARTEXT,
    "smtp://h?disable_starttls=true&server_name=a": useless("server_name"),
    "smtp://h?disable_starttls=true&skip_ssl_verify=true": useless("skip_ssl_verify"),
    "smtp://h?server_name=": SERVER_NAME,
    "smtp://h?server_name=a+b": SERVER_NAME,
    "smtp://h?server_name=a%20b": SERVER_NAME,
    "smtp://h?server_name=*.acme.example": SERVER_NAME,
    "smtp://h?server_name=a:25": SERVER_NAME,
    "smtp://h?server_name=10.0.0.1": SERVER_NAME,
    "smtp://h?server_name=[::1]": SERVER_NAME,
    "smtp://h?server_name=a.": SERVER_NAME,
}


@pytest.mark.parametrize("uri", MODES)
def test_every_mode_has_its_meaning(uri: str) -> None:
    """Scheme and parameters decide protection, verification and default port."""
    assert MODES[uri] == parse_smtp_uri(uri)


@pytest.mark.parametrize("uri", PROVIDERS)
def test_credentials_of_providers_are_decoded(uri: str) -> None:
    """Mailgun's '@', the '/' and '+' of SES and Postmark's token twice arrive as they are."""
    parsed = parse_smtp_uri(uri)

    assert PROVIDERS[uri] == (parsed.username, parsed.password)


@pytest.mark.parametrize("uri", REFUSED)
def test_a_refused_form_says_what_to_change(uri: str) -> None:
    """Each form that is refused has its own message, which repeats nothing of the URI."""
    with pytest.raises(SmtpUriError) as caught:
        parse_smtp_uri(uri)

    assert REFUSED[uri] == str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("smtp://h", 587),
        ("smtp://h?", 587),
        ("smtp://h/?disable_starttls=1", 25),
        ("smtps://h/", 465),
        ("smtp://h:00025", 25),
        ("smtp://h:65535", 65535),
    ],
)
def test_a_port_is_read_or_goes_without_saying(uri: str, port: int) -> None:
    """A missing port is 587, 25 in cleartext, 465 with TLS from the first byte."""
    assert port == parse_smtp_uri(uri).port


@pytest.mark.parametrize(
    "uri",
    [
        "SMTP://MAIL.Acme.Example",
        "smtp://mail.acme.example?skip_ssl_verify=false",
        "smtp://mail.acme.example?disable_starttls=0&skip_ssl_verify=0",
    ],
)
def test_case_and_false_change_nothing(uri: str) -> None:
    """Scheme and host ignore case, and a false parameter is an absent one."""
    assert parse_smtp_uri("smtp://mail.acme.example") == parse_smtp_uri(uri)


def test_a_false_parameter_contradicts_nothing() -> None:
    """``disable_starttls=false`` is harmless under smtps."""
    assert parse_smtp_uri("smtps://h") == parse_smtp_uri("smtps://h?disable_starttls=false")


def test_an_ipv6_address_stands_in_brackets() -> None:
    """The host is the bare address in its shortest form, the origin puts the brackets back."""
    uri = parse_smtp_uri("smtp://u:p@[2001:DB8:0:0::25]:2525/")

    assert ("2001:db8::25", 2525) == (uri.host, uri.port)
    assert "[2001:db8::25]:2525" == uri.origin
    assert "2001:db8::25" == uri.tls_name


@pytest.mark.parametrize("host", ["mail_pit", "mail.acme.example.", "localhost", "192.0.2.1"])
def test_hosts_of_container_networks_can_be_dialled(host: str) -> None:
    """An underscore, a dot at the end, one label and an IPv4 address are hosts."""
    assert host == parse_smtp_uri(f"smtp://{host}").host


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("smtps://mail.acme.example", "mail.acme.example"),
        ("smtps://mail.acme.example.", "mail.acme.example"),
        ("smtps://10.0.0.25?server_name=MAIL.acme.example", "mail.acme.example"),
        ("smtp://a?skip_ssl_verify=true&server_name=b", "b"),
    ],
)
def test_the_name_for_tls_is_the_servers(uri: str, name: str) -> None:
    """``server_name`` overrides the host for SNI and verification; no dot at the end."""
    assert name == parse_smtp_uri(uri).tls_name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a:b", "a:b"),
        ("%25%23%3F%2f%40", "%#?/@"),
        ("p%C3%A4ss", "p\u00e4ss"),
        ("p\u00e4ss", "p\u00e4ss"),
    ],
)
def test_a_password_is_decoded_once(written: str, meant: str) -> None:
    """Percent-encoding is UTF-8, '+' is a plus sign, and a later ':' belongs to the password."""
    assert meant == parse_smtp_uri(f"smtp://u:{written}@h").password


def test_no_credentials_are_none() -> None:
    """A URI without '@' logs in as nobody."""
    uri = parse_smtp_uri("smtp://h")

    assert (None, None) == (uri.username, uri.password)


def test_no_text_form_shows_credentials(caplog: pytest.LogCaptureFixture) -> None:
    """Neither user name nor password is in repr, str, origin, a format, a log or a traceback."""
    caplog.set_level(logging.DEBUG)
    uri = parse_smtp_uri(f"smtp://{MARK}:{MARK}@h")
    logging.getLogger(__name__).info("%s %r", uri, uri)

    shown = f"{uri} {uri!r} {uri.origin} {uri.tls_name} {caplog.text}"

    assert MARK not in shown
    assert "SmtpUri(host='h', port=587" in shown


def test_a_traceback_shows_no_credentials() -> None:
    """The printed traceback of a refusal holds nothing of the URI."""
    with pytest.raises(SmtpUriError) as caught:
        parse_smtp_uri(f"smtp://{MARK}:{MARK}@h:port")

    assert MARK not in "".join(traceback.format_exception(caught.value))


def test_the_canonical_text_is_complete() -> None:
    """Everything is encoded, the port always written, parameters in a fixed order."""
    uri = parse_smtp_uri(
        "SMTPS://a%40b:p%2F+%20@[::1]/?server_name=Mail.acme.example&skip_ssl_verify=1"
    )

    assert (
        "smtps://a%40b:p%2F%2B%20@[::1]:465/?skip_ssl_verify=true&server_name=mail.acme.example"
        == format_with_credentials(uri)
    )


LABELS = st.text("az09-", max_size=8).map(lambda middle: f"m{middle}0")
NAMES = st.builds(lambda labels: ".".join([*labels, "example"]), st.lists(LABELS, max_size=4))
ADDRESSES = st.ip_addresses().map(str)
# Every character that may be in a user name or password, behind percent-encoding if need be.
WORDS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufffd"),
    min_size=1,
)


@st.composite
def uris(draw: st.DrawFn) -> SmtpUri:
    """Any SMTP URI that can be configured."""
    security = draw(st.sampled_from(Security))
    cleartext = security is Security.PLAINTEXT
    login = draw(st.none() | st.tuples(WORDS, WORDS))
    return SmtpUri(
        host=draw(NAMES | ADDRESSES),
        port=draw(st.integers(1, 65535)),
        security=security,
        verify=cleartext or draw(st.booleans()),
        username=login[0] if login else None,
        password=login[1] if login else None,
        server_name=None if cleartext else draw(st.none() | NAMES),
    )


@given(uris())
def test_what_is_formatted_is_parsed_back(uri: SmtpUri) -> None:
    """Text and value say the same, whatever is in user name and password."""
    assert uri == parse_smtp_uri(format_with_credentials(uri))


@given(uris())
def test_the_canonical_text_is_a_fixed_point(uri: SmtpUri) -> None:
    """Formatting what was parsed from canonical text gives that text again."""
    text = format_with_credentials(uri)

    assert text == format_with_credentials(parse_smtp_uri(text))


def read(text: str) -> SmtpUri | SmtpUriError:
    """The value of ``text`` or the error that refuses it; any other exception fails the test."""
    try:
        return parse_smtp_uri(text)
    except SmtpUriError as error:
        return error


@given(st.text() | st.text(string.punctuation + "smtpab01").map(lambda text: f"smtp://{text}"))
@example("smtp://[")
@example("smtp://\ud800@")
@example("smtp://h?" + "&" * 50)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, the parser gives a usable value or raises ``SmtpUriError``."""
    result = read(text)

    assert isinstance(result, SmtpUriError) or result == read(format_with_credentials(result))


PIECES = st.sampled_from(
    ["smtp://", "smtps:", "//", ":", "@", "/", "?", "#", "%", "[", "]", "&", "=", "host", " ",
     "server_name=", "skip_ssl_verify=", "disable_starttls=true", "::1", ":25", "\n", "\u00e4"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8), st.lists(PIECES, max_size=8))
def test_no_refusal_gives_the_password_away(before: list[str], after: list[str]) -> None:
    """However a URI is broken, a password in it is in no text or context of the error."""
    result = read("".join([*before, MARK, *after]))

    assert MARK not in f"{result} {result!r}"
    assert not isinstance(result, SmtpUriError) or result.__context__ is None


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_is_a_host(address: ipaddress.IPv6Address) -> None:
    """Long and short spellings of an IPv6 address are the same host."""
    uri = parse_smtp_uri(f"smtp://[{address.exploded}]")

    assert str(address) == uri.host
