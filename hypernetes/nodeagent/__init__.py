"""hn-agent: one per node, one virtual machine per pod (docs/architecture.md, "The pod is a machine").

informers ─► agent ─► pod worker (one per pod) ─► runtime (VM, guest link) ─► QEMU ─► hn-init ─► containers
                        │  images, volumes, services, probes
                        └► network provider ─► tap
hn-apiserver ─► server (logs, exec, usage) ─► the pod's worker
"""
