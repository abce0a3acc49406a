"""The local provider's configuration on a node: which network namespace is the node's, where it isn't the agent's own.

namespace: NAME    # as `ip netns` knows it
"""

import re
from pathlib import Path

import yaml

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")


def node_namespace(file: Path) -> str:
    """Raises ValueError, which names the file and what is wrong with it."""
    try:
        said = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the network provider 'local' can't read its configuration {file}: {error}") from error
    if not isinstance(said, dict) or set(said) != {"namespace"}:
        raise ValueError(f"{file}: the network provider 'local' knows one key, namespace, and needs it")
    name = said["namespace"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{file}: namespace is {name!r}, but must be the name of a network namespace")
    return name
