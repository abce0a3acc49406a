"""The machine that a pod is. `base` is what the rest of hn-agent knows; nothing outside this package knows QEMU."""
