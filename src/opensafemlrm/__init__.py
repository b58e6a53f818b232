"""Evaluate the safety of multi-modal reasoning models from Python.

::

    import opensafemlrm as osm

    study = osm.load_study("study.yaml")  # or osm.Study(models=[…], datasets=[…], judge=…)
    results = osm.evaluate(study, "results")
    results.asr(by="scenario")

Each name is loaded when it is first used, so that the import itself costs nothing.
"""

TYPE_CHECKING = False  # what typing calls so, which takes as long to import as all the rest

if TYPE_CHECKING:
    from opensafemlrm.api import aevaluate, evaluate
    from opensafemlrm.cluster import Cluster
    from opensafemlrm.components import Attack, Dataset, Defense, Judge, Model, Search
    from opensafemlrm.errors import (
        AttackError,
        BudgetSpentError,
        BuildError,
        ClusterError,
        ComponentError,
        DatasetError,
        DefenseError,
        DuplicateError,
        EmptyTextError,
        EndpointDownError,
        ImageError,
        ImportDataError,
        JudgeError,
        JudgeStoppedError,
        MissingExtraError,
        MissingImageError,
        MistakesError,
        ModelError,
        NotApplicableError,
        OptionError,
        PluginError,
        PolicyError,
        ReportError,
        SafeMLRMError,
        StoppedError,
        StoreError,
        StoreVersionError,
        StudyError,
        UnknownNameError,
    )
    from opensafemlrm.models.budget import Limits
    from opensafemlrm.results import Results, open  # noqa: A004 # meant to be used as osm.open
    from opensafemlrm.study import Study
    from opensafemlrm.study import load as load_study
    from opensafemlrm.types import (
        Call,
        Capability,
        Card,
        Expected,
        Image,
        Item,
        ItemKind,
        JudgeRequest,
        Label,
        Part,
        Prompt,
        Response,
        ResponseStatus,
        Sampling,
        SearchResult,
        Trace,
        TraceStatus,
        Turn,
        Unscored,
        Usage,
        Verdict,
    )

    __version__: str

__all__ = [
    "Attack",
    "AttackError",
    "BudgetSpentError",
    "BuildError",
    "Call",
    "Capability",
    "Card",
    "Cluster",
    "ClusterError",
    "ComponentError",
    "Dataset",
    "DatasetError",
    "Defense",
    "DefenseError",
    "DuplicateError",
    "EmptyTextError",
    "EndpointDownError",
    "Expected",
    "Image",
    "ImageError",
    "ImportDataError",
    "Item",
    "ItemKind",
    "Judge",
    "JudgeError",
    "JudgeRequest",
    "JudgeStoppedError",
    "Label",
    "Limits",
    "MissingExtraError",
    "MissingImageError",
    "MistakesError",
    "Model",
    "ModelError",
    "NotApplicableError",
    "OptionError",
    "Part",
    "PluginError",
    "PolicyError",
    "Prompt",
    "ReportError",
    "Response",
    "ResponseStatus",
    "Results",
    "SafeMLRMError",
    "Sampling",
    "Search",
    "SearchResult",
    "StoppedError",
    "StoreError",
    "StoreVersionError",
    "Study",
    "StudyError",
    "Trace",
    "TraceStatus",
    "Turn",
    "UnknownNameError",
    "Unscored",
    "Usage",
    "Verdict",
    "aevaluate",
    "evaluate",
    "load_study",
    "open",
]

_MODULES = {
    "api": ("aevaluate", "evaluate"),
    "cluster": ("Cluster",),
    "components": ("Attack", "Dataset", "Defense", "Judge", "Model", "Search"),
    "models.budget": ("Limits",),
    "results": ("Results", "open"),
    "study": ("Study", "load_study"),
}
"""Where names are that are neither errors nor values."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        value: object = version("opensafemlrm")
    elif name in __all__:
        fallback = "errors" if name.endswith("Error") else "types"
        module = next((m for m, names in _MODULES.items() if name in names), fallback)
        attribute = "load" if name == "load_study" else name
        value = getattr(import_module(f"opensafemlrm.{module}"), attribute)
    else:
        raise AttributeError(f"module 'opensafemlrm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
