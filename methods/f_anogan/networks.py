"""Generator, critic and encoder (A03ki/f-AnoGAN, folder mvtec_ad); images are (n, 3, s, s) in [-1, 1]."""

from itertools import pairwise

from torch import Tensor, nn

EPS = 0.8  # of batch normalisation: meant as a momentum once, kept because all published numbers have it
SLOPE, DROPOUT = 0.2, 0.25
WIDTHS = (3, 16, 32, 64, 128)
WIDE = 128  # channels that the generator begins with
SHRUNK = 2 ** (len(WIDTHS) - 1)  # sides of images are multiples of this


class Generator(nn.Module):
    """Latent vectors (n, z) -> images.

    Args:
        latent: z.
        side: of the images.
    """

    def __init__(self, latent: int, side: int) -> None:
        super().__init__()
        self.start = nn.Linear(latent, WIDE * (side // 4) ** 2)
        self.unflatten = nn.Unflatten(1, (WIDE, side // 4, side // 4))
        self.rest = nn.Sequential(
            nn.BatchNorm2d(WIDE),
            *_grown(WIDE, WIDE),
            *_grown(WIDE, WIDE // 2),
            nn.Conv2d(WIDE // 2, 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Images, (n, 3, side, side) in [-1, 1]."""
        return self.rest(self.unflatten(self.start(z)))


class Critic(nn.Module):
    """Images -> how real they look, (n, 1), unbounded.

    Args:
        side: of the images.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.features = _shrinking()
        self.last = nn.Linear(_flat(side), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Of each image."""
        return self.last(self.features(x))


class Encoder(nn.Module):
    """Images -> latent vectors (n, z) in [-1, 1].

    Args:
        side: of the images.
        latent: z.
    """

    def __init__(self, side: int, latent: int) -> None:
        super().__init__()
        self.features = _shrinking()
        self.last = nn.Sequential(nn.Linear(_flat(side), latent), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Of each image."""
        return self.last(self.features(x))


def _flat(side: int) -> int:
    return WIDTHS[-1] * (side // SHRUNK) ** 2


def _grown(a: int, b: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=2),
        nn.Conv2d(a, b, 3, padding=1),
        nn.BatchNorm2d(b, EPS),
        nn.LeakyReLU(SLOPE, inplace=True),
    ]


def _shrinking() -> nn.Sequential:
    """Four halvings, flattened; the first without normalisation."""
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise(WIDTHS)):
        layers += [nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(SLOPE, inplace=True), nn.Dropout2d(DROPOUT)]
        if number:
            layers.append(nn.BatchNorm2d(b, EPS))
    return nn.Sequential(*layers, nn.Flatten())
