"""The guest of every pod: what a pod VM boots, and how it is built.

    Debian's cloud kernel ──► vmlinux            (uncompressed: PVH boot, no firmware work)
    its modules + hn-init ──► initramfs          (uncompressed: TCG decompresses slower than it copies)
    haproxy, nft, …       ──► toolbox.squashfs   (a disk all pods of a node share, LUN 0)

`python -m hypernetes.guest.build DIR` makes all three and `guest.json`, which says what they were made of.
hn-init (`init/`, C, static, pid 1) is the other end of `hypernetes.nodeagent.runtime`'s guest link.
"""
