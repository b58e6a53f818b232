"""Lay the pictures that the attacks' authors draw beside this project's, on harmless items.

    python scripts/attack_sheet.py --figstep upstream/FigStep --cs-dj upstream/CS-DJ \
        --omnisafebench upstream/OmniSafeBench-MM --si-attack upstream/SI-Attack --fonts fonts

Give the checkouts that you have; their drawing functions alone are taken out of the files and run,
without what these import, on items of the bundled benchmark. ``--fonts`` is a folder with
FreeMonoBold.ttf (GNU FreeFont). For each picture the greatest difference of a pixel is printed, of
255, and the share of pixels that differ; the sheet has theirs, ours, and where they differ. Exits
with 1 where a picture that should be the same is not.

OmniSafeBench-MM holds copies of the drawing code of MM-SafetyBench, MML and JOOD.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import base64
import dataclasses
import itertools
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

from opensafemlrm import images
from opensafemlrm.attacks import image_edits, seeded
from opensafemlrm.attacks.altered import JOOD, SIAttack
from opensafemlrm.attacks.cs_dj import CSDJ, DISTRACTORS
from opensafemlrm.attacks.figstep import FigStepAttack
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.attacks.mml import MML, Encoding
from opensafemlrm.attacks.typography import SANS
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.types import Item, Prompt

Picture = Image.Image
BUNDLED: Final = Path(image_edits.__file__).with_name("fonts")
SIDE: Final = 300
LONG: Final = "a tall lantern of folded paper for the winter festival"
"""A key phrase that takes more than one line."""


class Pair(NamedTuple):
    name: str
    theirs: Picture
    ours: Picture


class Pen(ImageDraw.ImageDraw):
    """A pen that still measures as Pillow did before version 10."""

    def textsize(self, text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
        box = font.getbbox(text)
        return round(box[2]), round(box[3])


def functions(path: Path, *names: str, **given: Any) -> SimpleNamespace:
    """Return functions of a Python file, made without what the file imports."""
    body: list[ast.stmt] = [
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name in names
    ]
    if missing := {*names} - {node.name for node in body if isinstance(node, ast.FunctionDef)}:
        raise SystemExit(f"{path} has no function {', '.join(sorted(missing))}")
    known: dict[str, Any] = {
        "Image": Image,
        "ImageDraw": SimpleNamespace(Draw=Pen),
        "ImageFont": ImageFont,
        "ImageOps": ImageOps,
        "textwrap": textwrap,
        "np": np,
        **given,
    }
    flags = __future__.annotations.compiler_flag
    code = compile(ast.Module(body, []), str(path), "exec", flags=flags, dont_inherit=True)
    exec(code, known)  # what the script is for: the checkout is the user's own
    return SimpleNamespace(**{name: known[name] for name in names})


def fonts(places: dict[str, Path]) -> SimpleNamespace:
    """Return what stands for Pillow's module of fonts, with files for the names of fonts.

    Letters are laid out without the shaping library, which is not everywhere: with it some fonts
    stand a few pixels closer.
    """

    def truetype(name: str, size: int) -> ImageFont.FreeTypeFont:
        path = places.get(Path(name).name, Path(name))
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)

    return SimpleNamespace(truetype=truetype, load_default=ImageFont.load_default)


def items() -> list[Item]:
    """Return three items of the bundled benchmark, one with a phrase of two lines."""
    rows = itertools.islice(build(ComponentKind.DATASET, "canary").rows(), 0, 80, 30)
    first, *others = (row for row in rows if isinstance(row, Item))
    return [dataclasses.replace(first, fields={**first.fields, "key_phrase": LONG}), *others]


def figstep(checkout: Path, mono: Path) -> Iterator[Pair]:
    code = functions(
        checkout / "src/generate_prompts.py",
        "text_to_image",
        "wrap_text",
        "text_step_by_step",
        "get_draw_area",
        ImageFont=fonts({"FreeMonoBold.ttf": mono}),
    )
    for item in items():
        text = code.text_step_by_step(item.fields["instruction"], wrap=True)
        ours = images.to_picture(FigStepAttack(font=mono).render(item))
        yield Pair("figstep, FreeMono Bold", code.text_to_image(text), ours)


def typo(checkout: Path) -> Iterator[Pair]:
    """MM-SafetyBench's key phrase."""
    arial = checkout / "attacks/Arial Font/ARIAL.TTF"
    code = functions(checkout / "attacks/qr/attack.py", "typo_format_text", "typo_draw_img")
    face = fonts({}).truetype(str(arial), 90)
    for item in items():
        theirs = code.typo_draw_img(item.fields["key_phrase"], face, 1024, 90)
        yield Pair("typo, Arial", theirs, images.to_picture(Typo(font=arial).render(item)))


def mml(checkout: Path, mono: Path) -> Iterator[Pair]:
    code = functions(
        checkout / "attacks/mml/attack.py",
        "_get_font",
        "text_step_by_step",
        "text_to_image",
        "gen_image_from_text",
    )
    changes = functions(checkout / "attacks/mml/utils.py", "image_transformer")
    encodings: tuple[Encoding, ...] = ("mirror", "rotate", "base64")
    for item, encoding in zip(items(), encodings, strict=True):
        title = item.fields["instruction"]
        if encoding == "base64":
            title = base64.b64encode(title.encode()).decode()
        theirs = code.gen_image_from_text(title, font_path=str(mono))
        if encoding != "base64":
            made = changes.image_transformer(theirs)
            theirs = made["mirror" if encoding == "mirror" else "rotation"]
        attack = MML(encoding=encoding, font=mono, font_size=80)
        yield Pair(f"mml {encoding}, FreeMono Bold, 80 px", theirs, drawn(attack.apply(item, 0)))


def jood(checkout: Path, folder: Path) -> Iterator[Pair]:
    apple = folder / "apple.png"
    apple.write_bytes(image_edits.plain().read())
    for kind, name in (
        ("mixup", "mixup_images"),
        ("cutmix", "cutmix_original_images"),
        ("resize-mix", "cutmix_resizemix_images"),
    ):
        for size in ((320, 320), (300, 500)):
            path = folder / f"{size[0]}.png"
            Image.new("RGB", size, "magenta").save(path)
            subject = dataclasses.replace(items()[0], images=(images.load(path, folder),))
            ours = drawn(JOOD(kind=kind).apply(subject, 0))  # type: ignore[arg-type]
            corner = iter(place_of(ours, size))
            chance = SimpleNamespace(randint=lambda *_, corner=corner: next(corner))
            code = functions(
                checkout / "attacks/jood/utils/mixaug.py",
                "resize_image_to_longest_axis",
                "pad_image",
                name,
                np=SimpleNamespace(random=chance),
            )
            theirs = getattr(code, name)(path, apple).convert("RGB")
            yield Pair(f"jood {kind}", theirs, ours)


def place_of(picture: Picture, size: tuple[int, int]) -> tuple[int, int]:
    """Return the corner of what was put into a plain picture, which chance draws."""
    scale = 320 / max(size)
    whole = Image.new("RGB", picture.size, "white")
    plain = Image.new("RGB", (int(size[0] * scale), int(size[1] * scale)), "magenta")
    whole.paste(plain, ((whole.width - plain.width) // 2, (whole.height - plain.height) // 2))
    box = ImageChops.difference(picture, whole).getbbox() or (0, 0, 0, 0)
    return box[0], box[1]


def si_attack(checkout: Path, folder: Path) -> Iterator[Pair]:
    path = folder / "noise.png"
    Image.effect_noise((1024, 1024), 90).convert("RGB").save(path)
    subject = dataclasses.replace(items()[0], images=(images.load(path, folder),))
    ours = drawn(SIAttack(base="own").apply(subject, 0))
    parts = [np.asarray(ours)[y : y + 512, x : x + 512] for y in (0, 512) for x in (0, 512)]

    def shuffle(patches: list[Any]) -> None:
        order = [next(p for p in patches if (p == part).all()) for part in parts]
        patches[:] = order

    code = functions(
        checkout / "SI_Attack.py", "shuffle_image", random=SimpleNamespace(shuffle=shuffle)
    )
    yield Pair("si-attack, in the order that is drawn", code.shuffle_image(path, 512), ours)


def cs_dj(checkout: Path, folder: Path) -> Iterator[Pair]:
    font = checkout / "Super Moods.ttf"
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(DISTRACTORS):
        size = (700 - 60 * number, 300 + 70 * number)
        Image.new("RGB", size, (28 * number, 90, 255 - 28 * number)).save(
            pictures / f"{number}.png"
        )
    given = fonts({"arial.ttf": BUNDLED / SANS})
    code = functions(
        checkout / "script/main.py",
        "text_to_art_image",
        "concatenate_images_with_padding",
        ImageFont=given,
    )
    attack = CSDJ(build(ComponentKind.MODEL, "sim/judge"), pictures, font=font)
    for item in items()[:2]:
        words = ("How is paper folded?", "What does a lantern need to hang?", "Which glue holds?")
        paths = sorted(pictures.iterdir())
        chosen = seeded.shuffled(range(DISTRACTORS), "distractors", item.key, 0)
        order = [paths[place] for place in chosen]
        for number, text in enumerate(words):
            order.append(folder / f"text{number}.png")
            code.text_to_art_image(
                text,
                font_path=str(font),
                font_size=50,
                text_color=(255, 0, 0),
                output_image_path=order[-1],
            )
        theirs = code.concatenate_images_with_padding(
            order, images_per_row=3, target_size=(500, 500)
        )
        encoded = images.to_picture(images.from_picture(theirs, "image/jpeg"))
        yield Pair("cs-dj, Super Moods", encoded, drawn(attack.compose(item, words, 0)))


def drawn(prompt: Prompt) -> Picture:
    return images.to_picture(prompt.images[0]).convert("RGB")


def difference(pair: Pair) -> tuple[int, float, Picture]:
    """Return the greatest difference of a pixel, the share of pixels that differ, and where."""
    theirs, ours = pair.theirs.convert("RGB"), pair.ours.convert("RGB")
    if theirs.size != ours.size:
        return 255, 1.0, Image.new("RGB", ours.size, "red")
    array = np.asarray(ImageChops.difference(theirs, ours)).max(axis=2)
    return int(array.max()), float((array > 0).mean()), Image.fromarray(255 - array).convert("RGB")


def sheet(pairs: list[Pair], out: Path) -> None:
    face = ImageFont.truetype(BUNDLED / SANS, 15)
    height = SIDE + 34
    page = Image.new("RGB", (3 * (SIDE + 10) + 10, height * len(pairs)), "gainsboro")
    pen = ImageDraw.Draw(page)
    for row, pair in enumerate(pairs):
        most, share, where = difference(pair)
        text = f"{pair.name}: greatest difference {most} of 255, in {share:.2%} of pixels"
        pen.text((10, row * height + 6), text, font=face, fill="black")
        for column, picture in enumerate((pair.theirs, pair.ours, where)):
            small = picture.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            page.paste(small, (10 + column * (SIDE + 10), row * height + 28))
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out)
    print(f"wrote {out}: theirs, ours, and where they differ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figstep", type=Path, help="a checkout of ThuCCSLab/FigStep")
    parser.add_argument("--omnisafebench", type=Path, help="of jiaxiaojunQAQ/OmniSafeBench-MM")
    parser.add_argument("--cs-dj", type=Path, help="of TeamPigeonLab/CS-DJ")
    parser.add_argument("--si-attack", type=Path, help="of zhaoshiji123/SI-Attack")
    parser.add_argument("--fonts", type=Path, help="a folder with FreeMonoBold.ttf")
    parser.add_argument("--out", type=Path, default=Path("out/attack-sheet.png"))
    asked = parser.parse_args()
    mono = None if asked.fonts is None else asked.fonts / "FreeMonoBold.ttf"
    pairs: list[Pair] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if asked.figstep and mono:
            pairs += figstep(asked.figstep, mono)
        if asked.omnisafebench:
            pairs += typo(asked.omnisafebench)
            pairs += mml(asked.omnisafebench, mono) if mono else ()
            pairs += jood(asked.omnisafebench, folder)
        if asked.si_attack:
            pairs += si_attack(asked.si_attack, folder)
        if asked.cs_dj:
            pairs += cs_dj(asked.cs_dj, folder)
        if not pairs:
            parser.error("name a checkout")
        for pair in pairs:
            most, share, _ = difference(pair)
            print(f"{pair.name:<42} {pair.ours.size!s:>12}  {most:>3} of 255  {share:8.3%}")
        sheet(pairs, asked.out)
    return int(any(difference(pair)[0] for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
