"""The pod's HAProxy: a fixed number of slots, each a back end that serves one port of one service, or none.

    10.254.0.10:80 ─ services.map ─► slot3 ─► 10.0.0.5:8080, 10.0.0.6:8080        slot0, slot1, … are there, empty

Back ends can't be made while HAProxy runs, but the map that names them and the servers in them can be changed. So a
template's HAProxy idles with empty slots, and a pod's services, and each change of their endpoints, are commands of
HAProxy's runtime API (Management Guide, 9.3): a service keeps its slot, nothing is started or read anew, connections go
on. Only when there are more services than slots HAProxy loads a configuration, with twice as many.

Pure, and stable: the same services after the same history give the same text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PORT = 15001
MAP_NAME = "services.map"
SLOTS_MIN = 32  # 10 KB of memory each
COMMAND_LINE_BYTES = 8000  # HAProxy reads a line into a buffer of 16 KiB
_NO_SLOT = "none"

# Idle connections live as long as conntrack lets them elsewhere.
_HEAD = f"""\
global
  maxconn 4000
  nbthread 1
  stats socket /run/admin mode 600 level admin
defaults
  mode tcp
  timeout connect 5s
  timeout client 24h
  timeout server 24h
  timeout client-fin 60s
  timeout server-fin 60s
  retries 3
  option redispatch 1
  option clitcpka
  option srvtcpka
frontend services
  bind 0.0.0.0:{PORT}
  tcp-request connection set-var(sess.port) dst_port
  tcp-request connection set-var(sess.slot) dst,concat(:,sess.port),map(/services/{MAP_NAME},{_NO_SLOT})
  tcp-request connection reject if {{ var(sess.slot) -m str {_NO_SLOT} }}
  use_backend %[var(sess.slot)]
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """What a slot serves. `key` is a service's address:port, `servers` are its endpoints', in the order of turns."""

    key: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Balancer:
    """What is in each slot."""

    slots: tuple[Slot | None, ...]

    def configuration(self) -> bytes:
        """haproxy.cfg"""
        parts = [_HEAD]
        for number, slot in enumerate(self.slots):
            parts.append(f"backend slot{number}\n  balance roundrobin\n")
            parts += [f"  server {_name(server)} {server}\n" for server in (slot.servers if slot else ())]
        return "".join(parts).encode()

    def table(self) -> bytes:
        """services.map"""
        entries = sorted((slot.key, number) for number, slot in enumerate(self.slots) if slot is not None)
        return "".join(f"{key} slot{number}\n" for key, number in entries).encode()

    def with_services(self, wanted: Mapping[str, tuple[str, ...]]) -> "Balancer":
        """The services of `wanted` (key to servers), each in its slot of before, others in free ones, lowest first."""
        size = max(len(self.slots), SLOTS_MIN)
        while size < len(wanted):
            size *= 2
        slots: list[Slot | None] = [None] * size
        placed = set()
        for number, before in enumerate(self.slots):
            if before is not None and before.key in wanted:
                slots[number] = Slot(before.key, wanted[before.key])
                placed.add(before.key)
        free = (number for number, slot in enumerate(slots) if slot is None)
        for key in (key for key in wanted if key not in placed):
            slots[next(free)] = Slot(key, wanted[key])
        return Balancer(tuple(slots))

    def commands_from(self, before: "Balancer") -> list[str] | None:
        """Lines that lead a HAProxy from `before` to this; None where it must load the configuration."""
        if len(before.slots) != len(self.slots):
            return None
        commands: list[str] = []
        for number, (old, new) in enumerate(zip(before.slots, self.slots, strict=True)):
            if old != new:
                commands += _slot_commands(f"slot{number}", old, new)
        return _lines(commands)


IDLE = Balancer((None,) * SLOTS_MIN)


def _name(server: str) -> str:
    return server.replace(":", "_")


def _slot_commands(backend: str, old: Slot | None, new: Slot | None) -> Iterable[str]:
    """New servers come before the map leads to them, old ones go after it doesn't."""
    had, wanted = (slot.servers if slot else () for slot in (old, new))
    moved = (old.key if old else None) != (new.key if new else None)
    if old and moved:
        yield f"del map /services/{MAP_NAME} {old.key}"
    for server in wanted:
        if server not in had:
            yield f"add server {backend}/{_name(server)} {server}"
            yield f"enable server {backend}/{_name(server)}"
    if new and moved:
        yield f"add map /services/{MAP_NAME} {new.key} {backend}"
    for server in had:
        if server not in wanted:
            yield f"disable server {backend}/{_name(server)}"
            yield f"del server {backend}/{_name(server)}"


def _lines(commands: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for command in commands:
        if lines and len(lines[-1]) + len(command) < COMMAND_LINE_BYTES:
            lines[-1] += f";{command}"
        else:
            lines.append(command)
    return lines


# What a template's HAProxy does once, so that the code for it is in memory, and what undoes it.
_TRIED = IDLE.with_services({"192.0.2.1:1": ("192.0.2.2:1",)})
PRACTICE = tuple((_TRIED.commands_from(IDLE) or []) + (IDLE.commands_from(_TRIED) or []))
