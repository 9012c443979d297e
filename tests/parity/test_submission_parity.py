"""The files of the VisA challenge are those that the published SAA+ writes, name by name and value
by value.
"""

import numpy as np
import pytest

from zsad.callbacks.visa_submission import UNLABELLED, write_image


@pytest.fixture
def submission_case(request):
    with np.load(request.param) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture
def written(submission_case, tmp_path):
    """Write every image of the case, named ``CLASS-TYPE-NAME`` as the published program does."""
    for full_name, score, anomaly_map in zip(
        submission_case["names"],
        submission_case["image_scores"],
        submission_case["maps"],
        strict=True,
    ):
        category, kind, name = str(full_name).split("-", 2)
        assert kind == UNLABELLED
        write_image(tmp_path / "0shot/0" / category / kind, name, float(score), anomaly_map)
    return tmp_path


def test_files_have_the_published_names(submission_case, written):
    files = sorted(
        path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()
    )
    assert files == sorted(submission_case["files"].tolist())


def test_image_scores_are_the_published_text(submission_case, written):
    for file, text in zip(
        submission_case["txt_files"], submission_case["txt_content"], strict=True
    ):
        assert (written / str(file)).read_text() == str(text)


def test_maps_are_the_published_bytes(submission_case, written):
    files, keys, maps = (submission_case[name] for name in ("npz_files", "npz_key", "npz_img"))
    for file, key, expected in zip(files, np.broadcast_to(keys, files.shape), maps, strict=True):
        with np.load(written / str(file)) as archive:
            assert archive.files == [str(key)]
            stored = archive[str(key)]
        assert stored.dtype == expected.dtype == np.uint8
        np.testing.assert_array_equal(stored, expected)
