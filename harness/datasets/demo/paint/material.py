"""How light makes colours: Lambert, gloss and a studio environment for metal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.datasets.demo.paint.raster import Array, smoothstep

Normal = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Light:
    """Direction towards the light (unit vector), its colour, and the ambient share."""

    x: float
    y: float
    z: float
    rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ambient: float = 0.35

    def cast(self, height: float) -> tuple[float, float]:
        """Offset of the shadow of a point `height` above the table."""
        return -height * self.x / self.z, -height * self.y / self.z


def draw_light(rng: np.random.Generator, spread: float = 0.25) -> Light:
    """A light from the upper left, a little different in every picture."""
    angle = rng.normal(-2.2, spread)
    tilt = rng.uniform(0.55, 0.85)
    warm = rng.normal(0.0, 0.025)
    z = 1.0 / np.hypot(1.0, tilt)
    rgb = (1.0 + warm, 1.0, 1.0 - warm)
    return Light(tilt * z * np.cos(angle), tilt * z * np.sin(angle), z, rgb, rng.uniform(0.3, 0.42))


def srgb(colour: str) -> Array:
    """Linear RGB (3,) of a colour written `#rrggbb`."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return values**2.2


def normalise(nx: ArrayLike, ny: ArrayLike, nz: ArrayLike) -> Normal:
    """Unit normals from any vectors."""
    x, y, z = np.broadcast_arrays(nx, ny, nz)
    norm = 1.0 / np.sqrt(x * x + y * y + z * z)
    return x * norm, y * norm, z * norm


def bevel(distance: Array, gx: Array, gy: Array, width: float, steep: float) -> Normal:
    """Normals of a flat plate whose rim falls off over `width` inside the outline."""
    slope = steep * smoothstep(-width, 0.0, distance)
    return normalise(gx * slope, gy * slope, np.ones_like(slope))


def dome(u: Array, v: Array, flat: float = 1.0) -> Normal:
    """Normals of a half ellipsoid over the unit disc; `flat` > 1 flattens it."""
    z = np.sqrt(np.maximum(1.0 - u * u - v * v, 0.02)) * flat
    return normalise(u, v, z)


def lambert(n: Normal, light: Light) -> Array:
    """Diffuse brightness, ambient included."""
    direct = np.maximum(n[0] * light.x + n[1] * light.y + n[2] * light.z, 0.0)
    return light.ambient + (1.0 - light.ambient) * direct / 0.85


def highlight(n: Normal, light: Light, power: float) -> Array:
    """Blinn–Phong highlight of the main light, viewer straight above."""
    hz = light.z + 1.0
    norm = np.sqrt(light.x**2 + light.y**2 + hz**2)
    return np.maximum((n[0] * light.x + n[1] * light.y + n[2] * hz) / norm, 0.0) ** power


def plastic(n: Normal, albedo: Array, light: Light, gloss: float = 0.35, power: float = 40.0) -> Array:
    """Colour (…, 3) of a coloured surface with a white highlight."""
    diffuse = lambert(n, light)[..., None] * albedo * np.array(light.rgb)
    return diffuse + (gloss * highlight(n, light, power))[..., None]


def metal(n: Normal, tint: Array, light: Light, rough: float = 0.35) -> Array:
    """Colour (…, 3) of metal in a studio: a soft box, a bright ceiling, a dark floor, a side window."""
    rx, ry, rz = 2 * n[2] * n[0], 2 * n[2] * n[1], 2 * n[2] ** 2 - 1
    along = rx * light.x + ry * light.y + rz * light.z
    box = smoothstep(0.55 - rough, 1.0, along)
    window = smoothstep(0.45, 0.85, rx * 0.8 - ry * 0.1 + rz * 0.1) * 0.35
    sky = 0.16 + 0.14 * smoothstep(-0.9, 0.9, -ry) + 0.10 * smoothstep(0.2, 1.0, rz)
    return (sky + window + 0.62 * box + 0.5 * box**6)[..., None] * tint * np.array(light.rgb)
