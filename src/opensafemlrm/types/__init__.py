"""The values that flow through an evaluation, and the protocols of what makes them.

::

    Item → attack → Prompt → (defense∘)model → Response → split → Trace → judge → Verdict

Datasets, attacks, defenses, models and judges are components: frozen dataclasses whose fields are
their options, with a ``name`` and a ``version`` of number and letter. The number changes when
scores stop being comparable, the letter at any other change.

All values are frozen. An outcome cannot lie: a :class:`Response` that failed, was blocked or was
cut is never an answer, and a :class:`Verdict` without a score is never "safe".
"""

from opensafemlrm.types.components import (
    ALL_DEVICES,
    capabilities_of,
    device_of,
    identity_of,
    is_resident,
    label_of,
    options_of,
    reduce_to_options,
)
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
from opensafemlrm.types.protocols import (
    Attack,
    Card,
    Dataset,
    Defense,
    Judge,
    Model,
    ScoresTokens,
    Search,
)
from opensafemlrm.types.values import (
    Call,
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
    "ALL_DEVICES",
    "JSON",
    "PARTS",
    "Attack",
    "Call",
    "Capability",
    "Card",
    "Dataset",
    "Defense",
    "Image",
    "Item",
    "ItemKind",
    "Judge",
    "JudgeRequest",
    "Key",
    "Label",
    "Model",
    "Part",
    "Prompt",
    "Response",
    "ResponseStatus",
    "Sampling",
    "ScoresTokens",
    "Search",
    "SearchResult",
    "Trace",
    "TraceStatus",
    "Turn",
    "Unscored",
    "Usage",
    "Verdict",
    "canonical_json",
    "capabilities_of",
    "content_key",
    "device_of",
    "identity_of",
    "is_resident",
    "label_of",
    "options_of",
    "reduce_to_options",
]
