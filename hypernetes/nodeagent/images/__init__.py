"""Container images: from a registry to one read-only block image each.

    reference ─► registry (tokens, manifests, blobs; every byte verified) ─► flatten (a process of its own: layers and
    whiteouts to one tar) ─► tar2sqfs ─► store (DIR/images/<digest>/, shared by all pods that may use it) ─► puller

`garbage` says which of the stored images go when the disk fills.
"""
