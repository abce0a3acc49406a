"""Volumes on a node: which a pod needs, who opens them, and what the machine is given.

    claims.py      a pod's claims → PersistentVolumes, once bound and attached to this node
    processes.py   a storage process per pod and volume, under a uid of its own ── NBD socket ──► the pod's QEMU
    daemon.py      one of them: command line, monitor, what it is told to open
    podstorage.py  what a pod's worker asks for: ready, plug, grow, give back

The QEMU that runs a guest has a socket for each of its volumes, and no path, no key and no route to any storage.
"""
