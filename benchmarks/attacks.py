"""Images a second of each transform, encoded, on one core.

    python benchmarks/attacks.py [--seconds 1.0] [--minimum]

Items are those of the bundled canary benchmark. Attacks that change a picture get one of 1024×1024
pixels of smooth noise, as a JPEG: about what a diffusion picture weighs. With ``--minimum`` the
exit code is 1 if a typographic attack makes fewer than 200 images of 760×760 pixels a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image as PILImage
from PIL import ImageFilter

from opensafemlrm import images
from opensafemlrm.attacks.cs_dj import CSDJ
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Image, Item, Prompt

MINIMUM: Final = 200
TYPOGRAPHIC: Final = ("figstep", "mml")
"""Those whose picture has 760×760 pixels."""

CASES: Final[list[tuple[str, dict[str, Any]]]] = [
    ("figstep", {}),
    ("mml", {"encoding": "mirror"}),
    ("mml", {"encoding": "rotate"}),
    ("mml", {"encoding": "base64"}),
    ("typo", {}),
    ("figstep-pro", {}),
    ("typo+mirror", {}),
    ("sd-typo", {"released": False}),
    ("si-attack", {}),
    ("jood", {"base": "sd", "kind": "mixup"}),
    ("jood", {"base": "sd", "kind": "cutmix"}),
    ("jood", {"base": "sd", "kind": "resize-mix"}),
    ("sd+rotate", {}),
]


def main() -> int:
    """Measure and print; one line an attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each is measured")
    parser.add_argument("--minimum", action="store_true", help=f"fail below {MINIMUM} images/s")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    subjects = list(items())
    slow = []
    print(f"{'attack':<32}{'images/s':>10}{'ms/image':>10}  picture")
    for name, options in CASES:
        attack = build(ComponentKind.ATTACK, name, options)
        rate, made = measure(attack.apply, subjects, asked.seconds)
        shown = ",".join(str(value) for value in options.values())
        show(f"{name} {shown}".strip(), rate, made)
        if name in TYPOGRAPHIC and rate < MINIMUM:
            slow.append(name)
    with tempfile.TemporaryDirectory() as place:
        show("cs-dj (composition)", *measure(composing(Path(place)), subjects, asked.seconds))
    return 1 if asked.minimum and slow else 0


def items() -> Iterator[Item]:
    """Yield canary items that ship a picture, as MM-SafetyBench's do."""
    photo = smooth(1024)
    for item in build(ComponentKind.DATASET, "canary").rows():
        fields = {**item.fields, "rephrased_sd": item.fields["rephrased"]}
        yield dataclasses.replace(item, fields=fields, released={"sd": photo})


def smooth(side: int) -> Image:
    noise = PILImage.effect_noise((side, side), 90).convert("RGB")
    return images.from_picture(noise.filter(ImageFilter.GaussianBlur(6)), "image/jpeg")


def composing(folder: Path) -> Callable[[Item, int], Prompt]:
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(smooth(320 + 20 * number).read())
    attack = CSDJ(build(ComponentKind.MODEL, "sim/r1-onevision-7b"), folder)
    return attack.preview


def measure(
    apply: Callable[[Item, int], Prompt], subjects: list[Item], seconds: float
) -> tuple[float, Image]:
    """Return images made a second of CPU time, and one of them; what is shared is made before."""
    made = apply(subjects[0], 0).images[0]
    count, began = 0, time.process_time()
    for seed, item in enumerate(itertools.cycle(subjects)):
        count += len(apply(item, seed).images)
        spent = time.process_time() - began
        if spent >= seconds:
            return count / spent, made
    raise AssertionError("there are no items")


def show(name: str, rate: float, made: Image) -> None:
    kind = made.media_type.removeprefix("image/").upper()
    size = len(made.read()) / 1024
    print(f"{name:<32}{rate:>10,.0f}{1000 / rate:>10.2f}  ", end="")
    print(f"{made.width}×{made.height} {kind}, {size:,.0f} KiB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
