"""Whether the guards and scorers of defenses give scores: one that gives none stops its model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opensafemlrm.components import Component, Judge, children
from opensafemlrm.engine.plan import CellPlan
from opensafemlrm.engine.score_watch import ScoreWatch
from opensafemlrm.errors import JudgeStoppedError, ModelError
from opensafemlrm.types import Key, Response


@dataclass(frozen=True, slots=True)
class _Guard:
    """The judge of a defense, and what came of asking it for one model."""

    judge: Judge
    watch: ScoreWatch


class Guards:
    """Watches the judge of each defense that has one, as a study's own is watched.

    Of a defense with several, nobody can tell whose verdict is whose: it is not watched.
    """

    def __init__(self, cells: Iterable[CellPlan]) -> None:
        self._guards: dict[tuple[str, str], _Guard] = {}
        for cell in cells:
            judges = list(_judges_in(cell.defense))
            if len(judges) == 1:
                guard = _Guard(judges[0], ScoreWatch(judges[0]))
                self._guards.setdefault(_place(cell), guard)

    async def note(self, cell: CellPlan, response: Response, key: Key) -> None:
        """Count what the guard said on the way to a reply, which the store knows by ``key``.

        Raises ModelError where it gives no score, or no more: no reply is to be had so.
        """
        guard = self._guards.get(_place(cell)) if self._guards else None
        if guard is None:
            return
        for reply in (response, *(call.response for call in response.calls)):
            for verdict in reply.verdicts:
                guard.watch.note(verdict, None, key)
        await guard.watch.look(guard.judge)
        if problem := guard.watch.problem():
            raise _useless(*_place(cell), problem)

    def unfinished(self) -> set[Key]:
        """Return the replies that a judge had no part in which is gone, or never gave a score."""
        return {key for guard in self._guards.values() for key in guard.watch.unfinished()}

    def scoreless(self) -> dict[str, ModelError]:
        """Return, by model, whose guard gave no score at all, however few the replies."""
        return {
            model: _useless(model, defense, problem)
            for (model, defense), guard in self._guards.items()
            if (problem := guard.watch.scoreless()) is not None
        }


def _place(cell: CellPlan) -> tuple[str, str]:
    return cell.model.label, cell.defense.label


def _judges_in(component: Component) -> Iterator[Judge]:
    for child in children(component):
        if isinstance(child, Judge):
            yield child
        else:
            yield from _judges_in(child)


def _useless(model: str, defense: str, problem: JudgeStoppedError) -> ModelError:
    return ModelError(f"{model}: {defense} asks {problem.label}, and {problem.reason}")
