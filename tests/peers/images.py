"""DICOM files and what the bridge holds of them, brought into one form that can be compared."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydicom import dcmread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fhir_bridge.bridge import Bridge
    from fhir_bridge.case.imaging import Instance

Held = tuple[str, str]
"""Transfer syntax, and SHA-256 of the data set."""


def data_set(part10: bytes) -> str:
    """SHA-256 of what follows the File Meta, found by its group length (PS3.10 7.1)."""
    length = int.from_bytes(part10[140:144], "little")
    return hashlib.sha256(part10[144 + length :]).hexdigest()


def of_files(files: Iterable[Path]) -> Mapping[str, Held]:
    """SOP Instance UID -> transfer syntax and data set, of Part 10 files."""
    found = {}
    for file in files:
        meta = dcmread(file, stop_before_pixels=True).file_meta
        held = (str(meta.TransferSyntaxUID), data_set(file.read_bytes()))
        found[str(meta.MediaStorageSOPInstanceUID)] = held
    return found


def of_bridge(bridge: Bridge, instances: Sequence[Instance]) -> Mapping[str, Held]:
    """The same of instances, read from the bridge's store; each is there once, for all to see."""
    assert len({one.sop_uid for one in instances}) == len(instances)
    assert not any(one.quarantined for one in instances)
    read = bridge.store.originals.read
    return {one.sop_uid: (one.transfer_syntax, data_set(read(one.sha256))) for one in instances}
