"""``series`` in a study: what a run asks for, what the store keeps, and what is refused."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest

from opensafemlrm import engine, series, study
from opensafemlrm.errors import StudyError
from opensafemlrm.selection import narrowed
from opensafemlrm.store import Store
from opensafemlrm.store.series import series as kept

REST = "datasets: [canary]\njudge: canary\nlimit: 20\n"
TRAINING = """\
series:
  - name: training
    versions:
      - {model: sim/qwen2.5-vl-7b, step: 0}
      - {model: sim/r1-onevision-7b, step: 150}
"""
WEEKLY = "series: [{name: weekly, model: openai/x, dates: [2026-11-02, 2026-11-09, 2026-11-16]}]\n"


def on(day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_today", lambda: datetime.date.fromisoformat(day))


def test_versions_are_run_as_models_of_the_study_and_kept_in_order(tmp_path: Path) -> None:
    plan = engine.Plan.of(study.parse(TRAINING + REST))
    with Store.open(tmp_path, "create") as store:
        asyncio.run(engine.evaluate(plan, store))
        assert kept(store).rows() == [
            ("training", "sim/qwen2.5-vl-7b", 0.0, None),
            ("training", "sim/r1-onevision-7b", 150.0, None),
        ]


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (("a", "b", "c"), ("a", "c"), ("a", "c")),
        (("a", "b"), ("b", "a"), ("b", "a")),
        (("a, step: 1", "b, step: 2"), ("a", "c"), ("a", "c")),
        (("a", "b"), ("c, step: 1", "a, step: 2"), ("c", "a")),
        (("a, step: 1", "b, step: 2"), ("a, step: 1", "c, step: 1.5"), ("a", "c", "b")),
    ],
)
def test_a_series_that_only_its_order_orders_is_that_of_the_last_run(
    first: tuple[str, ...], then: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path
) -> None:
    """A version that was taken out stayed between the others, at the place of one of them."""
    models = {"a": "sim/qwen2.5-vl-7b", "b": "sim/r1-onevision-7b", "c": "sim/mulberry-llava-8b"}
    every = f"models: [{', '.join(models.values())}]\n"
    with Store.open(tmp_path, "create") as store:
        for versions in (first, then):
            listed = "".join(f"    - {{model: {models[v[0]]}{v[1:]}}}\n" for v in versions)
            text = f"{every}series:\n  - name: all\n    versions:\n{listed}{REST}"
            asyncio.run(engine.evaluate(engine.Plan.of(study.parse(text)), store))
        assert kept(store)["model"].to_list() == [models[version] for version in expected]


def test_a_series_names_models_that_the_study_has(tmp_path: Path) -> None:
    pair = "models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]\n"
    found = study.parse(pair + TRAINING + REST)
    assert len(found.models) == 2
    (training,) = found.series
    assert training.versions[0].model is found.models[1]


def test_a_model_on_a_date_is_asked_anew_and_other_keys_stay(monkeypatch) -> None:
    """Served from the store, week 2 would be week 1 again, and no drift would ever be seen."""
    on("2026-11-10", monkeypatch)
    found = study.parse(WEEKLY + REST)
    assert [model.label for model in found.models] == ["openai/x@2026-11-09"]
    first, second = (version.model.identity() for version in found.series[0].versions)
    plain = study.parse("models: [openai/x]\n" + REST).models[0].identity()
    assert {**plain, "revision": "2026-11-02"} == first
    assert {**plain, "revision": "2026-11-09"} == second
    on("2026-11-16", monkeypatch)
    assert [m.label for m in study.parse(WEEKLY + REST).models] == ["openai/x@2026-11-16"]


def test_a_part_of_a_study_keeps_its_series(monkeypatch) -> None:
    on("2026-11-10", monkeypatch)
    found = study.parse(WEEKLY + REST)
    for other in (narrowed(found, {}, limit=5), found.map_models(lambda model: model)):
        assert [model.label for model in other.models] == ["openai/x@2026-11-09"]
        assert other.series == found.series


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("{name: a, versions: [{model: sim/qwen2.5-vl-7b}]}", r"0: one version is no series"),
        (
            "{name: a, versions: [{model: sim/qwen2.5-vl-7b}, {model: sim/qwen2.5-vl-7b}]}",
            r"0\.versions\.1: .* already; for one model at several times write `model` and `dates`",
        ),
        (
            "{name: a, versions: [{model: sim/a, step: 200}, {model: sim/b, step: 150}]}",
            r"0: step 150.* does not come after 200.*: put them in order",
        ),
        (
            "{name: a, versions: [{model: sim/a, step: 1}, {model: sim/b}]}",
            r"0: give every version a `step`",
        ),
        (
            "{name: a, versions: [{model: sim/a, step: 1, date: 2026-01-01}, "
            "{model: sim/b, step: 2, date: 2026-01-02}]}",
            r"0: give every version a `step`",
        ),
        (
            "{name: a, versions: [{model: sim/a, step: .nan}, {model: sim/b, step: 2}]}",
            r"versions\.0\.step: .*finite",
        ),
        ("{name: a, versions: [{model: sim/qwen}, {model: sim/r1}]}", r"did you mean"),
        ("{name: a, versions: [{modle: x}, {model: sim/b}]}", r"did you mean model"),
        ("{name: a, model: sim/qwen2.5-vl-7b, dates: [2026-11-02]}", r"behind a network"),
        ("{name: a, model: openai/x, dates: [2026-11-09, 2026-11-02]}", r"does not come after"),
        ("{name: a, model: openai/x, dates: [2026-11-02, 2026-11-02]}", r"does not come after"),
        ("{name: a, model: openai/x, dates: [2126-11-02]}", r"none of these dates has come"),
        ("{name: a, model: openai/x}", r"write `versions`, or one `model` with the `dates`"),
        ("{name: a}", r"write `versions`, or one `model` with the `dates`"),
        ("{name: '', model: openai/x, dates: [2026-11-02]}", r"0\.name"),
        (
            "{name: a, model: openai/x, dates: [2026-11-02]}, "
            "{name: a, model: openai/y, dates: [2026-11-02]}",
            r"1\.name: two series are both called 'a'",
        ),
        (
            "{name: a, versions: [{model: {model: openai/x, base_url: 'http://a/v1'}}, "
            "{model: {model: openai/x, base_url: 'http://b/v1', top_k: 3}}]}",
            r"versions\.1\.model",
        ),
    ],
)
def test_what_is_no_series_is_refused_with_its_line(wrong: str, says: str) -> None:
    with pytest.raises(StudyError, match=rf"line 1, series\.{says}" if says[0] in "01" else says):
        study.parse(f"series: [{wrong}]\n{REST}")


@pytest.mark.parametrize("wrong", ["series: 5\n", "series: [5]\n", "series: [{}]\n"])
def test_a_series_of_another_kind_is_refused(wrong: str) -> None:
    with pytest.raises(StudyError, match="line 1, series"):
        study.parse(wrong + REST)


def test_a_study_without_models_and_series_says_so() -> None:
    with pytest.raises(StudyError, match="line 1, models: name the models under `models`"):
        study.parse("models: []\n" + REST)
