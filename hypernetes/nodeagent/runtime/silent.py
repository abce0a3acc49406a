"""A link handler for machines without containers: probes and templates, which have nothing to tell."""

from hypernetes.nodeagent.runtime.base import MachineError
from hypernetes.nodeagent.runtime.frames import Frame, ProtocolError
from hypernetes.nodeagent.runtime.streams import LinkStream


class SilentHandler:
    def on_event(self, frame: Frame) -> None:
        raise ProtocolError("an event of a machine without containers")

    def on_question(self, id_: int, question: bytes, *, udp: bool) -> None:
        raise ProtocolError("a question of a machine without containers")

    def on_connection(self, stream: LinkStream) -> None:
        raise ProtocolError("a connection of a machine without containers")

    def on_lost(self, error: MachineError) -> None:
        """Whoever waits for an answer learns it there."""
