"""Attacks that change images: si-attack, jood, the steps after a ``+``, and composition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageChops, ImageOps

from opensafemlrm import images, study
from opensafemlrm.attacks.altered import JOOD, SIAttack
from opensafemlrm.attacks.edits import Mirror, Shuffle
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.errors import AttackError, OptionError, StudyError
from opensafemlrm.registry import ComponentKind, build
from tests.attacks.subjects import (
    FIELDS,
    folder,
    illustrated,
    item,
    picture,
    pixel,
    plain,
    quarters,
    shipped,
    text,
)

CENTRES = [(256, 256), (768, 256), (256, 768), (768, 768)]


def colours(seen: PILImage.Image) -> list[Any]:
    return [seen.getpixel(at) for at in CENTRES]


class TestSIAttack:
    def test_shuffles_the_four_patches_of_the_published_size(self) -> None:
        seen = picture(SIAttack().apply(shipped(), 0))
        before = images.to_picture(quarters())
        assert seen.size == (1024, 1024)
        assert sorted(colours(seen)) == sorted(colours(before))
        assert colours(seen) != colours(before)

    def test_shuffles_the_words_and_keeps_each(self) -> None:
        sent = text(SIAttack().apply(shipped(), 0))
        assert Counter(sent.split()) == Counter(FIELDS["rephrased_sd"].split())
        assert sent != FIELDS["rephrased_sd"]

    @given(st.integers(0, 2**31))
    @settings(max_examples=40, deadline=None)
    def test_no_seed_sends_the_right_order(self, seed: int) -> None:
        prompt = SIAttack(base="own").apply(illustrated(images=(quarters(64),)), seed)
        assert text(prompt) != illustrated().question
        assert colours(picture(prompt)) != colours(images.to_picture(quarters()))

    def test_seeds_differ(self) -> None:
        sent = {text(SIAttack().apply(shipped(), seed)) for seed in range(5)}
        assert len(sent) > 2

    def test_a_smaller_patch_makes_more_of_them(self) -> None:
        seen = picture(SIAttack(patch=256).apply(shipped(), 0))
        corners = {seen.getpixel((x + 128, y + 128)) for x in (0, 256) for y in (0, 256)}
        assert len(corners) > 1

    @pytest.mark.parametrize(
        ("base", "sent"),
        [("typo", "rephrased"), ("sd", "rephrased_sd"), ("sd-typo", "rephrased")],
    )
    def test_starts_from_the_base_it_is_given(self, base: Any, sent: str) -> None:
        said = text(SIAttack(base=base).apply(shipped(), 0))
        assert sorted(said.split()) == sorted(FIELDS[sent].split())

    def test_a_picture_that_is_not_square_keeps_its_proportions(self) -> None:
        wide = illustrated(images=(plain("black", (400, 100)),))
        seen = picture(SIAttack(base="own").apply(wide, 0)).convert("L")
        dark = sum(seen.point(lambda level: 255 * (level < 128)).histogram()[255:])
        assert dark == pytest.approx(1024 * 256, rel=0.02)

    @pytest.mark.parametrize("question", ["How?", "how how how"])
    def test_what_has_only_one_order_is_refused(self, question: str) -> None:
        with pytest.raises(AttackError, match="nothing to shuffle"):
            SIAttack(base="own").apply(illustrated(question=question), 0)


class TestJOOD:
    def test_mixup_lays_one_over_the_other(self) -> None:
        subject = illustrated(images=(plain("black", (320, 320)),))
        seen = picture(JOOD(share=0.25).apply(subject, 0))
        benign = picture(JOOD(share=0.999).apply(subject, 0))
        assert seen.size == (320, 320)
        for mixed, pure in zip(pixel(seen, (5, 5)), pixel(benign, (5, 5)), strict=True):
            assert mixed == pytest.approx(pure * 0.25, abs=3)

    @pytest.mark.parametrize("kind", ["cutmix", "resize-mix"])
    def test_the_others_put_a_part_of_it_somewhere(self, kind: Any) -> None:
        subject = illustrated(images=(plain("magenta", (320, 320)),))
        places = set()
        for seed in range(4):
            seen = picture(JOOD(kind=kind).apply(subject, seed))
            same = ImageChops.difference(seen, PILImage.new("RGB", (320, 320), "magenta"))
            box = same.getbbox()
            assert box is not None
            assert (box[2] - box[0], box[3] - box[1]) == (160, 160)
            places.add(box)
        assert len(places) > 1

    def test_pictures_of_two_shapes_are_put_in_the_middle_of_one(self) -> None:
        tall = illustrated(images=(plain("black", (100, 400)),))
        seen = picture(JOOD(share=0.001).apply(tall, 0))
        assert seen.size == (320, 320)
        assert seen.getpixel((160, 160)) == pytest.approx((0, 0, 0), abs=2)
        assert seen.getpixel((5, 160)) == pytest.approx((255, 255, 255), abs=2)

    def test_every_image_is_mixed_and_the_question_kept(self) -> None:
        subject = illustrated(images=(plain("black"), plain("navy")))
        prompt = JOOD().apply(subject, 0)
        assert len(prompt.images) == 2
        assert not {*prompt.images} & {*subject.images}
        assert text(prompt).endswith(subject.question)

    def test_a_folder_is_drawn_from_and_counts_by_content(self, tmp_path: Path) -> None:
        one, other = (JOOD(benign=folder(tmp_path / name)) for name in ("a", "b"))
        assert one.identity() == other.identity() != JOOD().identity()
        assert len({one.apply(illustrated(), seed).images for seed in range(6)}) > 2

    @pytest.mark.parametrize("name", ["jood", "mixup", "cutmix", "resize-mix"])
    def test_a_folder_that_holds_nothing_is_refused_at_once(
        self, name: str, tmp_path: Path
    ) -> None:
        with pytest.raises(OptionError, match="holds no PNG"):
            build(ComponentKind.ATTACK, name, {"benign": str(tmp_path)})
        with pytest.raises(OptionError, match="not a folder"):
            build(ComponentKind.ATTACK, name, {"benign": str(tmp_path / "none")})

    def test_a_broken_benign_image_is_named_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "odd.png").write_bytes(b"not a picture")
        with pytest.raises(OptionError, match=r"odd\.png"):
            build(ComponentKind.ATTACK, "jood", {"benign": str(tmp_path)})

    def test_without_an_image_the_bases_are_named(self) -> None:
        with pytest.raises(AttackError, match=r"'base'.*typo"):
            JOOD().apply(item(), 0)


class TestComposition:
    def test_mirrors_what_the_first_sends_and_leaves_its_text(self) -> None:
        plainly, both = (
            Typo().apply(item(), 0),
            build(ComponentKind.ATTACK, "typo+mirror").apply(item(), 0),
        )
        assert text(both) == text(plainly)
        mirrored = ImageOps.mirror(picture(plainly))
        assert ImageChops.difference(picture(both), mirrored).getbbox() is None

    def test_steps_follow_each_other_in_their_order(self) -> None:
        one, other = (
            build(ComponentKind.ATTACK, name).apply(shipped(), 0)
            for name in ("sd+cutmix+mirror", "sd+mirror+cutmix")
        )
        assert one.images != other.images
        twice = build(ComponentKind.ATTACK, "sd+mirror+rotate").apply(shipped(), 0)
        flipped = ImageOps.flip(images.to_picture(quarters()))
        assert ImageChops.difference(picture(twice), flipped).getbbox() is None

    def test_its_identity_lists_its_parts_in_order(self) -> None:
        parts = {"typo": {"font_size": 60}}
        attack = build(ComponentKind.ATTACK, "typo+mirror", parts)
        assert attack.identity()["parts"] == [
            Typo(font_size=60).identity(),
            Mirror().identity(),
        ]
        assert attack.label == "typo[font_size=60]+mirror"

    def test_alone_a_step_changes_the_item_s_own_images(self) -> None:
        prompt = Shuffle().apply(illustrated(), 0)
        assert text(prompt) == illustrated().question
        assert colours(picture(prompt)) != colours(images.to_picture(quarters()))
        with pytest.raises(AttackError, match=r"typo\+shuffle"):
            Shuffle().apply(item(), 0)

    def test_a_jpeg_stays_one(self) -> None:
        subject = illustrated(images=(quarters(64, "image/jpeg"),))
        assert Mirror().apply(subject, 0).images[0].media_type == "image/jpeg"

    @pytest.mark.parametrize(
        ("name", "options", "why"),
        [
            ("typo+figstep", {}, "'figstep' does not change images"),
            ("mml-n+mirror", {}, "cannot be composed"),
            ("typo+mirror", {"font_size": 60}, r"by part, such as typo: \{…\}"),
            ("typo+mirror", {"typo": 60}, "by part"),
            ("typo+mirror", {"typo": {"size": 60}}, "'typo' has no option 'size'"),
            ("mirror+mirror", {}, "twice"),
        ],
    )
    def test_what_does_not_compose_is_refused(
        self, name: str, options: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(OptionError, match=why):
            build(ComponentKind.ATTACK, name, options)

    def test_nothing_to_change_is_refused(self) -> None:
        with pytest.raises(AttackError, match="no image of it that could be changed"):
            build(ComponentKind.ATTACK, "direct+mirror").apply(item(), 0)

    def test_a_study_file_names_them_and_gives_options_by_part(self) -> None:
        head = "models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: canary\n"
        found = study.parse(
            head + "attacks: [typo+mirror, {attack: typo+rotate, typo: {font_size: 60}}]\n"
        )
        assert [one.label for one in found.attacks] == [
            "typo+mirror",
            "typo[font_size=60]+rotate",
        ]
        with pytest.raises(StudyError, match=r"attacks\.0.*did you mean mirror"):
            study.parse(head + "attacks: [typo+miror]\n")
