"""Secrets are hidden in whatever is shown, and what is none stays readable."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr

from taskflow.codec import ArgumentCodec
from taskflow.errors import SettingsError
from taskflow.redaction import MOST_VALUES, Redactor, make_redactor
from taskflow.secret_names import SecretNames
from taskflow.secret_text import MASK, TextRedactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhunter2\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "user_password", "passwordConfirm", "password2", "PGPASSWORD"),
        *("passwd", "pwd", "MYSQL_PWD", "db_pass", "passphrase", "secret", "client-secret"),
        *("token", "accessToken", "access_token", "X-Auth-Token", "refreshtoken", "tokens"),
        *("api_key", "apikey", "apiKey", "X-Api-Key", "API_KEY", "authorization", "auth"),
        *("Proxy-Authorization", "cookie", "Set-Cookie", "session", "session_id", "sessionid"),
        *("private_key", "privateKey", "credential", "credentials", "dsn", "SENTRY_DSN"),
        *("access_key", "aws_secret_access_key", "AccessKeyId", "signing_key", "AccountKey"),
        *("X-Amz-Signature", "sig", "pin", "otp", "csrf_token", "jwt", "connection_string"),
        *("password_hash", "spring.datasource.password", "reset_token", "backup_codes", "--token"),
    ],
)
def test_a_name_that_stands_for_a_secret_is_known(name: str) -> None:
    assert name in SecretNames()


@pytest.mark.parametrize(
    "name",
    [
        *("token_count", "max_tokens", "prompt_tokens", "tokens_used", "total_tokens", "author"),
        *("authors", "authority", "password_changed_at", "has_password", "is_secret", "secretary"),
        *("token_type", "token_url", "password_policy", "session_timeout", "session_count", "key"),
        *("passenger", "bypass", "compass", "passed", "pass_count", "primary_key", "public_key"),
        *("idempotency_key", "concurrency_key", "tokenizer", "auth_type", "auth_url", "spinning"),
        *(
            "pinned",
            "signal",
            "side",
            "cookie_policy",
            "code",
            "description",
            "",
            "日本",
            "_",
            "--",
        ),
    ],
)
def test_a_name_that_only_sounds_like_one_is_not(name: str) -> None:
    assert name not in SecretNames()


def test_names_of_ones_own_count_in_any_spelling() -> None:
    names = SecretNames(["tax_id", "Iban"])

    assert all(name in names for name in ("tax_id", "taxId", "TAX-ID", "iban"))
    assert "tax" not in names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password='hunter2', n=1", f"password='{MASK}', n=1"),
        ("token: hunter2 and on", f"token: {MASK} and on"),
        ("token => hunter2", f"token => {MASK}"),
        ("PGPASSWORD=hunter2 psql", f"PGPASSWORD={MASK} psql"),
        (r'{"password": "hun\"ter2", "n": 1}', f'{{"password": "{MASK}", "n": 1}}'),
        (r'{"a": "{\"password\": \"hunter2\"}"}', rf'{{"a": "{{\"password\": \"{MASK}\"}}"}}'),
        ("{'authorization': 'Basic eDp5', 'n': 1}", f"{{'authorization': '{MASK}', 'n': 1}}"),
        ("[(b'x-api-key', b'hunter2')]", f"[(b'x-api-key', b'{MASK}')]"),
        ("['--token', 'hunter2', '-v']", f"['--token', '{MASK}', '-v']"),
        ("run --password hunter2 -v", f"run --password {MASK} -v"),
        ("Cookie: a=hunter2; b=hunter3\nHost: x", f"Cookie: {MASK}\nHost: x"),
        ("passwords=['hunter2', 'b'], n=1", f"passwords={MASK}, n=1"),
        ("tokens = [\n  'hunter2',\n]\nnext", f"tokens = {MASK}\nnext"),
        ("passwords=['hunter2", f"passwords={MASK}"),
        ("postgres://me:hunter2@host/db", f"postgres://{MASK}@host/db"),
        ("redis://:hun@ter2@host", f"redis://{MASK}@host"),
        ("amqp://me:hun/ter2@host", f"amqp://{MASK}@host"),
        ("https://x.io/a?token=hunter2&n=1", f"https://x.io/a?token={MASK}&n=1"),
        ('{"u":"https://x.io/?sig=hunter2","n":1}', f'{{"u":"https://x.io/?sig={MASK}","n":1}}'),
        ("sent Bearer hunter2.abc", f"sent Bearer {MASK}"),
        ("sent Basic dXNlcjpodW50ZXIy", f"sent Basic {MASK}"),
        (f"a\n{KEY}\nb", f"a\n{MASK}\nb"),
        (KEY[:40], MASK),
        (f"got {JWT}.", f"got {MASK}."),
        ("AKIAABCDEFGHIJKLMNOP", MASK),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", MASK),
        ("x=sk_live_abcdefgh12345678", f"x={MASK}"),
        ("xoxb-123456789012-abcdef", MASK),
        (
            "<a><ns:password type='b'>hunter2</ns:password></a>",
            f"<a><ns:password type='b'>{MASK}</ns:password></a>",
        ),
        (
            "&quot;password&quot;:&quot;hunter2 &amp; x&quot;,&quot;n&quot;:1",
            f"&quot;password&quot;:&quot;{MASK}&quot;,&quot;n&quot;:1",
        ),
        ("{&#x27;pin&#x27;: 1234, &#39;n&#39;: 1}", f"{{&#x27;pin&#x27;: {MASK}, &#39;n&#39;: 1}}"),
        ("password=&quot;hunter2&quot;", f"password=&quot;{MASK}&quot;"),
        ("curl -u user:hunter2 https://x.io", f"curl -u user:{MASK} https://x.io"),
        ("['curl', '--user', 'me:hunter2']", f"['curl', '--user', 'me:{MASK}']"),
        ("pw=hunter2 db_pw: hunter3", f"pw={MASK} db_pw: {MASK}"),
        ("x postgres://me:hunter2… (2,050 characters)", f"x postgres://{MASK}… (2,050 characters)"),
        ("x postgres://me:hun\n...\nter2@db/x", f"x postgres://{MASK}\n...\n{MASK}@db/x"),
        (
            "1 error\nuser.password\n  Too short [type=x, input_value='hunter2', input_type=str]",
            f"1 error\nuser.password\n  Too short [type=x, input_value={MASK}, input_type=str]",
        ),
    ],
)
def test_a_secret_inside_of_a_text_is_hidden(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "token", "max_tokens=100, author=ada", "token_count: 5", "tokens=512, n=1"),
        *("password=None", "'password': null", "the password is wrong", "KeyError: 'password'"),
        *("https://medium.com/@ada", "https://x.io:80/a and ada@x.io", "mail ada@example.org"),
        *("basic authentication failed", "Bearer token is missing", "a task-0199aaaa-bbbb-cccc"),
        *("-----BEGIN CERTIFICATE-----\nabc", "key=value", "sort(key=len)", "for token in tokens:"),
        *("<pre>token</pre>", "got <Token at 0x7f> from cache", "docker run -u 1000:1000"),
        *("&quot;author&quot;:&quot;ada&quot;", "https://x.io/a:b… (9 characters)", "power=5"),
        'File "/app/auth/tokens.py", line 12, in check_password',
    ],
)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert Redactor().text(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_looked_at_and_looking_twice_changes_nothing_more(text: str) -> None:
    once = Redactor().text(text)

    assert Redactor().text(once) == once or MASK in once


@given(st.text("=:'\"\\[]{}(),&@/ \n-tokenpaswrdBeary", max_size=80))
def test_any_mess_of_quotes_and_brackets_can_be_looked_at(text: str) -> None:
    Redactor().text(f"{text}token={text}")


@pytest.mark.alone
@pytest.mark.parametrize(
    "part",
    [
        *(
            "a",
            "a-",
            "token",
            "token=",
            "token='",
            'token=\\"',
            "token=[",
            "token:{\n",
            '"token\\\\":',
        ),
        *(
            "://",
            "://x:",
            "://@",
            "eyJ",
            "eyJaaaaaaaaa.",
            "-----BEGIN PRIVATE KEY-----",
            "&token=&",
        ),
        *(
            "--token -",
            "bearer ",
            "basic A",
            "input_value=",
            "a\n  input_value=",
            "\\",
            "'token', ",
        ),
        *("…", "://x:…", "\n...\n", "\n...\nx", "<password>", "<a", "</password ", "<token>x</"),
        *("&quot;", "token&quot;:&quot;", "&#39;a", "token&", "curl -u ", "-u a:", "-u a", "pw"),
        *("sk-", "ghp_", "1234567890:AA", "=", "token    ", "x" * 201 + " ", "\u0130", "password "),
    ],
)
def test_a_hostile_text_takes_linear_time(part: str) -> None:
    text = (part * (1_000_000 // len(part) + 1))[:1_000_000]
    redactor = TextRedactor(SecretNames())

    start = time.thread_time()
    redactor.hide(text + " token=x ://a@ eyJ basic curl … </ &quot; &#39;")
    took = time.thread_time() - start

    assert took / 10 < 0.05, f"{took / 10 * 1000:.0f} ms for 100 kB of {part!r}"


# -- values ----------------------------------------------------------------------------------------


def test_values_under_secret_names_are_hidden_at_any_depth() -> None:
    value = {"a": [{"password": "hunter2", "n": 1}], "tokens": ["hunter2"], "pin": 1234}

    assert Redactor().value(value) == {
        "a": [{"password": MASK, "n": 1}],
        "tokens": MASK,
        "pin": MASK,
    }


def test_that_there_is_no_secret_is_no_secret() -> None:
    value = {"password": None, "token": "", "secret": False, "tokens": 512}

    assert Redactor().value(value) == value


def test_headers_are_known_as_pairs_and_as_objects() -> None:
    value = [[["X-Api-Key", "hunter2"], ["Host", "x"]], {"name": "Cookie", "value": "hunter2"}]

    shown = json.dumps(Redactor().value(value))

    assert "hunter2" not in shown
    assert '["Host", "x"]' in shown


def test_a_value_without_end_or_too_large_is_hidden_where_it_is_not_looked_at() -> None:
    deep: Any = "hunter2"
    for _ in range(5000):
        deep = [deep]

    assert "hunter2" not in repr(Redactor().value(deep))
    assert Redactor().value([0] * (MOST_VALUES + 10))[-1] == MASK  # type: ignore[index]


# -- arguments -------------------------------------------------------------------------------------


class Login(BaseModel):
    user: str
    word: SecretStr


@dataclass
class Wrapped:
    login: Login


def hidden(function: Any, args: list[Any], **kwargs: Any) -> Any:
    found = ArgumentCodec(function, max_bytes=10_000).hidden
    return Redactor().arguments({"args": args, "kwargs": kwargs}, found)


def test_an_argument_by_position_has_the_name_of_its_parameter() -> None:
    def login(user: str, password: str, *tokens: str, note: str = "") -> None: ...

    shown = hidden(login, ["ada", "hunter2", "hunter3", "hunter4"], note="x")

    assert shown == {"args": ["ada", MASK, MASK, MASK], "kwargs": {"note": "x"}}


def test_what_the_annotation_calls_secret_is_hidden_whatever_its_name() -> None:
    def one(a: SecretStr, b: SecretBytes | None, c: list[SecretStr], **rest: SecretStr) -> None: ...

    shown = hidden(one, ["hunter2", "hunter3"], c=["hunter4"], more="hunter5")

    assert shown == {"args": [MASK, MASK], "kwargs": {"c": MASK, "more": MASK}}


def test_secret_fields_of_models_are_hidden_inside_of_an_argument() -> None:
    def one(wrapped: Wrapped) -> None: ...

    shown = hidden(one, [{"login": {"user": "ada", "word": "hunter2"}}])

    assert shown["args"] == [{"login": {"user": "ada", "word": MASK}}]


def test_arguments_by_position_of_an_unknown_function_are_hidden() -> None:
    shown = Redactor().arguments({"args": ["a", 1], "kwargs": {"n": 1, "token": "x"}}, None)

    assert shown == {"args": [MASK, MASK], "kwargs": {"n": 1, "token": MASK}}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (SecretStr, SecretStr("hunter2")),
        (SecretBytes, SecretBytes(b"\xffhunter2")),
        (SecretStr | None, SecretStr("hunter2")),
        (dict[str, SecretStr], {"a": SecretStr("hunter2")}),
        (Login, Login(user="ada", word=SecretStr("hunter2"))),
        (Wrapped, Wrapped(Login(user="ada", word=SecretStr("hunter2")))),
    ],
)
def test_a_secret_reaches_the_task_as_itself(annotation: Any, value: object) -> None:
    def function(it: Any) -> None: ...

    function.__annotations__["it"] = annotation
    codec = ArgumentCodec(function, max_bytes=10_000)

    (args, _) = codec.decode(codec.encode((value,), {}))

    assert args == (value,)
    assert type(args[0]) is type(value)


# -- the hook --------------------------------------------------------------------------------------


def test_a_hook_sees_what_is_not_hidden_yet_and_its_word_counts() -> None:
    seen = []

    def hook(name: str, value: object) -> object:
        seen.append((name, value))
        return "A." if name == "patient" else value

    shown = Redactor(hook=hook).value({"patient": "Ada", "n": 1, "password": "hunter2"})

    assert shown == {"patient": "A.", "n": 1, "password": MASK}
    assert seen == [("patient", "Ada"), ("n", 1)]


def test_what_a_hook_fails_at_is_hidden() -> None:
    def hook(name: str, value: object) -> object:
        raise RuntimeError("no idea")

    assert Redactor(hook=hook).value({"n": 1}) == {"n": MASK}
    assert Redactor(hook=hook).text("some text") == MASK
    assert Redactor(hook=lambda _name, _value: object()).value({"n": 1}) == {"n": MASK}


def test_a_hook_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(SettingsError, match="redact=5"):
        make_redactor("", 5)
