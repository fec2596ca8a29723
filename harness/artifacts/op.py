"""What an array is the result of; hence its key."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final


@final
@dataclass(frozen=True)
class Op:
    """An operation and exactly what its result depends on besides its inputs.

    Attributes:
        name: a folder name ("resized", "features").
        params: JSON-able parameters that the operation reads, and only those; not changed afterwards.
        version: raised when the code of the operation changes its result.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    def key(self, *inputs: str) -> str:
        """sha256 of the operation, its parameters and the content hashes of its inputs."""
        return self.digests([inputs])[0].hex()

    def digests(self, inputs: Iterable[Sequence[str]]) -> list[bytes]:
        """The keys of many inputs, 32 bytes each."""
        begun, digests = hashlib.sha256(self._beginning), []
        for each in inputs:
            digest = begun.copy()
            digest.update(json.dumps(each).encode() + b"]")
            digests.append(digest.digest())
        return digests

    @cached_property
    def _beginning(self) -> bytes:
        """JSON of [name, version, params, inputs] up to the inputs: the same for every key."""
        text = json.dumps([self.name, self.version, self.params], sort_keys=True, default=str)
        return (text[:-1] + ", ").encode()
