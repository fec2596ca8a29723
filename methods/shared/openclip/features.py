"""What an open_clip vision transformer says of images, through the artifact store.

On a CPU, where a pass takes seconds, one per image serves everything: tokens after the stages, the input of
the last block, its own output, NACLIP's dense tokens and the global embedding are stored together, each under
a key that holds exactly what it depends on. Another sigma or architecture of NACLIP's block costs one block
from its stored input, no pass. Without a store (`ArtifactStore(None)`) every call is a pass.

A card should pass an image faster than its tokens (25 MB of ViT-L/14 at 448) are written or read. There, of
a method that says what it reads (`ClipSpec.reads`), nothing else leaves the card, and tokens stay in memory
while they are worked on (`recent`); only what is made of them, the global embedding, and the second path's
tokens (with which a training begins anew in every trial) are stored.

The counter "backbone_passes" of the store counts images through the network, "last_blocks" those
through the last block alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.artifacts import ArtifactStore, Op
from harness.data import ImageSet
from methods.shared.openclip.recent import Recent, recent
from methods.shared.openclip.spec import ClipSpec
from methods.shared.pixels import Geometry, batches, resized

if TYPE_CHECKING:
    from methods.shared.openclip.model import ClipModel, Reading

Array = NDArray[np.floating[Any]]
CHUNK_BYTES = 1 << 29  # of one pass's outputs, held in memory together
LARGEST_CHUNK = 32  # images


def dense_tokens(images: ImageSet, spec: ClipSpec, store: ArtifactStore, device: str) -> list[Array]:
    """NACLIP's read-out of every patch: last block, ln_post, projection; comparable with texts.

    Returns:
        For each image (grid * grid, d), row by row, not normalised.

    Raises:
        ConfigError, DataError, WeightsError: see `readings`.
    """
    return [each["dense"] for each in readings(images, ("dense",), spec, store, device)]


def global_embeddings(images: ImageSet, spec: ClipSpec, store: ArtifactStore, device: str) -> Array:
    """`encode_image` of every image, normalised: float32 (n, d).

    Raises:
        ConfigError, DataError, WeightsError: see `readings`.
    """
    found = [each["global"] for each in readings(images, ("global",), spec, store, device)]
    return np.array(found, np.float32)


def readings(
    images: ImageSet, wanted: Sequence["Reading"], spec: ClipSpec, store: ArtifactStore, device: str
) -> list[Mapping["Reading", Array]]:
    """Any outputs of `ClipModel.head` and `ClipModel.tail`, by their names there; read-only.

    Raises:
        ConfigError: unknown model, tag or stage, or the size does not fit the patch size.
        DataError: an image cannot be read.
        WeightsError: the weights are missing or do not fit.
    """
    parts = batches(images, chunk_size(spec))
    return [each for part in parts for each in _Chunk(part, spec, store, device).found_all(wanted)]


def chunk_size(spec: ClipSpec) -> int:
    """Images whose outputs fit in memory together."""
    tokens = (1 + spec.grid**2) * spec.vision["width"]
    return max(1, min(LARGEST_CHUNK, CHUNK_BYTES // (4 * tokens * (len(spec.blocks) + 2))))


def narrowed(spec: ClipSpec, device: str) -> frozenset["Reading"] | None:
    """What a pass gives, of which only "vv" and "global" are stored; None for everything, stored."""
    return frozenset(spec.reads) if spec.reads is not None and device.startswith("cuda") else None


def extras(wanted: Collection["Reading"]) -> list["Reading"]:
    """Of some readings those that a pass gives only where they are asked for, in order."""
    return sorted({r for r in wanted if isinstance(r, str) and (r == "vv" or r.endswith("+"))})


def reading_op(reading: "Reading", spec: ClipSpec, device: str) -> Op:
    """The operation "image -> one output"."""
    params = spec.key(device)
    if reading in ("naclip", "dense"):
        params |= {"sigma": spec.naclip_sigma, "arch": spec.naclip_arch}
    if isinstance(reading, int):
        return Op("clip_stage", params | {"stage": reading})
    return Op(f"clip_{reading}", params)


class _Chunk:
    """The outputs of a few images; a pass is used for all of them, whichever was asked for."""

    def __init__(self, images: ImageSet, spec: ClipSpec, store: ArtifactStore, device: str):
        self.images, self.spec, self.store, self.device = images, spec, store, device
        self.keys = images.keys()
        self.reads = narrowed(spec, device)
        self.passes: dict[str, dict[Reading, Array]] = {}  # image key -> what the network gave
        self.found: dict[tuple[Reading, str], Array] = {}  # (reading, image key) -> what is stored

    def found_all(self, wanted: Sequence["Reading"]) -> Iterator[Mapping["Reading", Array]]:
        """Everything wanted of every image; computes only for images that lack something."""
        for reading in wanted:
            self._read(reading)
        lacking = [n for n, key in enumerate(self.keys) if any((r, key) not in self.found for r in wanted)]
        order = self._order(wanted)
        for i, reading in enumerate(order):
            if reading in wanted or (reading == "input" and self.reads is None):
                missing = [n for n in lacking if (reading, self.keys[n]) not in self.found]
                self._store(reading, missing, order[i + 1 :])
        return ({r: self.found[r, key] for r in wanted} for key in self.keys)

    def _order(self, wanted: Sequence["Reading"]) -> list["Reading"]:
        """One order everywhere, or locks could deadlock; what needs the last block comes last."""
        stages = sorted(set(self.spec.blocks) | {r for r in wanted if isinstance(r, int)})
        naclip: list[Reading] = ["naclip"] if "naclip" in wanted else []
        order: list[Reading] = [
            "input",
            *stages,
            *extras((*wanted, *(self.spec.reads or ()))),
            *naclip,
            "dense",
            "global",
        ]
        return order if self.reads is None else [r for r in order if r in self.reads or r in wanted]

    def _keeper(self, reading: "Reading") -> ArtifactStore | Recent:
        return self.store if self.reads is None or reading in ("vv", "global") else recent(self.store)

    def _read(self, reading: "Reading") -> None:
        op, keeper = reading_op(reading, self.spec, self.device), self._keeper(reading)
        arrays = ((key, keeper.read(op, op.key(key))) for key in self.keys)
        self.found.update({(reading, key): a for key, a in arrays if a is not None})

    def _store(self, reading: "Reading", indices: Sequence[int], others: Sequence["Reading"]) -> None:
        """Find or compute one output; what else was computed is stored while its locks are held."""

        def compute(missing: list[int]) -> list[Array]:
            chosen = [indices[i] for i in missing]
            self._run(reading, chosen)
            given = [o for o in others if all(o in self.passes[self.keys[i]] for i in chosen)]
            if given:
                self._store(given[0], chosen, given[1:])
            return [self.passes[self.keys[i]][reading] for i in chosen]

        keys = [self.keys[i] for i in indices]
        op = reading_op(reading, self.spec, self.device)
        arrays = self._keeper(reading).get_many(op, keys, compute, batch=LARGEST_CHUNK)
        self.found.update({(reading, key): a for key, a in zip(keys, arrays, strict=True)})

    def _run(self, reading: "Reading", indices: Sequence[int]) -> None:
        """Fill `passes`: by the last block alone where its input is stored and enough, else by a pass."""
        new = [i for i in indices if reading not in self.passes.get(self.keys[i], {})]
        stored = [("input", self.keys[i]) in self.found for i in new]
        tail = reading in ("naclip", "dense", "global", self.spec.depth)
        self._pass(reading, [i for i, known in zip(new, stored, strict=True) if not (tail and known)])
        self._last_block([i for i, known in zip(new, stored, strict=True) if tail and known])

    def _pass(self, reading: "Reading", indices: Sequence[int]) -> None:
        if not indices:
            return
        spec, wanted = self.spec, None if self.reads is None else self.reads | {reading}
        stages: list[Reading] = [r for r in wanted or () if isinstance(r, int)]
        stages += spec.blocks if wanted is None else ()
        stages += extras((reading, *(spec.reads or ())))
        pixels = resized(self.images.subset(indices), Geometry.square(spec.size), self.store)
        found = self._model.whole(pixels, stages, spec.naclip_sigma, spec.naclip_arch, wanted)
        self.passes.update(zip((self.keys[i] for i in indices), found, strict=True))
        self.store.counters["backbone_passes"] += len(indices)
        for each in wanted or ():  # whichever was asked for, the others will be
            op, keeper = reading_op(each, spec, self.device), self._keeper(each)
            if isinstance(keeper, Recent):
                for i in indices:
                    keeper.hold(op.key(self.keys[i]), self.passes[self.keys[i]][each])

    def _last_block(self, indices: Sequence[int]) -> None:
        tails = self._tails([self.found["input", self.keys[i]] for i in indices]) if indices else []
        for i, tail in zip(indices, tails, strict=True):
            self.passes[self.keys[i]] = dict(tail)
        self.store.counters["last_blocks"] += len(indices)

    def _tails(self, inputs: Sequence[Array]) -> Sequence[Mapping["Reading", Array]]:
        return self._model.tail(inputs, self.spec.naclip_sigma, self.spec.naclip_arch)

    @property
    def _model(self) -> "ClipModel":
        from methods.shared.openclip.model import model_of

        return model_of(self.spec, self.device)
