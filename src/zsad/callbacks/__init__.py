"""Callbacks that watch a run and write its files; mirrors conf/callbacks."""
