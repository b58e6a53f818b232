"""A study as it is written: its keys, and the line of the file on which each of them stands."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from opensafemlrm.errors import StudyError, UnknownNameError
from opensafemlrm.redaction import KEY_ADVICE, find_key, without_secrets
from opensafemlrm.strict_yaml import NEEDED, Path, explain, place_of

_Specs = Annotated[list[Any], Field(min_length=1)]


_MAX_INT: Final = 2**53
"""What the store, and every JSON of a server's, takes as a whole number."""
_MAX_REPEATS: Final = 10_000
_ONE_JUDGE: Final = (
    "this is one judge, `judge: NAME`; several that each give verdicts are `judges: [NAME, NAME]`, "
    "several that vote are `judge: {judge: panel, judges: [NAME, NAME]}`"
)
_A_PAIR: Final = (
    "a pair is two names, [REASONING MODEL, BASE]; write a list of such pairs, or `pairs: auto`"
)
_COMPONENTS: Final = {"models", "datasets", "attacks", "defenses", "judge", "judges"}
"""Keys whose values :mod:`.registry` looks through for keys and passwords."""
_BOTH: Final = "name one judge under `judge` or several under `judges`, not both"


_MODELS: Final = "name the models under `models`, or versions of one under `series`"
_ONE_WAY: Final = "write `versions`, or one `model` with the `dates` on which it is asked"
_SCALES: Final = "give every version a `step`, or every one a `date`, or none of them either"
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


class VersionSpec(BaseModel):
    """A version of a model, among the ``versions`` of a series."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    model: Any
    """The label of one of `models`, or what one would be there."""
    step: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of a training: how far it was."""
    date: datetime.date | None = None
    """When it was published."""


class SeriesSpec(BaseModel):
    """One of ``series``: versions of a model in their order, or one model at several times."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    name: str = Field(min_length=1, max_length=200)
    """What tables call it."""
    versions: list[VersionSpec] = Field([], max_length=1000)
    """In order; the first is what the others are compared with."""
    model: Any = None
    """A model behind a network that is asked anew on each of the `dates`."""
    dates: list[datetime.date] = Field([], max_length=1000)
    """In order; a run asks for the last one that has come."""

    @model_validator(mode="after")
    def _in_order(self) -> SeriesSpec:
        if bool(self.versions) == (self.model is not None) or bool(self.versions) == bool(
            self.dates
        ):
            raise ValueError(_ONE_WAY)
        if "\0" in self.name:
            raise ValueError(f"{self.name!r} is no name to read: take the sign NUL out of it")
        if len(self.versions) == 1:
            raise ValueError("one version is no series: name two or more")
        for scale in ("step", "date"):
            values = [getattr(version, scale) for version in self.versions]
            if None in values and set(values) != {None}:
                raise ValueError(_SCALES)
            _refuse_disorder(scale, values)
        if self.versions and None not in (self.versions[0].step, self.versions[0].date):
            raise ValueError(_SCALES)
        _refuse_disorder("date", self.dates)
        return self


def _refuse_disorder(scale: str, values: Sequence[Any]) -> None:
    for earlier, later in pairwise(values):
        if earlier is not None and later <= earlier:
            raise ValueError(f"{scale} {later} does not come after {earlier}: put them in order")


class StudySpec(BaseModel):
    """The keys of a study. Components are names, mappings with options, or made already."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    models: list[Any] = []
    """PROVIDER/NAME, http://HOST/v1#NAME, or a mapping with options."""
    pairs: list[tuple[Any, Any]] | Literal["auto"] = []
    """[reasoning model, base], by their labels; or auto, for the pairs that the catalogue knows."""
    series: list[SeriesSpec] = []
    """Versions of a model in their order: checkpoints of a training, releases, points in time."""
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
            mistakes[key,] = _BOTH if has_one else NEEDED
        if not data.get("models") and not data.get("series"):
            mistakes["models",] = _MODELS if "models" in data else NEEDED
        for key in cls.model_fields.keys() - _COMPONENTS:
            path = find_key(data.get(key))
            if path is not None:
                mistakes[key, *path] = KEY_ADVICE
        spec = None
        try:
            spec = cls.model_validate(data)
        except ValidationError as error:
            for fault in error.errors():
                path = place_of(fault["loc"], data)
                if fault["loc"][0] == "pairs":  # after it comes which of two forms was tried
                    path = ("pairs", *(i for i in fault["loc"][2:3] if isinstance(i, int)))
                if fault["type"] != "literal_error" or not isinstance(fault["input"], list):
                    mistakes.setdefault(path, _explain(fault))
        if spec is not None and not mistakes:
            return spec, []
        right = {
            key: value
            for key, value in data.items()
            if key in cls.model_fields and not any(path[:1] == (key,) for path in mistakes)
        }
        return cls.model_construct(**right), [Mistake(*fault) for fault in mistakes.items()]


_NESTED: Final[Mapping[str, type[BaseModel]]] = {
    "sampling": SamplingSpec,
    "stop": StopSpec,
    "series": SeriesSpec,
}


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        known: type[BaseModel] = _NESTED.get(error["loc"][0], StudySpec)
        if "versions" in error["loc"]:
            known = VersionSpec
        return str(UnknownNameError("key", name, known.model_fields))
    return _A_PAIR if error["loc"][0] == "pairs" else explain(error)
