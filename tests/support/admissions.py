"""Services with limits on recipients, and what RCPT is answered there."""

import os
from pathlib import Path

from lmtpd.delivery.admission import Admission
from lmtpd.delivery.peer import Peer
from lmtpd.delivery.service import Service
from lmtpd.delivery.transaction import Transaction
from lmtpd.protocol.events import Envelope
from lmtpd.protocol.replies import Reply
from storage.disk import Disk
from storage.free_space import FreeSpace
from tests.support.services import ENVELOPE, KeptReports, make_service, offered

PEER = Peer("unix", trusted=True)


def limited(tmp_path: Path, *, disk: Disk | None = None, **limits: object) -> Service:
    """Make a service with these limits and no others."""
    service = make_service(tmp_path, disk=disk)
    service.admission = Admission(
        service.directory,
        device=os.stat(tmp_path).st_dev,
        free_space=FreeSpace(disk or Disk()),
        **limits,  # type: ignore[arg-type]  # tests say what they like
    )
    return service


def answer(service: Service, recipient: str, *, envelope: Envelope = ENVELOPE, peer: Peer = PEER) -> Reply:
    return Transaction(service, peer, envelope).offer(offered(recipient))


def causes(service: Service) -> list[tuple[str, str]]:
    assert isinstance(service.reporter, KeptReports)
    return [(report.outcome, report.cause) for report in service.reporter.reports]
