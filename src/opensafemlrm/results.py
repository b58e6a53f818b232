"""What an evaluation found: the tidy table, the replies, the figures, the charts, the report."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.reading import Cluster, Reading
from opensafemlrm.selection import Choice, RowChoice

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.analysis.tax import Mean
    from opensafemlrm.plots import Plots
    from opensafemlrm.report.page.write import Written


def open(  # noqa: A001, PLR0913 # as its name; what to choose by
    path: Path | str,
    *,
    max_unscored: float = MAX_UNSCORED,
    cluster: Cluster = "item",
    everything: bool = False,
    judge: Choice = None,
    dataset: Choice = None,
    attack: Choice = None,
    model: Choice = None,
    defense: Choice = None,
    scenario: Choice = None,
) -> Results:
    """Open what a run wrote: a store, or a folder or address of Parquet files.

    Where more than a share of ``max_unscored`` of the samples behind a rate has no score, tables,
    charts and figures hold its bounds in its place. ``cluster`` says what tax, blind spots,
    self-correction and defenses take the replies for: a sample of items like these, in these
    scenarios (``item``), or of scenarios like these (``scenario``). Samples whose items have left
    their data sets count only with ``everything``. ``judge``, ``dataset``, ``attack``, ``model``,
    ``defense`` and ``scenario`` leave out what is of others (:meth:`Results.only`). Raises
    StoreError where there is neither; reading raises UnknownNameError for a name it does not hold.
    """
    from opensafemlrm.store.connecting import require_store
    from opensafemlrm.store.sink import is_sink

    if not is_sink(path):
        require_store(Path(path))
    whole = Results(path, max_unscored=max_unscored, cluster=cluster, everything=everything)
    names = {"judge": judge, "dataset": dataset, "attack": attack, "model": model}
    return whole.only(**names, defense=defense, scenario=scenario)


class Results(Reading):
    """What a store, or a folder or address of Parquet files, holds.

    It is read when it is first needed: open it again to see what a later run added. StoreError says
    that it cannot be read. Tables are frames of polars; to make one of pandas, call its
    ``to_pandas()``, which needs ``pip install '.[pandas]'``.
    """

    def __repr__(self) -> str:
        return f"Results({self.path!r})"

    @cached_property
    def plot(self) -> Plots:
        """The report's charts as objects of altair, such as ``results.plot.tax()``."""
        from opensafemlrm.plots import Plots

        return Plots(self)

    def replies(  # noqa: PLR0913 # what to choose by
        self,
        *,
        model: Choice = None,
        dataset: Choice = None,
        attack: Choice = None,
        defense: Choice = None,
        scenario: Choice = None,
        item: Choice = None,
        status: Choice = None,
        part: str | None = None,
        unsafe: Choice = None,
    ) -> pl.DataFrame:
        """Return the replies with their verdicts, a row a sample. The texts may be harmful.

        Names are those of the tidy table; UnknownNameError says which there are. ``part`` keeps
        the verdicts on it alone. ``unsafe`` names parts (``reasoning``, ``answer``, ``full``): only
        samples of which a judge found one of them unsafe. Columns: see :mod:`opensafemlrm.replies`.
        """
        from opensafemlrm.frame import OUTCOME_COLUMNS
        from opensafemlrm.replies import chosen, replies

        wanted = {"model": model, "dataset": dataset, "attack": attack, "defense": defense}
        wanted |= {"scenario": scenario, "item": item, "status": status}
        frame = chosen(self.read(OUTCOME_COLUMNS), wanted, unsafe)
        frame = RowChoice(part=part).choose(frame)
        return self._ask(lambda source: replies(source, frame))

    def report(
        self,
        out: Path | str,
        *,
        with_examples: bool = False,
        by: str | None = None,
        part: str | None = None,
        threshold: float | None = None,
        mean: Mean | None = None,
    ) -> Written:
        """Write the report to a folder: a page, its figures and its tables.

        ``with_examples`` puts replies on the page, hidden until asked for. ``part``, ``threshold``
        and ``mean`` (``micro`` or ``macro``, of its tax) are the only ones shown. ``by`` orders its
        tables: ``scenario`` gives their files a row for each, another name stands first. Raises
        UnknownNameError and OptionError for what the store does not hold, ReportError where a file
        cannot be written.
        """
        from opensafemlrm.report.page import write_report

        rows = RowChoice(part, threshold, mean, by)
        with self.opened() as source:
            return write_report(self, source, Path(out), with_examples=with_examples, rows=rows)
