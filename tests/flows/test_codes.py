"""Codes: how often anybody may guess, which mail's code works, and what may be typed."""

from __future__ import annotations

import cProfile
import pstats
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from flask_courier.core.errors import ConfigError
from tests.databases import every_database
from tests.observation import age, statements, update
from tests.site import Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, Mail, Visitor, mailed, request_mail

#: As long as the known address, so that lengths can be compared.
NOBODY = "bob@example.com"
PAGE = "/account/recovery/code"
WRONG = "00000000"
SHORT = timedelta(minutes=10)
DAY = timedelta(days=1)
#: A pasted link: alone, with what stood around it, escaped, without its scheme.
PASTED = (
    "{link}", "  {link} ", "{link}.", "<{link}>", "{link}/", "{link}>.", "{link}%3E", "{link}%3e.",
    "{quoted}", "{quoted}.", "see {link}", "{bare}", "{link}?", "{link}#",
)  # fmt: skip
REFUSED = (
    "This code is not right, or no longer. Check it, or open the link in the mail instead, which "
    "works longer than the code."
)


def type_code(site: Site, code: str, email: str = ADA) -> int:
    """Send a code by JSON; answer the status."""
    return Visitor(site).json(PAGE, email=email, code=code)[0]


def wrong_code(mail: Mail) -> str:
    """A code that the mail does not have."""
    return WRONG if mail.code != WRONG else "11111111"


@every_database
def test_s17_five_in_ten_minutes(site: Site) -> None:
    """After five wrong codes the right one is refused too."""
    site.add_user()
    mail = mailed(site, "recovery")
    assert [422] * 5 == [type_code(site, wrong_code(mail)) for _ in range(5)]
    assert 422 == type_code(site, mail.code)


@every_database
def test_again_after_ten_minutes(sites: Callable[..., Site]) -> None:
    """Ten minutes after the first guess an address has five guesses again."""
    site = sites(COURIER_CODE_LIFETIME=3600)
    site.add_user()
    mail = mailed(site, "recovery")
    for _ in range(5):
        type_code(site, wrong_code(mail))
    age(site, "courier_limit", SHORT - timedelta(minutes=1), like="%/600")
    assert 422 == type_code(site, mail.code)
    age(site, "courier_limit", timedelta(minutes=1), like="%/600")
    assert 200 == type_code(site, mail.code)


@every_database
def test_s17_twenty_a_day(site: Site) -> None:
    """After twenty codes in a day the right one is refused, until the day is over."""
    site.add_user()
    mail = mailed(site, "recovery")
    for _ in range(20):
        assert 422 == type_code(site, wrong_code(mail))
        age(site, "courier_limit", SHORT, like="%/600")
    assert 422 == type_code(site, mail.code)
    age(site, "courier_limit", DAY, like="%/86400")
    age(site, "courier_limit", SHORT, like="%/600")
    assert 200 == type_code(site, mail.code)


def test_right_codes_count_too(site: Site) -> None:
    """A right code takes a slot as a wrong one does, and gives none back."""
    site.add_user()
    mail = mailed(site, "recovery")
    assert [200] * 5 + [422] == [type_code(site, mail.code) for _ in range(6)]


def test_s17_new_mail_refills_nothing(sites: Callable[..., Site]) -> None:
    """Asking for another mail gives no further guesses."""
    site = sites(**NO_LIMITS)
    site.add_user()
    first = mailed(site, "recovery")
    for _ in range(5):
        type_code(site, wrong_code(first))
    assert 422 == type_code(site, mailed(site, "recovery").code)


def test_spelling_of_the_address(site: Site) -> None:
    """Another spelling of the address has no guesses of its own."""
    site.add_user()
    mail = mailed(site, "recovery")
    for spelling in ("ada@example.com", "ADA@example.com", "Ada@EXAMPLE.com", "aDa@example.com"):
        type_code(site, wrong_code(mail), spelling)
    assert [200, 422] == [type_code(site, mail.code, "adA@example.com") for _ in range(2)]


def test_unknown_address_is_counted(site: Site) -> None:
    """The guesses at an address without an account are counted as those at one with."""
    site.add_user()
    mail = mailed(site, "recovery")
    for email in (ADA, NOBODY):
        for _ in range(7):
            type_code(site, wrong_code(mail), email)
    counts = [row for row in site.rows("courier_limit") if row["count"] == 5]
    assert ["600", "600", "86400", "86400"] == sorted(row["key"].split("/")[1] for row in counts)


@every_database
def test_parallel_guesses(site: Site) -> None:
    """However many guess at once, five are looked at."""
    site.add_user()
    mail = mailed(site, "recovery")
    barrier = Barrier(12, timeout=30)

    def guess(_number: int) -> int:
        barrier.wait()
        return type_code(site, mail.code)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(guess, range(12)))
    assert [200] * 5 + [422] * 7 == sorted(answers)


def test_exhausted_text(site: Site) -> None:
    """The text for a right code that comes too late is the one for a wrong code."""
    site.add_user()
    mail = mailed(site, "recovery")
    wrong = [Visitor(site).json(PAGE, email=ADA, code=wrong_code(mail)) for _ in range(5)]
    assert wrong[0] == Visitor(site).json(PAGE, email=ADA, code=mail.code)
    assert ("code_wrong", REFUSED) == (wrong[0][1]["reason"], wrong[0][1]["detail"])


def test_lifetime(site: Site) -> None:
    """A code works for ten minutes after its mail was sent."""
    site.add_user()
    mail = mailed(site, "recovery")
    age(site, "courier_token", SHORT - timedelta(minutes=1))
    assert 200 == type_code(site, mail.code)
    age(site, "courier_token", timedelta(minutes=1))
    assert 422 == type_code(site, mail.code)


def test_link_outlives_the_code(site: Site) -> None:
    """The link goes on working when the code of the same mail has run out."""
    site.add_user()
    mail = mailed(site, "recovery")
    age(site, "courier_token", SHORT)
    assert (422, 200) == (type_code(site, mail.code), Visitor(site).redeem("recovery", mail.token))


def test_token_of_a_code_lives_as_long_as_a_code(site: Site) -> None:
    """What a right code is exchanged for is good for ten minutes."""
    site.add_user()
    mail = mailed(site, "recovery")
    token = Visitor(site).json(PAGE, email=ADA, code=mail.code)[1]["token"]
    age(site, "courier_token", SHORT)
    assert 410 == Visitor(site).redeem("recovery", token)


@every_database
def test_newest_code(sites: Callable[..., Site]) -> None:
    """Only the newest mail's code works; the links of older mails stay good."""
    site = sites(**NO_LIMITS)
    site.add_user()
    first, second = mailed(site, "recovery"), mailed(site, "recovery")
    assert (422, 200) == (type_code(site, first.code), type_code(site, second.code))
    assert 200 == Visitor(site).redeem("recovery", first.token)


def test_newest_accepted_code(
    sites: Callable[..., Site], mail_server: MailServer, mail_config: dict[str, str]
) -> None:
    """The code of an older mail works until the SMTP server has accepted a newer one."""
    site = sites(**mail_config, **NO_LIMITS)
    site.add_user()
    mail = mailed(site, "recovery")
    mail_server.answers["RCPT"] = "450 4.2.1 try again later"
    request_mail(site, "recovery")
    assert {"queued": 1} == site.deliver()
    assert 200 == type_code(site, mail.code)


def test_code_of_another_account(site: Site) -> None:
    """A right code is refused for every address but its own."""
    site.add_user()
    site.add_user("grace@example.com")
    mail = mailed(site, "recovery")
    assert (422, 200) == (
        type_code(site, mail.code, "grace@example.com"),
        type_code(site, mail.code),
    )


def test_code_of_the_other_flow(site: Site) -> None:
    """The code of a verification mail recovers nothing."""
    site.add_user()
    assert 422 == type_code(site, mailed(site, "verification").code)


def test_code_of_a_changed_account(site: Site) -> None:
    """A right code of an account that has changed since is answered like a wrong one."""
    site.add_user()
    mail = mailed(site, "recovery")
    update(site, "user", password_hash="another")
    problem = Visitor(site).json(PAGE, email=ADA, code=mail.code)
    assert (422, "code_wrong") == (problem[0], problem[1]["reason"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("COURIER_RECOVERY_LIFETIME", DAY + timedelta(seconds=1)),
        ("COURIER_CODE_LIFETIME", DAY + timedelta(seconds=1)),
        ("COURIER_CODE_DIGITS", 5),
    ],
)
def test_s16_long_lives_and_short_codes(sites: Callable[..., Site], key: str, value: Any) -> None:
    """What is mailed for a recovery lives a day at most, and no code has fewer than six digits."""
    with pytest.raises(ConfigError, match=key):
        sites(**{key: value})


@pytest.mark.parametrize("spelling", ["{0} {1}", "{0}-{1}", "  {0}{1}  ", "{0} - {1}"])
def test_s26_spelling(site: Site, spelling: str) -> None:
    """Spaces and dashes in a code change nothing."""
    site.add_user()
    code = mailed(site, "recovery").code
    assert 200 == type_code(site, spelling.format(code[:4], code[4:]))


@pytest.mark.parametrize("zero", ["\u0660", "\u06f0", "\uff10"])
def test_s26_digits_of_another_keyboard(site: Site, zero: str) -> None:
    """Arabic, Persian and full-width digits are digits."""
    site.add_user()
    code = mailed(site, "recovery").code
    typed = "".join(chr(ord(zero) + int(digit)) for digit in code)
    assert 200 == type_code(site, f"{typed[:4]}\u2013{typed[4:]}")


@pytest.mark.parametrize("spelling", PASTED)
def test_s27_pasted_link(site: Site, spelling: str) -> None:
    """A link that is pasted in the place of the code works, as mail programs may have left it."""
    site.add_user()
    link = mailed(site, "recovery").link
    forms = {"link": link, "quoted": quote(link, safe=""), "bare": link.partition("//")[2]}
    assert 200 == type_code(site, spelling.format(**forms))


def test_pasted_link_needs_no_slot(site: Site) -> None:
    """A pasted link works when the guesses are used up: it cannot be guessed."""
    site.add_user()
    mail = mailed(site, "recovery")
    for _ in range(5):
        type_code(site, wrong_code(mail))
    assert 200 == type_code(site, mail.link)


def test_pasted_link_of_another_account(site: Site) -> None:
    """A pasted link opens its own account, whatever address was typed beside it."""
    site.add_user()
    token = Visitor(site).json(PAGE, email=NOBODY, code=mailed(site, "recovery").link)[1]
    assert "a•••@example.com" == token["address"]


def same_for_all(answer: TestResponse, email: str) -> tuple[int, list[tuple[str, str]], str]:
    """Status, headers and body of an answer, without form nonce and typed address."""
    body = re.sub(r'name="form_token"[^>]*>', "", answer.text).replace(email, "")
    return answer.status_code, list(answer.headers), body


@pytest.mark.parametrize("tries", [1, 7])
def test_same_page(site: Site, tries: int) -> None:
    """A wrong code gets one page for known and unknown addresses, also when it is one too many."""
    site.add_user()
    mail = mailed(site, "recovery")
    seen = []
    for email in (ADA, NOBODY):
        visitor = Visitor(site)
        answers = [visitor.fill(PAGE, email=email, code=wrong_code(mail)) for _ in range(tries)]
        seen.append([same_for_all(answer, email) for answer in answers])
    assert (422, seen[0]) == (seen[0][0][0], seen[1])


@every_database
@pytest.mark.parametrize("tries", [1, 7])
def test_same_statements(site: Site, tries: int) -> None:
    """A wrong code runs the same SQL for known and unknown addresses, and reads no account."""
    site.add_user()
    mail = mailed(site, "recovery")
    seen = []
    for email in (ADA, NOBODY):
        with statements(site) as run:
            for _ in range(tries):
                type_code(site, wrong_code(mail), email)
        seen.append(run)
    assert seen[0] == seen[1]
    assert [] == [statement for statement in seen[0] if re.search(r"\buser\b", statement)]


def test_same_work(site: Site) -> None:
    """A wrong code costs the same calls of ours for known and unknown addresses, HMACs included."""
    site.add_user()
    mail = mailed(site, "recovery")
    type_code(site, wrong_code(mail), "warm-up@example.com")
    seen = []
    for email in (ADA, NOBODY):
        profile = cProfile.Profile()
        profile.runcall(type_code, site, wrong_code(mail), email)
        stats = pstats.Stats(profile).get_stats_profile().func_profiles
        ours = {name: part.ncalls for name, part in stats.items() if watched(part.file_name, name)}
        seen.append(ours)
    assert (True, seen[0]) == ("_mac" in seen[0], seen[1])


def watched(file_name: str, name: str) -> bool:
    """Whether a profiled function is ours, or does the work of an HMAC."""
    return "flask_courier" in file_name or file_name.endswith("hmac.py") or "hmac" in name
