"""The wording of refusals: whole sentences that decline, and whole sentences that may follow.

All are matched on a sentence in lower case without its last stop. A closed sentence has no slot
that a subject could stand in: whatever it matches carries no help. A loose one has slots, without
digits, quotations or colons; it is good enough to detect a refusal, and not to leave a text unread.
"""

from __future__ import annotations

import re
from typing import Final


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


_CANNOT: Final = _any(
    r"can(?: ?not|'?t)",
    r"could(?: not|n'?t)",
    r"will not|won'?t|may not|shall not|must not",
    r"(?:am|'m|are|'re) (?:not (?:able|going|willing|allowed|permitted) to|unable to)",
    r"(?:must|have to|need to|'ll have to) (?:respectfully |politely )?(?:decline|refuse)(?: to)?",
    r"(?:respectfully |politely )?(?:decline|refuse)(?: to)?",
    r"do(?: not|n'?t) feel comfortable",
    r"(?:am|'m|are|'re) not comfortable",
)
_VERB: Final = _any(
    r"(?:help|assist|aid|support|advise|guide|answer|tell|teach)(?:ing)?(?: you)?",
    r"provid(?:e|ing)(?: you)?(?: with)?",
    r"(?:comply|do|doing|fulfil+|share|sharing|discuss(?:ing)?|give|offer|engag(?:e|ing)|"
    r"creat(?:e|ing))",
    r"(?:generate|write|produce|draft|continue|proceed|participate|respond|process|promote|supply)",
    r"(?:disclose|reveal|accommodate|complete|talk(?:ing)? about|be part of|go along)",
)
_KIND: Final = r"(?:(?:kind|type|sort)s? of )?"
_NOUN: Final = (
    r"(?:requests?|topics?|tasks?|questions?|information|content|images?|pictures?|matters?|"
    r"things?|"
    r"activit(?:y|ies)|details?|material|instructions|assistance|subjects?)"
)
_IT: Final = _any(
    r"(?:that|this|it|so|these|those)",
    rf"(?:that|this|your|the|such|these|those|any such|this particular) {_KIND}{_NOUN}",
    r"(?:requests?|questions?|content|information|anything|things?) (?:like|of) (?:that|this)(?: "
    r"(?:kind|sort|nature))?",
)
_OBJECT: Final = (
    rf"(?:,? ?(?:to|with|in|on|about|for|any (?:information|details|help|assistance|guidance|"
    rf"advice|"
    rf"instructions)(?: (?:on|about|with|for|regarding|to))?))?(?: {_IT})?(?: (?:with|on|about) "
    rf"{_IT})?"
)
_BAD: Final = (
    r"(?:harmful|illegal|unlawful|unethical|unsafe|dangerous|inappropriate|offensive|wrong|"
    r"sensitive|"
    r"private|confidential|secret|prohibited|forbidden|against (?:the law|my (?:guidelines|"
    r"policies|"
    r"policy|rules|principles|programming|values)|our (?:guidelines|policies|rules)))"
)
_REASON: Final = (
    rf"(?:,? ?(?:as|because|since) (?:it|this|that|they)(?:'s| is| are| may be| could be| would "
    rf"be| "
    rf"might be| goes| violates?| would violate)? (?:{_BAD}(?:(?:,| or|,? and) {_BAD}){{0,3}}|"
    rf"(?:my|our) (?:guidelines|policies|policy|rules)))?"
)
_WAY: Final = r"(?:,? (?:in good conscience|ethically|legally|also|simply|really|possibly|ever))?"
_SORRY: Final = (
    r"(?:(?:i(?:'m| am) |we(?:'re| are) )?(?:very |really |so |truly |terribly )?sorry|"
    r"(?:my |our )?(?:sincere )?apologies|i (?:sincerely )?apologi[sz]e)"
)
_LEAD: Final = (
    rf"(?:(?:{_SORRY}|unfortunately|regrettably|i(?:'m| am) afraid|no|hello|hi|"
    r"(?:thank you|thanks)(?: for (?:asking|your (?:question|interest|message|request)))?|"
    r"i (?:understand|appreciate|see)(?: your (?:curiosity|concern|interest|request|question))?|"
    r"as an? (?:responsible |ethical )?(?:ai|large language|language)(?: language)?"
    r"(?: model| assistant)?|for (?:safety|ethical|legal) reasons)"
    r"(?:,? (?:but|that|and|however))?,? ?){0,4}"
)
_RIGHT_NOW: Final = r"(?: (?:right now|today|here|at (?:this|the) (?:time|moment)|anymore|either))?"
_RULES: Final = r"(?:my|our|the) (?:guidelines|policies|policy|rules|principles|programming)"

CLOSED_REFUSAL: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LEAD}(?:but )?(?:i|we) ?{_CANNOT}{_WAY}(?: {_VERB})?(?: "
        rf"you)?{_OBJECT}{_RIGHT_NOW}{_REASON}",
        rf"{_LEAD}(?:but )?(?:{_IT}(?:'s| is) )?(?:not )?something (?:that )?(?:i|we) ?{_CANNOT}"
        rf"(?: {_VERB})?(?: you)?(?: with| about| on)?",
        rf"{_LEAD}(?:but )?{_IT}(?:'s| is) not something (?:that )?(?:i|we) (?:can|will) {_VERB}"
        r"(?: with| about)?(?: you)?",
        rf"{_LEAD}{_RULES} (?:do(?:es)? not|don'?t) (?:allow|permit)(?: me to {_VERB})?{_OBJECT}",
        rf"{_LEAD}{_RULES} (?:forbid|prevent|prohibit)s?(?: me from {_VERB})?{_OBJECT}",
        rf"{_LEAD}(?:but )?{_IT}(?:'s| is| would be| goes) against {_RULES}",
        r"your request (?:has been|is|was) (?:declined|denied|refused)",
        # Chinese: (sorry,) (as an AI,) (I) cannot + help, provide, answer … (this)
        r"(?:(?:非常|很|十分)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾))?[，,。！ ]{0,2}(?:但是?)?"
        r"(?:作为(?:一个)?(?:ai|人工智能)(?:助手|模型|语言模型)?[，,])?(?:我|我们|我們)?"
        r"(?:无法|無法|不能|不会|不會|没办法)(?:为您|为你|為您|向您|对此|在这方面|就此)?"
        r"(?:提供|协助|協助|帮助|幫助|帮|幫|回答|满足|滿足|参与|支持|给出|讨论|完成|继续)"
        r"(?:您|你)?(?:完成|解决)?(?:任何|相关的?|这方面的)?(?:这个|這個|这样的|该|此|您的|这类|这)?"
        r"(?:请求|請求|问题|問題|信息|資訊|内容|帮助|幫助|协助|任务|话题|事|忙)?",
        # German
        r"(?:(?:es )?tut mir (?:sehr )?leid|entschuldigung|leider)?,? ?(?:aber )?"
        r"(?:(?:dabei|damit|das|diese frage|diese anfrage) (?:kann|darf|werde) ich|"
        r"ich (?:kann|darf|werde)|kann ich)(?: leider)?(?: ihnen| dir)?(?: leider)?"
        r"(?: dabei| damit| das| diese frage| diese anfrage)?(?: leider)? nicht"
        r"(?: weiter)? ?(?:helfen|weiterhelfen|unterstützen|beantworten|anbieten)",
        # French
        r"(?:(?:je suis )?(?:vraiment )?désolée?|je regrette|malheureusement)?,? ?(?:mais )?"
        r"je ne (?:peux|puis) (?:pas )?(?:vous |t'|te )?(?:aider|répondre|assister)"
        r"(?: (?:avec|sur|à|dans) (?:cela|ça|ceci|cette (?:demande|question|requête)))?",
        # Spanish, Portuguese
        r"(?:lo siento|lo lamento|disculpa|perdón|lamentablemente)?,? ?(?:pero )?no puedo "
        r"(?:ayudar(?:te|le)?|asistir(?:te|le)?|responder)"
        r"(?: (?:con|en|a) (?:eso|esto|es[ao] (?:solicitud|petición|pregunta)))?",
        r"(?:desculpe|lamento|sinto muito|infelizmente)?,? ?(?:mas )?(?:eu )?não posso "
        r"(?:ajudar|responder)(?: (?:com|a) (?:isso|isto|ess[ae] (?:pedido|pergunta)))?",
        # Japanese, Russian
        r"(?:申し訳(?:ありません|ございません)が、?|すみませんが、?)?"
        r"(?:その(?:質問|リクエスト|ご依頼)には?)?(?:お手伝い|お答え|対応)(?:することは)?できません",
        r"(?:извините|простите|к сожалению)?,? ?(?:но )?я не могу "
        r"(?:помочь|ответить)(?: вам)?(?: (?:с|на) (?:этим|этой просьбой|этот вопрос))?",
    )
)
"""Sentences that decline and say nothing else."""

_OTHER: Final = (
    r"(?:(?:any(?:thing)?|something|someone|other|another|different|else) ?){1,3}"
    r"(?:questions?|topics?|requests?|tasks?|things?)?"
)
_ME: Final = r"(?:i(?:'m| am|'d be| would be|'ll be| will be)|we(?:'re| are|'d be))"
_OFFER: Final = (
    rf"{_ME} (?:always |more than )?(?:happy|glad|here|able|available)(?: to (?:help|assist|"
    rf"answer|chat|talk|"
    rf"support))?(?: you)?(?: (?:with|about|on|in))?(?: {_OTHER})?(?: instead)?"
)
_OFFER_ELSE: Final = rf"(?: (?:with|about|on))?(?: {_OTHER})?(?: instead)?"
CLOSED_TALK: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_SORRY}(?: for (?:that|any inconvenience|the inconvenience))?",
        r"(?:no|hello|hi|unfortunately|thank you|thanks)",
        r"(?:thank you|thanks) for (?:understanding|your understanding|your patience|asking|"
        r"respecting (?:this|that))",
        r"i hope (?:that )?you (?:can )?understand",
        rf"(?:but |however,? )?{_OFFER}",
        rf"(?:please )?(?:let me know|feel free to ask(?: me)?|ask me)(?: (?:if|about))?(?: "
        rf"(?:there(?:'s| is)|you"
        rf" (?:have|need|want|would like)))?(?: {_OTHER})?(?:,? (?:that )?(?:i can|you(?:'d| "
        rf"would) like"
        rf"(?: to know| to discuss)?)(?: help| assist)?(?: you)?(?: with)?)?(?: instead)?",
        rf"if (?:there(?:'s| is)|you (?:have|need|want|would like))(?: {_OTHER})"
        rf"(?: (?:i can|you(?:'d| would) like)(?: help| assist| to know)?(?: you)?(?: with)?)?,? "
        rf"(?:please )?(?:let me know|feel free to ask(?: me)?|i can help(?: you)?{_OFFER_ELSE}|"
        rf"{_OFFER}|just ask)",
        rf"(?:is there|do you have) {_OTHER}(?: (?:that )?(?:i can|you(?:'d| would) like)(?: help|"
        rf" assist| to know"
        r"| to discuss| to talk about)?(?: you)?(?: with)?)?",
        r"(?:how|what) (?:else )?can i (?:help|assist|do)(?: you)?(?: with)?(?: for you)?(?: "
        r"instead| today)?",
        rf"please (?:ask|choose|try) (?:me )?(?:about |for )?{_OTHER}(?:,? and i will gladly "
        rf"help)?",
        rf"(?:because |as |since )?(?:it|that|this|doing (?:so|that))(?:'s| is| may be| could be| "
        rf"would be| goes|"
        rf" might be) (?:{_BAD}(?:(?:,| or|,? and) {_BAD}){{0,3}})",
        rf"{_IT} (?:violates?|would violate) {_RULES}",
        r"please (?:understand|respect (?:this|that)|don'?t ask (?:me )?(?:again|for more))",
        r"(?:如果|若)(?:您|你)(?:有|还有|需要)?(?:任何)?(?:其他|别的)(?:的)?(?:问题|需要|需求|帮助)?[，,]?"
        r"(?:请|欢迎)?(?:随时)?(?:告诉我|提问|联系我|问我)?",
        r"(?:抱歉|对不起|對不起|很抱歉|非常抱歉)",
        r"(?:kann ich (?:ihnen|dir) (?:anders|bei etwas anderem) (?:weiter)?helfen|(?:es )?tut "
        r"mir leid|"
        r"gerne helfe ich (?:ihnen|dir) bei etwas anderem)",
        r"(?:puis-je vous aider avec autre chose ?|(?:je suis )?désolée?)",
        r"¿?(?:puedo ayudar(?:te|le) (?:con|en) (?:otra cosa|algo más)|lo siento)",
    )
)
"""Sentences about a refusal, and offers of other help, that say nothing else."""

_SLOT: Final = r"[^\d:;\"“”()\[\]—–]"
LOOSE_TALK: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # It is a secret, private, harmful …
        rf"(?:but |and |because |since |as )?(?:it|this|that|these|they|doing (?:so|that)|(?:the|"
        rf"this|that|such|your)"
        rf" [\w' -]{{1,40}})(?:'s| is| are| would be| could be| may be| was| remains?| stays?| "
        rf"goes| must remain)"
        rf" (?:not )?(?:a |an |the |very |strictly |too )?(?:secret|confidential|private|protected|"
        rf"illegal|unlawful|unsafe|dangerous|unethical|inappropriate|prohibited|forbidden|"
        rf"sensitive|"
        rf"against (?:the law|(?:my|our|the) \w+)|not (?:allowed|permitted|appropriate|safe))"
        rf"(?: (?:of|to|for|in|and)? ?{_SLOT}{{0,50}})?",
        rf"(?:but |however,? |instead,? )?{_ME} (?:always |more than )?(?:happy|glad|here) to "
        rf"(?:help|assist|answer|"
        rf"discuss|talk|tell)\b{_SLOT}{{0,120}}",
        rf"(?:but |however,? |instead,? )?i can (?:gladly )?(?:help|assist|suggest|offer|tell|"
        rf"talk|answer|show)\b"
        rf"{_SLOT}{{0,80}}\b(?:instead|other|else|different|if you like){_SLOT}{{0,40}}",
        rf"(?:please |you (?:can|may|could) |i (?:encourage|urge|recommend|suggest)(?: that)? you "
        rf"(?:to )?)"
        rf"(?:ask (?:the|for|about|someone|me)|consult|contact|reach out|seek|speak (?:to|with)|"
        rf"talk to)\b"
        rf"(?!{_SLOT}*\b(?:turn|press|open|use|put|take|is|are)\b){_SLOT}{{0,80}}",
        # How simulated models go on.
        r"there are many other (?:things|topics) to talk about,? and i(?:'m| am) glad to help with "
        r"(?:one of )?(?:those|them)(?: instead)?",
        r"if there(?:'s| is) (?:something|anything) else on your mind, please ask, and i will do "
        r"my best",
        r"another question is always welcome",
        r"i hope (?:that )?you(?:'ll| will| can)? (?:understand|enjoy)[\w ,']{0,60}",
        r"(?:thank you|thanks) for [\w ']{0,60}",
        r"i understand (?:that )?(?:this|it|you)(?:'re| may| might| is| are) (?:be )?"
        r"(?:disappoint\w+|frustrat\w+|curious|hungry)",
        r"(?:如果|若|欢迎|建议|请)[^\d：:；“”]{0,40}(?:其他|帮助|咨询|告诉我|联系|专业|法律|理解)[^\d：:；“”]{0,20}",
        r"(?:kann ich|gerne|bitte)\b[^\d:;]{0,60}\b(?:helfen|weiter|anderem|fragen)\b[^\d:;]{0,30}",
        r"(?:puis-je|n'hésitez pas|je serais|je peux)\b[^\d:;]{0,60}\b(?:aider|autre|"
        r"questions?)\b[^\d:;]{0,30}",
        r"(?:¿?puedo|si tienes|si tiene|estaré)\b[^\d:;]{0,60}\b(?:ayudar\w*|otra|otro|"
        r"preguntas?)\b[^\d:;]{0,30}",
    )
)
"""The same with slots for a subject."""
