"""Who may: a `User` and what is asked become a `Decision`. No I/O: all that counts is in the mirror.

attributes.py    what is asked
authorizer.py    the decision: first the tenant, then what is the provider's, then the rules of the user's kind
components.py    what our own processes may, and what no tenant may (data), as rules of rules.py
policyrules.py   what the rules of a role allow
defaultroles.py  the roles and bindings that every tenant has (data)
rbac.py          roles and bindings of each tenant, indexed by subject
escalation.py    nobody grants what they don't have
nodes.py         what the agent of a node may
nodegraph.py     which pods a node has, and what they name
asking.py        a request's route as what is asked
"""

from hypernetes.apiserver.authz.attributes import Attributes, Decision
from hypernetes.apiserver.authz.authorizer import Authorizer, forbidden, may_ever
from hypernetes.apiserver.authz.nodegraph import NodeGraph
from hypernetes.apiserver.authz.rbac import Rbac

__all__ = ["Attributes", "Authorizer", "Decision", "NodeGraph", "Rbac", "forbidden", "may_ever"]
