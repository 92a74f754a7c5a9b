"""Which errors are alike: a short name for the kind of error that a task ended with. Pure.

Two errors are alike if the same task raised the same type of exception in the same function, and
their messages differ in numbers, ids, quoted values and addresses only.
"""

from __future__ import annotations

import re
from hashlib import blake2b

#: Characters of a message that are looked at: whatever comes later makes no other kind of error.
_LONGEST = 1000
#: Characters at the end of a stack trace in which the innermost frame is looked for.
_TAIL = 4000

#: What differs from one error of a kind to the next, and what stands for it. In this order: an
#: address holds numbers, and what is quoted may hold anything.
_VARIABLE = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s'\"<>]+", "<url>"),
        # Not the apostrophe of "can't".
        (r"(?<!\w)'[^'\n]*'(?!\w)", "<text>"),
        (r'(?<!\w)"[^"\n]*"(?!\w)', "<text>"),
        (r"(?<!\w)`[^`\n]*`(?!\w)", "<text>"),
        (r"\b0x[0-9a-fA-F]+\b", "<address>"),
        (r"[\w.+-]{1,64}@[\w.-]{1,255}", "<email>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<id>"),
        # A word with a digit in it that is longer than a name such as utf8.
        (r"\b(?=[a-zA-Z_]*\d)\w{6,}\b", "<id>"),
        (r"\d+(?:[.,:]\d+)*", "<number>"),
    )
)
_FRAME = re.compile(r'^\s*File "([^"\n]*)", line \d+, in (.+)$', re.MULTILINE)


def fingerprint(func_name: str, error: str, stacktrace: str | None = None) -> str:
    """Twelve hexadecimal digits, the same for errors that are alike, in every process."""
    text = "\0".join((func_name, _place(stacktrace or ""), plain_message(error)))
    return blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


def plain_message(error: str) -> str:
    """``error`` with a word in place of everything that differs between errors that are alike."""
    text = error[:_LONGEST]
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return " ".join(text.split())


def _place(stacktrace: str) -> str:
    """File and function of the innermost frame; the line moves with each edit of the file."""
    frames = _FRAME.findall(stacktrace[-_TAIL:])
    if not frames:
        return ""
    path, function = frames[-1]
    # Where the app is installed is no matter, either.
    name = path.replace("\\", "/").rpartition("/")[2]
    return f"{name}:{function}"
