"""What a body is made of: tissues with their value in each kind of image, and their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

# Millimetres in patient coordinates (PS3.3 C.7.6.2.1.1): x to the left, y back, z to the head.
Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Point = tuple[float, float, float]
TISSUES = {
    "air": {"ct": -1000, "T1": 4, "T2": 4, "FLAIR": 4, "HBP": 4},
    "fat": {"ct": -102, "T1": 560, "T2": 420, "FLAIR": 430, "HBP": 105},
    "muscle": {"ct": 56, "T1": 240, "T2": 130, "FLAIR": 190, "HBP": 235},
    "lung": {"ct": -862, "T1": 18, "T2": 16, "FLAIR": 16, "HBP": 18},
    "cortex": {"ct": 620, "T1": 30, "T2": 22, "FLAIR": 24, "HBP": 30},
    "marrow": {"ct": 190, "T1": 380, "T2": 260, "FLAIR": 280, "HBP": 130},
    "disc": {"ct": 78, "T1": 200, "T2": 380, "FLAIR": 160, "HBP": 170},
    "liver": {"ct": 112, "T1": 330, "T2": 180, "FLAIR": 180, "HBP": 500},
    "spleen": {"ct": 126, "T1": 250, "T2": 360, "FLAIR": 260, "HBP": 270},
    "kidney": {"ct": 188, "T1": 290, "T2": 420, "FLAIR": 260, "HBP": 400},
    "blood": {"ct": 168, "T1": 520, "T2": 40, "FLAIR": 40, "HBP": 250},
    "heart": {"ct": 108, "T1": 260, "T2": 160, "FLAIR": 180, "HBP": 245},
    "pancreas": {"ct": 92, "T1": 320, "T2": 210, "FLAIR": 200, "HBP": 300},
    "fluid": {"ct": 12, "T1": 110, "T2": 820, "FLAIR": 60, "HBP": 120},
    "bile": {"ct": 8, "T1": 130, "T2": 860, "FLAIR": 60, "HBP": 560},
    "bowel": {"ct": 62, "T1": 260, "T2": 200, "FLAIR": 200, "HBP": 240},
    "gas": {"ct": -960, "T1": 6, "T2": 6, "FLAIR": 6, "HBP": 6},
    "csf": {"ct": 8, "T1": 95, "T2": 860, "FLAIR": 50, "HBP": 95},
    "grey": {"ct": 39, "T1": 300, "T2": 420, "FLAIR": 350, "HBP": 300},
    "white": {"ct": 30, "T1": 420, "T2": 300, "FLAIR": 265, "HBP": 420},
    "couch": {"ct": -280, "T1": 4, "T2": 4, "FLAIR": 4, "HBP": 4},
}
NAMES = tuple(TISSUES)
# CT before contrast and in the arterial phase, where that differs from the portal venous one.
_PHASES = {
    "plain": {"blood": 42, "heart": 46, "liver": 58, "spleen": 48, "kidney": 34, "pancreas": 42},
    "arterial": {"blood": 330, "heart": 118, "liver": 70, "spleen": 138, "kidney": 172},
}
for _name, _values in TISSUES.items():
    for _phase, _differing in _PHASES.items():
        _values[_phase] = _differing.get(_name, _values["ct"])


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the pixels of a slice lie: x as a row, y as a column, in mm."""

    x: Image
    y: Image


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipsoid of one tissue; with c infinite a column. `low` and `high` cut it in z."""

    tissue: str
    at: Point
    radii: Point
    low: float = -inf
    high: float = inf
    lean: float = 0.0

    def covers(self, grid: Grid, z: float) -> Mask | None:
        """The pixels of the slice at `z` that lie inside; None when there are none."""
        left = 1.0 - ((z - self.at[2]) / self.radii[2]) ** 2
        if left <= 0 or not self.low <= z <= self.high:
            return None
        x, y = self.at[0], self.at[1] + self.lean * (self.at[2] - z)
        reach = ((grid.x - x) / self.radii[0]) ** 2 + ((grid.y - y) / self.radii[1]) ** 2
        return np.asarray(reach <= left)


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight vessel or bronchus between two points, of one radius."""

    tissue: str
    start: Point
    end: Point
    radius: float

    def covers(self, grid: Grid, z: float) -> Mask | None:
        """The pixels of the slice at `z` that lie inside; None when there are none."""
        low, high = sorted((self.start[2], self.end[2]))
        if not low - self.radius <= z <= high + self.radius:
            return None
        start, along = np.array(self.start), np.subtract(self.end, self.start)
        dx, dy, dz = grid.x - start[0], grid.y - start[1], z - start[2]
        part = (dx * along[0] + dy * along[1] + dz * along[2]) / float(along @ along)
        part = np.clip(part, 0.0, 1.0)
        gaps = (dx - part * along[0], dy - part * along[1], dz - part * along[2])
        return np.asarray(sum(gap**2 for gap in gaps) <= self.radius**2)


Shape = Blob | Tube
