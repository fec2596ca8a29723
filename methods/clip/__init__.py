"""CLIP as a baseline: global embeddings against support images or texts; see README.md beside this file."""

from methods.clip.method import Clip

__all__ = ["Clip"]
