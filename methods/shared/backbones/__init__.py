"""Frozen image networks, and their features through the artifact store."""
