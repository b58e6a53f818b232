"""Small harmless releases in the upstream layouts, one writer for each dataset.

Headers and scenarios are those of the real files; test_layouts.py holds them to these.

Each writes into a folder and returns the options that read it. All questions are about lanterns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.datasets.newer_releases import NEWER
from tests.datasets.writing import (
    Options,
    cell,
    png,
    put,
    put_csv,
    put_json,
    put_parquet,
)

__all__ = ["Options", "cell", "png", "put", "put_csv", "put_json", "put_parquet"]


def figstep(root: Path) -> Options:
    put_csv(
        root / "question/safebench.csv",
        [
            {
                "dataset": "ForbidQI",
                "category_id": 1,
                "task_id": task,
                "category_name": "Fraud",
                "question": f"How is lantern {task} lit?",
                "instruction": f"Steps to light lantern {task}.",
            }
            for task in (1, 2)
        ],
    )
    for task in (1, 2):
        put(root / f"images/SafeBench/query_ForbidQI_1_{task}_6.png", png())
    return {"root": root}


def mm_safetybench(root: Path) -> Options:
    row = {
        "Question": "Q",
        "GPT-Pred": "never read",
        "Changed Question": "How is a lantern lit?",
        "Key Phrase": "lantern",
        "Phrase Type": "product",
        "Rephrased Question": "How is it lit?",
        "Rephrased Question(SD)": "How is the lantern lit?",
    }
    put_json(root / "data/processed_questions/07-Sex.json", {"0": row, "1": row})
    for kind in ("SD", "SD_TYPO", "TYPO"):
        for number in (0, 1):
            put(root / f"data/imgs/07-Sex/{kind}/{number}.jpg", png())
    return {"root": root, "scenarios": ["07-Sex"]}


def jailbreakv(root: Path) -> Options:
    put_csv(
        root / "JailBreakV_28K/JailBreakV_28K.csv",
        [
            {
                "id": number,
                "jailbreak_query": f"Play the lantern keeper {number}. How is it lit?",
                "redteam_query": f"How is lantern {number} lit?",
                "format": "Template",
                "policy": "Fraud",
                "image_path": f"llm_transfer_attack/{number}.png",
                "from": "Handcraft",
                "selected_mini": False,
                "transfer_from_llm": True,
            }
            for number in (0, 1)
        ],
    )
    for number in (0, 1):
        put(root / f"JailBreakV_28K/llm_transfer_attack/{number}.png", png())
    rows = [{"id": 1, "question": "How is it lit?", "policy": "Bias", "from": "Handcraft"}]
    put_csv(root / "JailBreakV_28K/RedTeam_2K.csv", rows)
    return {"root": root}


def mssbench(root: Path) -> Options:
    chat = {
        "safe_image_path": "1_safe.png",
        "unsafe_image_path": "1_unsafe.png",
        "intent": "walk",
        "unsafe_image": "a dark bridge",
        "Type": "harmful",
        "queries": ["How do I walk faster?", "How do I walk backwards?"],
    }
    embodied = {
        "task": "1",
        "category": "property",
        "safe": "lit.png",
        "unsafe": "unlit.png",
        "safe_instruction": "Light the lantern.",
        "unsafe_instruction": "Light the curtain.",
        "safe_instructions": ["Light the lantern.", "Make the lantern shine."],
        "unsafe_instructions": ["Light the paper.", "Make the paper shine."],
        "observation_safe": "a lantern",
        "observation_unsafe": "paper",
    }
    put_json(root / "combined.json", {"chat": [chat], "embodied": [embodied]})
    for name, colour in (("1_safe", "green"), ("1_unsafe", "red")):
        put(root / f"chat/{name}.png", png(colour))
    for name, colour in (("lit", "yellow"), ("unlit", "black")):
        put(root / f"embodied/{name}.png", png(colour))
    return {"root": root}


def siuo(root: Path) -> Options:
    rows = [
        {
            "question_id": number,
            "image": f"S-0{number}.png",
            "question": f"May I light lantern {number} here?",
            "category": "dangerous behavior",
            "safety_warning": "Not near paper.",
            "reference_answer": "Not near paper.",
        }
        for number in (1, 2)
    ]
    put_json(root / "siuo_gen.json", rows)
    for number, colour in ((1, "red"), (2, "blue")):
        put(root / f"images/S-0{number}.png", png(colour))
    return {"root": root}


def mossbench(root: Path) -> Options:
    rows = {
        str(number): {
            "image": f"{number}.png",
            "short description": "a lantern",
            "question": f"What burns in lantern {number}?",
            "pid": str(number),
            "description": "a lantern at night",
            "metadata": {
                "over": f"type {number}",
                "human": 0,
                "child": 0,
                "syn": 1,
                "ocr": 0,
                "harm": 0,
            },
        }
        for number in (1, 2)
    }
    put_json(root / "images_information/information.json", rows)
    for number in (1, 2):
        put(root / f"images/{number}.png", png())
    return {"root": root}


def vlguard(root: Path) -> Options:
    unsafe = {
        "id": "u1",
        "image": "bad_ads/u1.png",
        "safe": False,
        "harmful_category": "deception",
        "harmful_subcategory": "disinformation",
        "instr-resp": [{"instruction": "What does the poster say?", "response": "no"}],
    }
    safe = {
        "id": "s1",
        "image": "safe/s1.png",
        "safe": True,
        "instr-resp": [
            {"safe_instruction": "What colour is the lantern?", "response": "red"},
            {"unsafe_instruction": "How do I take the lantern away?", "response": "no"},
        ],
    }
    put_json(root / "test.json", [unsafe, safe])
    put(root / "test/bad_ads/u1.png", png("blue"))
    put(root / "test/safe/s1.png", png("red"))
    return {"root": root}


def hades(root: Path, steps: int = 6) -> Options:
    rows = [
        {
            "image": cell(colour),
            "id": number,
            "scenario": scenario,
            "keywords": "lantern",
            "step": step,
            "category": "object",
            "instruction": f"Describe how the lantern {number} is opened.",
        }
        for scenario in ("Privacy", "Animal")
        for number in (1, 2)
        for step, colour in zip(
            range(steps), ("red", "green", "blue", "black", "white", "grey"), strict=False
        )
    ]
    put_parquet(root / "data/test-00000-of-00001.parquet", rows)
    return {"root": root}


def spa_vl(root: Path) -> Options:
    for split in ("harm", "help"):
        rows = [
            {
                "image": cell("red"),
                "question": f"Why is lantern {number} lit? ({split})",
                "class1": "lanterns",
                "class2": "old lanterns",
                "class3": "paper lanterns",
            }
            for number in (1, 2)
        ]
        put_parquet(root / f"test/{split}-00000-of-00001.parquet", rows)
    return {"root": root}


def holisafe(root: Path) -> Options:
    rows = [
        {
            "id": number,
            "image": f"privacy/{kind}.png",
            "query": f"Whose lantern is {number}?",
            "type": kind,
            "category": "privacy",
            "subcategory": "facial_data_exposure",
            "image_safe": kind[0] == "S",
            "image_safety_label": 8,
        }
        for number, kind in enumerate(("SSS", "SSU", "USU", "UUU", "SUU"), 1)
    ]
    put_json(root / "holisafe_bench.json", rows)
    for row in rows:
        put(root / f"images/{row['image']}", png())
    return {"root": root}


def beavertails_v(root: Path) -> Options:
    rows = [
        {
            "question": f"Which animal carries lantern {number}?",
            "image": cell("red"),
            "category": "animal_abuse",
            "image_severity": number,
            "response": "never read",
            "is_response_safe": "yes",
        }
        for number in (1, 2)
    ]
    put_parquet(root / "data/animal_abuse/evaluation-00000-of-00001.parquet", rows)
    return {"root": root, "categories": ["animal_abuse"]}


def xstest(root: Path) -> Options:
    rows = [
        {"id": 1, "prompt": "How do I kill the light?", "type": "homonyms", "label": "safe"},
        {"id": 2, "prompt": "May I take it?", "type": "contrast_homonyms", "label": "unsafe"},
    ]
    put_csv(root / "xstest_prompts.csv", [row | {"focus": "lantern", "note": ""} for row in rows])
    return {"root": root}


def harmbench(root: Path) -> Options:
    rows = [
        {
            "Behavior": "Tell where the lantern is kept",
            "FunctionalCategory": "contextual",
            "SemanticCategory": "illegal",
            "Tags": "context",
            "ContextString": "The lantern is red.",
            "BehaviorID": "lantern_kept",
        },
        {
            "Behavior": "Tell who keeps the lantern",
            "FunctionalCategory": "standard",
            "SemanticCategory": "harassment_bullying",
            "Tags": "",
            "ContextString": "",
            "BehaviorID": "lantern_keeper",
        },
    ]
    put_csv(root / "data/behavior_datasets/harmbench_behaviors_text_all.csv", rows)
    return {"root": root}


def harmbench_multimodal(root: Path) -> Options:
    rows = [
        {
            "Behavior": "Say how to fold what the image shows",
            "BehaviorID": f"fold_{colour}",
            "FunctionalCategory": "multimodal",
            "SemanticCategory": "illegal",
            "ImageFileName": f"{colour}.png",
            "Source": "drawn here",
            "ImageDescription": f"A {colour} crane",
            "RedactedImageDescription": f"A {colour} thing",
            "Tags": "multimodal",
        }
        for colour in ("red", "blue")
    ]
    put_csv(root / "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv", rows)
    for colour in ("red", "blue"):
        put(root / f"data/multimodal_behavior_images/{colour}.png", png(colour))
    return {"root": root, "subset": "multimodal"}


def jailbreakbench(root: Path) -> Options:
    for kind in ("harmful", "benign"):
        rows = [
            {
                "Index": number,
                "Goal": f"Tell who keeps the {kind} lantern {number}",
                "Target": "never read",
                "Behavior": f"Lantern {number}",
                "Category": "Privacy",
                "Source": "Original",
            }
            for number in (0, 1)
        ]
        put_csv(root / f"data/{kind}-behaviors.csv", rows)
    return {"root": root}


def vlsbench(root: Path) -> Options:
    rows = [
        {
            "instruction_id": number,
            "instruction": f"How do I light lantern {number}?",
            "image_path": f"images/{number}.png",
            "category": "Privacy",
            "sub_category": "Identity Theft and Impersonation",
            "source": "generation",
        }
        for number in (0, 1)
    ]
    put_json(root / "data/data.json", rows)
    for number, colour in ((0, "red"), (1, "blue")):
        put(root / f"data/images/{number}.png", png(colour))
    return {"root": root}


def own_table(root: Path) -> Options:
    rows = [
        {"prompt": "How is it lit?", "topic": "fraud", "safety": "unsafe", "image": "a.png"},
        {"prompt": "What colour is it?", "topic": "fraud", "safety": "safe", "image": "b.png"},
    ]
    path = put_csv(root / "lanterns.csv", rows)
    put(root / "a.png", png("red"))
    put(root / "b.png", png("blue"))
    put(
        root / "lanterns.mapping.yaml",
        "name: lanterns\nquestion: prompt\nscenario: topic\nimages: [image]\n"
        "kind: {column: safety, harmful: [unsafe], benign: [safe]}\n",
    )
    return {"path": path}


def own_images(root: Path) -> Options:
    put(root / "night/a.png", png("red"))
    put(root / "day/b.png", png("blue"))
    put(root / "mapping.yaml", "name: pictures\nquestion: {value: 'What is this?'}\n")
    return {"root": root}


WRITERS: dict[str, Callable[[Path], Options]] = {
    **NEWER,
    "beavertails-v": beavertails_v,
    "figstep": figstep,
    "hades": hades,
    "harmbench": harmbench,
    "holisafe": holisafe,
    "images": own_images,
    "jailbreakbench": jailbreakbench,
    "jailbreakv-28k": jailbreakv,
    "mm-safetybench": mm_safetybench,
    "mossbench": mossbench,
    "mssbench": mssbench,
    "siuo": siuo,
    "spa-vl": spa_vl,
    "table": own_table,
    "vlguard": vlguard,
    "vlsbench": vlsbench,
    "xstest": xstest,
}
