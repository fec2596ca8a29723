"""AnomalyDINO (Damm et al., WACV 2025); see README.md beside this file."""

from methods.anomaly_dino.method import AnomalyDINO

__all__ = ["AnomalyDINO"]
