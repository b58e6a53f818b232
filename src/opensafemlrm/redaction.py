"""What is secret, and how it is struck out of all that leaves this process.

One rule, for terminal, store, log, report, export and crash. A secret is

- what the process was given as one: a key that a model sends, a value of an address's query that is
  called like a key, user and password of a proxy, and the value of an environment variable that is
  called like a key (:func:`known`); it is struck out however it is escaped;
- what looks like one (:func:`without_secrets`): a vendor's key by its form, ``Bearer …``, a user
  and a password in an address of any scheme, a value under a name such as ``api_key``.

What looks like a key is turned down where a study gives it as a value (:func:`find_key`), since
values are published with the results.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import IO, Any, Final, cast
from urllib.parse import unquote

from opensafemlrm.redactor import MARK, MIN_KEY_LENGTH, MIN_LENGTH, Redactor

_CALLED: Final = (
    r"(?:api|access|secret|private|subscription|account|auth|session|signing|encryption|service)"
    r"[-_. ]?keys?|secrets?|tokens?|pass(?:word|wd|phrase|code)s?|pwd|credentials?|auth|"
    r"authori[sz]ation|bearer|cookies?|signature"
)
"""What names of keys end in."""
_KEY_NAME: Final = re.compile(rf".*(?:{_CALLED})|key|code|sig", re.IGNORECASE)
_COUNT_NAME: Final = re.compile(
    r"(?:.*[-_])?(?:max|min|num|new|batch(?:ed)?|budget|stop|input|output|completion|thinking)"
    r"(?:[-_]\w{1,40})?[-_]tokens",
    re.IGNORECASE,
)
"""Counts of tokens, whose values are keys only if nothing else can be meant."""
_VARIABLE: Final = re.compile(
    r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)(?:PWD|PAT|AUTH)$", re.IGNORECASE
)
_COMMENT: Final = re.compile(r"(?:^|\s)#")
_IS_NO_WORD: Final = re.compile(r"(?![a-z]+$|[A-Z]+$|\d+$)[^\s/.]\S{7,}")
_IS_KEY: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[^\s/.]\S{7,}")
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk|ak)[-_](?=[A-Za-z_-]{0,40}+\d)[\w-]{6,}"  # OpenAI, Anthropic, OpenRouter, Stripe
    r"|(?:gsk|xai|hf|r8|fw|pplx|nvapi|tgp|csk|glpat|dop_v1|shpat|npm|pypi|gh[opusr]|github_pat"
    r"|xox[abeprs]|lin_api|key-live|ya29|dapi)[-_.][\w.-]{12,}"
    r"|AIza[\w-]{20,}|A[KS]IA[A-Z0-9]{12,}|eyJ[\w-]{8,200}+\.[\w-]{8,}(?:\.[\w-]*)?|SG\.[\w-]{16,}"
    r"|hf_[A-Za-z0-9]{12,})"
)
"""Keys that tell by their form whose they are."""
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*KEY-----)?")
_SCHEME: Final = re.compile(r"\b(Bearer|Basic)([ \t]+)([\w.~+/=-]{6,})", re.IGNORECASE)
_USER: Final = re.compile(r"""(://)[^\s'"]{1,256}@""")
_QUERY: Final = re.compile(r"""(://[^\s?#'"]{1,256}\?)([^\s#'"]+)""")
_ASSIGNED: Final = re.compile(
    rf"""(?P<name>{_CALLED}|(?<![A-Za-z])key)"""
    r"""(?P<is>["']?[ \t]{0,8}(?:=>|[:=])[ \t]{0,8}["'\[{(]{0,3})(?!secret\])"""
    r"""(?P<value>[^\s"',;}\])]+)""",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(
    rf"""(?P<name>--?[\w-]{{0,40}}?(?:{_CALLED}))(?P<is>["']?[,= \t]{{1,8}}["']?)"""
    r"""(?P<value>[^\s"',;}\]-][^\s"',;}\]]*)""",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(
    r"[\d._]+|true|false|null|none|yes|no|on|off|~|EMPTY|[|>][+-]?|<[^>]*>|\$\{?[A-Z_][A-Z0-9_]*\}?"
    r"|\[secret.*"
)
_STRONG: Final = re.compile(r"key|secret|pass|pwd|auth|credential", re.IGNORECASE)
_LOT: Final = re.compile(r"(?<![A-Za-z0-9/])(?=[A-Za-z]*\d[A-Za-z]*\d[A-Za-z]*\d)[A-Za-z0-9]{16,}")
"""Letters and digits in no order, as keys without a mark of their own are."""

KEY_ADVICE: Final = (
    "this looks like a key or a password, and a study is published with its results: put it into "
    "an environment variable, and name that in `api_key_env`"
)
"""What is said where :func:`find_key` finds one."""

_noted: set[str] = set()
_noting: Final = threading.Lock()


def note(values: Iterable[str]) -> None:
    """Remember secrets that the process was given, for all that it says from now on."""
    with _noting:
        _noted.update(value for value in values if len(value) >= MIN_KEY_LENGTH)


def known() -> Redactor:
    """Return what strikes out every secret that this process was given."""
    with _noting:
        values = frozenset((*_noted, *of_environment()))
    return _redactor(values)


@lru_cache(maxsize=8)
def _redactor(values: frozenset[str]) -> Redactor:
    return Redactor(values)


def of_environment() -> Iterator[str]:
    """Yield the secrets among the environment's variables: keys by name, and logins of addresses.

    Of keys, those that cannot be a word, a number or a path.
    """
    for name, value in os.environ.items():
        if "@" in value and ("://" in value or name.lower().endswith("_proxy")):
            user, *rest = login_of(value) or ("",)
            yield from (user, *rest) if len(user) >= MIN_KEY_LENGTH else rest
        if _VARIABLE.search(name) and _IS_NO_WORD.fullmatch(value := value.strip()):
            yield value


def login_of(address: str) -> tuple[str, ...]:
    """Return user, password and both as a login has them; nothing if the address has no user.

    Then each once more as it is written, which may be escaped.
    """
    user_info, at, _ = address.rpartition("://")[2].rpartition("@")
    if not at:
        return ()
    user, _, password = user_info.partition(":")
    plain = unquote(user), unquote(password)
    return (*plain, ":".join(plain), password, user_info)


def is_key_name(name: str) -> bool:
    """Whether a value of this name is a key, as ``api_key``, ``X-Api-Key`` and ``token`` are."""
    return _KEY_NAME.fullmatch(name) is not None


def keys_in_addresses(text: str) -> list[str]:
    """Return the names of keys in the queries of a text's addresses, as of ``?api_key=…``."""
    queries = (match[2] for match in _QUERY.finditer(text))
    names = (part.partition("=")[0] for query in queries for part in re.split("[&;]", query))
    return [name for name in names if is_key_name(unquote(name))]


def without_secrets(text: str) -> str:
    """Return ``text`` without any secret: those that are known, and what looks like one.

    For messages, logs and the text of a study; it takes time in step with the length of the text.
    """
    text = known()(text)
    text = _USER.sub(rf"\1{MARK}@", text) if "@" in text else text
    text = _QUERY.sub(_without_query, text)
    text = _PEM.sub(MARK, text)
    text = _SCHEME.sub(lambda match: f"{match[1]}{match[2]}{MARK}", text)
    text = _TOKEN.sub(MARK, text)
    return _OPTION.sub(_without_value, _ASSIGNED.sub(_without_value, text))


def without_keys_in_comments(yaml: str) -> str:
    """Return a study's text without any secret.

    In its comments, which nobody parses, also without whatever has a key's letters and digits.
    """
    lines = []
    for line in without_secrets(yaml).splitlines(keepends=True):
        sign = _COMMENT.search(line)
        start = sign.end() if sign else len(line)
        lines.append(line[:start] + _LOT.sub(MARK, line[start:]))
    return "".join(lines)


def find_key(value: Any, name: str = "") -> tuple[str | int, ...] | None:
    """Return where in an option of a component a key stands, ``None`` where there is none.

    The query of an address is let through: some servers take their key there, and it is struck
    out wherever the address is shown.
    """
    if isinstance(value, Mapping):
        inner: Iterable[tuple[str | int, Any, str]] = (
            (str(key), option, str(key)) for key, option in value.items()
        )
        keys = (str(key) for key in value)
        if any(_looks_like_key(key) for key in keys):
            return ()
    elif isinstance(value, list | tuple):
        words = [word for word in value if isinstance(word, str)]
        if len(words) == len(value) and _OPTION.sub(_without_value, " ".join(words)) != " ".join(
            words
        ):
            return ()
        inner = ((place, option, name) for place, option in enumerate(value))
    elif isinstance(value, str):
        return () if _is_key(name, value) or _looks_like_key(value) else None
    else:
        return None
    for step, option, called in inner:
        path = find_key(option, called)
        if path is not None:
            return (step, *path)
    return None


def _looks_like_key(text: str) -> bool:
    plain = _QUERY.sub(r"\1", text)
    if known()(plain) != plain or _TOKEN.search(plain) or _PEM.search(plain):
        return True
    if _USER.search(plain) or _SCHEME.search(plain):
        return True
    assigned = re.fullmatch(r"""["']?([\w.-]{1,60})["']?\s{0,8}[:=]\s{0,8}(\S.{0,2000})""", text)
    return assigned is not None and _is_key(assigned[1], assigned[2])


def _is_key(name: str, value: str) -> bool:
    """Whether a value is a key by its name; under ``key`` and ``max_tokens``, if it can be."""
    if not value or not is_key_name(name) or _HARMLESS.fullmatch(value):
        return False
    is_sure = len(name) > MIN_LENGTH and not _COUNT_NAME.fullmatch(name)
    return is_sure or _IS_KEY.fullmatch(value) is not None


def _without_query(match: re.Match[str]) -> str:
    query = match[2]
    if query.startswith(MARK):
        return match[0]
    end = query[len(query.rstrip(",}])")) :]
    return f"{match[1]}{MARK}{end}"


def _without_value(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    least = MIN_LENGTH if _STRONG.search(name) else MIN_KEY_LENGTH
    if (
        len(value) < least
        or _HARMLESS.fullmatch(value)
        or (name.lower() == "key" and not _IS_KEY.fullmatch(value))
    ):
        return match[0]
    return f"{name}{match['is']}{MARK}"


class _Stream:
    """A stream that lets no secret through."""

    def __init__(self, stream: Any, strike: Callable[[str], str]) -> None:
        # Python has no stream where the caller has closed it: what is written goes nowhere.
        self._stream, self._strike = stream or io.StringIO(), strike

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def write(self, text: str) -> int:
        """Write ``text``, without secrets."""
        self._stream.write(self._strike(text))
        return len(text)


@contextlib.contextmanager
def without_secrets_on_streams(*, has_results: bool = True) -> Iterator[None]:
    """Strike secrets out of all that is printed in the block, whoever prints it.

    Results, on standard output, lose those that are known; all else, what looks like one.
    """
    strike = _without_known if has_results else without_secrets
    with (
        contextlib.redirect_stdout(cast("IO[str]", _Stream(sys.stdout, strike))),
        contextlib.redirect_stderr(cast("IO[str]", _Stream(sys.stderr, without_secrets))),
    ):
        yield


def _without_known(text: str) -> str:
    return known()(text)  # asked each time: keys become known as models are made
