"""A run removes its own pictures and nobody else's."""

import numpy as np
from PIL import Image

from zsad.reports.figures.png_files import remove_own_pngs, save_png

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def test_own_files_go_with_the_folders_that_they_leave_empty(tmp_path):
    """All other files stay."""
    for name in ("sheet.png", "tile/crack/0.png", "tile/good/0.png", "only/own/0.png"):
        save_png(PICTURE, tmp_path / name)
    (tmp_path / "empty").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "mine.png")
    Image.fromarray(PICTURE).save(tmp_path / "tile" / "good" / "mine.png")
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    remove_own_pngs(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == [
        "broken.png",
        "empty",
        "folder.png",
        "mine.png",
        "tile",
        "tile/good",
        "tile/good/mine.png",
    ]


def test_a_folder_that_is_not_there_has_nothing_to_remove(tmp_path):
    remove_own_pngs(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_picture_is_the_picture(tmp_path):
    save_png(PICTURE, tmp_path / "new" / "0.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "new" / "0.png")), PICTURE)
