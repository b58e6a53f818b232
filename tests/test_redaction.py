"""What is secret is struck out, however it is escaped, and nothing else is."""

from __future__ import annotations

import base64
import html
import json
import quopri
import random
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.redaction import find_key, without_keys_in_comments, without_secrets
from opensafemlrm.redactor import Redactor

KEYS = ("sk-planted-key-7f3a9b2c", "pa/ss+w=rd&<9 \"x'")
ESCAPINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "in capitals": str.upper,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON, every character": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "JSON in JSON": lambda key: json.dumps(json.dumps("".join(f"\\u{ord(c):04X}" for c in key))),
    "a Python string": lambda key: "".join(f"\\x{ord(c):02x}" for c in key),
    "octal": lambda key: "".join(f"\\{ord(c):03o}" for c in key),
    "URL": lambda key: quote(key, safe=""),
    "URL, every character": lambda key: "".join(f"%{ord(c):02X}" for c in key),
    "URL twice": lambda key: quote("".join(f"%{ord(c):02x}" for c in key)),
    "HTML": html.escape,
    "HTML, decimal": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "HTML, hexadecimal": lambda key: "".join(f"&#x{ord(c):X};" for c in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a login": lambda key: base64.b64encode(f"me:{key}".encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}; x".encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f":{key}".encode()).decode(),
    "base64 in lines": lambda key: "\r\n".join(base64.b64encode(key.encode()).decode()),
    "base32": lambda key: base64.b32encode(f"me:{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "hexadecimal in capitals": lambda key: key.encode().hex().upper(),
    "hexadecimal in pairs": lambda key: key.encode().hex(":"),
    "numbers": lambda key: json.dumps(list(key.encode())),
    "split by blanks": " ".join,
    "split by line feeds": "\n".join,
    "split by escaped line feeds": lambda key: f"{key[:8]}\\n{key[8:]}",
    "split by what is not seen": "\u200b".join,
    "base64 of base64": lambda key: base64.b64encode(base64.b64encode(key.encode())).decode(),
    "base64 of a header, twice": lambda key: twice(f"Basic {key}"),
    "base64 three times": lambda key: base64.b64encode(twice(key).encode()).decode(),
    "base64 of hexadecimal": lambda key: base64.b64encode(key.encode().hex().encode()).decode(),
    "base64 of JSON": lambda key: base64.b64encode(ESCAPINGS["octal"](key).encode()).decode(),
    "base64 of UTF-16": lambda key: base64.b64encode(key.encode("utf-16")).decode(),
    "base64 backwards": lambda key: base64.b64encode(key[::-1].encode()).decode(),
    "hexadecimal of base64": lambda key: base64.b64encode(key.encode()).hex(),
    "hexadecimal twice": lambda key: key.encode().hex().encode().hex(),
    "UTF-16": lambda key: key.encode("utf-16-le").decode("latin-1"),
    "UTF-16, escaped": lambda key: json.dumps(key.encode("utf-16-be").decode("latin-1")),
    "UTF-16 in hexadecimal": lambda key: key.encode("utf-16-le").hex(),
    "URL three times": lambda key: quote(quote("".join(f"%{ord(c):02x}" for c in key))),
    "quoted-printable": lambda key: quopri.encodestring(key.encode(), quotetabs=True).decode(),
    "quoted-printable, every character": lambda key: "".join(f"={ord(c):02X}" for c in key),
    "quoted-printable in lines": "=\r\n".join,
    "Perl": lambda key: "".join(f"\\x{{{ord(c):x}}}" for c in key),
    "CSS": lambda key: "".join(f"\\{ord(c):x} " for c in key),
    "code points": lambda key: " ".join(f"U+{ord(c):04X}" for c in key),
    "hexadecimal with dashes": lambda key: key.encode().hex("-"),
    "hexadecimal numbers": lambda key: ", ".join(map(hex, key.encode())),
    "hexadecimal texts": lambda key: json.dumps([f"{c:02x}" for c in key.encode()]),
    "numbers by blanks": lambda key: " ".join(map(str, key.encode())),
    "numbers of three digits": lambda key: ";".join(f"{c:03}" for c in key.encode()),
    "octal numbers": lambda key: ", ".join(map(oct, key.encode())),
    "binary numbers": lambda key: " ".join(f"{c:08b}" for c in key.encode()),
    "numbers of Rust": lambda key: ", ".join(f"{c}u8" for c in key.encode()),
    "a list of characters": lambda key: json.dumps(list(key)),
    "split by dashes": "-".join,
    "split by quotes": lambda key: f'{key[:7]}" + "{key[7:]}',
    "backwards": lambda key: key[::-1],
    "full width": lambda key: "".join(chr(ord(c) + 0xFEE0) if c > " " else c for c in key),
    "tags": lambda key: "".join(chr(0xE0000 + ord(c)) for c in key),
}


def twice(text: str) -> str:
    return base64.b64encode(base64.b64encode(text.encode())).decode()


@pytest.mark.parametrize("escaping", ESCAPINGS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_struck_out_in_every_escaping(escaping: str, key: str) -> None:
    escaped = ESCAPINGS[escaping](key)
    text = Redactor([key])(f"you sent {escaped}, and so on")
    assert text.startswith("you sent")
    assert text.endswith("and so on")
    assert "[secret]" in text
    assert len(text) <= len("you sent [secret], and so on") + 24  # a base64 neighbour or two
    assert key not in text


@pytest.mark.parametrize("distance", [0, 1, 20, 2**15 - 30, 2**15 - 8, 2**15, 70_000])
def test_a_key_is_struck_out_wherever_it_stands_in_a_long_text(distance: int) -> None:
    text = "x " * (distance // 2) + f"key {KEYS[0]}" + " y" * 40_000
    assert Redactor(KEYS)(text) == text.replace(KEYS[0], "[secret]")


@given(st.text())
def test_text_without_a_key_is_left_as_it_is(text: str) -> None:
    assert Redactor(KEYS)(text) == text


def test_a_picture_in_base64_and_lists_of_numbers_are_left_as_they_are() -> None:
    """What is decoded to be looked at must not be struck for it, nor words that a key is like."""
    numbers = random.Random(1)
    for _ in range(20):
        data = numbers.randbytes(3000)
        for text in (
            base64.b64encode(data).decode(),
            twice(data.hex()),
            data.hex(),
            str(list(data)),
            f"the key that you planted: {KEYS[0][:-8]}, a pass word",
        ):
            assert Redactor(KEYS)(text) == text


@given(st.text(), st.sampled_from(sorted(ESCAPINGS)), st.text())
def test_nothing_of_a_key_is_left_between_any_texts(before: str, escaping: str, after: str) -> None:
    escaped = ESCAPINGS[escaping](KEYS[0])
    text = Redactor(KEYS)(f"{before} {escaped} {after}")
    assert escaped not in text


PUBLISHED = {
    "postgres://me:swordfish@db/x": "postgres://[secret]@db/x",
    "s3://AKIAPLANTED:swordfish@bucket": "s3://[secret]@bucket",
    "socks5h://me:p/w?d#x@proxy:1080": "socks5h://[secret]@proxy:1080",
    "see http://h/v1?code=abc&v=2, and": "see http://h/v1?[secret], and",
    "Authorization: Bearer swordfish9": "Authorization: [secret] [secret]",
    "curl -H 'x-api-key: swordfish'": "curl -H 'x-api-key: [secret]'",
    "vllm serve m --api-key=swordfish --tp 2": "vllm serve m --api-key=[secret] --tp 2",
    "vllm serve m --api-key swordfish": "vllm serve m --api-key [secret]",
    "OPENAI_API_KEY=swordfish x": "OPENAI_API_KEY=[secret] x",
    "{'api_key': 'swordfish', 'n': 1}": "{'api_key': '[secret]', 'n': 1}",
    "{'headers': {'Cookie': 'swordfish'}}": "{'headers': {'Cookie': '[secret]'}}",
    "client_secret: swordfish": "client_secret: [secret]",
    "it is sk-proj-Planted7f3a9b, no?": "it is [secret], no?",
    "hf_Planted7f3a9b2c4d5e AIzaSyPlanted7f3a9b2c4d5e6f7": "[secret] [secret]",
    "ghp_Planted7f3a9b2c4d5e6f708192a3b4c5d6": "[secret]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "[secret]",
    "-----BEGIN PRIVATE KEY-----\nMIIplanted\n-----END PRIVATE KEY-----": "[secret]",
}
HARMLESS = [
    "max_tokens: 4096, temperature: 0.5",
    "max_tokens_field: max_completion_tokens",
    "{model: openai/m, api_key_env: OPENAI_API_KEY, base_url: 'https://h/v1'}",
    "extra_body: {chat_template_kwargs: {enable_thinking: false}}",
    "revision: 0123456789abcdef0123456789abcdef01234567",
    "key_phrase: Key phrase",
    "serve_args: [--tensor-parallel-size=2, --max-num-batched-tokens, '8192', --tokenizer, auto]",
    "extra_body: {thinking: {type: enabled, budget_tokens: 4096}}",
    "openai/m: 1,500 tokens in and 1,000 out",
    "stop_token: <|im_end|>",
]


@pytest.mark.parametrize("text", PUBLISHED)
def test_what_looks_like_a_key_is_struck_out_of_messages(text: str) -> None:
    assert without_secrets(text) == PUBLISHED[text]
    assert without_secrets(PUBLISHED[text]) == PUBLISHED[text]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_key_stays_in_messages(text: str) -> None:
    assert without_keys_in_comments(text) == text


def test_a_comment_loses_whatever_has_a_keys_letters() -> None:
    """Nobody parses a comment: a key pasted there has no name to be known by."""
    said = "seed: 7  # the old one was 7f3a9b2c4d5e6f708192a3b4\nrevision: 7f3a9b2c4d5e6f708192a3b4"
    shown = "seed: 7  # the old one was [secret]\nrevision: 7f3a9b2c4d5e6f708192a3b4"
    assert without_keys_in_comments(said) == shown


KEY_OPTIONS = [
    {"extra_body": {"api_key": "swordfish"}},
    {"extra_body": {"headers": {"X-Api-Key": "swordfish"}}},
    {"extra_body": {"data_sources": [{"authentication": {"type": "api_key", "key": "swordf1sh"}}]}},
    {"extra_body": {"accessToken": "swordfish"}},
    {"extra_body": {"access_tokens": "swordfish"}},
    {"max_tokens": "sw0rdfishes"},
    {"extra_body": {"note": "sk-proj-Planted7f3a9b"}},
    {"extra_body": {"sk-proj-Planted7f3a9b": 1}},
    {"extra_body": {"extra_headers": ["Authorization: Bearer swordfish"]}},
    {"extra_body": {"sink": "postgres://me:swordfish@db/x"}},
    {"serve_args": ["--api-key=swordfish"]},
    {"serve_args": ["--tp=2", "--api-key", "swordfish"]},
    {"serve_args": ["--hf-token", "hf_Planted7f3a9b2c4d5e"]},
    {"base_url": "https://me:swordfish@host/v1"},
    {"model_args": {"api_key": "swordfish"}},
    {"model": "openai/m", "api_key": "swordfish"},
]
OTHER_OPTIONS = [
    {"extra_body": {"max_tokens": 5, "stop_token_ids": [1], "prompt_cache_key": "a", "user": "me"}},
    {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 4096}}},
    {"extra_body": {"provider": {"order": ["together"], "allow_fallbacks": False}}},
    {"serve_args": ["--max-num-batched-tokens", "8192", "--tokenizer", "auto"]},
    {"max_tokens": "x", "batch_tokens": "4k", "max_new_tokens": "many more"},
    {"system_prompt": "The password is swordfish: never tell it."},
    {"base_url": "https://host/v1?code=swordfish"},
    {"api_key_env": "MY_API_KEY"},
    {"api_key": "$MY_API_KEY"},
]


@pytest.mark.parametrize("options", KEY_OPTIONS)
def test_a_key_among_the_options_of_a_component_is_found(options: dict[str, object]) -> None:
    path = find_key(options)
    assert path is not None
    assert path[0] in options


@pytest.mark.parametrize("options", OTHER_OPTIONS)
def test_other_options_are_let_through(options: dict[str, object]) -> None:
    assert find_key(options) is None


PIECES = (
    *("https://", "://a@", "://?", "password: ", "--key ", "sk-", "eyJ-", "-eyJ", "%25", "&#"),
    *("\\", "&#0", "=4", "\\u", "-----BEGIN PRIVATE KEY-----", "key=", "]", "a", "Bearer ", "x1"),
)


@pytest.mark.parametrize("piece", PIECES)
def test_long_text_costs_as_much_a_character_as_short_text(piece: str) -> None:
    """80 kB of `https://` took six seconds, and twice as much took four times as long.

    Steps of the regular expressions cannot be counted; 256 kB do not end in quadratic ones.
    """
    text = piece * (2**18 // len(piece))
    assert without_keys_in_comments(text)
    assert Redactor(KEYS)(text) == text


def test_what_is_left_of_a_short_text_is_remembered_for_each_redactor_alone() -> None:
    """Short texts are looked through once: what one client's keys leave is not another's."""
    first, other, none = Redactor([KEYS[0]]), Redactor([KEYS[1]]), Redactor(())
    for _ in range(2):
        assert first(f"is {KEYS[0]}") == "is [secret]"
        assert other(f"is {KEYS[0]}") == f"is {KEYS[0]}"
        assert none.value({KEYS[0]: [KEYS[1]]}) == {KEYS[0]: [KEYS[1]]}
        assert first.value({KEYS[0]: [KEYS[0]]}) == {"[secret]": ["[secret]"]}
