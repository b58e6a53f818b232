"""Study files: every mistake is found before the first request, and named by line and key."""

from __future__ import annotations

import dataclasses
import pickle
import re
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm import study
from opensafemlrm.engine import Plan
from opensafemlrm.errors import DatasetError, SafeMLRMError, StudyError
from opensafemlrm.subset import Subset
from opensafemlrm.types import Sampling
from tests.support import Listed, Scorer, Scripted, Wrapped, items

GOOD = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, figstep, typo]
judge: canary
sampling: {temperature: 0, max_tokens: 4096, seed: 0, repeats: 1}
limit: 100
"""


def test_the_study_of_the_readme_resolves():
    found = study.parse(GOOD)
    assert [m.label for m in found.models] == ["sim/r1-onevision-7b", "sim/qwen2.5-vl-7b"]
    assert found.pairs == ((found.models[0], found.models[1]),)
    assert [a.label for a in found.attacks] == ["direct", "figstep", "typo"]
    assert [d.label for d in found.defenses] == ["none"]
    assert found.limit == 100


def test_a_judge_and_a_server_with_options():
    text = GOOD.replace("judge: canary", "judge: {judge: policy-rubric, model: openai/gpt-4o-mini}")
    text = text.replace(
        "models: [sim/r1-onevision-7b, ",
        "models: [{model: openai/x, base_url: 'http://127.0.0.1:1/v1', format: think}, "
        "'http://127.0.0.1:2/v1#y', sim/r1-onevision-7b, ",
    )
    found = study.parse(text)
    assert [m.label for m in found.models][:2] == ["openai/x", "openai/y"]
    assert str(found.models[0].reasoning_format) == "think"
    assert found.judge.name == "policy-rubric"


def test_a_defense_is_given_its_judge_and_its_model_by_name():
    spec = (
        "defenses: [none, "
        "{defense: guard-output, guard: {judge: policy-rubric, model: sim/judge}}, "
        "{defense: self-reminder+safethink, safethink: {scorer: refusal}}, "
        "{defense: scenario-aware, classifier: sim/qwen2.5-vl-7b}]\n"
    )
    _, guard, composed, aware = cast("tuple[Any, ...]", study.parse(GOOD + spec).defenses)
    assert guard.guard.name == "policy-rubric"
    assert [part.name for part in composed.parts] == ["self-reminder", "safethink"]
    assert composed.parts[1].scorer.name == "refusal"
    assert aware.classifier.label == "sim/qwen2.5-vl-7b"
    with pytest.raises(StudyError, match=r"defenses\.0\.guard: .*no judge called 'refusl'"):
        study.parse(GOOD + "defenses: [{defense: guard-input, guard: refusl}]\n")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("attacks: [direct", "attacks: [figstpe", r"line 4, attacks\.0: .*did you mean figstep"),
        (
            "attacks: [direct, figstep, typo]",
            "attacks: {attack: typo}",
            r"write a list: \[{attack: typo}\]",
        ),
        (
            "attacks: [direct, figstep",
            "attacks: [{attack: figstep, font_size: x}",
            r"attacks\.0\.font_size: .*write a whole number, not 'x'",
        ),
        (
            "models: [",
            "models: [{model: openai/a, concurrency: 0}, ",
            r"models\.0\.concurrency: .*write 1 or more, not 0",
        ),
        ("qwen2.5-vl-7b]]", "qwen2.5-vl-7b], [a]]", r"line 2, pairs\.1: a pair is two names"),
        ("qwen2.5-vl-7b]]", "qwen2.5-vl-7b], a]", r"line 2, pairs\.1: a pair is two names"),
        ("limit: 100", "limit: -3", r"line 7, limit: write 1 or more, not -3"),
        ("limit: 100", "limt: 100", r"line 7, limt: .*did you mean limit"),
        ("repeats: 1", "repeat: 1", r"line 6, sampling\.repeat: .*did you mean repeats"),
        ("temperature: 0,", "temperature: hot,", r"line 6, sampling\.temperature: .*'hot'"),
        ("judge: canary\n", "", r"line 1, judge: this key is needed"),
        ("judge: canary", "judge: {judge: policy-rubric}", r"line 5, judge: .*needs the option"),
        ("datasets: [canary]", "datasets: [{dataset: canary, rot: x}]", r"line 3, .*no option"),
        ("datasets: [canary]", "datasets: []", r"line 3, datasets: "),
        ("datasets: [canary]", "datasets: [{name: canary}]", r"line 3, .*say which dataset"),
        ("datasets: [canary]", "datasets: [canary, canary]", r"line 3, .*two datasets .*'canary'"),
        (
            "models: [",
            "models: [openai/a, {model: openai/a, alias: b}, ",
            r"line 1, .*a `revision`",
        ),
        (
            "models: [",
            "models: [{model: openai/a, format: thnk}, ",
            r"line 1, .*did you mean think",
        ),
        ("models: [sim/r1", "models: [sin/r1", r"line 1, models\.0: .*model"),
        (
            "pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]",
            "pairs: [[sim/qwen2.5-vl-7b, sim/qwen2.5-vl-7b]]",
            r"pairs\.0: 'sim/qwen2.5-vl-7b' is paired with itself",
        ),
        (
            "qwen2.5-vl-7b]]",
            "qwen2.5-vl-7b], [sim/qwen2.5-vl-7b, sim/r1-onevision-7b]]",
            r"pairs\.1: .* are each other's base",
        ),
        ("pairs: [[sim/r1", "pairs: [[sim/r2", r"line 2, pairs\.0\.0: .*did you mean sim/r1"),
        (
            "judge: canary",
            "judge: canary\njudge: refusal",
            r"line 6: the key 'judge' is there twice",
        ),
        ("limit: 100", "limit: [", r"line \d+: this is not valid YAML"),
        ("limit: 100", "limit: !!python/name:os.system", r"line 7: YAML tags are not read"),
    ],
)
def test_each_mistake_names_line_and_key(old, new, says):
    assert old in GOOD
    with pytest.raises(StudyError, match=says):
        study.parse(GOOD.replace(old, new))


def test_all_that_is_wrong_is_told_at_once():
    """A missing folder and a pair of no model came only after all else was mended: three tries."""
    with pytest.raises(StudyError) as raised:
        study.parse(
            "models: [sim/qwen2.5-vl-7b, sim/r9]\n"
            "pairs: [[sim/r9, sim/qwen2.5-vl-7b], [sim/nobody, sim/qwen2.5-vl-7b]]\n"
            "datasets: [canary, {dataset: nope}, {dataset: figstep, root: /nope}]\n"
        )
    told = [re.sub(r"study, line \d, (\S+): .*", r"\1", mistake) for mistake in raised.value.args]
    assert sorted(told) == ["datasets.1", "datasets.2", "judge", "models.1", "pairs.1.0"]


def test_every_folder_that_is_missing_is_told_at_once(tmp_path):
    folders = [{"dataset": "figstep", "root": str(tmp_path / name)} for name in "ab"]
    made = study.Study(["sim/qwen2.5-vl-7b"], [folders[0], "canary"], "canary")
    with pytest.raises(DatasetError):
        Plan.of(made)
    second = {"dataset": "mm-safetybench", "root": folders[1]["root"]}
    made = study.Study(["sim/qwen2.5-vl-7b"], [folders[0], second], "canary")
    with pytest.raises(StudyError) as raised:
        Plan.of(made)
    first, other = raised.value.args
    assert (str(tmp_path / "a") in first, str(tmp_path / "b") in other) == (True, True)


def test_a_study_is_made_of_names_mappings_and_objects():
    judge, model = Scorer(), Scripted()
    made = study.Study(
        [model, "sim/qwen2.5-vl-7b"],
        ["canary", Listed(items(2))],
        judge,
        attacks=["direct", {"attack": "figstep", "steps": 5}, Wrapped()],
        defenses=["none", {"defense": "guard-output", "guard": judge}],
        pairs=[(model, "sim/qwen2.5-vl-7b")],
        sampling={"temperature": 0.7, "repeats": 3},
        limit=5,
    )
    assert made.models[0] is model
    assert made.pairs == ((model, made.models[1]),)
    assert made.judge is judge
    assert cast("Any", made.defenses[1]).guard is judge
    assert [one.label for one in made.attacks] == ["direct", "figstep[steps=5]", "wrapped"]
    assert (made.sampling, made.repeats, made.limit) == (Sampling(0.7), 3, 5)
    other = dataclasses.replace(made, models=(made.models[1], Scripted(model="two")), pairs=())
    assert [one.label for one in other.models] == ["sim/qwen2.5-vl-7b", "scripted/two"]
    assert (other.repeats, other.datasets) == (3, made.datasets)


def test_names_and_objects_make_the_study_that_the_file_makes():
    keys = yaml.safe_load(GOOD)
    made, read = study.Study(**keys), study.parse(GOOD)
    assert dataclasses.replace(made, text=GOOD) == read
    assert study.parse(made.text) == dataclasses.replace(read, text=made.text)


def test_a_study_travels_as_options_and_never_with_a_key(monkeypatch):
    """A cluster's workers make the study anew, with the keys of their own machine."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-" * 3)
    server = {"base_url": "http://127.0.0.1:1/v1", "timeout": 7}
    made = study.Study(
        [{"model": f"{provider}/x", **server} for provider in ("openai", "anthropic", "google")]
        + ["sim/r1-onevision-7b", "hf/x", "vllm-offline/x"],
        ["canary"],
        {"judge": "panel", "judges": ["rules", {"judge": "policy-rubric", "model": "openai/y"}]},
        attacks=["mml", "typo+mirror"],
        defenses=["self-reminder+reflect", {"defense": "guard-input", "guard": "rules"}],
    )
    travelled = pickle.dumps(made)
    assert b"secret-" not in travelled
    assert pickle.loads(travelled) == made


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"attacks": ["figstpe"]}, r"^attacks\.0: .*did you mean figstep"),
        ({"datasets": []}, r"^datasets: "),
        ({"models": "sim/qwen2.5-vl-7b"}, r"^models: .*list"),
        ({"models": [3]}, r"^models\.0: this is the name of a model"),
        ({"judge": Scripted()}, r"^judge: this is the name of a judge"),
        ({"limit": 0}, r"^limit: .*not 0"),
        ({"sampling": {"temprature": 1}}, r"^sampling\.temprature: .*did you mean temperature"),
        ({"sampling": Sampling(stop=("x",))}, r"^sampling\.stop: "),
        ({"pairs": [(Scripted(), "sim/qwen2.5-vl-7b")]}, r"^pairs\.0\.0: .*'scripted/one'"),
    ],
)
def test_a_mistake_in_python_names_the_key(keys, says):
    good = {"models": ["sim/qwen2.5-vl-7b"], "datasets": ["canary"], "judge": "canary"}
    with pytest.raises(StudyError, match=says):
        study.Study(**{**good, **keys})


@given(st.text(max_size=60))
def test_any_text_is_a_study_or_an_error_of_ours(text):
    with pytest.raises(SafeMLRMError):
        study.parse(text)


@given(limit=st.integers(1, 60), sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_a_limit_is_spread_evenly_and_takes_the_first_of_each_scenario(limit, sizes):
    rows = [item for s, size in enumerate(sizes) for item in _scenario(s, size)]
    subset = Subset.of(Listed(rows), limit)
    taken = list(subset.items())
    counts = [sum(item.scenario == f"s{s}" for item in taken) for s in range(len(sizes))]
    assert len(taken) == subset.size == min(limit, sum(sizes))
    for size, count in zip(sizes, counts, strict=True):
        assert count == size or count >= max(counts) - 1
    assert taken == [item for item in rows if item in taken]


def _scenario(number: int, size: int):
    return [type(i)("listed", f"{number}-{i.id}", f"s{number}", i.question) for i in items(size)]
