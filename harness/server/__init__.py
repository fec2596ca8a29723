"""Behind `harness.submission`: what the server of MVTec AD 2 takes, written and checked."""
