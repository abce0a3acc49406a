"""`…/proxy/…` of pods, services and nodes: HTTP and WebSockets carried to a server that a tenant or a node runs.

    client ──HTTP──► relay ──HTTP (TLS)──► tunnel ══WebSocket to the node's agent══► guest link ──TCP──► the pod

targets.py     what the name in the URL means, and which pod of a service is asked
finding.py     the objects that say so
tunnel.py      a connection to a pod's port as a socket
connection.py  HTTP, and TLS, over that socket
relay.py       the request there and the answer back

No connection is ever opened to an address: a pod is reached through the agent of its node, and only its own addresses.
"""

from hypernetes.apiserver.proxy.relay import Manner, relay
from hypernetes.apiserver.proxy.targets import PodPort, Target, of_pod, of_service, parse
from hypernetes.apiserver.proxy.tunnel import tunnel

__all__ = ["Manner", "PodPort", "Target", "of_pod", "of_service", "parse", "relay", "tunnel"]
