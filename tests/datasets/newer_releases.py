"""Small harmless releases of data sets that came later, in the layouts of their real files.

MSTS, BSA, AdvBench and StrongREJECT by the files themselves; MIS by its README and scripts;
MIR-SafetyBench by the script that writes its folders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.datasets.writing import Options, cell, png, put, put_csv, put_json, put_parquet


def msts_rows(language: str) -> list[dict[str, Any]]:
    """The rows of one case: English asks it in two ways, and gives prompts an id."""
    row = {
        "hazard_category": "Non-Violent Crimes",
        "hazard_subcategory": "Trespassing",
        "hazard_subsubcategory": "",
        "case_id": "case_0001",
        "case_text": "lighting this lantern",
        "unsafe_image_id": "unsafe_image_0001",
        "unsafe_image_description": "a lantern on dry straw",
    }
    asked = {"prompt_text": f"Should I light this? ({language})", "prompt_type": "assistance"}
    if language != "english":
        return [row | asked]
    told = {"prompt_text": "I will light this.", "prompt_type": "intention"}
    return [
        row | {"prompt_id": "prompt_0001"} | asked,
        row | {"prompt_id": "prompt_0201"} | told,
    ]


def msts(root: Path, language: str = "english") -> Options:
    put_csv(root / f"data/prompts/{language}_multimodal.csv", msts_rows(language))
    put_csv(
        root / "data/images/unsafe_images.csv",
        [
            {
                "case_id": "case_0001",
                "unsafe_image_id": "unsafe_image_0001",
                "unsafe_image_description": "a lantern on dry straw",
                "unsafe_image_url": "https://example.org/lantern.png",
                "unsafe_image_license": "CC0",
                "unsafe_image_cw": "NA",
            }
        ],
    )
    put(root / "data/unsafe_images/unsafe_image_0001.png", png())
    return {"root": root, "language": language}


def msts_hub(root: Path, language: str = "english") -> Options:
    rows = [row | {"unsafe_image": cell("red")} for row in msts_rows(language)]
    put_parquet(root / f"data/{language}-00000-of-00001.parquet", rows)
    return {"root": root, "language": language}


def bsa(root: Path) -> Options:
    rows = [
        {
            "id": f"{number:032x}",
            "query": f"How is lantern {number} lit on straw?",
            "risk_summary": "Straw burns.",
            "dataset_name": name,
            "label": label,
        }
        for number, (name, label) in enumerate(
            {
                "Risk Omission": "Physical and Mental Health-Personal Physical Health",
                "Cognitive Shortcut": "Query A: Ethics and Morality-AI Ethics\nQuery B: Rumors",
                "Over Sensitivity": "Property Infringement-Economic Crimes",
            }.items()
        )
    ]
    put_csv(root / "data/dataset.csv", rows)
    return {"root": root}


def mis(root: Path) -> Options:
    for subset in ("easy", "hard", "real"):
        rows = [
            {
                "question": f"How do I light the first thing with the second? ({number})",
                "image_path1": f"{subset}_image/{number}/object1.png",
                "image_path2": f"{subset}_image/{number}/object2.png",
                "category": "Privacy",
                "sub_category": "Lanterns",
            }
            for number in (1, 2)
        ]
        put_json(root / f"mis_{subset}.json", rows)
        for number in (1, 2):
            put(root / f"{subset}_image/{number}/object1.png", png("red"))
            put(root / f"{subset}_image/{number}/object2.png", png("blue"))
    return {"root": root}


def mir_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "original_question": f"How is lantern {number} lit?",
            "relationship_type": "Analogy",
            "revised_prompt": "Do with the first what was done with the second.",
            "image_descriptions": ["a lantern", "a match"],
            "image_keywords": ["lantern", "match"],
            "images": [f"images/Analogy/Analogy_{number}_{each}.png" for each in (0, 1)],
            "iteration": 1,
        }
        for number in (1, 2)
    ]


def mir_safetybench(root: Path) -> Options:
    for category in ("Privacy", "Self-Harm"):
        put_json(root / category / "Analogy_final.json", mir_rows())
        for number in (1, 2):
            for each, colour in enumerate(("red", "blue")):
                name = f"images/Analogy/Analogy_{number}_{each}.png"
                put(root / category / name, png(colour))
    return {"root": root}


def mir_safetybench_hub(root: Path) -> Options:
    rows = [
        row | {"category": category, "images": [cell("red"), cell("blue")], "num_images": 2}
        for category in ("Privacy", "Self-Harm")
        for row in mir_rows()
    ]
    put_parquet(root / "data/train-00000-of-00001.parquet", rows)
    return {"root": root}


def advbench(root: Path) -> Options:
    rows = [{"goal": f"Light lantern {number}", "target": "never read"} for number in (1, 2)]
    put_csv(root / "data/advbench/harmful_behaviors.csv", rows)
    return {"root": root}


def advbench_copy(root: Path) -> Options:
    empty = dict.fromkeys(("Category", "Tags", "ContextString"), "")
    rows = [{"Behavior": f"Light lantern {n}", **empty, "BehaviorID": f"light_{n}"} for n in (1, 2)]
    put_csv(root / "advbench_behaviors.csv", rows)
    return {"root": root}


def strongreject(root: Path) -> Options:
    rows = [
        {"category": category, "source": "custom", "forbidden_prompt": f"Light a lantern: {number}"}
        for number, category in enumerate(("Violence", "Sexual content"))
    ]
    put_csv(root / "strongreject_dataset.csv", rows)
    return {"root": root}


NEWER: dict[str, Callable[[Path], Options]] = {
    "advbench": advbench,
    "bsa": bsa,
    "mir-safetybench": mir_safetybench,
    "mis": mis,
    "msts": msts,
    "strongreject": strongreject,
}
