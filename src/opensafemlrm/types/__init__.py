"""The values that flow through an evaluation.

::

    Item → attack → Prompt → (defense∘)model → Response → parse → Trace → judge → Verdict

All values are frozen. An outcome cannot lie: a :class:`Response` that failed, was blocked or was
cut is never an answer, and a :class:`Verdict` without a score is never "safe". What makes the
values are the components of :mod:`opensafemlrm.components`.
"""

from opensafemlrm.types.content import (
    JSON,
    Key,
    canonical_json,
    content_key,
)
from opensafemlrm.types.kinds import (
    PARTS,
    Capability,
    ItemKind,
    Label,
    Part,
    ResponseStatus,
    TraceStatus,
    Unscored,
)
from opensafemlrm.types.values import (
    Call,
    Card,
    Expected,
    Image,
    Item,
    JudgeRequest,
    Prompt,
    Response,
    Sampling,
    SearchResult,
    Trace,
    Turn,
    Usage,
    Verdict,
)

__all__ = [
    "JSON",
    "PARTS",
    "Call",
    "Capability",
    "Card",
    "Expected",
    "Image",
    "Item",
    "ItemKind",
    "JudgeRequest",
    "Key",
    "Label",
    "Part",
    "Prompt",
    "Response",
    "ResponseStatus",
    "Sampling",
    "SearchResult",
    "Trace",
    "TraceStatus",
    "Turn",
    "Unscored",
    "Usage",
    "Verdict",
    "canonical_json",
    "content_key",
]
