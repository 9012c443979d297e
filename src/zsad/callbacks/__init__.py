"""What is watched and written while a run trains or tests; mirrors conf/callbacks."""
