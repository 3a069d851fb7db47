"""Where the pages are: on the application's one host, or on the host that links lead to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, request
from flask.blueprints import BlueprintSetupState

from flask_courier.core.errors import ConfigError

_NO_HOST = (
    "COURIER_PUBLIC_URL is not set: the application routes by host (host_matching), and the pages "
    "are on the host that links lead to."
)
_FOREIGN_HOST = (
    "COURIER_PUBLIC_URL is not below SERVER_NAME, {!r}: the application routes by subdomain "
    "(subdomain_matching), and would not find the pages there."
)


def host_options(app: Flask, public_url: str | None, server: str | None) -> dict[str, Any]:
    """What binds a rule to PUBLIC_URL's host, where ``app`` routes by host; nothing elsewhere.

    :param server: the application's SERVER_NAME.
    :raises ConfigError: if PUBLIC_URL names no host that ``app`` serves.
    """
    host = urlsplit(public_url or "").netloc
    if app.url_map.host_matching:
        if not host:
            raise ConfigError([_NO_HOST])
        return {"host": host}
    if not (app.subdomain_matching and server and host):
        return {}
    if host == server:
        return {"subdomain": ""}
    subdomain = host.removesuffix(f".{server}")
    if subdomain == host:
        raise ConfigError([_FOREIGN_HOST.format(server)])
    return {"subdomain": subdomain}


def is_here(public_url: str | None) -> bool:
    """Whether this request came to the host that the pages are on."""
    by_host = current_app.url_map.host_matching or current_app.subdomain_matching
    return not by_host or public_url is None or request.host == urlsplit(public_url).netloc


class MountedBlueprint(Blueprint):
    """A blueprint whose rules are all bound to one host; Flask's has no such option.

    :param host: as :func:`host_options` answered it.
    """

    def __init__(self, name: str, *, host: dict[str, Any], **options: Any) -> None:
        super().__init__(name, "flask_courier", **{"subdomain": host.get("subdomain"), **options})
        self.rule_options = {name: value for name, value in host.items() if name == "host"}

    def make_setup_state(self, *args: Any, **options: Any) -> BlueprintSetupState:
        """What adds the rules."""
        return _SetupState(self, *args, **options)


class _SetupState(BlueprintSetupState):
    blueprint: MountedBlueprint

    def add_url_rule(self, *args: Any, **options: Any) -> None:
        super().add_url_rule(*args, **{**options, **self.blueprint.rule_options})
