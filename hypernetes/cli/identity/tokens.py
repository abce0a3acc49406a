"""A token of Keystone's for the settings at hand: from the cache while it holds, else a new one."""

import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hypernetes.api import times
from hypernetes.cli.errors import CommandError
from hypernetes.cli.identity.settings import Settings, of_version_3
from hypernetes.cli.identity.tokencache import Token, TokenCache

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

_ANSWER_SECONDS = 20.0
_CHECK_SECONDS = 5.0


def token(settings: Settings, cache: TokenCache, *, anew: bool = False) -> Token:
    """Raises CommandError."""
    now, key = times.now(), settings.key
    known = None if anew else cache.get(key)
    if known is not None and not known.is_due(now):
        if known.is_fresh(now):
            return known
        if _holds(known):
            known = known.checked(now)
            cache.put(key, known)
            return known
        cache.forget(key)
    made = _made(settings, now)
    cache.put(key, made)
    return made


def _holds(known: Token) -> bool:
    """Whether Keystone says so; where it doesn't answer, yes: hn-apiserver decides."""
    headers = {"X-Auth-Token": known.token, "X-Subject-Token": known.token}
    request = urllib.request.Request(known.check_url, method="HEAD", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_CHECK_SECONDS, context=_context(known)):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in (401, 403, 404)
    except (OSError, ValueError):
        return True


def _context(known: Token) -> ssl.SSLContext | None:
    if not known.check_url.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=known.verify if isinstance(known.verify, str) else None)
    if known.verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if known.certificate is not None:
        certificate = known.certificate
        context.load_cert_chain(*((certificate,) if isinstance(certificate, str) else certificate))
    return context


def _made(settings: Settings, now: datetime) -> Token:
    """A new token. Asks for a password or passcode that is missing, if somebody is there. Raises CommandError."""
    import logging

    from keystoneauth1 import exceptions, loading, session
    from openstack.exceptions import ConfigException

    for library in ("keystoneauth", "openstack"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)  # what they would tell, is told below
    try:
        region = _region(settings)
        auth_type, auth = of_version_3(region.config["auth_type"], region.get_auth_args())
        if auth_type == "v3multifactor":
            auth["auth_methods"] = _words(region.config.get("auth_methods") or auth.get("auth_methods"))
        plugin: Any = loading.get_plugin_loader(auth_type).load_from_options(**auth)
        verify, certificate = region.get_requests_verify_args()
        asking = session.Session(verify=verify, cert=certificate, timeout=_ANSWER_SECONDS, app_name="hn")
        access = plugin.get_access(asking)
    except exceptions.MissingRequiredOptions as error:
        raise CommandError(f"{error}; set OS_CLOUD or the other variables OS_…, or give --os-cloud") from error
    except exceptions.MissingAuthMethods as error:
        # Keystone says them in any order.
        rules = sorted(sorted(rule) for rule in error.required_auth_methods)
        ways = " or ".join(",".join(f"v3{method}" for method in rule) for rule in rules)
        raise CommandError(
            f"Keystone wants more than one credential: set OS_AUTH_TYPE=v3multifactor and OS_AUTH_METHODS={ways}"
        ) from error
    except exceptions.Unauthorized as error:
        raise CommandError("Keystone refuses this credential: is it right, and may it use this project?") from error
    except (exceptions.ConnectFailure, exceptions.ConnectTimeout, exceptions.DiscoveryFailure) as error:
        raise CommandError(f"Keystone at {auth['auth_url']} doesn't answer: {error}") from error
    except (exceptions.ClientException, ConfigException) as error:
        raise CommandError(f"no token can be had from Keystone: {error}") from error
    if not (access.project_id or access.domain_id or access.system_scoped):
        raise CommandError("the credential names no project: set OS_PROJECT_NAME, or project_name in clouds.yaml")
    return Token(
        access.auth_token, (access.issued or now).astimezone(UTC).isoformat(),
        access.expires.astimezone(UTC).isoformat(),
        now.isoformat(), f"{auth['auth_url']}/v3/auth/tokens", verify if verify is not None else True, certificate,
    )  # fmt: skip


def _region(settings: Settings) -> "CloudRegion":
    import warnings

    from openstack.config import OpenStackConfig

    prompt: Any = _prompted if sys.stdin.isatty() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an optional part of the library
        return OpenStackConfig(pw_func=prompt, app_name="hn").get_one(cloud=settings.cloud)


def _prompted(question: str) -> str:
    """On the terminal's error output: kubectl reads the other one."""
    answer: str = click.prompt(question.rstrip(": "), hide_input=True, err=True)
    return answer


def _words(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value or ())
