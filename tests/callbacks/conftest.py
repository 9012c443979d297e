"""The pictures and the task of the tests of training."""

from tests.tasks.conftest import data, task

__all__ = ["data", "task"]
