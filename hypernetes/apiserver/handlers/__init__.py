"""What is done with a request once it is known who asks and that they may.

context.py       what every handler is given
options.py       query parameters and DeleteOptions, checked
negotiation.py   Accept headers; bodies in and out
plaintext.py     answers that are no object
probing.py       /livez, /readyz, /healthz
documents.py     discovery, OpenAPI, the version, metrics
reading.py       get, list
protobuflists.py  a list in protobuf
watching.py      watch
writing.py       create, update, patch
components.py    componentstatuses, which are found out when asked for
usage.py         metrics.k8s.io, which the agents of nodes are asked for
deleting.py      delete, deletecollection
evicting.py      a pod's deletion, as its disruption budget allows
claims.py        addresses and ports that are written with their service
quotas.py        usage that is written with what uses it
subresources.py  scale, binding, finalize, token, certificate, log, exec, attach
"""
