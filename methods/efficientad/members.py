"""Students and autoencoders of one shape, trained together as one network; also one alone.

Members differ in seed and constraint and share everything else. What they have in common runs as one
operation (see `networks`); on a CPU losses are taken member by member, so that every member ends with
the bits that it would end with alone, on a card as one batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from methods.efficientad.draws import WEIGHTS, jittered
from methods.efficientad.losses import Outputs, terms, weights
from methods.efficientad.losses_at_once import Losses, agree
from methods.efficientad.networks import WIDTH, Autoencoder, Student, joint, map_size, placed, sizes
from methods.efficientad.recipe import Constraint, Recipe
from methods.shared.training.distillation import IMAGENET
from methods.shared.training.draws import seeded
from methods.shared.training.pdn import Shape

_towards, _copied = torch._foreach_lerp_, torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]


@final
@dataclass(frozen=True)
class Feed:
    """What one step of n members takes: tensors that stay where they are, as a CUDA graph needs.

    Attributes:
        image: float32 (n, 3, s, s) in [0, 255].
        teacher: T of it, not normalised, (n, channels, h, w).
        jitter: `draws.jitter` of every member (n, 3), or None.
        penalty: an image of something else, as `image`, or None.
        uniform: numbers in [0, 1) for dropout, (n, `dropout_numbers`), or None.
    """

    image: Tensor
    teacher: Tensor
    jitter: Tensor | None
    penalty: Tensor | None
    uniform: Tensor | None


def pair(recipe: Recipe, shape: Shape, seed: int) -> tuple[Student, Autoencoder]:
    """Student and autoencoder with the random weights of a seed."""
    with seeded(seed, WEIGHTS):
        student = Student(shape)
        return student, Autoencoder(shape.output, recipe.image_size, recipe.in_relu, recipe.in_affine)


@final
class Members:
    """n students and autoencoders with their optimiser and averages.

    Args:
        recipe: of all of them, but for the constraint.
        constraints: of every member.
        seeds: of every member's initial weights.
        teacher: the frozen network.
        shape: of it.
        statistics: mean and standard deviation of the teacher's channels for every member, each
            (n, channels).
        device: torch device.
    """

    def __init__(
        self,
        recipe: Recipe,
        constraints: Sequence[Constraint | None],
        seeds: Sequence[int],
        teacher: nn.Module,
        shape: Shape,
        statistics: tuple[Tensor, Tensor],
        device: torch.device,
    ) -> None:
        self.recipe, self.number, self.device = recipe, len(seeds), device
        self.constraints, self.teacher = constraints, teacher
        self.mean, self.deviation = (t[:, :, None, None].to(device) for t in statistics)
        self.colours = [torch.tensor(v, device=device).view(1, 3, 1, 1) for v in IMAGENET]
        self.weights = torch.stack([weights(c) for c in constraints]).to(device)
        students, autoencoders = zip(*(pair(recipe, shape, seed) for seed in seeds), strict=True)
        self.student, self.autoencoder = (
            placed(joint(networks), device) for networks in (students, autoencoders)
        )
        self.parameters = [*self.student.parameters(), *self.autoencoder.parameters()]
        self.averaged = list(self.student.parameters()) if recipe.ema != "off" else []
        self.averages = [p.detach().clone() for p in self.averaged]
        self.optimiser = _optimiser(recipe, self.parameters, device)
        self.at_once = (
            self.losses_at_once(shape.output) if device.type == "cuda" and self.number > 1 else None
        )

    def step(self, feed: Feed) -> Tensor:
        """One step of the optimiser; the terms of the loss (n, 5) before it."""
        found = self.losses(feed)
        self.optimiser.zero_grad(set_to_none=True)
        (found * self.weights).sum().backward()
        self.optimiser.step()
        self._average()
        return found.detach()

    def losses(self, feed: Feed) -> Tensor:
        """The unweighted terms of the loss of every member, (n, 5)."""
        image = feed.image / 255
        T = T_A = self._normalised(feed.teacher)
        views = [self._along_channels(self._coloured(image))]
        if feed.penalty is not None:
            views.append(self._along_channels(self._coloured(feed.penalty / 255)))
        with self._precision():
            if feed.jitter is not None:
                other = self._coloured(jittered(image, feed.jitter))
                T_A = self._normalised(self._taught(other))
                views.append(self._along_channels(other))
            z = self.student.trunk(torch.cat(views))
            S_T = self.student.to_teacher(z[: 1 if feed.penalty is None else 2])
            S_A = self.student.to_autoencoder(z[:1] if feed.jitter is None else z[-1:])
            A = self.autoencoder(views[0] if feed.jitter is None else views[-1], self._keep(feed.uniform))
        s_t, a, s_a = (t.float().unflatten(1, (self.number, -1)) for t in (S_T, A, S_A))
        outputs = Outputs(T, s_t[0], T_A, a[0], s_a[0], s_t[1] if len(s_t) > 1 else None)
        if self.at_once:
            return self.at_once.terms(outputs)
        return torch.stack([self._terms(i, outputs) for i in range(self.number)])

    def losses_at_once(self, channels: int) -> Losses | None:
        """The losses of all members as one batch, or None where they are of different kinds."""
        elements = channels * map_size(self.recipe.image_size) ** 2
        alike = agree(self.constraints)
        return Losses(self.recipe, self.constraints, elements, self.device) if alike else None

    def _terms(self, i: int, outputs: Outputs) -> Tensor:
        return terms(outputs.of(i), self.recipe, self.constraints[i])

    def _taught(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            rows = (row.contiguous(memory_format=torch.channels_last) for row in images.split(1))
            return torch.cat([self.teacher(row) for row in rows]).float()

    def _normalised(self, maps: Tensor) -> Tensor:
        return (maps - self.mean) / self.deviation

    def _coloured(self, images: Tensor) -> Tensor:
        shift, scale = self.colours  # made before: a CUDA graph takes nothing from the host
        return (images - shift) / scale

    def _along_channels(self, maps: Tensor) -> Tensor:
        return maps.flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)

    def _keep(self, uniform: Tensor | None) -> list[Tensor] | None:
        """Factors 0 or 1 / (1 - p) of the decoder's activations, drawn place by place, then by channel."""
        if uniform is None:
            return None
        keep = (uniform >= self.recipe.dropout).float() / (1 - self.recipe.dropout)
        sides = [size + 1 for size in sizes(self.recipe.image_size)]
        parts = keep.split([WIDTH * side**2 for side in sides], dim=1)
        maps = (
            part.unflatten(1, (s, s, WIDTH)).permute(0, 3, 1, 2) for part, s in zip(parts, sides, strict=True)
        )
        layout = self.autoencoder.layout or torch.channels_last
        return [m.flatten(0, 1)[None].contiguous(memory_format=layout) for m in maps]

    def _average(self) -> None:
        with torch.no_grad():
            if self.averages:  # on a card one kernel instead of one per tensor
                _towards(self.averages, self.averaged, 1 - self.recipe.ema_momentum)
            if self.recipe.ema == "inplace":
                _copied(self.averaged, self.averages)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low, cache_enabled=False):
            yield

    def state(self, i: int) -> dict[str, list[Tensor]]:
        """All that a member needs to go on, copied to the CPU."""
        moments = [self.optimiser.state[p] for p in self.parameters]
        kinds = {
            "parameters": self.parameters,
            "averages": self.averages,
            "first": [m["exp_avg"] for m in moments],
            "second": [m["exp_avg_sq"] for m in moments],
        }
        return {kind: [self._of(t, i).detach().cpu().clone() for t in found] for kind, found in kinds.items()}

    def targets(self, i: int) -> dict[str, list[Tensor]]:
        """By the shapes of what a member's `state` holds: its parameters and averages; moments are alike."""
        own, averages = ([self._of(t, i) for t in found] for found in (self.parameters, self.averages))
        return {"parameters": own, "averages": averages, "first": own, "second": own}

    def restore(self, states: Sequence[Mapping[str, Sequence[Tensor]]], step: int) -> None:
        """Go on where the members were after so many steps."""
        with torch.no_grad():
            for kind, targets in (("parameters", self.parameters), ("averages", self.averages)):
                for k, target in enumerate(targets):
                    target.copy_(torch.cat([state[kind][k] for state in states]))
        moments = {
            k: {
                "step": torch.tensor(float(step)),
                "exp_avg": _like(parameter, [state["first"][k] for state in states]),
                "exp_avg_sq": _like(parameter, [state["second"][k] for state in states]),
            }
            for k, parameter in enumerate(self.parameters)
        }
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def trained(self, i: int) -> Tensor:
        """Weights of student and autoencoder for evaluation, as one vector on the CPU (see `evaluated`)."""
        students = self.averages if self.recipe.ema == "eval_copy" else list(self.student.parameters())
        found = [*students, *self.autoencoder.parameters()]
        return torch.cat([self._of(t, i).detach().flatten().cpu() for t in found])

    def _of(self, joint_tensor: Tensor, i: int) -> Tensor:
        return joint_tensor.unflatten(0, (self.number, -1))[i]


def _like(parameter: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Parts as one tensor in a parameter's layout: fused optimisers take moments of no other."""
    return torch.empty_like(parameter, device="cpu").copy_(torch.cat(list(parts)))


def dropout_numbers(image_size: int) -> int:
    """How many activations of the decoder one step may drop."""
    return sum(WIDTH * (size + 1) ** 2 for size in sizes(image_size))


def evaluated(
    recipe: Recipe, shape: Shape, vector: Tensor, device: torch.device
) -> tuple[Student, Autoencoder]:
    """Student and autoencoder with trained weights, in evaluation mode."""
    student, autoencoder = pair(recipe, shape, 0)
    parameters = [*student.parameters(), *autoencoder.parameters()]
    nn.utils.vector_to_parameters(vector, parameters)
    for network in (student, autoencoder):
        placed(network.eval().requires_grad_(False), device)
    return student, autoencoder


def _optimiser(
    recipe: Recipe, parameters: Sequence[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    kind: Any = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    on_gpu = device.type == "cuda"
    rate = torch.tensor(recipe.learning_rate, device=device) if on_gpu else recipe.learning_rate
    return kind(parameters, lr=rate, weight_decay=recipe.weight_decay, capturable=on_gpu, fused=True)
