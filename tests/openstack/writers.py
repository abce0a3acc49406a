"""Who writes a volume in a loop and logs each write that was acknowledged, as a guest's database does."""

import threading
import time
from dataclasses import dataclass, field

from tests.integration.volumes.nbd import Client

BLOCK = 4096


@dataclass
class Writer:
    """Writes its mark and a number into `blocks` blocks from the first on, again and again, each flushed."""

    client: Client
    mark: bytes
    blocks: int = 64
    log: dict[int, bytes] = field(default_factory=dict)  # block → what was acknowledged last
    acknowledged: int = 0
    error: OSError | None = None

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 120.0) -> None:
        """Has it end after this write. Raises TimeoutError where that takes longer."""
        self._ended.set()
        self.wait(seconds)

    def wait(self, seconds: float = 120.0) -> None:
        """Returns when it has ended. Raises TimeoutError."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"{self.mark!r} still writes")

    def written(self, more: int, seconds: float = 60.0) -> None:
        """Returns when `more` further writes have been acknowledged."""
        deadline, wanted = time.monotonic() + seconds, self.acknowledged + more
        while self.acknowledged < wanted:
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"{self.mark!r}: {self.acknowledged} of {wanted} in {seconds:.0f} s"
            time.sleep(0.02)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                block = self.acknowledged % self.blocks
                data = (self.mark + b"%d " % self.acknowledged).ljust(BLOCK, b".")
                self.client.write(block * BLOCK, data)
                self.client.flush()
                self.log[block] = data
                self.acknowledged += 1
        except OSError as error:
            self.error = error
