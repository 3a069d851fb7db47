"""Every flow there is."""

from __future__ import annotations

from flask_courier.core.tokens import Purpose
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.email_change import EMAIL_CHANGE, EMAIL_UNDO
from flask_courier.flows.not_me import NOT_ME
from flask_courier.flows.recovery import INVITATION, RECOVERY
from flask_courier.flows.sign_in import SIGN_IN
from flask_courier.flows.verification import VERIFICATION

#: Those that have a mail of their own; the others' links travel in notices.
MAILED = (RECOVERY, VERIFICATION, EMAIL_CHANGE, SIGN_IN, INVITATION)

BY_PURPOSE: dict[Purpose, Challenge] = {
    challenge.purpose: challenge for challenge in (*MAILED, EMAIL_UNDO, NOT_ME)
}
