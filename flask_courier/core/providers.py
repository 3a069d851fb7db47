"""Header fields by which a mail provider is told to leave our links and our Message-ID alone.

Click tracking sends a link through a third party: the provider then holds a secret that opens an
account, and a link that a scanner followed or a redirect broke is of no use to its owner. Only what
a provider documents for SMTP is here. Amazon SES and Brevo document no header field for it: SES
takes an override in its API alone (docs.aws.amazon.com/ses/latest/dg/configuration-overrides.html)
and an attribute on each link, ``ses:no-track``; with Brevo it is a setting of the account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})

#: By the domain of the SMTP host.
_TRACKING_OFF: Mapping[str, Mapping[str, str]] = {
    # postmarkapp.com/developer/user-guide/tracking-links and …/tracking-opens
    "postmarkapp.com": {"X-PM-TrackLinks": "None", "X-PM-TrackOpens": "false"},
    # documentation.mailgun.com/docs/mailgun/user-manual/sending-messages (sending options)
    "mailgun.org": {"X-Mailgun-Track-Clicks": "no", "X-Mailgun-Track-Opens": "no"},
    # www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-filters
    "sendgrid.net": {
        "X-SMTPAPI": json.dumps(
            {
                "filters": {
                    "clicktrack": {"settings": {"enable": 0, "enable_text": False}},
                    "opentrack": {"settings": {"enable": 0}},
                }
            }
        )
    },
    # dev.mailjet.com/docs/smtp_relay/custom_headers
    "mailjet.com": {"X-Mailjet-TrackClick": "0", "X-Mailjet-TrackOpen": "0"},
    # developers.sparkpost.com/api/smtp
    "sparkpostmail.com": {
        "X-MSYS-API": json.dumps({"options": {"click_tracking": False, "open_tracking": False}})
    },
    # mailchimp.com/developer/transactional/docs/smtp-integration: the field lists what is tracked
    # and overrides the account; this names neither opens nor clicks.
    "mandrillapp.com": {"X-MC-Track": "none"},
}
_ALWAYS: Mapping[str, Mapping[str, str]] = {
    # postmarkapp.com/developer/user-guide/send-email-with-smtp: it replaces the Message-ID, and
    # with it what makes the copies of a mail one, unless it is told to keep it.
    "postmarkapp.com": {"X-PM-KeepID": "true"},
}


def tracking_off(host: str) -> Mapping[str, str]:
    """What keeps the provider at ``host`` from rewriting the links of a mail, if it is known."""
    return _of_host(_TRACKING_OFF, host)


def always(host: str) -> Mapping[str, str]:
    """What every mail through the provider at ``host`` needs, if it is known."""
    return _of_host(_ALWAYS, host)


def completed(own: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """``own`` and those of ``defaults`` that it has not; names ignore case (RFC 5322, 1.2.2)."""
    taken = {name.lower() for name in own}
    return {
        **own,
        **{name: value for name, value in defaults.items() if name.lower() not in taken},
    }


def _of_host(table: Mapping[str, Mapping[str, str]], host: str) -> Mapping[str, str]:
    name = f".{host.lower().removesuffix('.')}"
    for domain, fields in table.items():
        if name.endswith(f".{domain}"):
            return MappingProxyType(dict(fields))
    return _NOTHING
