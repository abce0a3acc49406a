"""What an exec credential plugin tells client-go. Pure.

https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

import json
from datetime import datetime
from typing import Any

from hypernetes.api import times
from hypernetes.cli.errors import CommandError

API_VERSION = "client.authentication.k8s.io/v1"
_SPOKEN = (API_VERSION, "client.authentication.k8s.io/v1beta1")


def answer(asked: str | None, token: str, expires_at: datetime) -> dict[str, Any]:
    """`asked` is the variable KUBERNETES_EXEC_INFO; None where a person asks. Raises CommandError."""
    version = API_VERSION
    if asked:
        try:
            version = json.loads(asked)["apiVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError("KUBERNETES_EXEC_INFO is no ExecCredential") from error
        if version not in _SPOKEN:
            raise CommandError(f"the client speaks {version}; this speaks {' and '.join(_SPOKEN)}")
    status = {"token": token, "expirationTimestamp": times.format_time(expires_at)}
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}


def user(program: str, arguments: list[str], variables: dict[str, str]) -> dict[str, Any]:
    """A kubeconfig's user that gets its token so."""
    return {
        "exec": {
            "apiVersion": API_VERSION,
            "command": program,
            "args": arguments,
            "env": [{"name": name, "value": value} for name, value in sorted(variables.items())],
            "interactiveMode": "IfAvailable",  # for a password or passcode that nothing says
            "provideClusterInfo": False,
        }
    }
