"""Values of users as error messages show them: short, printable, whatever they are."""

from __future__ import annotations

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = 80
_SHORT.maxother = 80
#: Python refuses to print integers much larger than this.
_PRINTABLE_BITS = 200


def shown(value: object) -> str:
    """``repr`` of ``value``, cut to about 80 characters; never raises."""
    if isinstance(value, int) and value.bit_length() > _PRINTABLE_BITS:
        return "a huge number"
    return _SHORT.repr(value)
