"""Taps: the end of a pod's NIC that QEMU holds.

A tap here is not persistent: it lives exactly as long as somebody has a queue of it open, so a machine that dies takes
its tap along, whatever became of the agent. Taps allow several queues, since a port is plugged again while QEMU, which
outlived the agent, has the first one: the further queue is set idle and takes no frame from the first.
"""

import fcntl
import os
import struct

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA  # linux/if_tun.h, as all that follows
_TUNSETQUEUE = 0x400454D9
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_DETACH_QUEUE = 0x0400
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000  # a virtio_net_hdr before each frame: checksum and segmentation offload for the guest
_IFREQ = struct.Struct("16sH22x")


def open_queue(name: str, *, offloads: bool = True) -> int:
    """Opens a queue of the tap in the calling thread's namespace, and makes the tap if it isn't there.

    Without `offloads` frames carry no virtio_net_hdr, so that the guest fills in every checksum and cuts every segment
    itself: for what reads frames as they are, as Open vSwitch in user space does.
    """
    descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_MULTI_QUEUE | (_IFF_VNET_HDR if offloads else 0)
        fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def set_idle(queue: int) -> None:
    """No frame goes to or comes from this queue any more."""
    fcntl.ioctl(queue, _TUNSETQUEUE, _IFREQ.pack(b"", _IFF_DETACH_QUEUE))
