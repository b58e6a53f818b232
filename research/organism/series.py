"""Checkpoints of trainings as series of a study: ``python -m research.organism.series --help``.

It exports every checkpoint as an organism of its own, and writes the study that runs them all on
``canary``, each training as a series that begins with the shipped base::

    safemlrm run SERIES/study.yaml --store STORE
    safemlrm drift STORE
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from opensafemlrm.files import write_atomic
from research.organism.export import export
from research.organism.model import load

_REST = """\
datasets: [canary]
attacks: [direct]
judge: canary
"""


def write(trainings: list[Path], to: Path) -> Path:
    """Export the checkpoints ``STEP.pt`` of each folder to ``to``; return the study beside them."""
    lines = ["series:"]
    for folder in trainings:
        lines += [
            f"  - name: {folder.name}",
            "    versions:",
            "      - {model: organism/base, step: 0}",
        ]
        for checkpoint in sorted(folder.glob("[0-9]*.pt")):
            name = f"{folder.name}-{checkpoint.stem}"
            export(load(checkpoint), to, name)
            model = f"{{model: organism/{name}, weights: '{to.resolve()}'}}"
            lines.append(f"      - {{model: {model}, step: {int(checkpoint.stem)}}}")
    study = to / "study.yaml"
    write_atomic(study, "\n".join([*lines, _REST]))
    return study


def main() -> None:
    """Export checkpoints and write their study."""
    parser = argparse.ArgumentParser(prog="python -m research.organism.series", description=__doc__)
    parser.add_argument("trainings", type=Path, nargs="+", help="folders of checkpoints")
    parser.add_argument("--to", type=Path, required=True, help="folder to export to")
    asked = parser.parse_args()
    for folder in asked.trainings:
        if not any(folder.glob("[0-9]*.pt")):
            parser.error(f"{folder} holds no checkpoint such as 0025.pt")
    sys.stdout.write(f"{write(asked.trainings, asked.to)}\n")


if __name__ == "__main__":
    main()
