"""Taps as templates need them: what kind a pod's is, and one of that kind that leads nowhere (linux/if_tun.h)."""

import fcntl
import os
import struct

_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFREQ = struct.Struct("16sH22x")


def has_offloads(tap_fd: int) -> bool:
    """Whether frames carry a virtio_net_hdr: a NIC's state can't be loaded under the other kind. Raises OSError."""
    _, flags = _IFREQ.unpack(fcntl.ioctl(tap_fd, _TUNGETIFF, bytes(_IFREQ.size)))
    return bool(flags & _IFF_VNET_HDR)


def open_idle(cluster_id: str, *, offloads: bool) -> int:
    """A tap that is down and in no bridge, and goes with its descriptor. Raises OSError."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if offloads else 0)
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(f"hn{cluster_id}t%d".encode(), flags))
    except OSError:
        os.close(fd)
        raise
    return fd
