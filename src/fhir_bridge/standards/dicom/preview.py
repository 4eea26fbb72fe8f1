"""One small PNG of an image; run as a program of its own, so that a bad file harms nobody."""

from __future__ import annotations

import resource
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, config, dcmread
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from fhir_bridge.errors import BridgeError, Hostile, Unreadable

MAX_SIDE = 1024
MAX_PIXELS = 64 * 1024 * 1024
MEMORY_BYTES = 2 * 1024**3
UNREADABLE, HOSTILE = 3, 4

Pixels = NDArray[Any]


def render(path: Path, size: int) -> bytes:
    """
    The first frame as a PNG of at most `size` pixels a side.

    Greyscale goes through rescale and window as the header asks (PS3.3 C.11.1, C.11.2), or through
    its own 1st to 99th percentile when it names no window; MONOCHROME1 is turned over. Raises
    Unreadable for what has no pixels that we can decode and Hostile beyond 64 million pixels.
    """
    dataset = dcmread(path, force=True)
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not rows or not columns:
        raise Unreadable("no image")
    if rows * columns > MAX_PIXELS:
        raise Hostile("an image of more than 64 million pixels a frame")
    grey = str(dataset.get("PhotometricInterpretation") or "").startswith("MONOCHROME")
    # YBR is turned into RGB while decoding; grey values stay as stored until the window.
    frame = pixel_array(dataset, index=0)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    shades = _greyscale(dataset, frame) if grey else _colour(frame)
    picture = Image.fromarray(shades)
    picture.thumbnail((size, size))
    out = BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _greyscale(dataset: Dataset, frame: Pixels) -> Pixels:
    values = apply_modality_lut(frame, dataset)
    if "VOILUTSequence" in dataset:
        values = apply_voi_lut(values, dataset, index=0)
        low, high = float(values.min()), float(values.max())
    else:
        low, high = _window(dataset) or _percentiles(values)
    scaled = (values.astype(np.float32) - low) / max(high - low, 1e-6)
    shades: Pixels = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        np.subtract(255, shades, out=shades)
    return shades


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """The first window's ends (PS3.3 C.11.2.1.2.1, LINEAR)."""
    centre, width = (_first(dataset.get(word)) for word in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: object) -> float | None:
    first = value[0] if isinstance(value, MultiValue) and value else value
    return float(first) if isinstance(first, int | float) else None


def _percentiles(values: Pixels) -> tuple[float, float]:
    low, high = np.percentile(values, (1, 99))
    return float(low), float(high)


def _colour(frame: Pixels) -> Pixels:
    if frame.dtype != np.uint8:
        top = max(int(frame.max()), 1)
        frame = (frame.astype(np.float32) * (255.0 / top)).astype(np.uint8)
    return frame


def _limit(cpu_seconds: int) -> None:
    limits = (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for what, most in limits:
        resource.setrlimit(what, (most, most))


def main(arguments: list[str]) -> int:
    """Render `PATH SIZE CPU_SECONDS` to standard output; exit 3 unreadable, 4 hostile."""
    path, size, cpu_seconds = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    config.settings.reading_validation_mode = config.IGNORE
    _limit(cpu_seconds)
    try:
        picture = render(path, min(size, MAX_SIDE))
    except (Hostile, MemoryError, RecursionError):
        return HOSTILE
    except BridgeError:
        return UNREADABLE
    except Exception:  # noqa: BLE001 (a decoder raises anything; nothing of it may be printed)
        return UNREADABLE
    sys.stdout.buffer.write(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
