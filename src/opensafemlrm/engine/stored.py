"""Judging the replies that a store holds, whoever asked for them: imports, or runs of long ago.

Keys are those of a run with the same judge, so that neither asks again for what the other has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.components import Judge
from opensafemlrm.engine.labelled import LabelledText, judge_texts
from opensafemlrm.errors import BudgetSpentError
from opensafemlrm.models.budget import requests_made
from opensafemlrm.store import Store, known, records
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.text import counted
from opensafemlrm.types import Item, JudgeRequest, Key, Part, Unscored

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
    not_applicable: int = 0
    """Texts of parts that the judge does not read."""
    spent: BudgetSpentError | None = None
    """Why it is not all of them, where the judge's budget ended it."""

    def __str__(self) -> str:
        replies, requests = counted(self.replies, "reply"), counted(self.requests, "request")
        parts = [f"{replies} judged with {requests}"]
        parts += [f"{self.had:,} had been judged before"] if self.had else []
        parts += [f"{self.without_text:,} without a text"] if self.without_text else []
        parts += [f"{counted(self.unscored, 'text')} without a score"] if self.unscored else []
        outside = f"{counted(self.not_applicable, 'text')} of parts that the judge does not read"
        parts += [outside] if self.not_applicable else []
        return ", ".join(parts)


async def judge_replies(
    judge: Judge, store: Store, models: Collection[str] = (), limit: int | None = None
) -> Judged:
    """Judge every part of the replies that came, of all ``models`` or of those with these labels.

    At most ``limit`` replies are judged. Raises UnknownNameError for a model that the store has
    not, JudgeError, ModelError and StoreError; what came until then is in the store. A spent budget
    ends it with what is judged so far.
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
        try:
            await judge_texts(judge, texts, store)
        except BudgetSpentError as error:
            done.spent = error
        _put(store, judge, judge_key, replies, done)
        # What was paid for a text that a budget cut is in no verdict.
        done.requests = requests_made(judge) or done.requests
        if done.spent is not None or (limit is not None and done.replies >= limit):
            break
    return done


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]


def _put(
    store: Store,
    judge: Judge,
    judge_key: Key,
    replies: Sequence[tuple[Key, Item, dict[Part, JudgeRequest]]],
    done: Judged,
) -> None:
    """Write the judgements on replies whose verdicts are all there, and count them."""
    rows: dict[Key, dict[Part, Key]] = {}
    for reply, item, requests in replies:
        context = judge.context(item)
        rows[reply] = {
            part: verdict_key(judge_key, context, request.role, item.question, request.text)
            for part, request in requests.items()
        }
    wanted = list({key for keys in rows.values() for key in keys.values()})
    verdicts = known.final_verdicts(store.connection, wanted, ())
    for reply, keys in rows.items():
        if not keys:
            done.without_text += 1
        elif verdicts.keys() >= {*keys.values()}:
            store.put([records.judgement_row(reply, judge_key, keys)])
            given = [verdicts[key] for key in dict.fromkeys(keys.values())]
            done.replies += 1
            of_parts = [verdicts[key] for key in keys.values()]
            outside = sum(v.reason is Unscored.NOT_APPLICABLE for v in of_parts)
            done.not_applicable += outside
            done.unscored += sum(verdict.score is None for verdict in of_parts) - outside
            done.requests += sum(verdict.requests for verdict in given)
