"""DaemonSets (apps/v1): a pod on each node that may have one.

    set, nodes, pods, revision, now ──► plan.decide ──► deletions ─► creations ─► status           (controller.py)
                                           ├─ placement.py   on which nodes, and how a pod is bound to its own
                                           └─ update.py      which old ones make way for new ones

**Whose nodes.** The provider's DaemonSets (tenant `system`) run on every node. A tenant's runs on the nodes that hold
another pod of that tenant: what it looks after is there, and a tenant is no reason to burden a node that has none.
"""

from hypernetes.controllers.daemonsets.controller import DaemonSets

__all__ = ["DaemonSets"]
