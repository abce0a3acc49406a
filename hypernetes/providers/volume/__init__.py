"""Providers of block volumes: what PersistentVolumes are kept in.

hn-controllers ── VolumeProvider (create, attach, fence, …) ──► files of nodes · Cinder
hn-agent ── NodeVolumes.open ─► BlockSource ─► storage process ── NBD socket ─► the pod's QEMU ─► guest
"""
