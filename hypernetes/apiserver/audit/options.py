"""The audit's flags, upstream's, and what they come to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hypernetes.apiserver.audit import log, policy, webhookconfig
from hypernetes.apiserver.audit.policy import Policy
from hypernetes.apiserver.audit.rotation import RotatingFile, StandardOutput
from hypernetes.apiserver.audit.webhookconfig import WebhookConfig

STANDARD_OUTPUT = "-"
_FILE = click.Path(path_type=Path, dir_okay=False)
_MEGABYTE = 1024 * 1024


class AuditError(Exception):
    """Why there can be no audit as the flags say, in a sentence."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    policy: Policy
    file: log.File | None = None
    mode: str = log.BATCH
    webhook: WebhookConfig | None = None


def audit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags; what they say comes as `audit_…`, for `settings`."""
    number, mebibytes = click.IntRange(min=0), click.IntRange(min=1)
    for option in reversed((
        click.option("--audit-policy-file", type=_FILE, help="which requests are recorded (audit.k8s.io/v1)"),
        click.option("--audit-log-path", help="where to: a file, or - for standard output"),
        click.option("--audit-log-maxage", default=0, type=number, help="days that old files are kept; 0: no limit"),
        click.option("--audit-log-maxbackup", default=10, show_default=True, type=number,
                     help="old files kept; 0: no limit"),
        click.option("--audit-log-maxsize", default=100, show_default=True, type=mebibytes, help="MiB of a file"),
        click.option("--audit-log-mode", default=log.BATCH, show_default=True, type=click.Choice(log.MODES),
                     help="whether requests wait until they are recorded, and are refused where they can't be"),
        click.option("--audit-webhook-config-file", type=_FILE, help="a kubeconfig of the server that gets the events"),
    )):  # fmt: skip
        command = option(command)
    return command


def settings(
    audit_policy_file: Path | None, audit_log_path: str | None, audit_log_maxage: int, audit_log_maxbackup: int,
    audit_log_maxsize: int, audit_log_mode: str, audit_webhook_config_file: Path | None,
) -> AuditSettings | None:  # fmt: skip
    """None: nothing is recorded. Raises AuditError."""
    if not audit_log_path and audit_webhook_config_file is None:
        if audit_policy_file is not None:
            raise AuditError("--audit-policy-file needs --audit-log-path or --audit-webhook-config-file")
        return None
    if audit_policy_file is None:
        raise AuditError("--audit-log-path and --audit-webhook-config-file need --audit-policy-file")
    try:
        found = policy.parse(audit_policy_file.read_bytes())
        webhook = None if audit_webhook_config_file is None else webhookconfig.load(audit_webhook_config_file)
        file: log.File | None = None
        if audit_log_path == STANDARD_OUTPUT:
            file = StandardOutput()
        elif audit_log_path:
            file = RotatingFile(
                Path(audit_log_path), max_bytes=audit_log_maxsize * _MEGABYTE, backups=audit_log_maxbackup,
                days=audit_log_maxage,
            )  # fmt: skip
    except policy.PolicyError as error:
        raise AuditError(f"the audit policy {audit_policy_file}: {error}") from error
    except (OSError, webhookconfig.WebhookConfigError) as error:
        raise AuditError(str(error)) from error
    return AuditSettings(found, file, audit_log_mode, webhook)
