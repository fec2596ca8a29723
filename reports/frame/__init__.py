"""Runs as one validated frame, its cells, and what tables call things."""
