"""``python -m example_app.demo [--once]``: watch the journey, then look around until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import final

from example_app.demo.journey import Journey, Login
from example_app.demo.processes import Child
from example_app.demo.terminal import StepFailedError, Terminal
from example_app.mail_server import HOST, MailServer, ReceivedMail

#: Seconds between two looks at whether the site is still there.
_WATCH = 1.0
_LAST_PORT = 65535


@final
class Demo:
    """One run: a folder, a mail server, the site and its worker; all of it gone at the end.

    Use it as a context manager.
    """

    def __init__(self, port: int, terminal: Terminal) -> None:
        self._port = port
        self._site = f"http://{HOST}:{port}"
        self._terminal = terminal
        self._secret_key = secrets.token_urlsafe()
        self._resources = ExitStack()
        self._children: list[Child] = []
        self._member, self._admin = Login("ada@harbour.example"), Login("master@harbour.example")

    def __enter__(self) -> Demo:
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="harbour-"))
        self._folder = Path(folder)
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave children behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._resources.close()

    def walk(self) -> None:
        """Start everything, and take every step.

        :raises StepFailedError: at the first step that fails.
        """
        say, step = self._terminal.title, self._terminal.step
        began = time.perf_counter()
        say("Harbour, with flask_courier")
        step("The mail server is up", self._start_mail_server)
        step("The database is made, with an admin in it", self._make_admin)
        step("The site is up", self._start_site)
        step("Its worker is up", self._start_worker)
        step("A check finds nothing that stops mail", self._check)
        say("The journey")
        journey = Journey(self._site, self._mail_server, member=self._member, admin=self._admin)
        for text, action in journey.steps():
            step(text, action)
        step("The command line lists the same mails", self._list_mails)
        self._member = journey.member
        took = time.perf_counter() - began
        say(f"Done: {self._terminal.steps} steps, {took:.1f} seconds")

    def stay(self) -> None:
        """Tell where everything is, and show the mail that comes, until Ctrl-C.

        :raises StepFailedError: if the site or its worker ends.
        """
        self._terminal.title("Now look around")
        self._terminal.facts(
            {
                "Site": f"{self._site}/",
                "Ada, a member": f"{self._member.email}, password {self._member.password}",
                "Delivery log": f"{self._site}/courier/",
                "An admin": f"{self._admin.email}, password {self._admin.password}",
                "Mail": "whatever comes from now on is shown below",
                "Stop": "Ctrl-C; nothing is kept",
            }
        )
        seen = len(self._mail_server.mails)
        while all(child.is_running for child in self._children):
            try:
                mail = self._mail_server.wait_for(timeout=_WATCH, after=seen)
            except TimeoutError:
                continue
            seen = mail.number + 1
            self._show(mail)
        raise StepFailedError("the site or its worker has ended")

    def explain(self) -> None:
        """What the children said last, for whoever looks for the fault."""
        for child in self._children:
            self._terminal.title(f"The last words of {child.name}, which {child.state}")
            for line in child.last_lines():
                self._terminal.say(f"  {line}")

    def _start_mail_server(self) -> str:
        self._mail_server = self._resources.enter_context(MailServer())
        return f"STARTTLS and AUTH on port {self._mail_server.port}"

    def _make_admin(self) -> None:
        email, password = self._admin.email, self._admin.password
        self._command("add-admin", "add-admin", email, HARBOUR_ADMIN_PASSWORD=password)

    def _check(self) -> str:
        """Fails where a step of the check does; warnings are for real domains."""
        return self._command("check", "courier", "check").splitlines()[-1]

    def _list_mails(self) -> str:
        listed = self._command(
            "list", "courier", "list", "--status", "sent", "--to", self._member.email
        )
        there, sent = len(self._mail_server.mails), listed.count(self._member.email)
        if sent != there:
            raise StepFailedError(f"expected {there} mails that were sent, saw {sent}")
        return f"flask courier list: {sent}"

    def _command(self, name: str, *arguments: str, **env: str) -> str:
        """Run a command to its end; answer what it said.

        :raises StepFailedError: if it fails.
        """
        command = self._start(name, *arguments, **env)
        command.finish()
        # What has ended well is no longer watched.
        self._children.remove(command)
        return command.output()

    def _start_site(self) -> str:
        site = self._start("site", "run", "--host", HOST, "--port", str(self._port))
        site.wait_for_port(self._port)
        return self._site

    def _start_worker(self) -> str:
        worker = self._start("worker", "courier", "worker")
        return f"process {worker.process.pid}"

    def _start(self, name: str, *arguments: str, **env: str) -> Child:
        env = {
            "FLASK_SECRET_KEY": self._secret_key,
            "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{self._folder / 'harbour.sqlite3'}",
            "FLASK_COURIER_SMTP_URI": self._mail_server.uri,
            "FLASK_COURIER_SMTP_CA_FILE": self._mail_server.ca_file,
            "FLASK_COURIER_PUBLIC_URL": self._site,
            "FLASK_COURIER_WORKER": "external",
            **env,
        }
        child = Child(name, *arguments, folder=self._folder, env=env)
        self._children.append(child)
        self._resources.callback(child.stop)
        return child

    def _show(self, mail: ReceivedMail) -> None:
        """Keep a mail as a page, and tell where: its link stays out of the terminal."""
        page = self._folder / f"mail-{mail.number}.{'html' if mail.html else 'txt'}"
        page.write_text(mail.html or mail.text)
        self._terminal.say(f"  ✉ {mail.subject} (to {', '.join(mail.recipients)}): {page.as_uri()}")


def choose_port() -> int:
    """DEMO_PORT, or 5000; 0 stands for any free one.

    :raises SystemExit: with a sentence, if it cannot be used.
    """
    text = os.environ.get("DEMO_PORT") or "5000"
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise SystemExit(f"DEMO_PORT is {text!r}: set it to a port, 1 to {_LAST_PORT}.")
    with socket.socket() as probe:
        # As the site will: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError as error:
            raise SystemExit(
                f"The demo cannot use port {text} ({error.strerror}). End what listens there, or "
                "choose another port: make demo DEMO_PORT=5001"
            ) from None
        port: int = probe.getsockname()[1]
    return port


def main() -> int:
    """Run the demo; answer the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m example_app.demo",
        description="Watch a mail's whole journey, then look around until Ctrl-C.",
        epilog="DEMO_PORT sets the site's port (5000).",
    )
    parser.add_argument(
        "--once", action="store_true", help="stop after the journey, as ONCE=1 does"
    )
    once = parser.parse_args().once or os.environ.get("ONCE", "") not in ("", "0")
    # Both end the demo in the same way, also where a shell has started it in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    terminal = Terminal()
    try:
        with Demo(choose_port(), terminal) as demo:
            return _run(demo, once=once)
    except KeyboardInterrupt:
        terminal.say("\nStopped, and tidied up.")
        return 128 + signal.SIGINT if once else 0


def _run(demo: Demo, *, once: bool) -> int:
    try:
        demo.walk()
        if not once:
            demo.stay()
    except StepFailedError as failure:
        demo.explain()
        print(f"\n{failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
