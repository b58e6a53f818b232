"""Judging the replies that a store holds, whoever asked for them: imports, or runs of long ago.

Keys are those of a run with the same judge, so that neither asks again for what the other has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.components import Judge
from opensafemlrm.engine.labelled import LabelledText, judge_texts
from opensafemlrm.store import Store, known, records
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.types import Item, JudgeRequest, Key, Part, Verdict

_TOGETHER: Final = 1000
"""Replies that are read and judged together."""


@dataclass(slots=True)
class Judged:
    """What judging the replies of a store came to."""

    replies: int = 0
    had: int = 0
    """Replies that the judge had judged before."""
    without_text: int = 0
    """Replies whose text the store does not hold: nothing can be said of them."""
    requests: int = 0
    unscored: int = 0
    """Texts that have no score."""

    def __str__(self) -> str:
        parts = [f"{self.replies:,} replies judged with {self.requests:,} requests"]
        parts += [f"{self.had:,} had been judged before"] if self.had else []
        parts += [f"{self.without_text:,} without a text"] if self.without_text else []
        parts += [f"{self.unscored:,} texts without a score"] if self.unscored else []
        return ", ".join(parts)


async def judge_replies(
    judge: Judge, store: Store, models: Collection[str] = (), limit: int | None = None
) -> Judged:
    """Judge every part of the replies that came, of all ``models`` or of those with these labels.

    At most ``limit`` replies are judged. Raises UnknownNameError for a model that the store has
    not, JudgeError, ModelError and StoreError; what came until then is in the store.
    """
    done = Judged()
    judge_key = store.put_component("judge", judge)
    for keys in _chunks(known.replies_that_came(store.connection, models)):
        states = known.known_generations(store.connection, judge_key, keys)
        open_keys = [key for key in keys if not states[key].judged]
        done.had += len(keys) - len(open_keys)
        if limit is not None:
            open_keys = open_keys[: limit - done.replies]
        replies = []
        for key, parser, item_row, response in known.replies_with_items(
            store.connection, open_keys
        ):
            trace = reasoning.parse(response, records.format_of(parser))
            item = records.item_from_row(item_row, store.image)
            replies.append((key, item, records.judge_requests(trace)))
        texts = [
            LabelledText(item, request.text, unsafe=False, role=request.role)
            for _, item, requests in replies
            for request in requests.values()
        ]
        verdicts = iter(await judge_texts(judge, texts, store))
        for key, item, requests in replies:
            if not requests:
                done.without_text += 1
                continue
            _put(store, judge, judge_key, key, item, requests)
            _count(done, [next(verdicts) for _ in requests])
        if limit is not None and done.replies >= limit:
            break
    return done


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]


def _put(
    store: Store,
    judge: Judge,
    judge_key: Key,
    generation: Key,
    item: Item,
    requests: dict[Part, JudgeRequest],
) -> None:
    context = judge.context(item)
    keys = {
        part: verdict_key(judge_key, context, request.role, item.question, request.text)
        for part, request in requests.items()
    }
    store.put([records.judgement_row(generation, judge_key, keys)])


def _count(done: Judged, verdicts: list[Verdict]) -> None:
    done.replies += 1
    done.unscored += sum(verdict.score is None for verdict in verdicts)
    done.requests += sum(verdict.requests for verdict in {id(v): v for v in verdicts}.values())
