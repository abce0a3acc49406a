"""Objects in `application/vnd.kubernetes.protobuf`, which Go's typed clients prefer: the built-in kinds, in and out.

    body ─ envelopes ─► message ─ reading ─► dict, as its JSON would have been ─► schema
    stored JSON ─ writing ─► message, kept beside the entry ─ splicing ─► with its revision ─ envelopes ─► answer

descriptors.py   what messages there are and how JSON names their fields, from facts/
values.py        the messages that JSON writes as a scalar, a list or anything at all
reading.py       a message to what JSON says
writing.py       what JSON says to a message
splicing.py      what differs from reader to reader, put into a message that is kept
wire.py          lengths and tags
envelopes.py     what is around a message: the kind, the frame of a watch, the items of a list

The protobuf library is told of a message's nested messages as bytes: each is parsed by itself, so that their depth and
number are known before memory is spent on them. What a message has and JSON doesn't name is dropped, and the other way
round: a field of ours, of which no typed client knows.
"""

from hypernetes.apiserver.protobuf.descriptors import has
from hypernetes.apiserver.protobuf.envelopes import MEDIA_TYPE, WATCH_MEDIA_TYPE, decode, encode

__all__ = ["MEDIA_TYPE", "WATCH_MEDIA_TYPE", "decode", "encode", "has"]
