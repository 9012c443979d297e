"""The stopwatch measures the batches of a single run."""

import pytest

from zsad.callbacks.stopwatch import Stopwatch


@pytest.mark.parametrize("stage", ["train", "test", "predict"])
def test_images_of_a_single_run_are_counted(stage, random_batch, monkeypatch):
    now = iter([0.0, 1.0, 4.0, 10.0, 11.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    stopwatch = Stopwatch()
    start = getattr(stopwatch, f"on_{stage}_start")
    end = getattr(stopwatch, f"on_{stage}_batch_end")
    start(None, None)
    end(None, None, None, random_batch, 0)
    end(None, None, None, random_batch, 1)
    assert (stopwatch.images, stopwatch.seconds, stopwatch.images_per_second) == (4, 4.0, 1.0)
    assert stopwatch.timing() == {"images": 4, "seconds": 4.0, "images_per_second": 1.0}
    start(None, None)
    end(None, None, None, random_batch, 0)
    assert (stopwatch.images, stopwatch.seconds) == (2, 1.0)
