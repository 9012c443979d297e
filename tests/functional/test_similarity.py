"""Two-class scores: the margin and its sigmoid are the published softmax."""

from __future__ import annotations

import torch

from zsad.functional import similarity


def test_margin_and_sigmoid_equal_the_softmax_over_the_two_texts() -> None:
    logits = similarity.cosine_logits(torch.randn(5, 8), torch.randn(2, 8), 0.07)
    torch.testing.assert_close(similarity.margin(logits).sigmoid(), logits.softmax(dim=-1)[:, 1])


def test_cosines_ignore_length() -> None:
    features, text = torch.randn(5, 8), torch.randn(2, 8)
    torch.testing.assert_close(
        similarity.cosine_logits(3 * features, 7 * text, 0.07),
        similarity.cosine_logits(features, text, 0.07),
    )


def test_half_precision_features_are_compared_in_float32() -> None:
    assert (
        similarity.cosine_logits(torch.randn(5, 8).half(), torch.randn(2, 8).half(), 0.07).dtype
        == torch.float32
    )


def test_the_margin_keeps_ranks_where_the_probability_saturates() -> None:
    margins = torch.tensor([20.0, 25.0, 30.0])
    assert margins.sigmoid().unique().numel() == 1
    assert similarity.margin(torch.stack([torch.zeros(3), margins], dim=-1)).unique().numel() == 3


def test_patches_are_laid_out_row_by_row_without_the_class_token() -> None:
    text = torch.eye(2)
    tokens = torch.tensor(
        [[[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]
    )
    (grid,) = similarity.patch_margins([tokens], text, (2, 3), 0.07)
    assert (grid > 0).nonzero().tolist() == [[0, 0, 1]]


def test_peak_margin_is_the_logit_of_the_highest_pixel() -> None:
    peak = similarity.peak_margin(torch.tensor([[[0.1, 0.7], [0.2, 0.3]]]))
    torch.testing.assert_close(peak.sigmoid(), torch.tensor([0.7]))
    assert similarity.peak_margin(torch.ones(1, 2, 2)).isfinite().all()


def test_each_image_can_have_texts_of_its_own() -> None:
    text = torch.randn(3, 2, 8)
    for features in (torch.randn(3, 8), torch.randn(3, 5, 8), torch.randn(3, 4, 5, 8)):
        logits = similarity.cosine_logits(features, text, 0.07)
        one_by_one = [
            similarity.cosine_logits(f, t, 0.07) for f, t in zip(features, text, strict=True)
        ]
        torch.testing.assert_close(logits, torch.stack(one_by_one))
