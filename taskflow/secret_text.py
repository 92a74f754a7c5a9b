"""Finds secrets in text: tracebacks, log lines, URLs, JSON inside of a string.

Rule: linear time. Each pattern either takes what it has looked at or looks at a bounded stretch, so
that no text that strangers made can hold whoever shows it. Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from taskflow.secret_names import SecretNames, goes_to_the_end

MASK = "[redacted]"

#: So far a value in brackets is followed; one that is longer is hidden up to there.
_LONGEST_GROUP = 2000
#: Lines that are remembered, and how long they may be; longer texts are not taken apart into lines.
_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 500
_LONGEST_BY_LINES = 20_000
#: A user and password in a URL are not longer than this.
_LONGEST_USERINFO = 2000

#: Tokens that say by their first letters what they are; the second line finds texts with any.
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|gh[opsur]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+"
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{8,}+|whsec_[A-Za-z0-9+/=]{8,}+|sk-[\w-]{20,}+"
    r"|xox[a-z]-[\w-]{8,}+|xapp-[\w-]{10,}+|AIza[\w-]{30,}+|ya29\.[\w-]{10,}+"
    r"|npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{16,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+|hf_[A-Za-z0-9]{20,}+"
    r"|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}+|dop_v1_[a-f0-9]{16,}+|hvs\.[\w-]{20,}+"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{20,}+|\d{8,10}:AA[\w-]{30,}+"
    r")",
    re.ASCII,
)
_SHAPE_HINT = re.compile(
    r"A(?:KIA|SIA|Iza|GE-S)|gh[opsur]_|g(?:ithub_p|lpat-)|[sr]k[_-]|whsec|x(?:ox|app-)|ya29|npm_"
    r"|pypi-|SG\.|hf_|shp|dop_v|hvs\.|:AA"
)
#: The tail is optional so that a run that is none is taken as well, and never looked at again.
_JWT = re.compile(r"eyJ[\w-]{8,}+(\.[\w-]{4,}+(?:\.[\w-]*+)?)?", re.ASCII)
_SCHEME = re.compile(r"\b(bearer|basic)(\s{1,4}|%20|\+)([A-Za-z0-9._~+/=-]{4,}+)", re.IGNORECASE)
#: What follows "bearer" in a sentence.
_NO_TOKENS = re.compile(
    r"(?:tokens?|auth|authentication|authorization|scheme|headers?|credentials|format|error|with"
    r"|from|that|this|realm)\.?$",
    re.IGNORECASE,
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_AFTER_USERINFO = re.compile(r'[\s"<>]')
_END_OF_HOST = re.compile(r'[\s"<>/?#]')

#: What any name of a secret has in it, but for the short ones: see `_SHORT_NAME`.
_NAME_HINTS = (
    *("pass", "pwd", "secret", "token", "auth", "cookie", "cred", "jwt", "otp", "cvv", "cvc"),
    *("csrf", "xsrf", "mnemonic", "dsn", "key", "code", "session", "sessid", "string", "signature"),
    *("bearer", "conn", "phrase"),
)
_SHORT_NAME = re.compile(r"(?<![a-z])(?:pin|sig|sid|pw)(?![a-z])", re.IGNORECASE)
#: A name and what leads to its value: ``x=``, ``"x": ``, ``\"x\": ``, ``('x', ``, ``--x ``.
_NAMED = re.compile(
    r"(?<![\w-])(?:(?P<name>[\w-]{2,200}+)"
    r"(?:(?:\\{0,7}[\"'])?[ \t]{0,8}+(?:=>|:=|==|[:=]|%3[Dd])|"
    r"\\{0,7}[\"'][ \t]{0,8}+,(?=[ \t]{0,8}+b?\\{0,7}[\"']))[ \t]{0,8}+|"
    r"(?P<flag>--[\w-]{2,200}+)[ \t]{1,8}+(?=[^\s-]))"
)
_OPENING = re.compile(r"[bBrRuUfF]{0,2}(\\{0,7})([\"'])")
_PLAIN_QUOTED = {
    '"': re.compile(r'(?:[^"\\\n]|\\.)*+'),
    "'": re.compile(r"(?:[^'\\\n]|\\.)*+"),
}
_CLOSING = {
    (count, quote): re.compile(rf"(?<!\\)\\{{{count}}}{quote}|\n")
    for count in range(1, 8)
    for quote in "\"'"
}
#: Up to white space, the next parameter of a query, or a quote that closes something around it.
_BARE = re.compile(
    r"(?:[^\s&\"'<]|&(?!(?:amp;)?[\w.-]{1,64}=)|[\"'](?!\\{0,7}[,:}\])\s]|$))*+", re.MULTILINE
)
_LINE = re.compile(r"[^\r\n\"']*+")
_BRACKETS = re.compile(r"[\[\](){}]")
#: Says no more than whether there is one.
_HARMLESS = frozenset({"", "None", "null", "True", "False", "true", "false"})
#: A pydantic error names the field in one line and shows what it was given in the next.
_PYDANTIC = re.compile(r"^(\S{1,200})\n(  [^\n]*?\binput_value=)([^\n]*)", re.MULTILINE)


#: ``<password>x</password>``
_TAG = re.compile(
    r"<([A-Za-z_][\w.:-]{0,199}+)(?:\s[^<>]{0,500}+)?+>(?:<!\[CDATA\[)?+\s{0,40}+([^<]++)(?=</)"
)
_ESCAPED_QUOTE = r"&(?:quot|apos|\#0?3[49]|\#x2[27]);"
#: ``&quot;password&quot;:&quot;x&quot;``, as JSON stands in HTML.
_ESCAPED = re.compile(
    rf"(?<![\w-])([\w-]{{2,200}}+)(?:"
    rf"(?:{_ESCAPED_QUOTE})?+[ \t]{{0,8}}+[:=][ \t]{{0,8}}+{_ESCAPED_QUOTE}"
    rf"(?P<quoted>(?:[^&\n]|&(?!{_ESCAPED_QUOTE[1:]}))++)"
    rf"|{_ESCAPED_QUOTE}[ \t]{{0,8}}+[:=][ \t]{{0,8}}+(?P<bare>[^\s&,}}\])]++))",
    re.IGNORECASE,
)
#: ``curl -u user:x``
_LOGIN = re.compile(
    r"(?<![\w-])((?:-u|-U|--user|--proxy-user)(?:=|[\"',]{0,3}+[ \t]{0,8}+[\"',]{0,3}+)"
    r"[^\s:\"'=-][^\s:\"']{0,199}+:)[^\s\"']++"
)
#: What stands where a text was cut, at its end and in its middle.
_CUTS = re.compile(r"…(?: \([\d,]{1,20}+ characters\))?+\Z|\n\.\.\.\n")
_MIDDLE = "\n...\n"
_REST_OF_USERINFO = re.compile(r"(?<=\n\.\.\.\n)[^\s\"'<>@/]{1,2000}+(?=@)")


class TextRedactor:
    """Puts ``mask`` in the place of everything in a text that looks like a secret.

    Tracebacks are alike: what was found out about a line is remembered.
    """

    def __init__(self, names: SecretNames, hints: Iterable[str] = (), mask: str = MASK) -> None:
        self._names = names
        self._hints = (*_NAME_HINTS, *hints)
        self._mask = mask
        self._lines: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """``text`` without secrets."""
        if "\n" not in text:
            return self._line(text)
        if len(text) <= _LONGEST_BY_LINES and "-----BEGIN" not in text and _MIDDLE not in text:
            lines = text.split("\n")
            shown = list(map(self._line, lines))
            if shown == lines:
                if "input_value=" not in text:
                    return text
            elif "input_value=" not in text and not any(map(self._goes_on, lines, shown)):
                return "\n".join(shown)
        return self._hide(text)

    def _line(self, line: str) -> str:
        shown = self._lines.get(line)
        if shown is None:
            shown = self._hide(line)
            if len(line) <= _LONGEST_REMEMBERED:
                if len(self._lines) >= _MOST_REMEMBERED:
                    self._lines.clear()
                self._lines[line] = shown
        return shown

    def _goes_on(self, line: str, shown: str) -> bool:
        """Whether the line ends within a value, which then goes on in the next."""
        if not shown.endswith(self._mask) or shown == line:
            return False
        return sum(map(line.count, "[{(")) > sum(map(line.count, "]})"))

    def _hide(self, text: str) -> str:
        mask = self._mask
        if "-----BEGIN" in text:
            text = _hide_keys(text, mask)
        if "://" in text and "@" in text:
            text = _hide_userinfo(text, mask)
        if "…" in text or _MIDDLE in text:
            text = _hide_cut_userinfo(text, mask)
        if _SHAPE_HINT.search(text):
            text = _SHAPES.sub(mask, text)
        if "eyJ" in text:
            text = _JWT.sub(lambda found: mask if found[1] else found[0], text)
        lower = text.lower()
        if "bearer" in lower or "basic" in lower:
            text = _SCHEME.sub(lambda found: _hide_scheme(found, mask), text)
        if "input_value=" in text:
            text = _PYDANTIC.sub(lambda found: _hide_input(found, self._names, mask), text)
        if "curl" in lower or "wget" in lower:
            text = _LOGIN.sub(lambda found: f"{found[1]}{mask}", text)
        if any(hint in lower for hint in self._hints) or _SHORT_NAME.search(lower):
            if "</" in text:
                text = _TAG.sub(lambda found: _hide_last(found, self._names, mask), text)
            if "&quot;" in lower or "&apos;" in lower or "&#" in text:
                text = _ESCAPED.sub(lambda found: _hide_last(found, self._names, mask), text)
            text = _hide_named(text, self._names, mask)
        return text


def _hide_last(found: re.Match[str], names: SecretNames, mask: str) -> str:
    """The match without the value at its end, if the name at its beginning is that of a secret."""
    value = found[found.lastindex or 0]
    name = found[1].rpartition(":")[2]
    if not value.strip() or name not in names or _is_harmless(value.strip(), name):
        return found[0]
    return f"{found[0].removesuffix(value)}{mask}"


def _hide_keys(text: str, mask: str) -> str:
    parts, position = [], 0
    while found := _PEM.search(text, position):
        parts += [text[position : found.start()], mask]
        end = _PEM_END.search(text, found.end())
        position = len(text) if end is None else end.end()  # one that was cut has no end
    return "".join([*parts, text[position:]])


def _hide_userinfo(text: str, mask: str) -> str:
    parts: list[str] = []
    done, at, stop = 0, -1, -1
    start = text.find("://")
    while start >= 0:
        start += 3
        # Both only go forward, so that the text is gone through once.
        if at < start:
            at = text.find("@", start)
        if at < 0:
            break
        if stop < start:
            found = _AFTER_USERINFO.search(text, start)
            stop = len(text) if found is None else found.start()
        if at < stop and at - start <= _LONGEST_USERINFO and _is_userinfo(text[start:at]):
            host = _END_OF_HOST.search(text, at)
            # A password may have an @ in it as well.
            at = text.rfind("@", at, len(text) if host is None else host.start())
            parts += [text[done:start], mask]
            done = start = at
        start = text.find("://", start)
    return "".join([*parts, text[done:]])


def _hide_cut_userinfo(text: str, mask: str) -> str:
    """Hide ``user:pass`` after ``://`` where the text was cut before the ``@``, or in it."""
    parts: list[str] = []
    done = before = 0
    for cut in _CUTS.finditer(text):
        # No further back than to the cut before: the text is gone through once.
        first = max(before, cut.start() - _LONGEST_USERINFO)
        start = text.rfind("://", first, cut.start()) + 3
        before = cut.end()
        if start < 3:
            continue
        part = text[start : cut.start()]
        whole = "@" not in part and _AFTER_USERINFO.search(part) is None
        if whole and ":" in part and _is_userinfo(part):
            parts += [text[done:start], mask]
            done = cut.start()
    text = "".join([*parts, text[done:]]) if parts else text
    return _REST_OF_USERINFO.sub(mask, text) if "@" in text else text


def _is_userinfo(part: str) -> bool:
    user, colon, _ = part.partition(":")
    # A slash in a password is wrong, and happens.
    return bool(part) and not any(mark in (user if colon else part) for mark in "/?#")


def _hide_scheme(found: re.Match[str], mask: str) -> str:
    token = found[3]
    hide = _is_basic(token) if found[1].lower() == "basic" else not _NO_TOKENS.match(token)
    return f"{found[1]}{found[2]}{mask}" if hide else found[0]


def _is_basic(token: str) -> bool:
    try:
        return b":" in base64.b64decode(token[: len(token) // 4 * 4].encode())
    except ValueError:
        return False


def _hide_input(found: re.Match[str], names: SecretNames, mask: str) -> str:
    field = found[1].rpartition(".")[2]
    if field not in names:
        return found[0]
    head, mark, tail = found[3].rpartition(", input_type=")
    return f"{found[1]}\n{found[2]}{mask}{mark + tail if head else ''}"


def _hide_named(text: str, names: SecretNames, mask: str) -> str:
    parts: list[str] = []
    done = 0
    search = _NAMED.search
    found = search(text)
    while found is not None:
        start = end = found.end()
        name = found["name"] or found["flag"]
        if name in names:
            start, end = _value(text, start, name)
            if end > start and not _is_harmless(text[start:end], name):
                parts += [text[done:start], mask]
                done = end
        found = search(text, end)
    return "".join([*parts, text[done:]]) if parts else text


def _is_harmless(value: str, name: str) -> bool:
    plain = value.rstrip(",;)]}.")
    return plain in _HARMLESS or (plain.isdecimal() and name.lower().endswith("tokens"))


def _value(text: str, start: int, name: str) -> tuple[int, int]:
    """Where the value that begins at ``start`` begins and ends, without its quotes."""
    first = text[start : start + 1]
    if not first or first in "& \n":
        return start, start
    if first in "[{(":
        return start, _end_of_group(text, start)
    if first in "\\\"'bBrRuUfF":
        opening = _OPENING.match(text, start)
        if opening is not None:
            return opening.end(), _end_of_quoted(text, opening)
    pattern = _LINE if goes_to_the_end(name) else _BARE
    found = pattern.match(text, start)
    return start, start if found is None else found.end()


def _end_of_quoted(text: str, opening: re.Match[str]) -> int:
    start, slashes, quote = opening.end(), opening[1], opening[2]
    if not slashes:
        found = _PLAIN_QUOTED[quote].match(text, start)
        return start if found is None else found.end()
    # JSON inside of a string: it ends at a quote with as many backslashes, and no more.
    closing = _CLOSING[len(slashes), quote].search(text, start)
    return len(text) if closing is None else closing.start()


def _end_of_group(text: str, start: int) -> int:
    """After the bracket that closes the one at ``start``."""
    depth = 0
    limit = min(len(text), start + _LONGEST_GROUP)
    for found in _BRACKETS.finditer(text, start, limit):
        depth += 1 if found[0] in "[({" else -1
        if depth == 0:
            return found.end()
    return limit
