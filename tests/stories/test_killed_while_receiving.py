"""kill -9 while images are pushed to us: whatever was acknowledged is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.association import Association

from ..doors import Desk
from . import crash

SEED, KILLS, IMAGES = 20261126, 3, 2_000


@dataclass(slots=True)
class Sender:
    """A modality that sends image after image and writes down which were acknowledged."""

    port: int
    images: Sequence[Dataset]
    acknowledged: list[str] = field(default_factory=list)
    number: int = 0

    def send(self) -> None:
        """Until the line breaks."""
        entity = AE(ae_title="MODALITY")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 1
        first = self.images[0]
        entity.add_requested_context(first.SOPClassUID, first.file_meta.TransferSyntaxUID)
        # The library leaves the socket of a broken line open: it is closed here.
        sockets: list[socket] = []
        keep = [(evt.EVT_CONN_OPEN, lambda event: sockets.append(event.assoc.dul.socket.socket))]
        line = entity.associate("127.0.0.1", self.port, ae_title="FHIRBRIDGE", evt_handlers=keep)
        with suppress(RuntimeError):  # it broke between two images
            self._send_by(line)
        for one in sockets:
            one.close()

    def _send_by(self, line: Association) -> None:
        while line.is_established and self.number < IMAGES:
            image = self._next()
            status = line.send_c_store(image)
            if status and status.Status == 0x0000:
                self.acknowledged.append(image.SOPInstanceUID)

    def _next(self) -> Dataset:
        self.number += 1
        image = self.images[self.number % len(self.images)]
        image.SOPInstanceUID = f"2.25.77{self.number:05}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        return image


def test_an_acknowledged_image_survives_whatever_kills_the_receiver(
    desk: Desk, small_case: Path
) -> None:
    chance = random.Random(SEED)
    images = [dcmread(path) for path in sorted((small_case / "dicom").rglob("*.dcm"))]
    sender = Sender(int(desk.env["FHIR_BRIDGE_DIMSE_PORT"]), images)
    with crash.serving(desk) as (service,):
        for _ in range(KILLS):
            sending = threading.Thread(target=sender.send)
            sending.start()
            sending.join(chance.uniform(0.2, 0.8))
            assert sending.is_alive(), "it was killed while images came in"
            service.kill()
            sending.join(20)
            service.start()
    with crash.looking(desk) as bridge:
        held = {image.sop_uid: image for image in bridge.store.images.unassigned()}
        for uid in sender.acknowledged:
            assert len(bridge.store.originals.read(held[uid].sha256)) == held[uid].size
    assert len(sender.acknowledged) > KILLS
    print(f"{len(sender.acknowledged)} of {sender.number} acknowledged, {len(held)} held")
