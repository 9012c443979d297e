"""The log of a training that was stopped is still there when it has gone on."""

import csv

from zsad.config import compose, instantiate


def test_a_second_start_keeps_the_log_of_the_first(tmp_path):
    config = compose.compose_config("train", ["logger=csv", f"paths.output_dir={tmp_path}"])
    for epoch in (0, 1):
        logger = instantiate.build(config.logger)
        logger.log_metrics({"epoch": epoch}, step=epoch)
        logger.save()
    files = sorted(tmp_path.rglob("metrics.csv"))
    assert [row["epoch"] for file in files for row in csv.DictReader(file.open())] == ["0", "1"]
