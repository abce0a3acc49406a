"""Labels of nodes and kinds of volumes that are on their way out, amounts that make no sense: the client is told."""

from collections.abc import Iterable

_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_FRACTIONS = ("m", "u", "n")  # how an amount below 1, or with a fraction, is written


def label(key: str, path: str) -> list[str]:
    if key not in _LABELS:
        return []
    since, instead = _LABELS[key]
    return [f'{path}: deprecated since {since}; use "{instead}" instead']


def volume(sources: Iterable[str], path: str) -> list[str]:
    """`sources` are the fields of a volume, or of a spec of one, at `path`."""
    return [f"{path}.{source}: {_VOLUMES[source]}" for source in sources if source in _VOLUMES]


def fraction(amount: str | None, path: str) -> list[str]:
    """Of what is counted in bytes, there are no parts."""
    if amount is None or not amount.endswith(_FRACTIONS):
        return []
    return [f'{path}: fractional byte value "{amount}" is invalid, must be an integer']
