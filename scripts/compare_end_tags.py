"""Count how many replies are split as wanted: at the first end tag, at the last, and by us.

    python scripts/compare_end_tags.py CASES.jsonl

Each line of the file is a case: `text` or a server's `payload` with its `reader`, `truncated`, the
`named_format`, whether its marks can be detected (`detect`), and what is wanted: status, reasoning,
answer. White space is collapsed before comparing. The yardsticks know the end tag of the format.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opensafemlrm import reasoning
from opensafemlrm.models.hosted.anthropic import MessagesCodec
from opensafemlrm.models.hosted.chat import ChatCodec
from opensafemlrm.models.hosted.google import GeminiCodec
from opensafemlrm.models.hosted.openai_responses import ResponsesCodec
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.types import Response, ResponseStatus

Split = tuple[str, str | None, str | None]
CODECS = {
    "chat": ChatCodec(),
    "anthropic": MessagesCodec(),
    "gemini": GeminiCodec(),
    "responses": ResponsesCodec(),
}


def response_of(case: dict[str, Any]) -> Response:
    """Return the reply of a case."""
    if case["text"] is not None:
        status = ResponseStatus.TRUNCATED if case["truncated"] else ResponseStatus.OK
        return Response(status, text=case["text"])
    reader = Reader(CODECS[case["reader"]])
    return reader.reply(json.dumps(case["payload"]).encode(), 4096, Timing())


def collapsed(text: str | None) -> str | None:
    """Return ``text`` with its white space collapsed; ``None`` for none."""
    return " ".join((text or "").split()) or None


def at_end_tag(text: str, form: reasoning.Format, find: Callable[[str, str], int]) -> Split:
    """Split at the end tag that ``find`` finds; without one, an opened thought never ended."""
    opener, closer = form.blocks[0]
    at = find(text, closer)
    if at == -1:
        opened = form.prefilled or text.lstrip().startswith(opener)
        thought = text.lstrip().removeprefix(opener)
        return ("unclosed", thought, None) if opened else ("absent", None, text)
    thought = text[:at].lstrip().removeprefix(opener)
    answer = text[at + len(closer) :]
    for tag in (tag for pair in form.answers for tag in pair):
        answer = re.sub(re.escape(tag), "", answer)
    return ("closed" if thought.strip() else "absent"), thought, answer


def by_us(response: Response, name: str) -> Split:
    """Split as this project does."""
    trace = reasoning.parse(response, name)
    return trace.status.value, trace.reasoning, trace.answer


def results(case: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each way to split a case, and whether it gives what is wanted."""
    response = response_of(case)
    form = reasoning.resolve(case["named_format"])
    ways = {"this project, format named": by_us(response, form.name)}
    if case["detect"]:
        ways["this project, auto"] = by_us(response, "auto")
    if form.blocks and case["text"] is not None:
        ways["first end tag"] = at_end_tag(response.text, form, str.find)
        ways["last end tag"] = at_end_tag(response.text, form, str.rfind)
        ways["this project, the same replies"] = ways["this project, format named"]
    status, *texts = case["want"]
    for way, (found, *parts) in ways.items():
        yield way, (found, *map(collapsed, parts)) == (status, *map(collapsed, texts))


def main() -> None:
    """Print how many of the cases each way splits as wanted."""
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/compare_end_tags.py CASES.jsonl")
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    counts = Counter(result for line in lines for result in results(json.loads(line)))
    print("| way | as wanted | of |\n|:--|--:|--:|")
    for way in dict.fromkeys(way for way, _ in counts):
        right = counts[way, True]
        print(f"| {way} | {right} | {right + counts[way, False]} |")


if __name__ == "__main__":
    main()
