"""The Pod Security Standards: what a pod may ask for at the levels privileged, baseline and restricted (pure).

levels.py      levels, versions, and a namespace's policy, from its labels
baseline.py    what would let a pod out of its own: host namespaces, capabilities, host paths, …
restricted.py  what hardens it: not root, seccomp, no escalation, …
checks.py      which checks hold at which version, and running them

https://kubernetes.io/docs/concepts/security/pod-security-standards/. A pod here is a virtual machine, so that much of
what baseline forbids would be harmless; the levels mean what they mean everywhere, since manifests rely on that.
"""

from hypernetes.apiserver.podsecurity.checks import violations
from hypernetes.apiserver.podsecurity.levels import LABEL_PREFIX, LevelVersion, Policy
from hypernetes.apiserver.podsecurity.violation import Violation

__all__ = ["LABEL_PREFIX", "LevelVersion", "Policy", "Violation", "violations"]
