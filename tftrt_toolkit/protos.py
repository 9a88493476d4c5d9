"""Protocol buffers: copies, and what stays of a repeated field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

_Proto = TypeVar("_Proto", bound=Message)


def copied(proto: _Proto) -> _Proto:
    """A copy that stays when the message it is a part of changes."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def keep_items(repeated: Any, kept: Iterable[int]) -> None:
    """Remove all but the items at these places of a repeated field, in place."""
    chosen = set(kept)
    for index in reversed(range(len(repeated))):
        if index not in chosen:
            del repeated[index]
