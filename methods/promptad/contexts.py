"""Prompts whose first words are vectors that are learned (Li et al., CVPR 2024, sections 3.2 and 3.3)."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import ConfigError
from methods.shared.openclip.model import ClipModel

SPREAD = 0.02  # standard deviation of a context before training
FRAME = 3  # tokens of a prompt at least, beside learned vectors: start, a word, end
PLACE = "N"  # a word of one token where a learned vector will be


class Sizes(NamedTuple):
    """How many contexts are learned, and how long they are.

    Attributes:
        normal: E_N, vectors of a normal context.
        normals: how many of them.
        abnormal: E_A, vectors of an abnormal suffix.
        abnormals: how many of them.
    """

    normal: int = 4
    normals: int = 3
    abnormal: int = 1
    abnormals: int = 4


class Texts(NamedTuple):
    """Embeddings of prompts, (number, d) each, not normalised.

    Attributes:
        normal: a learned context and the object's name.
        manual: a learned context and a state in words (MAPs), state by state.
        learned: a learned context, a learned suffix and the object's name (LAPs), suffix by suffix.
    """

    normal: Tensor
    manual: Tensor
    learned: Tensor

    @property
    def abnormal(self) -> Tensor:
        """MAPs and LAPs."""
        return torch.cat([self.manual, self.learned])

    @property
    def anchors(self) -> Tensor:
        """Prototypes of normal and abnormal texts, unit vectors (2, d)."""
        return F.normalize(torch.stack([self.normal.mean(dim=0), self.abnormal.mean(dim=0)]), dim=1)


@final
class Contexts(nn.Module):
    """The learned vectors of a category, and its prompts with them.

    Args:
        clip: the frozen model.
        name: of the objects.
        states: of abnormal objects, with the name in them.
        sizes: of what is learned.
        seed: of the first vectors.

    Raises:
        ConfigError: the text tower is not open_clip's own transformer, or has no room for so many vectors.
    """

    def __init__(self, clip: ClipModel, name: str, states: Sequence[str], sizes: Sizes, seed: int):
        super().__init__()
        if not hasattr(clip.model, "token_embedding"):
            raise ConfigError("PromptAD needs a model with open_clip's own text transformer")
        self.clip, self.sizes, self.states = clip, sizes, len(states)
        width = clip.model.ln_final.weight.shape[0]
        generator = torch.Generator().manual_seed(seed)
        normal = SPREAD * torch.randn(sizes.normals, sizes.normal, width, generator=generator)
        abnormal = SPREAD * torch.randn(sizes.abnormals, sizes.abnormal, width, generator=generator)
        self.normal, self.abnormal = (
            nn.Parameter(normal.to(clip.device)),
            nn.Parameter(abnormal.to(clip.device)),
        )
        self.plan = _combined(sizes, len(states))
        self.words, self.ends = self._embedded(name, states)

    def forward(self) -> Texts:
        """All prompts through the text tower at once."""
        rows = [self._row(words, *which) for words, which in zip(self.words, self.plan, strict=True)]
        found = encoded(self.clip.model, torch.stack(rows), self.ends)
        normals, manuals = self.sizes.normals, self.sizes.normals * self.states
        return Texts(*found.split([normals, manuals, len(found) - normals - manuals]))

    def _row(self, words: Tensor, normal: int, abnormal: int | None) -> Tensor:
        """Token embeddings of a prompt, the learned vectors in their places behind the start token."""
        learned = self.normal[normal]
        if abnormal is not None:
            learned = torch.cat([learned, self.abnormal[abnormal]])
        return torch.cat([words[:1], learned, words[1 + len(learned) :]])

    def _embedded(self, name: str, states: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token embeddings (prompts, tokens, width) and the places of the end tokens.

        Attention is causal: nothing behind an end token counts, and the longest prompt is all that is kept.
        """
        normal, abnormal = ([PLACE] * n for n in (self.sizes.normal, self.sizes.abnormal))
        said = [name] * self.sizes.normals + [s for s in states for _ in range(self.sizes.normals)]
        said += [" ".join([*abnormal, name])] * (self.sizes.abnormals * self.sizes.normals)
        tokens = self.clip.tokenizer([f"{' '.join(normal)} {text}." for text in said]).to(self.clip.device)
        ends = tokens.argmax(dim=1)  # the end token has the largest number
        learned, room = self.sizes.normal + self.sizes.abnormal, tokens.shape[1] - FRAME
        if learned > room:  # the tokenizer cuts what is too long, and says nothing
            raise ConfigError(
                f"normal_length {self.sizes.normal} and abnormal_length {self.sizes.abnormal}: the model's "
                f"prompts have room for {room} vectors beside a word"
            )
        with torch.no_grad():
            return self.clip.model.token_embedding(tokens[:, : int(ends.max()) + 1]).float(), ends


def _combined(sizes: Sizes, states: int) -> list[tuple[int, int | None]]:
    """(normal context, abnormal suffix or None) of every prompt, in the order of `Texts`."""
    plain = [(n, None) for n in range(sizes.normals)]
    learned = [(n, a) for a, n in product(range(sizes.abnormals), range(sizes.normals))]
    return [*plain, *plain * states, *learned]


def encoded(model: Any, embedded: Tensor, ends: Tensor) -> Tensor:
    """`encode_text` of open_clip from token embeddings on.

    Args:
        model: of open_clip, with a text transformer of its own.
        embedded: (prompts, tokens, width), as many tokens as are needed.
        ends: place of each prompt's end token, (prompts,).

    Returns:
        (prompts, d), not normalised.
    """
    length = embedded.shape[1]
    mask = None if model.attn_mask is None else model.attn_mask[:length, :length]
    tokens = model.transformer(embedded + model.positional_embedding[:length], attn_mask=mask)
    found = model.ln_final(tokens)[torch.arange(len(tokens), device=tokens.device), ends]
    if isinstance(model.text_projection, nn.Linear):
        return model.text_projection(found)
    return found if model.text_projection is None else found @ model.text_projection
