"""The SMTP URI: one line that says where mail goes, how it is protected, and who sends it.

::

    smtp[s]://[user:password@]host[:port][/][?parameter=value[&parameter=value]]

User and password are percent-encoded UTF-8, ``+`` is a plus sign, an IPv6 address stands in
brackets. A parameter that is ``false`` is the same as one that is absent. The URI is taken apart
here and not by :func:`urllib.parse.urlsplit`, which drops tabs and line ends in silence and repeats
what it was given in its errors.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from flask_courier.core.characters import has_blank, has_control
from flask_courier.core.errors import SmtpUriError
from flask_courier.core.hosts import HostFault, bracketed, is_host_name, read_host_port

_SKIP_VERIFY = "skip_ssl_verify"
_CLEARTEXT = "disable_starttls"
_SERVER_NAME = "server_name"
_PARAMETERS = (_SKIP_VERIFY, _CLEARTEXT, _SERVER_NAME)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_FAULTS = {
    HostFault.EMPTY: ("The SMTP URI has no host: write smtp://host or smtp://user:password@host."),
    HostFault.IPV6: (
        "The SMTP URI has an IPv6 address that cannot be read: write it in brackets and without"
        " a zone, like smtp://[2001:db8::25]:587/."
    ),
    HostFault.NAME: (
        "The SMTP URI has a host that is neither a host name nor an IP address: use letters,"
        " digits, hyphens and dots, and write an international name in its ASCII form (xn--…)."
    ),
    HostFault.PORT: (
        "The SMTP URI has a port that is not a number from 1 to 65535: correct it, or leave it"
        " out; a user name and password are followed by '@' and the host."
    ),
}


class Security(enum.Enum):
    """How a connection is protected; there is no fall-back from one to another."""

    #: TLS is started with STARTTLS before anything else is said (RFC 3207); required.
    STARTTLS = "starttls"
    #: Cleartext: STARTTLS is not used even where it is offered.
    PLAINTEXT = "plaintext"
    #: TLS from the first byte (RFC 8314 section 3.3).
    IMPLICIT = "implicit"


_DEFAULT_PORTS = {Security.STARTTLS: 587, Security.PLAINTEXT: 25, Security.IMPLICIT: 465}


@dataclass(frozen=True)
class SmtpUri:
    """A parsed SMTP URI. Its repr and ``str()`` show neither user name nor password."""

    #: What is dialled: a name in lower case, an IPv4 address, or an IPv6 address without brackets.
    host: str
    port: int
    security: Security
    #: Whether the server's certificate is checked; always True for PLAINTEXT, which has none.
    verify: bool = True
    #: Not shown either: some providers use the same token as user name and password.
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    #: The name on the server's certificate, if it is not ``host``.
    server_name: str | None = None

    @property
    def tls_name(self) -> str:
        """What goes into SNI and what the certificate is checked against."""
        # A certificate and SNI have no dot at the end (RFC 6066 section 3).
        return self.server_name or self.host.removesuffix(".")

    @property
    def origin(self) -> str:
        """``smtp.example.com:587``, an IPv6 address in brackets: safe to log and to show."""
        return f"{bracketed(self.host)}:{self.port}"


def parse_smtp_uri(uri: str) -> SmtpUri:
    """Read an SMTP URI.

    :raises SmtpUriError: with what to change; the message repeats nothing of the URI.
    """
    scheme, rest = _split_scheme(uri)
    authority, path, query = _split_rest(rest)
    if path not in ("", "/"):
        raise SmtpUriError(
            "The SMTP URI has a path: nothing but '/' may stand between the host and '?'."
        )
    userinfo, at_sign, place = authority.rpartition("@")
    username, password = _read_credentials(userinfo) if at_sign else (None, None)
    located = read_host_port(place)
    if isinstance(located, HostFault):
        raise SmtpUriError(_HOST_FAULTS[located])
    parameters = _read_parameters(query)
    security = _read_security(scheme, parameters)
    return SmtpUri(
        host=located.host,
        port=located.port or _DEFAULT_PORTS[security],
        security=security,
        verify=not _is_true(parameters, _SKIP_VERIFY),
        username=username,
        password=password,
        server_name=_read_server_name(parameters),
    )


def format_with_credentials(uri: SmtpUri) -> str:
    """The canonical text of ``uri``, password included: never for a log, a page or an error."""
    scheme = "smtps" if uri.security is Security.IMPLICIT else "smtp"
    login = ""
    if uri.username is not None and uri.password is not None:
        login = f"{quote(uri.username, safe='')}:{quote(uri.password, safe='')}@"
    parameters = [
        *([] if uri.verify else [f"{_SKIP_VERIFY}=true"]),
        *([f"{_CLEARTEXT}=true"] if uri.security is Security.PLAINTEXT else []),
        *([f"{_SERVER_NAME}={uri.server_name}"] if uri.server_name else []),
    ]
    query = f"?{'&'.join(parameters)}" if parameters else ""
    return f"{scheme}://{login}{uri.origin}/{query}"


def _split_scheme(uri: str) -> tuple[str, str]:
    if not uri:
        raise SmtpUriError(
            "The SMTP URI is empty: write it like smtp://user:password@smtp.example.com:587/."
        )
    if has_blank(uri):
        raise SmtpUriError(
            "The SMTP URI contains whitespace or a control character: remove it, or write a"
            " space in a user name or password as %20."
        )
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise SmtpUriError(
            "The SMTP URI has no scheme: begin it with smtp:// (STARTTLS) or smtps:// (TLS from"
            " the first byte)."
        )
    if scheme.lower() not in ("smtp", "smtps"):
        raise SmtpUriError(
            "The SMTP URI has an unknown scheme: begin it with smtp:// (STARTTLS) or smtps://"
            " (TLS from the first byte)."
        )
    return scheme.lower(), rest


def _split_rest(rest: str) -> tuple[str, str, str]:
    """Authority, path and query; what only an unencoded password can explain is refused."""
    if "#" in rest:
        raise SmtpUriError(
            "The SMTP URI contains '#': in a user name or password write it as %23; a fragment"
            " has no meaning here."
        )
    if _BAD_PERCENT.search(rest):
        raise SmtpUriError(
            "The SMTP URI contains a '%' without two hexadecimal digits after it: write a"
            " percent sign as %25."
        )
    before_query, _, query = rest.partition("?")
    authority, slash, path = before_query.partition("/")
    if "@" in path or "@" in query:
        raise SmtpUriError(
            "The SMTP URI has an '@' after its first '/' or '?': in a user name or password"
            " write '/' as %2F, '?' as %3F and '@' as %40."
        )
    if authority.count("@") > 1:
        raise SmtpUriError(
            "The SMTP URI has more than one '@': in a user name or password write it as %40."
        )
    return authority, slash + path, query


def _read_credentials(userinfo: str) -> tuple[str, str]:
    user, _, password = userinfo.partition(":")
    if not user and not password:
        raise SmtpUriError(
            "The SMTP URI has an '@' but neither user name nor password: write"
            " user:password@host, or the host alone."
        )
    if not password:
        raise SmtpUriError(
            "The SMTP URI has a user name but no password: write user:password@host, or the host"
            " alone."
        )
    if not user:
        raise SmtpUriError(
            "The SMTP URI has a password but no user name: write user:password@host, or the host"
            " alone."
        )
    return _decode(user), _decode(password)


def _read_parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, _, value = item.partition("=")
        if name not in _PARAMETERS:
            # Not repeated: behind an unencoded '?' it may be part of a password.
            near = difflib.get_close_matches(name.lower(), _PARAMETERS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SmtpUriError(
                f"The SMTP URI has an unknown parameter{hint}: the known ones are"
                " skip_ssl_verify, disable_starttls and server_name."
            )
        if name in parameters:
            raise SmtpUriError(f"The SMTP URI has {name} more than once: keep one.")
        parameters[name] = _decode(value)
        if name != _SERVER_NAME and parameters[name] not in _BOOLEANS:
            raise SmtpUriError(
                f"The SMTP URI has a {name} that is not a boolean: write true or false (or 1 or 0)."
            )
    return parameters


def _read_security(scheme: str, parameters: Mapping[str, str]) -> Security:
    cleartext = _is_true(parameters, _CLEARTEXT)
    if scheme == "smtps":
        if cleartext:
            raise SmtpUriError(
                "The SMTP URI combines smtps:// with disable_starttls: smtps:// is TLS from the"
                " first byte; remove disable_starttls, or write smtp:// for cleartext."
            )
        return Security.IMPLICIT
    if not cleartext:
        return Security.STARTTLS
    about_tls = [
        *([_SKIP_VERIFY] if _is_true(parameters, _SKIP_VERIFY) else []),
        *([_SERVER_NAME] if _SERVER_NAME in parameters else []),
    ]
    if about_tls:
        raise SmtpUriError(
            f"The SMTP URI combines disable_starttls with {about_tls[0]}: a cleartext connection"
            " has no certificate; remove one of the two."
        )
    return Security.PLAINTEXT


def _read_server_name(parameters: Mapping[str, str]) -> str | None:
    name = parameters.get(_SERVER_NAME)
    if name is None:
        return None
    if not is_host_name(name):
        raise SmtpUriError(
            "The SMTP URI has a server_name that is not a host name: write the name on the"
            " server's certificate, like smtp.example.com."
        )
    return name.lower()


def _is_true(parameters: Mapping[str, str], name: str) -> bool:
    return _BOOLEANS.get(parameters.get(name, ""), False)


def _decode(text: str) -> str:
    decoded = unquote_to_bytes(text).decode("utf-8", "replace")
    # U+FFFD marks bytes that were not UTF-8; nobody has it in a password on purpose.
    if "\N{REPLACEMENT CHARACTER}" in decoded:
        raise SmtpUriError(
            "The SMTP URI has percent-encoded bytes that are not UTF-8: encode the text as UTF-8"
            " before its percent-encoding."
        )
    if has_control(decoded):
        raise SmtpUriError(
            "The SMTP URI has a control character behind a percent-encoding (such as %0A, %0D or"
            " %00): remove it."
        )
    return decoded
