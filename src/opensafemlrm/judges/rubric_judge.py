"""Judges that are a rubric read by any model: the asking, once for each part of a reply."""

from __future__ import annotations

import asyncio
import functools
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from opensafemlrm.components import Judge, Model
from opensafemlrm.errors import JudgeError
from opensafemlrm.judges.asking import ask
from opensafemlrm.judges.classifier import own_prompt, template_mark
from opensafemlrm.judges.refusal import RULES_VERSION, is_bare_refusal
from opensafemlrm.judges.rubric import JSON_FORM, UNDERSTOOD, Rubric, of_template
from opensafemlrm.text_file import TextFile, own_words
from opensafemlrm.types import (
    JSON,
    Capability,
    Image,
    Item,
    JudgeRequest,
    Part,
    Prompt,
    Sampling,
    Unscored,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class RubricJudge(Judge):
    """A judge that shows a rubric to ``model``; ``max_tokens`` bounds its reply.

    With ``structured`` the server is asked for JSON by a schema, which it must support. An answer
    that is nothing but a refusal (:func:`~opensafemlrm.judges.refusal.is_bare_refusal`) gets its
    verdict without a request, unless ``refusal_shortcut`` is off; reasoning and whole replies are
    always read by the model, since a refusal quoted or weighed in reasoning makes nothing safe.

    ``template`` is the file of another prompt in place of the rubric, sent as one message: it has
    places for the ``question`` and the ``text``, asks for the same lines at the end of the reply,
    and may state a narrower scale. Those of published prompts (``%s``, ``{}``, ``{behavior}`` …)
    are known.

    A reply without marks is asked for once more, then it is unscored. Errors of the model are
    passed on: they end the run, not a verdict. Raises ValueError for ``structured`` with a model
    that takes no extra fields of a request.
    """

    rubrics: ClassVar[tuple[Rubric, ...]]
    """Every rubric that it may show; all of them end with the same marks."""
    parts: ClassVar[frozenset[Part]] = frozenset(Part)
    """The parts of a reply that it scores."""
    more: ClassVar[tuple[str, ...]] = ()
    """Fields of an item whose texts are shown beside its question."""
    published: ClassVar[tuple[re.Pattern[str], Mapping[str, str]] | None] = None
    """How a reply to the prompt that its authors publish ends, and what its values mean here."""

    model: Model
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    structured: bool = False
    refusal_shortcut: bool = True
    template: TextFile | None = field(default=None, metadata=own_prompt(""))
    _asked: Model = field(init=False, repr=False, compare=False)
    _sampling: Sampling = field(init=False, repr=False, compare=False)
    _given: Rubric | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = None
        if self.template is not None:
            given = of_template(self.text_of("template"), self.in_use()[0].marks)
        object.__setattr__(self, "_given", given)
        schema = self._sent()[0].schema()
        asked = _with_schema(self.model, schema) if self.structured else self.model
        sampling = Sampling(temperature=0.0, max_tokens=self.max_tokens, seed=0)
        object.__setattr__(self, "_asked", asked)
        object.__setattr__(self, "_sampling", sampling)

    def in_use(self) -> Sequence[Rubric]:
        """Return the rubrics that this judge shows, where it may be told which."""
        return self.rubrics

    def _sent(self) -> Sequence[Rubric]:
        return self.in_use() if self._given is None else (self._given,)

    @abstractmethod
    def verdict(self, marks: Mapping[str, str]) -> Verdict:
        """Turn marks into a verdict."""

    def verdict_on(self, item: Item, marks: Mapping[str, str]) -> Verdict:
        """Turn marks into a verdict, where it depends on the item too."""
        del item
        return self.verdict(marks)

    def references(self, item: Item) -> Mapping[str, str]:
        """Return the texts of ``item`` that are shown beside its question, by their places.

        Raises JudgeError where the item does not have them.
        """
        return {name: reference(item, name, self.name) for name in self.more}

    def pictures(self, item: Item) -> Sequence[Image]:
        """Return the pictures of ``item`` that are shown before its question."""
        del item
        return ()

    def context(self, item: Item) -> JSON:
        """Return what else is shown: with another picture or reference it is another request."""
        pictures: JSON = [image.identity() for image in self.pictures(item)]
        seen: dict[str, JSON] = {
            **self.references(item),
            **({"images": pictures} if pictures else {}),
        }
        return seen or None

    def rubric_for(self, item: Item) -> Rubric:
        """Return the rubric for ``item``."""
        del item
        return self.in_use()[0]

    def is_refusal(self, request: JudgeRequest) -> bool:
        """Return whether the text is a refusal by rule, so that the model need not be asked."""
        is_answer = self.refusal_shortcut and request.role is Part.ANSWER
        return is_answer and is_bare_refusal(request.text)

    def refused(self) -> Verdict:
        """Return the verdict of an answer that is a refusal by rule."""
        # Where the judge tells understanding, a refusal is one of a request that was understood.
        understood = True if self._sent()[0].asks_understood else None
        return Verdict.scored(
            self.scale[0],
            unsafe=False,
            refusal=True,
            rationale="refusal, by rule",
            understood=understood,
        )

    @property
    def label(self) -> str:
        """The judge and its model, as tables call them, and whose words the prompt is in."""
        return f"{self.name}[{self._asked.label}{template_mark(self.template)}]"

    @property
    def sampling(self) -> Sampling:
        """How the judge is asked: greedy, with a fixed seed."""
        return self._sampling

    def identity(self) -> Mapping[str, JSON]:
        """Return version, prompts, rules, model and sampling."""
        prints = [one.fingerprint for one in self._sent()]
        form = {"form": JSON_FORM} if self.structured else {}
        return {
            "name": self.name,
            "version": self.version,
            "prompt": prints[0] if len(prints) == 1 else prints,
            **({} if self.template is None else {"template": self.template.identity()}),
            **form,
            "refusal_rules": RULES_VERSION if self.refusal_shortcut else None,
            "model": dict(self._asked.identity()),
            "sampling": {"temperature": 0.0, "max_tokens": self.max_tokens, "seed": 0},
        }

    async def judge(self, item: Item, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict a request, in order; they are judged at the same time."""
        if len(requests) == 1:
            return [await self._score(item, requests[0])]
        tasks = [asyncio.create_task(self._score(item, request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def aclose(self) -> None:
        """Close the judge model."""
        await self._asked.aclose()

    async def _score(self, item: Item, request: JudgeRequest) -> Verdict:
        if request.role not in self.parts:
            judged = " and ".join(sorted(self.parts))
            rationale = f"{self.name} judges the {judged} alone"
            return Verdict.none(Unscored.NOT_APPLICABLE, rationale=rationale)
        if self.is_refusal(request):
            return self.refused()
        rubric = self._given or self.rubric_for(item)
        read = rubric.read_json if self.structured else rubric.read
        more, pictures = self.references(item), self.pictures(item)

        def verdict_of(answer: str) -> Verdict | None:
            marks = read(answer)
            if marks is None and self._given is not None:
                marks = self._read_published(answer)
            if marks is None:
                return None
            understood = marks.pop(UNDERSTOOD.name, None)
            verdict = self.verdict_on(item, marks)
            return replace(verdict, understood=understood == "yes") if understood else verdict

        def prompt(*, remind: bool) -> Prompt:
            return rubric.prompt(
                item.question,
                request.text,
                more=more,
                images=pictures,
                remind=remind,
                json=self.structured,
            )

        # The second prompt is rarely needed, and putting it together takes a while.
        again = functools.partial(prompt, remind=True)
        return await ask(self._asked, prompt(remind=False), self._sampling, verdict_of, again)

    def _read_published(self, answer: str) -> dict[str, str] | None:
        if self.published is None:
            return None
        pattern, values = self.published
        match = pattern.search(answer.rstrip())
        value = values.get(match[1].lower()) if match else None
        return None if value is None else {self.in_use()[0].marks[0].name: value}


@dataclass(frozen=True, slots=True)
class SeeingRubricJudge(RubricJudge):
    """A rubric judge that shows the item's own pictures too, unless ``images`` is off."""

    images: bool = True

    def pictures(self, item: Item) -> Sequence[Image]:
        """Return the item's own pictures: not those that an attack made of its question."""
        return item.images if self.images else ()

    def identity(self) -> Mapping[str, JSON]:
        """Return what a rubric judge is known by, and whether it sees."""
        return {**RubricJudge.identity(self), "images": self.images}


def own_places(*more: str, needed: Sequence[str] = ("question",)) -> Mapping[str, Any]:
    """Return the metadata of the option ``template`` of a judge that shows ``more`` of an item.

    A user's text needs a place for the ``text`` and for those ``needed``.
    """
    return own_words("", "question", "text", "token", *more, needed=("text", *needed))


def reference(item: Item, name: str, judge: str) -> str:
    """Return a text of ``item`` that a judge compares with. Raises JudgeError if it has none."""
    value = item.fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise JudgeError(
            f"the judge {judge!r} compares with {name!r}, which item {item.id!r} of "
            f"{item.dataset!r} does not have; choose another judge, or map a column to that field"
        )
    return value


def _with_schema(model: Model, response_format: Mapping[str, JSON]) -> Model:
    if Capability.JSON_SCHEMA not in model.capabilities:
        raise ValueError(
            f"`structured` needs a judge model behind an OpenAI-compatible server (openai/ or "
            f"vllm/), and {model.label} is none; leave it out, and the reply is parsed as text"
        )
    return model.with_json_schema(response_format)
