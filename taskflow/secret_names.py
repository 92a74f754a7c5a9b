"""Which names stand for secrets: ``db_password`` and ``X-Api-Key`` do, ``max_tokens`` does not.

A name is split into words at separators, digits and humps. In doubt it counts as secret: something
that is hidden without need costs a look elsewhere, something that is shown cannot be taken back.
Pure.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

#: A longer name is none that anybody wrote by hand; only its end is looked at.
LONGEST_NAME = 200


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

#: Secret wherever they stand in a name.
_STRONG = _set(
    "password passwords passwd passwort passphrase passcode pwd secret secrets token tokens "
    "authorization cookie cookies credential credentials creds jwt otp totp cvv cvc csrf xsrf "
    "mnemonic dsn"
)
#: Secret as the last word of a name.
_LAST = _set("pass auth bearer session sessions pin sig sid pw")
#: Secret side by side.
_PAIRS = frozenset(
    {
        *((word, key) for key in ("key", "keys") for word in (
            "api", "access", "secret", "private", "encryption", "signing", "auth", "master",
            "account", "shared", "service", "ssh", "license", "session", "webhook", "fernet")),
        *((word, code) for code in ("code", "codes") for word in (
            "auth", "authorization", "verification", "security", "recovery", "backup", "mfa",
            "login")),
        ("session", "id"), ("connection", "string"), ("conn", "str"), ("seed", "phrase"),
        ("amz", "signature"), ("hub", "signature"), ("webhook", "signature"),
    }
)  # fmt: skip
#: How names end that are written without any separator.
_GLUED = (
    *("password", "passwd", "passphrase", "passwort", "pwd", "secret", "token", "apikey"),
    *("secretkey", "accesskey", "privatekey", "authorization", "credentials", "sessionid"),
    *("sessid", "authkey", "connectionstring"),
)
#: A name that ends like this tells of a secret and is none: ``token_count``, ``password_set_at``.
_ABOUT = _set(
    "count counts at on date time timestamp ts length len size limit limits expires expiry "
    "expiration expired ttl age type kind name names url uri endpoint policy strength required "
    "enabled disabled valid invalid changed algorithm version usage used budget total index status "
    "state scope scopes path file field fields consent banner domain method provider rate timeout "
    "attempts in"
)
#: A name that begins like this is a yes or no, or a number.
_ASKING = _set("has is use uses need needs require requires max min num total")
#: Of language models, where tokens are counted.
_COUNTED = _set("prompt completion input output used remaining cached reasoning n")
#: Names of headers whose value goes on to the end of the line.
_TO_THE_END = frozenset({"authorization", "cookie", "cookies"})


class SecretNames:
    """Says of a name whether its value is a secret; ``extra`` names are, too, as whole names."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._extra = frozenset(filter(None, map(_plain, extra)))
        #: What was found out before; emptied when there are too many.
        self._known: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= 4096:
                self._known.clear()
            known = _plain(name) in self._extra or _is_secret(words_of(name))
            if len(name) <= LONGEST_NAME:
                self._known[name] = known
        return known


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: ``["x", "api", "key"]`` of ``X-Api-Key``."""
    return [word.lower() for word in _WORDS.findall(name[-LONGEST_NAME:])]


def goes_to_the_end(name: str) -> bool:
    """Whether it is a header whose value has blanks in it."""
    words = words_of(name)
    return bool(words) and words[-1] in _TO_THE_END


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name[-LONGEST_NAME:]).lower()


def _is_secret(words: list[str]) -> bool:
    if not words or (len(words) > 1 and (words[-1] in _ABOUT or words[0] in _ASKING)):
        return False
    if words[-1] == "tokens" and not _COUNTED.isdisjoint(words):
        return False
    if words[-1] in _LAST or not _STRONG.isdisjoint(words):
        return True
    if not _PAIRS.isdisjoint(itertools.pairwise(words)):
        return True
    return words[-1].endswith(_GLUED) or "".join(words).endswith(_GLUED)
