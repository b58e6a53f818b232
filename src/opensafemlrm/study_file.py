"""A study as it is written: its keys, and the line of the file on which each of them stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from opensafemlrm import strict_yaml
from opensafemlrm.errors import StudyError, UnknownNameError
from opensafemlrm.redaction import without_secrets
from opensafemlrm.strict_yaml import BadYAMLError, Path, lines_of, located, place_of

_Specs = Annotated[list[Any], Field(min_length=1)]


_MAX_INT: Final = 2**53
"""What the store, and every JSON of a server's, takes as a whole number."""
_MAX_REPEATS: Final = 10_000
_ONE_JUDGE: Final = (
    "this is one judge, `judge: NAME`; several that each give verdicts are `judges: [NAME, NAME]`, "
    "several that vote are `judge: {judge: panel, judges: [NAME, NAME]}`"
)
_NEEDED: Final = "this key is needed"
_BOTH: Final = "name one judge under `judge` or several under `judges`, not both"


_ONE_RULE: Final = "write one of `half_width: 0.05` and `decide: 'tax > 0'`"


def _single(judge: Any) -> Any:
    if isinstance(judge, list):
        raise ValueError(_ONE_JUDGE)  # noqa: TRY004 # pydantic reports this one alone
    return judge


class Mistake(NamedTuple):
    """A value of a study that is wrong, and where it stands."""

    path: Path
    message: str


class SpecError(StudyError):
    """Values of a study are wrong."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = [Mistake(path, without_secrets(text)) for path, text in mistakes]
        super().__init__(
            *(f"{'.'.join(map(str, path)) or 'the study'}: {text}" for path, text in self.mistakes)
        )


class SamplingSpec(BaseModel):
    """The key ``sampling``."""

    model_config = ConfigDict(extra="forbid")
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(4096, ge=1, le=_MAX_INT, strict=True)
    seed: int | None = Field(0, ge=-_MAX_INT, le=_MAX_INT, strict=True)
    top_p: float | None = Field(None, gt=0, le=1)
    repeats: int = Field(1, ge=1, le=_MAX_REPEATS, strict=True)


class StopSpec(BaseModel):
    """The key ``stop``: when enough of a scenario's items were run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    half_width: float | None = Field(None, gt=0, le=0.5)
    """Run until a rate is known to within this much, a fraction."""
    decide: Literal["tax > 0"] | None = None
    """Run until it is known of a pair whether the reasoning model is less safe than its base."""
    margin: float = Field(0.1, gt=0, le=1)
    """A tax below this is too small to matter: it is decided as none."""
    part: Literal["reasoning", "answer", "full"] = "full"
    threshold: float | None = None
    """Scores from here on are unsafe; ``None`` for the judge's lenient threshold."""
    claim: Literal["dataset", "population"] = "dataset"
    """What is claimed of: the items of the data set, or others like them."""
    batch: int = Field(4, ge=1, le=_MAX_INT, strict=True)
    """Items of a scenario that are run before one looks again."""
    seed: int = Field(0, ge=-_MAX_INT, le=_MAX_INT, strict=True)
    """Of the random order of the items."""

    @model_validator(mode="after")
    def _one_of_two(self) -> StopSpec:
        if (self.half_width is None) == (self.decide is None):
            raise ValueError(_ONE_RULE)
        return self


class StudySpec(BaseModel):
    """The keys of a study. Components are names, mappings with options, or made already."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    models: _Specs
    """PROVIDER/NAME, http://HOST/v1#NAME, or a mapping with options."""
    pairs: list[tuple[Any, Any]] | Literal["auto"] = []
    """[reasoning model, base], by their labels; or auto, for the pairs that the catalogue knows."""
    datasets: _Specs
    """Names, or mappings with options: {dataset: figstep, root: FOLDER}."""
    attacks: _Specs = ["direct"]
    """Names such as typo or typo+mirror, or mappings with options."""
    defenses: _Specs = ["none"]
    """Names such as reflect, or mappings with options."""
    judge: Annotated[Any, AfterValidator(_single)] = None
    """A name, or {judge: policy-rubric, model: openai/NAME}."""
    judges: list[Any] = []
    """Several, in place of judge: each judges every reply."""
    sampling: SamplingSpec = SamplingSpec()
    """How replies are drawn: temperature, max_tokens, seed, top_p, repeats."""
    limit: int | None = Field(None, ge=1, le=_MAX_INT, strict=True)
    """Items that are taken of a dataset, spread evenly over its scenarios."""
    stop: StopSpec | None = None
    """When enough items of a scenario were run."""

    @classmethod
    def of(cls, data: Any) -> tuple[StudySpec, list[Mistake]]:
        """Check the keys of a study and their values.

        Where there are mistakes, the study has only the keys that are right.
        """
        mistakes: dict[Path, str] = {}
        has_one, has_several = (bool(data.get(key)) for key in ("judge", "judges"))
        if has_one == has_several:
            key = "judges" if "judges" in data else "judge"
            mistakes[key,] = _BOTH if has_one else _NEEDED
        spec = None
        try:
            spec = cls.model_validate(data)
        except ValidationError as error:
            for fault in error.errors():
                mistakes.setdefault(place_of(fault["loc"], data), _explain(fault))
        if spec is not None and not mistakes:
            return spec, []
        right = {
            key: value
            for key, value in data.items()
            if key in cls.model_fields and not any(path[:1] == (key,) for path in mistakes)
        }
        return cls.model_construct(**right), [Mistake(*fault) for fault in mistakes.items()]


@dataclass(frozen=True, slots=True)
class Document:
    """What a study file says, and where."""

    name: str
    data: dict[str, Any]
    lines: Mapping[Path, int]

    @classmethod
    def read(cls, text: str, name: str) -> Document:
        """Read YAML; ``name`` stands for the file in errors. Raises StudyError."""
        try:
            data, node = strict_yaml.read(text)
        except BadYAMLError as error:
            where = "" if error.line is None else f", line {error.line}"
            raise StudyError(f"{name}{where}: {error.reason}") from error
        if not isinstance(data, dict):
            raise StudyError(f"{name}: a study file is a list of keys such as `models:`")
        return cls(name, data, lines_of(node))

    def locate(self, error: SpecError) -> StudyError:
        """Return ``error`` with the file, and of each mistake the line and the key."""
        return StudyError(*located(error.mistakes, self.lines, self.name))


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        known = SamplingSpec if error["loc"][0] == "sampling" else StudySpec
        return str(UnknownNameError("key", name, known.model_fields))
    if error["type"] == "missing":
        return _NEEDED
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg']}, not {error['input']!r}"
