"""The library's state machine, as we want it."""

from typing import Any

import hpack
from jh2.config import H2Configuration
from jh2.connection import H2Connection, HPACKError, OversizedHeaderListError
from jh2.settings import SettingCodes, Settings

MAX_STREAMS = 250  # at once, and as many handlers; upstream's figure
STREAM_WINDOW_BYTES = 256 * 1024  # of a body that wait to be read; upstream's figure
MAX_HEADER_LIST_BYTES = 64 * 1024
_TABLE_BYTES = 4096  # of headers we sent that are kept, whatever the client allows
_CLOSED_STREAMS = 512  # that are remembered, for frames that were under way

_CONFIGURATION = H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
    validate_inbound_headers=False, normalize_inbound_headers=False,
)  # fmt: skip  # `requests` and `streams` see to that
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
}


class _Decoder(hpack.Decoder):
    """Its errors are those that the library expects."""

    def decode(self, data: bytes, raw: bool = False) -> Any:
        try:
            return super().decode(data, raw=raw)
        except hpack.OversizedHeaderListError as error:
            raise OversizedHeaderListError(str(error)) from error
        except hpack.HPACKError as error:
            raise HPACKError(str(error)) from error


class States(H2Connection):  # type: ignore[misc]  # the library has no types
    """The library's state machine, with the decoder of h2: its own, in Rust, panics at some blocks that are none."""

    MAX_CLOSED_STREAMS = _CLOSED_STREAMS

    def __init__(self) -> None:
        super().__init__(_CONFIGURATION)
        self.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self.decoder = _Decoder(MAX_HEADER_LIST_BYTES)
        self.decoder.max_allowed_table_size = self.local_settings.header_table_size

    def keep_table_small(self) -> None:
        """After the client's settings."""
        self.encoder.header_table_size = min(self.encoder.header_table_size, _TABLE_BYTES)
