"""The sheet of the authors' pictures beside this project's, on a made-up checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image as PILImage

from scripts import attack_sheet

CODE = """
import torch  # not installed here, and never imported


def shuffle_image(image_path, patch_size):
    grid = np.array(Image.open(image_path))
    corners = [(y, x) for y in range(0, 1024, patch_size) for x in range(0, 1024, patch_size)]
    patches = [grid[y:y + patch_size, x:x + patch_size].copy() for y, x in corners]
    random.shuffle(patches)
    for (y, x), patch in zip(corners, patches):
        grid[y:y + patch_size, x:x + patch_size] = patch
    grid[:4, :4] = %s
    return Image.fromarray(grid)


raise SystemExit("a checkout is not run")
"""


@pytest.mark.parametrize(("changed", "code"), [("grid[:4, :4]", 0), ("0", 1)])
def test_a_picture_that_differs_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: str,
    code: int,
) -> None:
    (tmp_path / "SI_Attack.py").write_text(CODE % changed)
    out = tmp_path / "sheet.png"
    given = ["attack_sheet.py", "--si-attack", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", given)
    assert attack_sheet.main() == code
    share = capsys.readouterr().out.split("%")[0].split()[-1]
    assert (float(share) > 0) == bool(code)
    with PILImage.open(out) as sheet:
        assert sheet.size[0] == 940
