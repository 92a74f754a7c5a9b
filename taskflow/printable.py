"""Makes text harmless to show: what would steer a terminal, a log or the direction of a text.

Tasks write what strangers sent them. An escape sequence in a log line could hide other lines from
whoever reads it, so that such characters are stored as visible escapes. Pure.
"""

from __future__ import annotations

import re

#: C0 except tab and newline, DEL, C1, line and paragraph separator, the characters that override or
#: isolate the direction of text, and halves of surrogate pairs, which have no form in UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""``text`` with every unsafe character as its escape, such as ``\x1b`` or ``\u202e``."""
    # Most lines are plain, and this looks at them at the speed of C.
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def shorten(text: str, limit: int) -> str:
    """``text`` cut to ``limit`` characters, in the middle: the cause stands at one of its ends."""
    if len(text) <= limit:
        return text
    mark = "\n...\n"
    half = max(0, limit - len(mark)) // 2
    return f"{text[:half]}{mark}{text[len(text) - half :]}"[:limit]


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
