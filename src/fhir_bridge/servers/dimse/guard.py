"""The socket of an association with limits: PDU length, time for a PDU, bytes of an instance."""

from __future__ import annotations

import contextlib
import socket
import time

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

MAX_PDU = 128 * 1024
# PS3.8 9.3.1: a request of 128 contexts with 20 syntaxes each stays below this.
MAX_READ = 256 * 1024
_HEADER = 6


class GuardedSocket(AssociationSocket):
    """
    Reads with a deadline for each PDU and refuses lengths that nobody negotiated.

    A peer that announces four gigabytes, drips one byte a second or stops in the middle loses its
    connection; nothing is allocated before the announced length is checked.
    """

    pdu_seconds = 10.0
    max_instance_bytes = 4 * 1024**3
    taken = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer when the peer closed; raises OSError beyond a limit."""
        if self.socket is None:
            return bytearray()
        self.taken += 0 if nr_bytes == _HEADER else nr_bytes
        if nr_bytes > MAX_READ or self.taken > self.max_instance_bytes:
            raise OSError("a PDU or an instance is longer than we take")
        _acknowledge_at_once(self.socket)
        return self._fill(self.socket, bytearray(nr_bytes))

    def _fill(self, peer: socket.socket, buffer: bytearray) -> bytearray:
        view, filled = memoryview(buffer), 0
        deadline = time.monotonic() + self.pdu_seconds
        while filled < len(buffer):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("a PDU took longer than its deadline")
            peer.settimeout(left)
            read = peer.recv_into(view[filled:])
            if read == 0:
                break
            filled += read
        view.release()
        peer.settimeout(self.pdu_seconds)
        return buffer[:filled] if filled < len(buffer) else buffer

    def _shutdown_socket(self) -> None:
        # pynetdicom forgets to close a socket whose peer has already gone.
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


def _acknowledge_at_once(peer: socket.socket) -> None:
    # A sender that leaves Nagle on waits 40 ms an image for our delayed ACK; this spares it that.
    quick = getattr(socket, "TCP_QUICKACK", None)
    if quick is not None:
        peer.setsockopt(socket.IPPROTO_TCP, quick, 1)


class GuardedRequest(RequestHandler):
    """Gives each accepted connection a guarded socket before anything is read from it."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        peer: socket.socket = self.request
        peer.settimeout(GuardedSocket.pdu_seconds)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # The plain socket has already announced the connection; the guarded one does so again.
        association.dul.event_queue.get_nowait()
        association.dul.socket = GuardedSocket(association, client_socket=peer)
        return association


class GuardedServer(ThreadedAssociationServer):
    """The listener: room for a burst of senders that connect at the same moment."""

    request_queue_size = 64
    daemon_threads = True
