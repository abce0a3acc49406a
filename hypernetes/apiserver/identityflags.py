"""The flags of `hn-apiserver` that say where users come from, other than from the cluster itself; upstream's names."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from hypernetes.api.durations import parse_duration
from hypernetes.apiserver.authn.frontproxy import FrontProxy
from hypernetes.apiserver.authn.jwtissuers import JwtIssuers
from hypernetes.apiserver.authn.webhook import TokenWebhook
from hypernetes.providers import loading
from hypernetes.providers.identity.base import ConfigurationError, IdentityProvider

_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--identity-provider", "providers", multiple=True, metavar="NAME[=FILE]",
        help="an installed identity provider and its configuration; several are asked in this order",
    ),
    click.option("--authentication-config", type=_FILE, help="an AuthenticationConfiguration: issuers of JWTs"),
    click.option(
        "--authentication-token-webhook-config-file", "webhook", type=_FILE,
        help="a kubeconfig of the server that reviews tokens",
    ),
    click.option(
        "--authentication-token-webhook-cache-ttl", "webhook_ttl", default="2m0s", show_default=True,
        help="how long what it says counts",
    ),
    click.option(
        "--requestheader-client-ca-file", "proxy_authority", type=_FILE,
        help="the authority of proxies that say in X-Remote-* headers who asks",
    ),
    click.option(
        "--requestheader-allowed-names", "proxy_names", default="", metavar="NAME,…",
        help="the common names of such proxies; any if not given",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flags:
    providers: tuple[str, ...] = ()
    authentication_config: Path | None = None
    webhook: Path | None = None
    webhook_ttl: str = "2m0s"
    proxy_authority: Path | None = None
    proxy_names: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the flags stand for. Providers are asked in this order: JWTs, those that were named, the webhook."""

    providers: list[IdentityProvider]
    front_proxy: FrontProxy | None
    allows_anonymous: Callable[[str], bool] | None


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the flags; they come as keyword arguments, the fields of `Flags`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def taken(given: dict[str, Any]) -> Flags:
    """The flags among a command's keyword arguments, which are taken out of them."""
    return Flags(**{field.name: given.pop(field.name) for field in fields(Flags)})


def sources(flags: Flags) -> Sources:
    """Raises ConfigurationError."""
    providers: list[IdentityProvider] = []
    allows_anonymous = None
    if flags.authentication_config is not None:
        issuers = JwtIssuers(flags.authentication_config)
        providers.append(issuers)
        allows_anonymous = issuers.allows_anonymous
    providers += [_installed(each) for each in flags.providers]
    if flags.webhook is not None:
        providers.append(TokenWebhook(flags.webhook, _duration(flags.webhook_ttl)))
    proxy = None
    if flags.proxy_authority is not None:
        proxy = FrontProxy(flags.proxy_authority, [name for name in flags.proxy_names.split(",") if name])
    return Sources(providers, proxy, allows_anonymous)


def _duration(text: str) -> timedelta:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"--authentication-token-webhook-cache-ttl: {error}") from error
    return timedelta(seconds=max(0.0, seconds))


def _installed(named: str) -> IdentityProvider:
    """Of `NAME` or `NAME=FILE`."""
    name, separator, file = named.partition("=")
    try:
        factory: Any = loading.load("identity", name)
    except loading.NoSuchProviderError as error:
        raise ConfigurationError(str(error)) from error
    provider: IdentityProvider = factory(Path(file) if separator else None)
    return provider
