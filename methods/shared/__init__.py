"""Rooms that methods share; whatever is in here knows no method."""
