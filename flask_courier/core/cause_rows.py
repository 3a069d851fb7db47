"""What each cause means that speaks of the connection, the encryption, the login or the sender."""

from __future__ import annotations

from collections.abc import Mapping

from flask_courier.core.cause import Cause

CONNECTION: Mapping[str, Cause] = {
    "no_such_host": Cause(
        "The name of the SMTP server does not exist.",
        "sender", "Correct the host in COURIER_SMTP_URI, or its DNS record.",
    ),
    "look_up_failed": Cause(
        "The name of the SMTP server could not be looked up for now.",
        "network", "Nothing, if it passes. Otherwise check the resolver of this machine.",
    ),
    "connection_refused": Cause(
        "Nobody answers at the SMTP server's address and port.",
        "network", "Check the port in COURIER_SMTP_URI, firewalls, and whether the server runs.",
    ),
    "timed_out": Cause(
        "The SMTP server did not answer in time.",
        "network", "Nothing, if it passes. Otherwise check firewalls and the server's load.",
    ),
    "connection_lost": Cause(
        "The connection broke before the mail was handed over.",
        "network", "Nothing: it is tried again. If it goes on, ask the provider for their log.",
    ),
    "server_closing": Cause(
        "The SMTP server is closing connections for now.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "out_of_step": Cause(
        "The SMTP server answered something that was not asked.",
        "provider", "If it goes on, check that the port speaks SMTP and no firewall rewrites it.",
    ),
    "out_of_sequence": Cause(
        "The SMTP server says that a command came out of order.",
        "provider", "Nothing: it is tried on a new connection. If it goes on, report it to us.",
    ),
    "lease_lost": Cause(
        "This worker took too long and hung up, so that another one could send the mail.",
        "us", "Nothing: another worker sends it. If it goes on, look for a slow or paused machine.",
    ),
    "server_full": Cause(
        "The SMTP server has no room for more mail at the moment.",
        "provider", "Nothing: it is tried again. If it goes on, tell whoever runs the server.",
    ),
    "server_trouble": Cause(
        "The SMTP server has a passing trouble of its own.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "server_refused": Cause(
        "The SMTP server refuses this connection for good.",
        "sender", "Read the server's words and check COURIER_SMTP_URI with the provider.",
    ),
    "banner_refused": Cause(
        "The SMTP server turns this machine away before anything is said.",
        "sender", "Ask the provider whether this machine's IP address is blocked or unknown.",
    ),
    "ehlo_refused": Cause(
        "The SMTP server does not accept the name by which this machine greets it.",
        "sender", "Set COURIER_SMTP_LOCAL_NAME to a full host name that exists.",
    ),
}  # fmt: skip

ENCRYPTION_AND_LOGIN: Mapping[str, Cause] = {
    "certificate_expired": Cause(
        "The certificate of the SMTP server has expired, so nothing was sent.",
        "provider", "Have whoever runs the server renew it. Until then the mail waits.",
    ),
    "certificate_name": Cause(
        "The certificate of the SMTP server is for another name, so nothing was sent.",
        "sender", "Write the certificate's name as host in COURIER_SMTP_URI, or as server_name.",
    ),
    "certificate_issuer": Cause(
        "Whoever issued the SMTP server's certificate is not trusted here, so nothing was sent.",
        "sender", "Name an authority of your own in COURIER_SMTP_CA_FILE; otherwise have the "
        "provider send its whole chain.",
    ),
    "certificate": Cause(
        "The server's certificate does not prove that it is the SMTP server.",
        "sender", "Renew it, name its issuer in COURIER_SMTP_CA_FILE, or set server_name in the "
        "URI to the name on it.",
    ),
    "tls_failed": Cause(
        "No encrypted connection could be agreed on.",
        "sender", "Check the scheme and port: smtps is mostly 465, smtp with STARTTLS mostly 587.",
    ),
    "no_starttls": Cause(
        "The server offers no encryption, so nothing was sent.",
        "sender", "Use the port that offers STARTTLS, or smtps. If it should offer it, something "
        "on the way may be hiding it.",
    ),
    "tls_unavailable": Cause(
        "The server cannot encrypt for the moment.",
        "provider", "Nothing: it is tried again. If it goes on, tell whoever runs the server.",
    ),
    "starttls_refused": Cause(
        "The server offers encryption and then refuses it, so nothing was sent.",
        "sender", "Check host and port with the provider.",
    ),
    "starttls_required": Cause(
        "The server takes mail on encrypted connections only.",
        "sender", "Take disable_starttls out of COURIER_SMTP_URI, or use smtps.",
    ),
    "no_auth": Cause(
        "The server offers no way to log in that is known here.",
        "sender", "Use the provider's submission port, or take the login out of the URI.",
    ),
    "login_refused": Cause(
        "User name or password was refused.",
        "sender", "Correct them in COURIER_SMTP_URI; write @ : / % in them percent-encoded.",
    ),
    "login_disabled": Cause(
        "The account at the SMTP server is switched off.",
        "sender", "Have the provider switch it on again.",
    ),
    "password_change": Cause(
        "The provider wants this account's password changed first.",
        "sender", "Change it there, then in COURIER_SMTP_URI.",
    ),
    "login_method": Cause(
        "The server does not accept this kind of login for this account.",
        "sender", "Often the provider wants a password made for applications: create one there.",
    ),
    "login_needs_tls": Cause(
        "The server takes passwords on encrypted connections only.",
        "sender", "Take disable_starttls out of COURIER_SMTP_URI, or use smtps.",
    ),
    "login_unavailable": Cause(
        "The server cannot check logins for the moment.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "login_required": Cause(
        "The server takes mail only from those who log in.",
        "sender", "Put user name and password into COURIER_SMTP_URI.",
    ),
}  # fmt: skip

SENDER: Mapping[str, Cause] = {
    "sender_refused": Cause(
        "The server does not let this application send from its sender address.",
        "sender", "Verify COURIER_DEFAULT_SENDER at the provider, or use an address it allows.",
    ),
    "dkim_failed": Cause(
        "The mail has no DKIM signature that the recipient's server accepts.",
        "sender", "Switch DKIM on at the provider for the sender's domain, and check its record.",
    ),
    "spf_failed": Cause(
        "The sender's domain does not list the SMTP server as one of its own (SPF).",
        "sender", "Add the provider to the SPF record of the sender's domain.",
    ),
    "dmarc_failed": Cause(
        "The mail could not prove that it comes from its sender's domain (SPF, DKIM, DMARC).",
        "sender", "Check the sender domain's SPF, DKIM and DMARC records with the provider.",
    ),
    "no_reverse_dns": Cause(
        "The address of the SMTP server has no name of its own in the DNS.",
        "provider", "Have whoever runs the server set its reverse DNS record.",
    ),
    "sender_takes_no_mail": Cause(
        "The sender's domain says that it takes no mail, so nobody takes mail from it.",
        "sender", "Use a COURIER_DEFAULT_SENDER whose domain takes mail, or mend its MX record.",
    ),
    "relay_denied": Cause(
        "The server does not pass mail on to this domain for this application.",
        "sender", "Check the login and what the provider lets this account send.",
    ),
    "command_refused": Cause(
        "The server does not understand how the mail was announced.",
        "sender", "Check COURIER_DEFAULT_SENDER, and that the port is meant for sending mail.",
    ),
    "rate_limit": Cause(
        "The provider wants fewer mails or connections in this time.",
        "provider", "Nothing: sending slows down by itself. If it goes on, raise the limit there.",
    ),
    "sending_quota": Cause(
        "The provider's quota for this account is used up.",
        "provider", "Raise the quota at the provider, or wait until it is renewed.",
    ),
    "too_many_recipients": Cause(
        "The server has seen too many recipients in this time.",
        "provider", "Nothing: it is tried again. If it goes on, raise the limit at the provider.",
    ),
}  # fmt: skip
