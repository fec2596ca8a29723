"""Behind the commands that look at a run: show, list, status, rescore."""
