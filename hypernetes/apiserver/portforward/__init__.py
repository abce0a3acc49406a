"""`kubectl port-forward`: connections of a client to ports of a pod, many over one request.

    client ══WebSocket: SPDY/3.1══► sessions ──tunnel per connection──► agent ──guest link──► 127.0.0.1 in the pod

spdy.py      frames and header blocks
sessions.py  streams that come in pairs, data and error, each pair a connection
"""

from hypernetes.apiserver.portforward.sessions import PROTOCOL, serve

__all__ = ["PROTOCOL", "serve"]
