"""Who may: a `User` and what is asked become a `Decision`. Pure; RBAC takes its place behind `authorize`.

attributes.py   what is asked
rules.py        what a rule allows, and how it matches
components.py   what our own processes may (data)
authorizer.py   the decision: first the tenant, then the rules of the user's kind
"""

from hypernetes.apiserver.authz.attributes import Attributes, Decision
from hypernetes.apiserver.authz.authorizer import authorize, forbidden, may_ever

__all__ = ["Attributes", "Decision", "authorize", "forbidden", "may_ever"]
