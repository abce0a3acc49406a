"""StatefulSets (apps/v1): pods with names and volumes of their own, numbered, and in order.

set, pods, claims, revisions, now ──► plan.decide ──► claims ─► deletions ─► creations ─► status   (controller.py)
                                         ├─ identity.py   a pod's name, number and claims
                                         └─ retention.py  who owns a claim, and so what ends it
"""

from hypernetes.controllers.statefulsets.controller import StatefulSets

__all__ = ["StatefulSets"]
