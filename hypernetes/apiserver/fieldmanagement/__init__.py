"""Who manages which field of an object: `metadata.managedFields`, and server-side apply (pure).

        an update                                        an apply
    old, new ──► comparing ──► added, modified,      config ──► configurations (checked; what it names)
                               removed                  │
                                  │                     ├──► merging: the config over what is there, less what its
    managers ──► updating ◄───────┘                     │    manager no longer names and nobody else does
        │                                               ▼
        └──► entries: canonical bytes of managedFields ◄── applying: conflicts, or the new object and its managers

`fieldsets` is the algebra of sets of fields, in the form that managedFields has on the wire (FieldsV1); `elements` are
the parts of their paths. `schema.Type` says which lists have keys and what is owned as a whole. The rules are those of
structured-merge-diff (KEP-555), which every client of the API relies on; one version of a kind is compared at a time.
"""
