"""Volumes: from a claim to a disk that a node may open, and back.

    claim ─► binder.py ── a volume that is there (api/volumes) ──────────────► bound
               │ none, but a class                                               ▲
               ▼                                                                 │ claimRef
             provisioner.py ── provider.create (requests.py) ─► PersistentVolume ┘
                                                                  │ claim gone
             phases.py: Available, Bound, Released                ▼
                                                 reclaimer.py ── provider.delete

    pods, volumes ─► attachplan.py (decides) ─► attachments.py ── provider.attach, detach, fence ─► VolumeAttachment

    attributes.py    classes of attributes
    ephemeral.py     claims that pods bring      expansion.py   claims that grow
    snapshots.py     VolumeSnapshots             snapshotcontents.py   what they are bound to
    providers.py     the drivers there are       faults.py      steps between which a process may die

Nothing is made outside of the API that isn't written down before: a claim holds a finalizer from before its volume is
made until a PersistentVolume stands for it, that one holds a finalizer until the volume is deleted, a
VolumeSnapshotContent is there before the snapshot, and a VolumeAttachment from before the volume is attached until it
is detached. So whatever dies, at whatever line, what comes next finds the rest.
"""
