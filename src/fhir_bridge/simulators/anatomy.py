"""Draws slices through a body and a head: ellipsoids and tubes of tissue, seen by CT or MR."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import inf

import numpy as np

from fhir_bridge.simulators.tissues import (
    NAMES,
    TISSUES,
    Blob,
    Grid,
    Image,
    Labels,
    Mask,
    Point,
    Shape,
    Tube,
)


@dataclass(frozen=True, slots=True)
class Lesion:
    """A ball with the value that it has in this series (HU or signal)."""

    at: Point
    radius: float
    value: float


def grid(matrix: int, pixel_mm: float) -> Grid:
    """A square of `matrix` pixels around the centre."""
    line = ((np.arange(matrix) - (matrix - 1) / 2) * pixel_mm).astype(np.float32)
    return Grid(line[None, :], line[:, None])


def body(place: Grid, z: float, weighting: str, lesions: Iterable[Lesion]) -> Image:
    """A slice of the trunk: z 170 is the upper chest, 0 the diaphragm, -195 the iliac crest."""
    labels = _torso(place, z)
    cavity = _ellipse(place, 0, -4, 138, 84)
    for shape in _organs():
        _paint(labels, place, z, shape, cavity)
    for shape in _frame():
        _paint(labels, place, z, shape)
    _ribs(labels, place, z)
    return _with(_shown(labels, weighting), place, z, lesions)


def head(place: Grid, z: float, weighting: str, lesions: Iterable[Lesion]) -> Image:
    """A slice of the head: z 75 is the vertex, 10 the lateral ventricles, -50 the cerebellum."""
    labels = np.zeros((place.y.size, place.x.size), dtype=np.uint8)
    for shape in _skull():
        _paint(labels, place, z, shape)
    _brain(labels, place, z)
    for shape in _deep_brain():
        _paint(labels, place, z, shape)
    soft = np.isin(labels, [NAMES.index(name) for name in ("grey", "white", "csf")])
    return _with(_shown(labels, weighting), place, z, lesions, soft)


def _shown(labels: Labels, weighting: str) -> Image:
    values = np.array([TISSUES[name][weighting] for name in NAMES], dtype=np.float32)
    shown: Image = values[labels]
    return shown


def _with(
    image: Image, place: Grid, z: float, lesions: Iterable[Lesion], inside: Mask | None = None
) -> Image:
    for lesion in lesions:
        left = lesion.radius**2 - (z - lesion.at[2]) ** 2
        if left > 0:
            reach = (place.x - lesion.at[0]) ** 2 + (place.y - lesion.at[1]) ** 2
            ball = reach <= left
            image[ball if inside is None else ball & inside] = lesion.value
    return image


def _paint(
    labels: Labels,
    place: Grid,
    z: float,
    shape: Shape,
    inside: Mask | None = None,
) -> None:
    covered = shape.covers(place, z)
    if covered is not None:
        labels[covered if inside is None else covered & inside] = NAMES.index(shape.tissue)


def _ellipse(place: Grid, x: float, y: float, a: float, b: float) -> Mask:
    return np.asarray(((place.x - x) / a) ** 2 + ((place.y - y) / b) ** 2 <= 1)


def _torso(place: Grid, z: float) -> Labels:
    labels = np.zeros((place.y.size, place.x.size), dtype=np.uint8)
    waist = 6.0 * float(np.cos(z / 70))
    fat = 13 if z > 20 else 19
    layers = (("couch", 205, 133), ("air", 203, 128), ("fat", 164 + waist, 112))
    for tissue, a, b in layers:
        labels[_ellipse(place, 0, 0, a, b)] = NAMES.index(tissue)
    # The couch lies behind the patient only.
    labels[(labels == NAMES.index("couch")) & (place.y < 96)] = 0
    labels[_ellipse(place, 0, -1, 164 + waist - fat, 112 - fat + 2)] = NAMES.index("muscle")
    labels[_ellipse(place, 0, -4, 138, 84)] = NAMES.index("fat" if z < 172 else "muscle")
    return labels


def _ribs(labels: Labels, place: Grid, z: float) -> None:
    if not -95 < z < 172:
        return
    angle = np.arctan2(place.y + 4, place.x)
    ring = _ellipse(place, 0, -4, 146, 92) & ~_ellipse(place, 0, -4, 138, 85)
    # Ribs fall from back to front, so that one slice cuts several of them.
    phase = (z + 48 * np.sin(angle)) / 26 * 2 * np.pi
    labels[ring & (np.sin(phase) > 0.35)] = NAMES.index("cortex")
    core = _ellipse(place, 0, -4, 144, 90) & ~_ellipse(place, 0, -4, 140, 87)
    labels[core & (np.sin(phase) > 0.62)] = NAMES.index("marrow")


@cache
def _organs() -> tuple[Shape, ...]:
    return (*_chest(), *_upper_abdomen(), *_lower_abdomen())


def _chest() -> tuple[Shape, ...]:
    lungs = [
        half
        for x in (-72.0, 74.0)
        for half in (
            Blob("lung", (x, -2, 50), (61, 82, 165), low=50),
            Blob("lung", (x, -2, 50), (61, 82, 94), high=50, lean=0.3),
        )
    ]
    chambers = (
        Blob("heart", (30, -26, 34), (58, 48, 46)),
        Blob("blood", (50, -20, 28), (24, 19, 30)),
        Blob("blood", (10, -46, 30), (30, 15, 28)),
        Blob("blood", (8, 8, 48), (30, 14, 20)),
        Blob("blood", (-22, -18, 38), (18, 22, 28)),
    )
    vessels = (
        Tube("blood", (-6, -22, 50), (-4, -20, 112), 15),
        Tube("blood", (-4, -16, 116), (20, 40, 116), 12),
        Tube("blood", (14, -30, 74), (10, -8, 92), 13),
        Tube("blood", (-46, 2, 86), (40, 4, 90), 10),
        Tube("blood", (-32, -16, 60), (-26, -14, 170), 9),
        Tube("gas", (0, 14, 104), (0, 10, 200), 9),
        Tube("gas", (0, 14, 104), (-42, 18, 74), 6),
        Tube("gas", (0, 14, 104), (44, 18, 72), 6),
        Tube("muscle", (4, 38, 0), (2, 30, 190), 7),
    )
    return (*lungs, *_pulmonary(), *chambers, *vessels)


def _pulmonary() -> tuple[Shape, ...]:
    chance = np.random.default_rng(7)
    made: list[Shape] = []
    for side in (-1, 1):
        for _ in range(34):
            turn, rise = chance.uniform(-2.2, 2.2), chance.uniform(-0.9, 0.9)
            reach = chance.uniform(30, 62)
            hilum = (side * 34.0, 8.0, 80.0)
            end = (
                float(side * (34 + reach * max(0.15, np.cos(turn)))),
                float(8 + reach * np.sin(turn)),
                float(80 + 95 * rise),
            )
            made.append(Tube("blood", hilum, end, float(chance.uniform(1.1, 2.4))))
    return tuple(made)


def _upper_abdomen() -> tuple[Shape, ...]:
    veins = [
        Tube("blood", (-22, 30, 6), end, 3.2)
        for end in ((-100.0, 4.0, -30.0), (-52.0, -46.0, -22.0), (30.0, -36.0, -14.0))
    ]
    portal = [
        Tube("blood", (-22, 4, -66), end, 4.0)
        for end in ((-62.0, 2.0, -56.0), (4.0, -34.0, -36.0), (-8.0, 8.0, -92.0))
    ]
    branches = [
        Tube("blood", (-62, 2, -56), end, 2.4)
        for end in ((-104.0, 30.0, -70.0), (-96.0, -30.0, -46.0), (-84.0, -8.0, -108.0))
    ]
    return (
        Blob("spleen", (104, 36, -44), (34, 44, 54)),
        Blob("bowel", (58, -30, -46), (50, 42, 44)),
        Blob("fluid", (58, -28, -46), (45, 36, 39)),
        Blob("gas", (54, -54, -44), (32, 10, 30)),
        Blob("liver", (-72, 0, -56), (84, 82, 84)),
        Blob("liver", (14, -40, -20), (74, 36, 46)),
        *veins,
        *portal,
        *branches,
        Blob("bile", (-38, -58, -92), (15, 19, 26)),
    )


def _lower_abdomen() -> tuple[Shape, ...]:
    kidneys: list[Shape] = []
    for x, z in ((-64.0, -126.0), (66.0, -116.0)):
        inward = 9.0 if x < 0 else -9.0
        kidneys += [
            Blob("kidney", (x, 48, z), (27, 30, 54)),
            Blob("fat", (x + inward, 46, z), (12, 11, 28)),
            Blob("fluid", (x + inward, 46, z), (6, 5, 16)),
        ]
    gut: list[Shape] = []
    chance = np.random.default_rng(3)
    for n in range(34):
        at = (
            float(chance.uniform(-78, 84)),
            float(chance.uniform(-66, 16)),
            float(chance.uniform(-196, -112)),
        )
        size = (float(chance.uniform(14, 26)), float(chance.uniform(10, 14)), 18.0)
        core = (size[0] - 4, size[1] - 4, 15.0)
        gut += [Blob("bowel", at, size), Blob("gas" if n % 6 == 0 else "fluid", at, core)]
    colon: list[Shape] = []
    for x, y, r, top in ((-108.0, 4.0, 25.0, -104.0), (114.0, 18.0, 18.0, -62.0)):
        colon += [
            Blob("bowel", (x, y, -170), (r, r, inf), high=top),
            Blob("fluid", (x, y + 2, -170), (r - 3, r - 4, inf), high=top),
            Blob("gas", (x, y - r / 2.4, -170), (r - 6, r / 2.6, inf), high=top),
        ]
    transverse = (
        Blob("bowel", (0, -66, -112), (92, 15, 18)),
        Blob("gas", (0, -68, -112), (86, 10, 14)),
        Blob("pancreas", (16, 4, -84), (58, 11, 14)),
        Blob("pancreas", (-18, 12, -96), (18, 15, 20)),
    )
    return (*gut, *kidneys, *transverse, *colon)


@cache
def _frame() -> tuple[Shape, ...]:
    sides = (-1.0, 1.0)
    muscles = [Blob("muscle", (s * 34, 83, 0), (28, 15, inf)) for s in sides]
    psoas = [Blob("muscle", (s * 40, 62, -170), (18, 19, 80)) for s in sides]
    wings = [Blob("cortex", (s * 104, 40, -206), (12, 44, 22)) for s in sides]
    shoulder = [Blob("cortex", (s * 90, 74, 150), (30, 4, 50)) for s in sides]
    transverse = [Blob("cortex", (s * 24, 82, 0), (17, 4, inf)) for s in sides]
    return (
        *muscles,
        *psoas,
        *wings,
        *shoulder,
        Tube("blood", (18, 44, 116), (12, 44, 0), 11.5),
        Tube("blood", (12, 44, 0), (6, 36, -205), 9.5),
        Tube("blood", (-22, 30, 16), (-20, 34, -205), 11),
        *transverse,
        Blob("cortex", (0, 60, 0), (22, 18, inf)),
        Blob("marrow", (0, 60, 0), (20, 16, inf)),
        *(Blob("disc", (0, 60, z), (21, 17, 4.5)) for z in range(-204, 200, 34)),
        Blob("cortex", (0, 84, 0), (15, 13, inf)),
        Blob("cortex", (0, 98, 0), (3.5, 12, inf)),
        Blob("csf", (0, 83, 0), (10.5, 8.5, inf)),
        Blob("cortex", (0, -90, 90), (18, 6, 78)),
        Blob("marrow", (0, -90, 90), (15, 4, 74)),
    )


@cache
def _skull() -> tuple[Shape, ...]:
    sides = (-1.0, 1.0)
    eyes = [Blob("fluid", (s * 30, -84, -42), (12, 12, 12)) for s in sides]
    orbits = [Blob("fat", (s * 29, -76, -42), (18, 24, 16)) for s in sides]
    mastoids = [Blob("gas", (s * 52, 28, -54), (10, 12, 16)) for s in sides]
    return (
        Blob("fat", (0, 0, -8), (79, 99, 98)),
        Blob("muscle", (0, 0, -8), (76, 96, 95)),
        Blob("cortex", (0, 0, -8), (73, 93, 92)),
        Blob("marrow", (0, 0, -8), (71, 91, 90)),
        Blob("cortex", (0, 0, -8), (69, 89, 88)),
        Blob("csf", (0, 0, -8), (66.5, 86.5, 86)),
        *(Blob("cortex", (s * 46, 18, -54), (22, 20, 14)) for s in sides),
        *mastoids,
        *orbits,
        *eyes,
        Blob("gas", (0, -78, -50), (12, 16, 14)),
    )


def _brain(labels: Labels, place: Grid, z: float) -> None:
    """Cortex and white matter: the border folds with the angle, so that gyri appear."""
    across = 1.0 - ((z + 6) / 84) ** 2
    if across <= 0:
        return
    reach = np.sqrt(((place.x / 65) ** 2 + (place.y / 85) ** 2) / across)
    angle = np.arctan2(place.y, place.x)
    fold = np.sin(21 * angle + 2.2 * np.sin(4 * angle + z / 11) + 9 * reach + z / 7)
    inside = np.asarray(reach <= 1.0)
    if z < -38:
        inside &= _ellipse(place, 0, -14, 62, 60)
    labels[inside] = NAMES.index("grey")
    labels[inside & (reach < 0.87 + 0.07 * fold)] = NAMES.index("white")
    labels[inside & (reach > 0.80) & (fold < -0.90)] = NAMES.index("csf")
    cleft = (np.abs(place.x) < 1.6) & (reach > (0.55 if z < 28 else 0.0))
    labels[inside & cleft & (z > -30)] = NAMES.index("csf")


@cache
def _deep_brain() -> tuple[Shape, ...]:
    paired: list[Shape] = []
    for s in (-1.0, 1.0):
        paired += [
            Tube("csf", (s * 36, 2, -4), (s * 62, -14, 2), 2.6),
            Tube("csf", (s * 36, 4, -4), (s * 35, -18, -2), 2.2),
            Blob("grey", (s * 27, -6, 0), (6, 18, 13)),
            Blob("grey", (s * 12, 10, 0), (9, 15, 12)),
            Blob("csf", (s * 11, -18, 14), (7.5, 19, 14)),
            Blob("csf", (s * 12, 6, 20), (6.5, 26, 9)),
            Blob("csf", (s * 22, 32, 8), (8, 17, 13)),
            Blob("grey", (s * 16, -20, 8), (5, 12, 11)),
            Blob("csf", (s * 34, 12, -24), (4, 16, 5)),
        ]
    folia = [
        Blob("white", (s * 20, 50, z), (24, 18, 2.2)) for s in (-1, 1) for z in range(-72, -30, 7)
    ]
    return (
        *paired,
        Blob("csf", (0, 6, -6), (2.6, 14, 9)),
        Blob("csf", (0, 54, -50), (57, 33, 26)),
        Blob("grey", (0, 54, -50), (54, 30, 25)),
        *folia,
        Blob("csf", (0, 12, -52), (24, 20, 28)),
        Blob("white", (0, 18, -46), (15, 14, 36)),
        Blob("csf", (0, 36, -46), (8, 5, 9)),
    )
