"""The parts of the pre-training of the ``pocket`` backbone."""
