"""What `python -m harness.data` does: check, derive, label, show."""
