"""Machines: one QEMU process per pod, and the link to its guest. Nothing outside this package knows the machine type.

    Machine (base) ◄── machine.py     one pod's VM as hn-agent sees it: requests, streams, events
                        │      │
               link.py ─┘      └─ qmp.py        guest link (frames.py, streams.py)   ·   disks, power
                  │                 │
              agent.sock         qmp.sock       in /run/hypernetes/hn<cluster id>/<machine id>/, 0700, the VM's uid
                  └────── QEMU ─────┘           qemu.py (command line) · accel.py · cgroup.py · uids.py · state.py

A machine starts as a clone of a template (template.py) where there is one of its shape, else it boots (boot.py).
Open one with `runtime.qemu_runtime.open_runtime(directory, guest, cluster_id, accel)`; `runtime.fake.FakeRuntime()`
needs no QEMU and keeps the same promises (`tests/integration/runtime/suite.py`).
"""
