"""Ten workers do not mean ten times the rate limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.cluster.batches import max_workers, quota, with_quotas
from opensafemlrm.study import Study, parse

TEXT = """
models:
  - {model: openai/one, base_url: "http://127.0.0.1:1/v1", concurrency: 10}
  - {model: hf/two}
datasets: [canary]
attacks: [direct]
defenses:
  - none
  - defense: guard-output
    guard: {judge: llama-guard, model: {model: vllm/g, concurrency: 7}}
judge: {judge: policy-rubric, model: {model: openai/judge, concurrency: 5}}
"""


@given(total=st.integers(1, 500), workers=st.integers(1, 64))
def test_quotas_add_up_to_the_whole_and_are_even(total, workers):
    quotas = [quota(total, number, workers) for number in range(workers)]
    assert sum(quotas) == total
    assert max(quotas) - min(quotas) <= 1


def limits(study: Study) -> tuple[int, ...]:
    judge = study.judge
    guard = study.defenses[1]
    return (
        study.models[0].concurrency,
        judge.model.concurrency,  # type: ignore[attr-defined] # a judge with a model
        guard.guard.model.concurrency,  # type: ignore[attr-defined] # a defense with a guard
    )


def test_every_endpoint_of_a_study_is_shared_out_wherever_it_stands():
    study = parse(TEXT)
    quotas = [limits(with_quotas(study, number, 3)) for number in range(3)]
    assert [sum(column) for column in zip(*quotas, strict=True)] == [10, 5, 7]
    assert max_workers(study) == 5


def test_a_model_that_a_worker_loads_itself_is_not_shared_and_keys_do_not_change():
    study = parse(TEXT)
    own = with_quotas(study, 0, 3)
    assert own.models[1].concurrency == study.models[1].concurrency
    assert own.models[0].identity() == study.models[0].identity()
    assert own.judge.identity() == study.judge.identity()
