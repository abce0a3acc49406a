"""What a namespace may hold at most, and how much of that is used: ResourceQuota (pure).

    object ──usage──► {"pods": "1", "requests.cpu": "500m", …} ──scopes──► counts for this quota? ──ledger──► new total,
                                                                                                        or refused

A quota's ledger is an internal key with what is used. Every write of an object that the quota counts rewrites it in
the same transaction, by compare-and-swap: so the sum is right whatever crashes, and two writers never both get the last
place. `status.used` shows the ledger, a moment later. handlers/quotas.py does the writing.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from hypernetes.apiserver.quota.ledger import Ledger, Refused, charged, counted, is_changed, is_ledger, ledger_key
from hypernetes.apiserver.quota.turns import Turn, Turns

__all__ = ["Ledger", "Refused", "Turn", "Turns", "charged", "counted", "is_changed", "is_ledger", "ledger_key"]
