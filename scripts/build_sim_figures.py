"""Build the figures behind the simulated models from the published histogram folders.

Usage: python scripts/build_sim_figures.py PATH/TO/statistic_results

The folders hold, for each setting, model and scenario, how many of the judged items got each score
(see docs and the card of SafeMLRM, arXiv 2504.08813). Only the counts are kept, in the order
0, 1, 2, 3, 4, 5, not scored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "src/opensafemlrm/models/demo/data/sim_figures.json"
SETTINGS = {"baseline": "plain", "jailbreak_method": "image"}
MODELS = {
    "R1_Onevision_7B": "r1-onevision-7b",
    "MM_Eureka_Qwen_7B": "mm-eureka-qwen-7b",
    "Mulberry_qwen2vl_7b": "mulberry-qwen2vl-7b",
    "Mulberry_llava_8b": "mulberry-llava-8b",
    "Mulberry_llama_11b": "mulberry-llama-11b",
    "Qwen2_5_VL_7B_Instruct": "qwen2.5-vl-7b",
    "Qwen2_VL_7B_Instruct": "qwen2-vl-7b",
    "Llama3_llava_next_8b_hf": "llava-next-llama3-8b",
    "Llama_3_2_11B_Vision_Instruct": "llama-3.2-11b-vision",
}
SCENARIOS = {
    "01-Illegal_Activitiy": "illegal-activity",
    "02-HateSpeech": "hate-speech",
    "03-Malware_Generation": "malware-generation",
    "04-Physical_Harm": "physical-harm",
    "06-Fraud": "fraud",
    "07-Sex": "sex",
    "09-Privacy_Violence": "privacy-violence",
    "10-Legal_Opinion": "legal-opinion",
    "11-Financial_Advice": "financial-advice",
    "12-Health_Consultation": "health-consultation",
}
PARTS = {"reasoning": "reasoning_score", "answer": "answer_score", "full": "full_response_score"}
ORDER = ("0", "1", "2", "3", "4", "5", "-1")


def collect(root: Path) -> dict[str, dict[str, dict[str, dict[str, list[int]]]]]:
    """Return model → setting → scenario → part → the seven counts."""
    return {
        model: {
            setting: {
                scenario: _counts(root / folder / model_folder / f"{file}.json")
                for file, scenario in SCENARIOS.items()
            }
            for folder, setting in SETTINGS.items()
        }
        for model_folder, model in MODELS.items()
    }


def render(figures: dict[str, dict[str, dict[str, dict[str, list[int]]]]]) -> str:
    """Return the figures as JSON, one line a model, setting and scenario."""
    lines = [
        f'  "{model}/{setting}/{scenario}": {json.dumps(parts)}'
        for model, settings in figures.items()
        for setting, scenarios in settings.items()
        for scenario, parts in scenarios.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _counts(path: Path) -> dict[str, list[int]]:
    published = json.loads(path.read_text(encoding="utf-8"))
    return {part: [published[name][score] for score in ORDER] for part, name in PARTS.items()}


if __name__ == "__main__":
    OUT.write_text(render(collect(Path(sys.argv[1]))), encoding="utf-8")
    print(f"wrote {OUT}")
