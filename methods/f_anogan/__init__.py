"""f-AnoGAN: what a generator of normal images cannot make."""

from methods.f_anogan.method import FAnoGAN

__all__ = ["FAnoGAN"]
