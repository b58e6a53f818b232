"""Every error this project raises on purpose.

::

    SafeMLRMError
    ├── MistakesError       a file is wrong: names the file, and of each mistake line and key
    │   ├── StudyError          a study
    │   ├── PolicyError         an audit's policy
    │   └── ImportDataError     results of another tool cannot be read
    ├── BuildError          a component cannot be built: names the options that lead to the mistake
    │   ├── UnknownNameError    no component has that name: offers the nearest ones
    │   ├── OptionError         a component exists, but not with these options
    │   └── PluginError         another package's component cannot be loaded
    ├── MissingExtraError   an optional dependency is needed: says how to install it
    ├── DatasetError        a row or a file of a dataset is bad: names file, row and reason
    │   ├── ImageError      an image is unreadable, too large or outside its folder
    │   │   └── MissingImageError   an image is not there
    │   ├── DuplicateError  an id is given to two rows
    │   └── EmptyTextError  a text that is needed is empty
    ├── NotApplicableError  a method cannot do its work on an item: nothing is sent
    │   ├── AttackError         an attack cannot be applied to an item
    │   └── DefenseError        a defense cannot be applied to a prompt or a model
    ├── ComponentError      a component has a fault: names it, the item, the file and the line
    ├── ModelError          a model cannot be used at all (never one failed reply: that is data)
    │   └── EndpointDownError   a server has stopped answering; it is not retried on and on
    ├── StoppedError        models or the judge of a run were stopped; what is done is kept
    ├── BudgetSpentError    a run has spent its budget; what is done is kept
    ├── JudgeError          a judge cannot be used at all (never one failed verdict: that is data)
    │   └── JudgeStoppedError   the judge of a run is gone, or never gives a score
    ├── StoreError          the store cannot be read or written
    │   └── StoreVersionError   the store was written by a newer version of this project
    ├── ClusterError        a cluster cannot carry a run: names the reason a worker gave
    └── ReportError         a report cannot be written

One failed request is *not* an error here: it is a :class:`~opensafemlrm.types.Response` or a
:class:`~opensafemlrm.types.Verdict` that says how it ended, is stored, and is counted.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_MAX_NAMES: Final = 40
"""More are not listed in a message; the catalogue has hundreds of models."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Return the ``n`` names that ``name`` may stand for, whatever their case."""
    plain = {other.strip().lower(): other for other in known}
    close = difflib.get_close_matches(name.strip().lower(), plain, n=n, cutoff=0.5)
    return [plain[other] for other in close]


class SafeMLRMError(Exception):
    """Base of all errors of this project; its text is meant to be shown to a person."""


class MistakesError(SafeMLRMError):
    """A file that people write is wrong; each argument is one mistake in it."""

    def __str__(self) -> str:
        return "\n".join(self.args)


class StudyError(MistakesError):
    """A study file is wrong; each argument is one mistake in it."""


class PolicyError(MistakesError):
    """An audit's policy is wrong; each argument is one mistake in it."""


class ImportDataError(MistakesError):
    """Results written by another tool cannot be read; each argument is one mistake in them."""


class BuildError(SafeMLRMError):
    """A component cannot be built from what is said of it."""

    path: tuple[str | int, ...] = ()
    """The options that lead to the mistake, outermost first: ``("judges", 1, "model")``."""


class UnknownNameError(BuildError):
    """No component of that kind has that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str], listing: str = "") -> None:
        """``listing`` says where the names are listed, where they are too many to be named."""
        self.kind, self.name = kind, name
        known = sorted(known)
        near = nearest(str(name), known)
        more = f" and {len(known) - _MAX_NAMES} more" if len(known) > _MAX_NAMES else ""
        names = f"known: {', '.join(known[:_MAX_NAMES])}{more}"
        hint = f"did you mean {' or '.join(near)}?" if near else listing or names
        super().__init__(f"there is no {kind} called {name!r}; {hint}")


class OptionError(BuildError):
    """A component was given options it does not take, or values it cannot use."""


class PluginError(BuildError):
    """A component of another package cannot be loaded."""

    def __init__(self, kind: str, name: str, target: str, reason: str) -> None:
        super().__init__(f"the {kind} {name!r} cannot be loaded from {target}: {reason}")


class MissingExtraError(SafeMLRMError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra; in your clone: pip install '.[{extra}]'")


def require_packages(what: str, extra: str, *packages: str) -> None:
    """Raise MissingExtraError for a package that is not installed; none of them is imported."""
    for name in packages:
        if not is_installed(name):
            raise MissingExtraError(f"{what} ({name})", extra)


def is_installed(package: str) -> bool:
    """Whether a package can be imported, as far as can be told without importing it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


class DatasetError(SafeMLRMError):
    """A row or a file of a dataset is bad."""

    def __init__(
        self, reason: str, *, path: Path | str | None = None, row: int | str | None = None
    ) -> None:
        self.reason, self.path, self.row = reason, path, row
        self.scenario: str | None = None
        """The scenario of the row, where it could be read."""
        where = "" if path is None else f"{path}: "
        where += "" if row is None else f"row {row}: "
        super().__init__(f"{where}{reason}")


class ImageError(DatasetError):
    """An image is missing, unreadable, too large, or outside the folder it belongs to."""


class MissingImageError(ImageError):
    """An image that is listed is not there."""


class DuplicateError(DatasetError):
    """An id that another row has already."""


class EmptyTextError(DatasetError):
    """A text that an item cannot do without is empty."""


class NotApplicableError(SafeMLRMError):
    """A method cannot do its work on an item; nothing is sent in its place."""


class AttackError(NotApplicableError):
    """An attack cannot be applied to an item; the bare question is never sent in its place."""


class DefenseError(NotApplicableError):
    """A defense cannot be applied; the undefended prompt is never sent in its place."""


class ComponentError(SafeMLRMError):
    """A component raised what it does not mean to raise."""


class ModelError(SafeMLRMError):
    """A model cannot be used at all."""


class EndpointDownError(ModelError):
    """A server has failed so often in a row that going on would only wait."""


class BudgetSpentError(SafeMLRMError):
    """A run has spent its budget of requests, money or time."""


class JudgeError(SafeMLRMError):
    """A judge cannot be used at all."""


class JudgeStoppedError(JudgeError):
    """The judge of a run had to be stopped: it is gone, or it never gives a score."""

    def __init__(self, label: str, reason: str) -> None:
        self.label, self.reason = label, reason
        super().__init__(f"the judge {label} was stopped: {reason}")


class StoppedError(SafeMLRMError):
    """Models of a run, or its judge, had to be stopped; whatever else could be done is done.

    ``models`` has the cause by a model's label.
    """

    def __init__(
        self,
        models: Mapping[str, SafeMLRMError],
        judge: JudgeStoppedError | None = None,
        budget: BudgetSpentError | None = None,
    ) -> None:
        self.models, self.judge, self.budget = dict(models), judge, budget
        causes = [
            f"the model {label} was stopped: {str(error).removeprefix(f'{label}: ')}"
            for label, error in models.items()
        ]
        causes += [str(error) for error in (judge, budget) if error is not None]
        super().__init__("; ".join(causes))


class StoreError(SafeMLRMError):
    """The store cannot be read or written."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of this project."""


class ClusterError(SafeMLRMError):
    """A cluster cannot carry a run, or a worker of it could not go on."""


class ReportError(SafeMLRMError):
    """A report cannot be written."""


def reason_of(error: Exception) -> str:
    """Return why a file could not be read, without the path, which the message names already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start:,} is not UTF-8; save the file as UTF-8 text"
    return str(error)
