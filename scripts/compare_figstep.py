"""Lay FigStep's released pictures beside those this project draws, and compare their geometry.

    python scripts/compare_figstep.py ../shared/data/figstep/data [out/figstep-pairs.png]

Prints for every item of SafeBench-Tiny the sizes, the number of text lines and the boxes of the
ink (left, top, right, bottom, in pixels), and writes a sheet of the first pairs, the released
picture left, the drawn one right. No text is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from opensafemlrm import images
from opensafemlrm.attacks import figstep
from opensafemlrm.datasets.figstep import FigStep
from opensafemlrm.types import Item

PITCH = round(figstep.ASCENT * 80) + figstep.SPACING
INK = 128
"""Grey levels below this count as ink."""


@dataclass(frozen=True)
class Geometry:
    size: tuple[int, int]
    lines: int
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, picture: Image.Image) -> Geometry:
        ink = picture.convert("L").point(lambda level: 255 if level < INK else 0)
        return cls(picture.size, _lines(ink), ink.getbbox() or (0, 0, 0, 0))


def _lines(ink: Image.Image) -> int:
    """Count the line slots that hold ink, from the ascender line down in steps of the pitch."""
    top, count = figstep.ORIGIN[1], 0
    while top < ink.height:
        count += ink.crop((0, top, ink.width, min(top + PITCH, ink.height))).getbbox() is not None
        top += PITCH
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="FigStep's data folder")
    parser.add_argument("out", type=Path, nargs="?", default=Path("out/figstep-pairs.png"))
    parser.add_argument("--pairs", type=int, default=3, help="pairs on the sheet")
    parser.add_argument("--font", type=Path, help="the original's FreeMonoBold.ttf")
    options = parser.parse_args()

    attack = figstep.FigStepAttack(font=options.font)
    pairs: list[tuple[Image.Image, Image.Image]] = []
    same_size = same_lines = 0
    worst = [0, 0, 0, 0]
    for row in FigStep(options.root, subset="tiny").rows():
        if not isinstance(row, Item):
            raise row
        real = images.to_picture(row.released["figstep"])
        drawn = images.to_picture(attack.render(row))
        ours, theirs = Geometry.of(drawn), Geometry.of(real)
        shift = [a - b for a, b in zip(ours.box, theirs.box, strict=True)]
        worst = [max(w, abs(s)) for w, s in zip(worst, shift, strict=True)]
        same_size += ours.size == theirs.size
        same_lines += ours.lines == theirs.lines
        print(
            f"{row.id:>5}  size {theirs.size} {ours.size}  lines {theirs.lines} {ours.lines}  "
            f"ink {theirs.box} {ours.box}  difference {shift}"
        )
        pairs.append((real, drawn))
    print(
        f"{len(pairs)} pairs: {same_size} of the same size, {same_lines} with as many lines; "
        f"greatest difference of the ink's edges (left, top, right, bottom): {worst} pixels"
    )
    _sheet(pairs[: options.pairs], options.out)


def _sheet(pairs: list[tuple[Image.Image, Image.Image]], out: Path) -> None:
    gap, (width, height) = 10, figstep.SIZE
    sheet = Image.new("RGB", (2 * width + 3 * gap, len(pairs) * (height + gap) + gap), "steelblue")
    for number, (real, drawn) in enumerate(pairs):
        top = gap + number * (height + gap)
        sheet.paste(real, (gap, top))
        sheet.paste(drawn, (width + 2 * gap, top))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
