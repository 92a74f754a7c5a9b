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
    time = f"{int(now * 1000):012x}"
    bits = random_bits(74)
    # Version 7 and the variant bits 10 stand at the top of the third and the fourth group.
    third, fourth = 0x7000 | bits & 0xFFF, 0x8000 | bits >> 12 & 0x3FFF
    return f"{time[:8]}-{time[8:]}-{third:x}-{fourth:x}-{bits >> 26:012x}"


def keyed_task_id(func_name: str, key: str) -> str:
    """The id of the task of ``func_name`` with this idempotency key; a UUID of version 8.

    The same key gives the same id in every instance and after every restart, so the unique index
    on ids is what makes a key unique, and `add_task` can return the id without asking the store.
    """
    digest = hashlib.blake2b(f"{func_name}\0{key}".encode(), digest_size=16).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:]}"
