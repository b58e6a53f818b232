"""Parameters that a server does not take: how it says so, and what is sent from then on.

Reasoning models take no ``temperature``, newer APIs call ``max_tokens`` otherwise, some servers
know no ``seed``, some chat templates no system role. What the study asks for stays what it is; what
was sent is recorded with every reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any, Final

from opensafemlrm.models.http.codec import Codec

SYSTEM_ROLE: Final = "system"
"""Stands for the role of system messages among the parameters that a server turns down."""
MAX_ALONE: Final = 3.0
"""Seconds that others wait for the first request: what a server does not take it says at once."""

RESPONSE_FORMAT: Final = "response_format"
_PASSED_OVER: Final = frozenset({401, 402, 403, 407, 408, 409, 413, 425, 429, 503, 504, 529})
"""Statuses that are about the key, the account or the load."""
_ROUTED: Final = re.compile(
    r"(?:endpoint|provider)s?\b.{0,40}\b(?:support|handle|accept)", re.IGNORECASE
)
"""What a router says, with 404, of a parameter that none of its servers takes."""
_NAMING: Final = frozenset({"param", "parameter", "parameters", "loc", "field", "property"})
"""Fields of an error that name what in the request it is about."""
_MAX_DEPTH: Final = 8
_NAMES: Final = {
    name.replace("_", ""): name
    for name in (
        *("temperature", "top_p", "seed", "random_seed", "skip_special_tokens"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
        *("reasoning", "reasoning_summary", "thinking", "thinking_config", "include_thoughts"),
        RESPONSE_FORMAT,
    )
} | {"jsonschema": RESPONSE_FORMAT}
"""What may be named: spelled with dots, in camel case or with underscores."""
_PLAIN: Final = ("reasoning", "thinking")
"""Names that are words of everyday use as well."""
_WORD: Final = re.compile(r"(?<![\w-])[A-Za-z_][A-Za-z_.]*(?![\w-])")
"""No part of a model's name, such as `seed-oss` or `phi-4-reasoning`."""
_SPELLED_OUT: Final = re.compile(r"structured[ -]outputs?|response[ -]formats?", re.IGNORECASE)
_OUT_OF_RANGE: Final = re.compile(
    r"too (?:large|long|high|low|small|many|big)|at (?:most|least)|exceed|maximum|minimum|greater"
    r"|less than|larger than|smaller|between|\brange\b|positive|negative|up to|context (?:length|w)"
    r"|not (?:a )?multiple|must be (?:an? )?(?:integer|number|float)|(?:>|<)=? ?\d",
    re.IGNORECASE,
)
"""Says that the value is wrong, not the parameter: to mend in the study, never to be left out."""
_WRONG_VALUE: Final = re.compile(r"(?:invalid|wrong|bad) (?:value|type)", re.IGNORECASE)
_UNSUPPORTED: Final = re.compile(
    r"(?:not|n[o']t|no longer|never|cannot)(?: be)?(?: currently)? (?:support|permit|allow|accept"
    r"|recogni[sz]|enabled|available|known|valid|implement|both|take|compatible|expect|use|set|work"
    r"|applicable|specified)|un(?:supported|known|recogni[sz]ed|expected|available|permitted)"
    r"|incompatible|deprecated|disallowed|forbidden"
    r"|invalid (?:message )?(?:param|field|arg|key|prop|role)"
    r"|extra(?:neous)? (?:inputs?|keys?|field)"
    r"|cannot find field|no such"
    r"|only (?:the |a )?(?:default|1|one|be|supports?|allows?|accepts?|'?user)"
    r"|only [\w.=' ]{1,20} (?:is|are) (?:allowed|supported|permitted|accepted)"
    r"|(?:endpoint|provider)s? found that|unavailable|not? (?:\w+ )?(?:endpoint|provider)"
    r"|must be ['\"`]?\w+['\"`]? or ['\"`]?\w+"
    r"|must (?:be|equal) (?:equal to |exactly |set to |left )?(?:1\b|unset|default|null|omitted)"
    r"|remove|omit|leave (?:it )?out|instead|drop_params|replaced|renamed|not one of",
    re.IGNORECASE,
)
_ROLE: Final = re.compile(
    r"(?:system|developer)['\"`]? ?(?:role|message|prompt|instruction|turn|content)"
    r"|(?:role|message|instruction)s?[^.;]{0,30}['\"` :]system\b|roles? must alternate"
    r"|messages\W{1,2}\d+\W{1,2}role|developer instruction|only (?:\w+ )?'?user"
    r"|other than '?user|got '?system|'system' is not one|role['\"`]?:? ['\"`]?system\b",
    re.IGNORECASE,
)
_REASONING_MODEL: Final = re.compile(r"(?:^|/)(?:o\d|gpt-5)(?!.*chat)", re.IGNORECASE)
_TAKEN: Final = re.compile(
    r"(?:after|except\w*|exception of) (?:the|an) (?:initial )?optional", re.IGNORECASE
)
"""Says that the template has a place for a system message."""
_ALTERNATE: Final = re.compile(r"roles? must alternate", re.IGNORECASE)


def refused_parameters(payload: Any, status: int, message: str) -> tuple[str, ...]:
    """Return the parameters that an error says are not taken, the likeliest first.

    ``payload`` is the parsed body, ``message`` what it says. A value that is out of range is no
    such error, and neither is one about the key, the account or the load.
    """
    if status in _PASSED_OVER or (status == 404 and not _ROUTED.search(message)):
        return ()
    places = [place for place in _places(payload) if len(place) < 200]
    if _is_about_roles(message, places):
        return (SYSTEM_ROLE,)
    if _OUT_OF_RANGE.search(message):
        return ()
    if _UNSUPPORTED.search(message):
        names = [*_named(" ".join(places)), *_named(message)]
    else:
        names = [] if _WRONG_VALUE.search(message) else _named(" ".join(places))
    return tuple(dict.fromkeys(names))


def _is_about_roles(message: str, places: Collection[str]) -> bool:
    if any(re.search(r"messages\W{1,2}\d+\W{1,2}role", place) for place in places):
        return True
    if _TAKEN.search(message):
        return False
    about_roles = _ROLE.search(message) and _UNSUPPORTED.search(message)
    return bool(about_roles or _ALTERNATE.search(message))


def _places(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield what an error body names as its places, joined by dots where it gives the steps."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _places(inner, depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if str(name).casefold() not in _NAMING:
                yield from _places(inner, depth + 1)
            elif isinstance(inner, str):
                yield inner
            elif isinstance(inner, list):
                yield ".".join(str(step) for step in inner)


def _named(text: str) -> list[str]:
    """Return the known parameters in ``text``, those in quotation marks first, plain words last."""
    quoted = " ".join(re.findall(r"['\"`]([\w.\[\]]+)['\"`]", text))
    text = _SPELLED_OUT.sub(RESPONSE_FORMAT, text)
    words = [
        word.replace("_", "").casefold().split(".") for word in _WORD.findall(f"{quoted} {text}")
    ]
    named = [step for steps in words for step in (*reversed(steps), "".join(steps))]
    return [_NAMES[name] for name in sorted(named, key=_PLAIN.__contains__) if name in _NAMES]


class Parameters:
    """What a server has been found not to take."""

    def __init__(self) -> None:
        self.changes = 0
        """How often something was learnt: what was made before is out of date."""
        self._left_out: set[str] = set()
        self._renamed: dict[str, str] = {}
        self._weakened: dict[str, Any] = {}
        self.system_in_user = False
        self._first: asyncio.Event | None = None
        self.is_settled = False
        """Whether the first request has ended: no other waits for it any more."""

    @contextlib.asynccontextmanager
    async def first_alone(self) -> AsyncIterator[None]:
        """Let the first request go alone: what it is refused for, the others need not try."""
        if self._first is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), MAX_ALONE)
            yield
        else:
            self._first = asyncio.Event()
            try:
                yield
            finally:
                self.is_settled = True
                self._first.set()

    def apply(self, fields: dict[str, Any]) -> None:
        """Change the fields of a request to what the server takes."""
        fields.update({name: v for name, v in self._weakened.items() if name in fields})
        for name in self._left_out:
            fields.pop(name, None)
        for name, other in self._renamed.items():
            if name in fields:
                fields[other] = fields.pop(name)

    def expect(self, model: str, codec: Codec, own: Collection[str]) -> None:
        """Do without what OpenAI's reasoning models are known to refuse, less the study's ``own``.

        For batches: what they refuse comes to light after hours, of all their requests at once.
        """
        if _REASONING_MODEL.search(model):
            fields = {*codec.optional, "max_tokens"}.difference(own)
            for name in ("max_tokens", "temperature", "top_p"):
                self._do_without(name, fields, codec)

    def learn(
        self,
        refused: Collection[str],
        fields: Collection[str],
        codec: Codec,
        *,
        has_system: bool,
    ) -> bool:
        """Note the first of ``refused`` that a request of ``fields`` can do without, if any can."""
        both = {"temperature", "top_p"} <= set(refused)
        for named in sorted(refused, key=lambda name: both and name == "temperature"):
            if named == SYSTEM_ROLE:
                learnt = has_system and not self.system_in_user
                self.system_in_user = self.system_in_user or learnt
            else:
                learnt = self._do_without(named, fields, codec)
            if learnt:
                self.changes += 1
                return True
        return False

    def _do_without(self, named: str, fields: Collection[str], codec: Codec) -> bool:
        for field in fields:
            if not _is_called(field, named):
                continue
            if field in codec.weaker and field not in self._weakened:
                self._weakened[field] = codec.weaker[field]
                return True
            if field in codec.optional:
                self._left_out.add(field)
                return True
            other = codec.other_names.get(field)
            if other is not None and other not in self._renamed:
                self._renamed[field] = other
                return True
        return False


_GROUPS: Final = {
    "include_thoughts": "thinkingconfig",
    "thinking": "thinkingconfig",
    "reasoning_summary": "reasoning",
}
"""Parameters that are part of a field, or another name of it."""


def _is_called(field: str, named: str) -> bool:
    plain = field.replace("_", "").casefold()
    return plain in (named.replace("_", ""), _GROUPS.get(named))
