"""Postfix's configuration as postconf(1) tells it: parameters, services, and which of them lead to LMTP."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmtpd.cli.doctor.findings import command

TIMEOUT_S = 20.0
# Debian keeps it in sbin, which a user's PATH lacks.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"])
_ROUTES = (
    "virtual_transport",
    "mailbox_transport",
    "local_transport",
    "fallback_transport",
    "relay_transport",
)


class PostfixUnreadable(Exception):
    """postconf failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf."""

    name: str
    kind: str  # unix | inet | ...
    chroot: bool
    process_limit: int  # 0: none
    program: str
    options: Mapping[str, str]  # its "-o name=value"


@dataclass(frozen=True, slots=True)
class Route:
    """A parameter of main.cf that hands mail to an LMTP client."""

    parameter: str
    value: str
    service: Service
    # Where that client connects to: a path as this process sees it, or a host and a port.
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"tcp:{self.host}:{self.port}"


class Postfix:
    """One Postfix instance."""

    def __init__(
        self, directory: str | None, parameters: Mapping[str, str], services: Sequence[Service]
    ) -> None:
        self._directory = directory
        self._parameters = parameters
        self.services = services

    def get(self, name: str, service: Service | None = None) -> str:
        """Return a parameter's value, as a service sees it."""
        if service is not None and name in service.options:
            return service.options[name]
        return self._parameters.get(name, "")

    def number(self, name: str, service: Service | None = None) -> int:
        """Return a parameter that is a number; 0 where it is none."""
        found = re.match(r"\d+", self.get(name, service))
        return int(found[0]) if found else 0

    def seconds(self, name: str, service: Service | None = None) -> int:
        """Return a parameter that is a time."""
        found = re.match(r"(\d+)([smhdw]?)", self.get(name, service))
        factor = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
        return int(found[1]) * factor[found[2]] if found else 0

    def switched_on(self, name: str, service: Service | None = None) -> bool:
        """Return a parameter that is yes or no."""
        return self.get(name, service).lower() == "yes"

    @property
    def queue(self) -> str:
        """The queue directory."""
        return self.get("queue_directory")

    def edit(self, name: str, value: str) -> str:
        """Write the command that sets a parameter."""
        return command("postconf", *self._where(), "-e", f"{name} = {value}")

    def edit_service(self, service: Service, field: str, value: str) -> str:
        """Write the command that sets a field of master.cf."""
        return command("postconf", *self._where(), "-F", f"{service.name}/{service.kind}/{field}={value}")

    def add_service(self, name: str) -> str:
        """Write the command that adds an LMTP client to master.cf."""
        return command("postconf", *self._where(), "-M", f"{name}/unix={name} unix - - y - - lmtp")

    def routes(self) -> Iterator[Route]:
        """Find the parameters that hand mail to an LMTP client."""
        for parameter in _ROUTES:
            name, _, target = self.get(parameter).partition(":")
            for service in self.services:
                if service.name == name and service.program == "lmtp" and target:
                    yield self._route(parameter, service, target)

    def transports_without_service(self) -> Iterator[tuple[str, str]]:
        """Find parameters that name a client that master.cf does not have."""
        known = {service.name for service in self.services}
        for parameter in ("virtual_transport", "mailbox_transport"):  # the others have defaults of no use
            name = self.get(parameter).partition(":")[0]
            if name and name not in known:
                yield parameter, name

    def _route(self, parameter: str, service: Service, target: str) -> Route:
        value = f"{service.name}:{target}"
        if target.startswith("unix:"):
            path = target.removeprefix("unix:")
            # The client's working directory is the queue; in a chroot it is also its root.
            below = path.lstrip("/") if service.chroot else path
            return Route(parameter, value, service, path=os.path.join(self.queue, below))
        host, port = _host_and_port(target.removeprefix("inet:"))
        return Route(parameter, value, service, host=host, port=port or self.number("lmtp_tcp_port") or 24)

    def _where(self) -> list[str]:
        return ["-c", self._directory] if self._directory else []


def read_postfix(directory: str | None) -> Postfix | None:
    """Ask postconf; None: there is no Postfix on this machine.  Raises PostfixUnreadable."""
    program = shutil.which("postconf", path=_PATH)
    if program is None:
        return None
    where = ["-c", directory] if directory else []
    listed = [line.partition(" =") for line in _lines(program, *where, "-x")]
    parameters = {name: value.strip() for name, _, value in listed}
    options: dict[tuple[str, str], dict[str, str]] = {}
    for line in _lines(program, *where, "-P"):
        name, _, value = line.partition(" = ")
        service, kind, parameter = name.split("/", 2)
        options.setdefault((service, kind), {})[parameter] = value
    services = [
        _service(line.split(), parameters, options) for line in _lines(program, *where, "-M") if line.strip()
    ]
    return Postfix(directory, parameters, services)


def _service(
    fields: list[str], parameters: Mapping[str, str], options: Mapping[tuple[str, str], Mapping[str, str]]
) -> Service:
    name, kind, _, _, chroot, _, limit, program, *_ = fields
    if chroot == "-":  # since Postfix 3.0 "no", unless one asks for the behaviour of before
        chroot = "y" if parameters.get("compatibility_level", "0").split(".")[0] == "0" else "n"
    if limit == "-":
        limit = parameters.get("default_process_limit", "100")
    return Service(
        name,
        kind,
        chroot == "y",
        int(limit) if limit.isdigit() else 0,
        os.path.basename(program),
        options.get((name, kind), {}),
    )


def _host_and_port(target: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[?([^\]]*?)\]?(?::(\d+))?", target)
    assert found is not None
    return found[1], int(found[2] or 0)


def _lines(*words: str) -> list[str]:
    done = subprocess.run(words, capture_output=True, check=False, timeout=TIMEOUT_S, text=True)
    if done.returncode:
        raise PostfixUnreadable(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout.splitlines()
