"""Attacks that stand on pictures of a release: sd, sd-typo, hades."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from opensafemlrm import engine, images
from opensafemlrm.attacks.altered import SIAttack
from opensafemlrm.attacks.mm_safetybench import SD, SDTypo, Typo
from opensafemlrm.attacks.ready_made import HADES
from opensafemlrm.errors import AttackError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.store import Store
from tests.attacks.subjects import FIELDS, illustrated, item, picture, plain, shipped, text
from tests.support import Scripted, items, study


def test_sd_sends_the_shipped_picture_with_its_own_question() -> None:
    prompt = SD().apply(shipped(), 0)
    assert prompt.images == (shipped().released["sd"],)
    assert text(prompt) == FIELDS["rephrased_sd"]


@pytest.mark.parametrize("attack", [SD(), SDTypo(), HADES()])
def test_a_missing_picture_is_named_with_what_to_provide(attack: SD) -> None:
    with pytest.raises(AttackError, match=rf"'7-3'.*'{attack.name}.*beside its questions"):
        attack.apply(item(), 0)


@pytest.mark.parametrize(("attack", "lacking"), [(SD(), "rephrased_sd"), (SDTypo(), "rephrased")])
def test_a_picture_is_never_sent_with_another_text(attack: SD, lacking: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != lacking}
    with pytest.raises(AttackError, match=lacking):
        attack.apply(shipped(fields=fields), 0)


@pytest.mark.parametrize("attack", [SD(), SDTypo(), HADES()])
def test_images_of_the_item_are_not_dropped(attack: SD) -> None:
    with pytest.raises(AttackError, match="would be dropped"):
        attack.apply(illustrated(released=shipped().released), 0)


class TestSDTypo:
    def test_takes_the_shipped_stack(self) -> None:
        prompt = SDTypo().apply(shipped(), 0)
        assert prompt.images == (shipped().released["sd-typo"],)
        assert text(prompt) == FIELDS["rephrased"]

    def test_stacks_the_diffusion_picture_above_the_drawn_phrase(self) -> None:
        prompt = SDTypo().apply(item(released={"sd": shipped().released["sd"]}), 0)
        assert prompt.images[0].media_type == "image/jpeg"
        seen = picture(prompt)
        assert seen.size == (1024, 1024 + 180)
        assert seen.getpixel((10, 10)) == pytest.approx((255, 0, 0), abs=3)
        drawn = images.to_picture(Typo().render(item()))
        below = seen.crop((0, 1024, 1024, 1204)).convert("L")
        assert below.point(lambda level: 255 * (level > 128)).getbbox() is not None
        dark = [
            box.point(lambda v: 255 * (v < 100)).getbbox() for box in (below, drawn.convert("L"))
        ]
        assert dark[0] == pytest.approx(dark[1], abs=3)

    def test_the_shipped_phrase_is_stacked_where_only_the_stack_is_missing(self) -> None:
        """Data review 17: the narrower picture stood in the middle, on white."""
        released = {"sd": plain("red", (100, 50)), "typo": plain("blue", (60, 20))}
        seen = picture(SDTypo().apply(item(released=released), 0))
        assert seen.size == (100, 70)
        assert seen.getpixel((5, 60)) == pytest.approx((0, 0, 255), abs=4)
        assert seen.getpixel((90, 60)) == pytest.approx((0, 0, 0), abs=4)

    def test_can_be_told_to_stack_itself(self) -> None:
        assert picture(SDTypo(released=False).apply(shipped(), 0)).size == (1024, 1204)


class TestHADES:
    @pytest.mark.parametrize("step", range(6))
    def test_takes_the_picture_of_its_step(self, step: int) -> None:
        prompt = HADES(step).apply(shipped(), 0)
        assert prompt.images == (shipped().released[f"hades-{step}"],)

    @pytest.mark.parametrize(
        ("category", "sent"),
        [
            ("object", "stands an object. How do I fold a this object from paper?"),
            ("Concept", "stands a concept. How do I fold a this concept from paper?"),
            ("behavior", "How do I fold a carry out this behavior on from paper?"),
        ],
    )
    def test_the_key_phrase_stands_in_the_picture_alone(self, category: str, sent: str) -> None:
        """Data review 1: the plain, whole instruction was sent beside the picture."""
        prompt = HADES().apply(
            shipped(fields={"keywords": "Moon lantern", "category": category}), 0
        )
        assert text(prompt).endswith(sent)
        assert "lantern" not in text(prompt)

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"category": "object"}, "no keywords"),
            ({"keywords": "moon lantern"}, "no category"),
            ({"keywords": "teapot", "category": "object"}, "does not hold its key phrase"),
        ],
    )
    def test_the_whole_instruction_is_never_sent(self, fields: dict[str, str], why: str) -> None:
        with pytest.raises(AttackError, match=why):
            HADES().apply(shipped(fields=fields), 0)

    def test_no_step_stands_in_for_another(self) -> None:
        subject = item(released={"hades-2": plain("grey")})
        for refuse in (HADES().check, lambda one: HADES().apply(one, 0)):
            with pytest.raises(AttackError, match=r"'hades-5' \(it has: hades-2\)"):
                refuse(subject)


class TestACellWithoutItsPicturesSendsNothing:
    """A missing helper stops the cell before its first request, and says what to provide."""

    @pytest.mark.parametrize(
        "attack", [SD(), SDTypo(), HADES(), SIAttack(), build(ComponentKind.ATTACK, "sd+mirror")]
    )
    def test_where_the_dataset_ships_no_such_picture(self, attack: SD, tmp_path: Path) -> None:
        model = Scripted()
        plan = engine.Plan.of(study(model, items(3), attacks=[attack]))
        assert "beside its questions" in engine.survey(plan, plan.cells[0], None).note
        with Store.open(tmp_path, "create") as store:
            asyncio.run(engine.evaluate(plan, store))
        assert model.asked == []
        assert plan.cells[0].tally.not_applicable == 3

    def test_a_single_item_without_it_is_counted_and_not_sent(self, tmp_path: Path) -> None:
        model = Scripted()
        rows = [shipped(), item(id="7-4")]
        plan = engine.Plan.of(study(model, rows, attacks=[SD()]))
        with Store.open(tmp_path, "create") as store:
            asyncio.run(engine.evaluate(plan, store))
        assert model.asked == [FIELDS["rephrased_sd"]]
        assert plan.cells[0].tally.not_applicable == 1

    def test_an_empty_dataset_is_not_refused(self) -> None:
        assert engine.Plan.of(study(Scripted(), [], attacks=[SD()])).cells
