"""What critic, generator and encoder minimise: WGAN-GP, then izi_f (Schlegl et al., f-AnoGAN)."""

import torch
from torch import Tensor, nn

from methods.f_anogan.networks import Critic, Generator


def critic_terms(
    critic: nn.Module, real: Tensor, fake: Tensor, mixing: Tensor, penalty_weight: float
) -> dict[str, Tensor]:
    """Wasserstein distance, negative, and the penalty of gradients whose length is not 1.

    Args:
        critic: (n, 3, s, s) -> (n, 1).
        real: images.
        fake: the generator's; nothing is derived through them.
        mixing: α of the penalty, (n, 3, 1, 1) in [0, 1]: per image and channel, as the public code has it.
        penalty_weight: λ.
    """
    fake = fake.detach()
    distance = -critic(real).mean() + critic(fake).mean()
    between = (mixing * real + (1 - mixing) * fake).requires_grad_()
    slopes = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
    lengths = slopes.flatten(1).norm(dim=1)
    return {"critic": distance, "penalty": penalty_weight * (lengths - 1).square().mean()}


def generator_terms(critic: nn.Module, fake: Tensor) -> dict[str, Tensor]:
    """How little the generator's images convince."""
    return {"generator": -critic(fake).mean()}


def residuals(generator: Generator, critic: Critic, encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Squares of x - G(E(x)), (n, 3, s, s), and of the difference of the critic's features, (n, d)."""
    made = generator(encoder(x))
    return (x - made).square(), (critic.features(x) - critic.features(made)).square()
