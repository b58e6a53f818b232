"""What the words and codes of servers' errors mean: one table for all vendors.

A message is read as words alone, in lower case: ``insufficient_quota`` and ``InsufficientQuota``
are "insufficient quota", ``--limit-mm-per-prompt`` is "limit mm per prompt". What comes of it is
coarse, and no failure is final by it (see ``client.py``): at worst a request is asked once more.
Only that a content filter spoke makes an outcome, so those words are told narrowly.

Sources: the error references of OpenAI, Azure, Anthropic, Google, AWS Bedrock, xAI, Mistral, Groq,
DeepSeek, Zhipu, DashScope, Volcengine, MiniMax, Moonshot and OpenRouter; the messages of vLLM,
SGLang, llama.cpp, Ollama, LM Studio and LiteLLM.
"""

from __future__ import annotations

import re
from typing import Final

NO_CREDIT: Final = "insufficient_quota"
INVALID_KEY: Final = "invalid_key"
MODEL_NOT_FOUND: Final = "model_not_found"
WRONG_ADDRESS: Final = "wrong_address"
TOO_LARGE: Final = "request_too_large"
UNFINISHED: Final = "unfinished"

STOPPING: Final = frozenset({"http_401", "http_402", "http_407", "certificate"})
"""Codes after which no further request can succeed."""
ACCOUNT: Final = frozenset({NO_CREDIT, INVALID_KEY})
"""The same, as far as words can tell."""
STOPPING_AT_FIRST: Final = frozenset({"http_404", "http_405", MODEL_NOT_FOUND, WRONG_ADDRESS})
"""The same, unless a request has succeeded: then they may be about one request."""
FORBIDDEN: Final = "http_403"
"""A key that may not use the model, or a firewall that dislikes a prompt, the very first even."""
NOT_AT_ONCE: Final = frozenset(
    {NO_CREDIT, INVALID_KEY, MODEL_NOT_FOUND, WRONG_ADDRESS, TOO_LARGE, "http_413"}
    | {"model_unavailable", "context_length", "server_options", UNFINISHED}
)
"""Codes of what asking again changes nothing about, until somebody changes the account, the server,
its flags or the time that it is given."""


def _phrases(lines: str) -> re.Pattern[str]:
    """Compile phrases, one a line, of beginnings of words; ``…`` stands for at most six words.

    A phrase begins with a word of its own, but in Chinese, which has no spaces.
    """
    phrases = [line.strip().replace(" … ", r"(?: \S+){0,6} ") for line in lines.strip().split("\n")]
    return re.compile("|".join(rf"\b(?:{p})" if p.isascii() else p for p in phrases))


_RATE: Final = _phrases(r"""
    (\w*per|a) ?(minute|min|second|sec|hour)
    rate ?limit
    [rt]p[ms]\b
    throttl
    too many requests
    (re)?try( again)? in \d
""")
_DAILY: Final = _phrases(r"""
    \w*per ?(day|week|month)
    [rt]pd\b
    (daily|weekly|monthly)
    calls month
""")
_NO_CREDIT: Final = _phrases(r"""
    insufficient( \w+)? (quota|balance|credit|fund|point)
    (balance|credits?|funds|wallet|money) … (too low|insufficient|not enough|exhaust|deplet|used up|empty|ran out)
    (not enough|out of|used all|exceed\w*|low on|lack\w*) … (credits?|balance|funds|money)\b
    (no|zero|without)( more| remaining| available| prepaid| free)* (credits?|balance|funds|money)\b
    (not enough|no|out of|used all)( \w+){0,3} tokens … (account|plan|balance|subscription)
    (add|purchase|buy|requires?)( \w+)? (credits|funds|money)
    (key|credit|spend|spending|cost) (limit|cap)\b
    (trial|subscription) … (expired|ended|inactive|required)
    (no|without|needs? an?|requires? an?|missing) (active |paid |valid )*(subscription|plan)\b
    budget … (exceed|exhaust|spent|reached|full|over)
    (exceed|over)\w* … budget
    payment (required|method|instrument|failed)
    (unpaid|overdue|past due|arrear|recharge|top up|prepaid)
    in good standing
    past invoice
    billing (hard )?(limit|is|has|account|not)
    (enable|set up) billing
    freetieronly
    free( \w+)? (tier|quota) … (exhausted|only)
    (欠费|余额|额度(不足|已用|用完|用尽|耗尽)|充值|资源包|费用不足|次数已用)
    (残高|クレジット|お支払い|잔액|크레딧|충전|средств|баланс|الرصيد)
    (saldo|guthaben|kontostand|solde insuffisant|cr[eé]ditos? (insuficiente|agotado)|crédits? (insuffisant|épuisé)|credito (insufficiente|esaurito))
""")  # noqa: E501 # one phrase a line
"""Money, in the languages that vendors write."""
_LIMIT_REACHED: Final = _phrases(r"""
    (quota|usage limit|allowance)s? … (exceed|exhaust|reached|used up|hit)
    (exceed|reach|hit|over)\w* … (quota|usage limit|allowance)
    (daily|weekly|monthly)( \w+){0,3} (limit|quota|cap|allowance|budget)
    (usage|tokens?|requests) … (exhausted|used up|depleted)
    out of (quota|requests|messages|tokens)\b
    (upgrade|subscribe) (your|to a|to the|to)( \w+)? (plan|account|tier|subscription|pro\b|key)
    (使用上限|配额|利用上限|上限に達し|한도|лимит|límite de uso|kontingent)
""")
"""Money, or a limit that opens again in a moment: other words tell which."""
_INVALID_KEY: Final = _phrases(r"""
    (api|access|auth|subscription|secret) ?key … (not valid|invalid|expired|missing|incorrect|revoked|disabled|not found|required|leaked|compromised|blocked)
    (invalid|incorrect|missing|expired|wrong|bad|unknown|revoked|no)( \w+){0,2} (api|access|auth|subscription) ?key
    (invalid|incorrect|missing|expired|wrong|bad|unknown|revoked|no)( \w+){0,2} (credentials?|authentication|authorization)\b
    (invalid|expired|wrong|missing) (access|auth|bearer|security) token
    (access|auth|bearer|security) token … (invalid|expired|missing)
    authentication (error|fail|required)
    (unauthenticated|not authenticated)
    (account|organi[sz]ation|project|team) … (deactivated|suspended|terminated|locked|banned|inactive|not active)
    account … disabled
    access … terminated
    (令牌|身份验证)
""")  # noqa: E501 # as above
_NO_MODEL: Final = _phrases(r"""
    (no such|unknown|unsupported|invalid) (model|deployment)\b
    not a valid model
    (model|deployment)( \S+){0,8} (not found|(does not|doesn t|not) exist)
    model identifier is invalid
    no models?( \w+){0,2} loaded
    模型(不存在|未找到|不可用)
""")
_NO_MODEL_NOW: Final = _phrases(r"""
    model … (not (available|loaded|deployed|supported)|unavailable|no longer|deprecated|retired|decommissioned|removed)
    (no endpoints found|no allowed providers)
    no (available )?(channel|provider)
    not have access … model
    model access denied
    (failed|unable|cannot) to (load|access)( \w+)? model
""")  # noqa: E501 # as above
_WRONG_ADDRESS: Final = _phrases(r"""
    (unexpected endpoint|no route|route not found|cannot post)
    unknown (url|endpoint|path)
    invalid url (post|get)
    unrecognized request url
""")
_CONTEXT: Final = _phrases(r"""
    context (length|window|size|limit)
    (maximum|max) (context|prompt|input) (length|tokens)
    (prompt|input|conversation|message|messages|question|text) … too long
    (prompt|input|context|message)s? length … (exceed|maximum|limit|must)
    must (have|be)( \w+)? (less|fewer) than \d+ tokens
    too many (input |total |prompt )?tokens
    (max model len|max seq len|n ctx)
    tokens? … (exceed|greater than|larger than|longer than|more than)
    (exceeds?|exceeded|greater than|longer than|larger than)( \S+){0,8} (tokens?|context)\b
    (reduce the length|token limit|maximum length)
    (range of|maximum) input length
    tokens max new tokens must be
    (超长|上下文长度)
""")
_TOO_LARGE: Final = _phrases(r"""
    (request|payload|body|entity|images?|file|upload|content|message|attachment) … too (large|big)
    exceeds?( \S+){0,8} (bytes|mb|kb|mib|kib|megabytes|size limit)\b
    (maximum|max)( \w+){0,2} (body|request|payload|image|file|upload|content) size
    (body|request|payload|image|file|upload|content)( \w+)? size … (exceed|limit|too)
    exceeds? … (size|pixels|resolution)\b
    (length limit exceeded|must be reduced|larger than max)
""")
_SERVER_OPTIONS: Final = _phrases(r"""
    limit mm per prompt
    at most \d+ (image|video|audio)
    (too many images|mmproj|chat template|no image processor|unknown variant image|str type expected)
    number of images … (exceed|limit|more than)
    support image input
    only( \w+)? (one|1|\d+) (image|picture)
    (image|images|vision|visual|multi ?modal|image url) … (disabled|unsupported)
    not a multi ?modal
    (image|images|vision|visual|multi ?modal|image url) … (not|\w+n t) (supported|enabled|available|allowed|accepted|configured)
    (not|\w+n t|cannot) (support|accept|process|handle|have)( \w+){0,4} (images?|vision|visual|multi ?modal|image url)\b
""")  # noqa: E501 # as above
_OVERLOAD: Final = _phrases(r"""
    \w*overload
    (over|at|no|insufficient) capacity
    capacity … exceed
    too many (\w+ )?requests
    (rate ?limit|throttl|busy\b)
    temporar(y|ily)
    (try again|retry) (later|after|in)
    (is|still|being) loading
    (loading model|warming up|starting up|not ready)
    (currently|service) unavailable
    timed? ?out
    deadline exceeded
    upstream … (error|fail|unavailable|reset)
    no healthy upstream
    connection (reset|refused|closed|error)
    internal (server )?error
    out of memory
    no (available|free|healthy) (worker|instance|server|replica|slot|node)
    queue (is )?full
    resource exhausted
    concurren\w+ … (limit|exceed)
    (稍后|繁忙|限流|过载|并发|訪問|混雑)
""")

_OF_WORLD: Final = _phrases(r"""
    (account|user|member|plan|tier|credit|balance|bill|budget|quota|money|fund|wallet|cash|dollar|cent|pay|paid|price|cost|spen[dt]|subscri|upgrade|trial|free)
    (key|token|permission|permit|access|auth|denied|forbidden|licen|agree|verif|sign (in|up)|log ?in)
    (organi|project|team|workspace|tenant|company|region|location|countr|territor|ip\b|network|domain|admin|owner|support\b)
    (model|deployment|endpoint|resource|server|service|provider|host|instance|worker|backend|engine|gateway|proxy|router|upstream|gpu|cuda|memory|disk|queue|vllm|mmproj)
    (load|start|setting|option|flag|config|param|schema|identifier|guardrail|template|tokeniz|version|maintenance|weights|checkpoint|adapter|lora)
    (limit|exceed|maximum|max\b|daily|weekly|monthly|today|tomorrow|hour|minute|per\b|left\b|remain|unavailable|not available|enable|disable|deprecat)
    (nicht|kein|saldo|kredit|pas de|plus de|insuf|agotad|esaurit|esgotad|tegoed|brak)
    \S*[^\x00-\x7f]
""")  # noqa: E501 # as above
"""What somebody else than the sample's author can mend. Scripts that are not read count too."""

_FILTER_CODES: Final = (
    "contentfilter", "contentpolicy", "contentmoderation", "moderation", "policyviolation",
    "usagepolicy", "datainspection", "sensitive", "safety", "guardrail", "recitation", "blocklist",
    "prohibitedcontent", "contentblocked", "contentviolation", "unsafecontent", "harmfulcontent",
    "censor", "toxic", "jailbreak", "modelarmor", "spii",
)  # fmt: skip
"""In codes, without what is no letter."""
_ABOUT_A_FILTER: Final = (
    "unsupported", "invalid", "unknown", "missing", "required", "notfound", "notenabled", "setting",
    "config", "identifier", "param", "argument", "option", "version", "schema", "threshold",
    "quota", "limit", "unavailable", "timeout", "disabled", "permission", "unauthorized",
    "casesensitive", "insensitive", "serviceerror", "servererror",
)  # fmt: skip
"""The same: such a code is about how a filter is set, or that it is gone."""
_FILTER_NUMBERS: Final = frozenset({"1301"})
"""Zhipu's."""
_FILTER_PHRASES: Final = {
    "content exists risk": "content_exists_risk",  # DeepSeek
    "content violates usage guidelines": "usage_guidelines",  # xAI
    "violating our usage policy": "usage_policy",  # OpenAI's reasoning models
    "content management policy": "content_management_policy",  # Azure
    "blocked by content filtering policy": "content_filtering_policy",  # Anthropic
    "data inspection failed": "data_inspection_failed",  # DashScope
}
_TEXT: Final = (
    r"(prompt|request|input|content|message|output|response|text|image|query|conversation)s?"
)
_STOPPED: Final = "(blocked|rejected|refused|filtered|denied|stopped|declined|flagged|intercepted)"
_REASON: Final = (
    "(safety|moderation|guardrails?|classifier|guidelines|(content|usage) (filter|polic)"
    "|unsafe|harmful|inappropriate|sensitive)"
)
_STOPPED_BY_FILTER: Final = _phrases(rf"""
    {_STOPPED}( \w+){{0,6}} {_REASON}
    {_TEXT}( \w+){{0,4}} flagged (as|for)
    {_TEXT}( \w+){{0,6}} violat\w+( \w+){{0,6}} (guidelines|standards|regulations?|laws?|terms of (use|service)|polic(y|ies))
    guardrails?( \w+){{0,4}} (intervened|triggered|rejected)
    content( \w+){{0,6}} blocked
""")  # noqa: E501 # as above
"""Says that a text was stopped, and why."""
_FILTER: Final = _phrases(r"""
    (content|safety|usage|moderation|acceptable use|community|responsible ai) (filter|moderation|policy\b|policies|guideline|inspection|safety|system|classifier|violation|audit|risk)
    (unsafe|harmful|inappropriate|sensitive|prohibited|illegal|disallowed|offensive|toxic)( or \w+)? (content|words?|information|material|topics?)\b
    (unsafe|harmful|inappropriate|toxic) (prompt|input|output|request|text)
    violat\w+( \w+){0,4} (guardrails?|guidelines|standards|(our|usage|content|use|safety) (\w+ )?polic(y|ies))
    (content|prompt) (was |has been |is )?(blocked|prohibited|filtered)
    blocked (output|content|prompt)
    (considered high risk|filtered words|new sensitive|jailbreak|safety check)
    (敏感|违规|不合规|不安全|审核|内容安全|安全审查|策略阻止|风险内容|涉政|色情)
""")  # noqa: E501 # as above
"""Speaks of a filter."""
_SET_UP: Final = _phrases(r"""
    (schema|parameter|argument|settings?|field|property|config\w*|enum|constraint|threshold|identifier|version)\b
    must be (one of|text|a|an)\b
    (not|isn t) (enabled|supported|configured|found|valid)
    (unsupported|unknown|unrecognized|missing|undefined)\b
    (plan|subscription|billing|account|administrator|deployment|api key|this key|role|network|content type)\b
""")  # noqa: E501 # as above
"""Speaks of how a filter, or a request, is set up, or of who asks."""
_ON_THE_WAY: Final = _phrases(r"(network|firewall|appliance|proxy|waf)\b")
"""Speaks of what stops a request before its provider sees it."""
_NO_NAME: Final = re.compile(
    r"error|\d+|.*validation.*|.*invalid.?(request|argument|param).*|.*bad.?request.*|.*permission.?denied.*|"
    r"forbidden|(api|server|upstream|provider|request).?error|unprocessable.*|none|null|unknown",
    re.IGNORECASE,
)
"""Codes that many errors share."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_WORD: Final = re.compile(r"[\W_]+")


def plain(text: str) -> str:
    """Return the words of ``text`` in lower case, one space between them."""
    return _NO_WORD.sub(" ", _CAMEL.sub(" ", text)).strip().casefold()


def cause(text: str, status: int) -> str | None:
    """Return the code of what is wrong with the account, the server or its flags.

    ``None`` where the words in ``text``, codes among them, do not say that anything is.
    """
    if status in (401, 402, 407):
        return None  # no words are needed
    words = plain(text)
    is_daily = _DAILY.search(words) is not None
    is_rate = not is_daily and _RATE.search(words) is not None
    limited, is_model = status == 429, status < 500 and status not in (404, 429)
    is_model = is_model and not _OVERLOAD.search(words)
    for code, pattern, applies in (
        (NO_CREDIT, _NO_CREDIT, True),
        (NO_CREDIT, _LIMIT_REACHED, not is_rate),
        (NO_CREDIT, _DAILY, limited),
        (INVALID_KEY, _INVALID_KEY, True),
        ("context_length", _CONTEXT, not limited and not is_rate),
        (TOO_LARGE, _TOO_LARGE, not limited),
        ("server_options", _SERVER_OPTIONS, not limited),
        (WRONG_ADDRESS, _WRONG_ADDRESS, is_model),
        (MODEL_NOT_FOUND, _NO_MODEL, is_model),
        ("model_unavailable", _NO_MODEL_NOW, is_model),
    ):
        if applies and pattern.search(words):
            return code
    return None


def is_overload(text: str) -> bool:
    """Whether an error says that the same request may succeed in a moment."""
    return _OVERLOAD.search(plain(text)) is not None


def is_too_large(text: str) -> bool:
    """Whether an error says that a request is too large, however often it is sent."""
    return _TOO_LARGE.search(plain(text)) is not None


def is_of_world(message: str) -> bool:
    """Whether an error speaks of the account, the server or the model, in whatever way.

    Then it is no sample's own for good: it comes in more forms and languages than any list has.
    """
    return _OF_WORLD.search(plain(message)) is not None


def is_filter_code(code: str) -> bool:
    """Whether a code, or a reason to stop, is a content filter's."""
    if code in _FILTER_NUMBERS:
        return True
    letters = "".join(letter for letter in code.casefold() if letter.isalpha())
    is_named = any(marker in letters for marker in _FILTER_CODES)
    return is_named and not any(other in letters for other in _ABOUT_A_FILTER)


def filter_in(message: str, codes: list[str]) -> str | None:
    """Return the code of a content filter that the message is of, ``None`` where it is of none.

    That is the vendor's own among ``codes``, where it says anything.
    """
    words = plain(message)
    for phrase, code in _FILTER_PHRASES.items():
        if phrase in words:
            return code
    spoke = _FILTER.search(words) and not _SET_UP.search(words)
    if not (spoke or _STOPPED_BY_FILTER.search(words)) or _ON_THE_WAY.search(words):
        return None
    if _OVERLOAD.search(words) or _INVALID_KEY.search(words):
        return None
    return named(codes) or "content_filter"


def named(codes: list[str]) -> str | None:
    """Return the first of a vendor's ``codes`` that says anything."""
    own = (code for code in codes if " " not in code and not _NO_NAME.fullmatch(code))
    return next(own, None)
