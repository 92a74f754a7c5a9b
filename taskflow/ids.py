"""Task ids: ordered by time where they are fresh, derived from the key where there is one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

#: Draws so many random bits.
RandomBits = Callable[[int], int]


def new_task_id(now: float, random_bits: RandomBits) -> str:
    """A UUID of version 7 (RFC 9562): milliseconds since the epoch, then 74 random bits.

    Ids made one after the other sort next to each other, so that an index on them grows at its end.
    """
    text = f"{int(now * 1000) << 80 | 7 << 76 | random_bits(74) | 1 << 74:032x}"
    # The variant bits 10 lie at the top of the fourth group.
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{variant}{text[17:20]}-{text[20:]}"


def keyed_task_id(func_name: str, key: str) -> str:
    """The id of the task of ``func_name`` with this idempotency key; a UUID of version 8.

    The same key gives the same id in every instance and after every restart, so the unique index
    on ids is what makes a key unique, and `add_task` can return the id without asking the store.
    """
    digest = hashlib.blake2b(f"{func_name}\0{key}".encode(), digest_size=16).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:]}"
