"""RD4AD, reverse distillation (Deng and Li, CVPR 2022); see README.md beside this file."""

from methods.rd4ad.method import RD4AD

__all__ = ["RD4AD"]
