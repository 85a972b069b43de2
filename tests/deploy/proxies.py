"""nginx and Caddy with the configurations of `deploy/`, in which only names, ports and certificates are exchanged."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import require
from tests.deploy.files import CADDYFILES, NGINX
from tests.processes.service import free_port, until

NAME = "chat.example.org"  # as it stands in the examples
SITE = "localhost"
TRIES = 3  # to have a port
PORTS = ("8081", "8082")  # of the gateways there


class Proxy(NamedTuple):
    """One that runs; `trust` is for clients."""

    port: int
    trust: ssl.SSLContext

    @property
    def origin(self) -> str:
        """Of pages that come from here."""
        return f"https://{SITE}:{self.port}"

    @property
    def ws(self) -> str:
        """Where WebSocket clients go."""
        return f"wss://{SITE}:{self.port}/ws"


class Certificate(NamedTuple):
    """Files in PEM."""

    chain: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """For SITE, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SITE)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(SITE)]), critical=False)
    made = Certificate(directory / "site.pem", directory / "site.key")
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    made.chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made


# --- configurations ---------------------------------------------------------------------------------------------------


def nginx_config(directory: Path, certificate: Certificate, port: int, gateways: Sequence[int]) -> Path:
    """The example within the smallest configuration that nginx takes."""
    text = NGINX.read_text().replace(f"/etc/nginx/tls/{NAME}.pem", str(certificate.chain))
    text = text.replace(f"/etc/nginx/tls/{NAME}.key", str(certificate.key)).replace(NAME, SITE)
    text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    text = text.replace("listen 80;", f"listen unix:{directory}/80;")
    for there, here in zip(PORTS, gateways, strict=True):
        text = text.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
    temporary = "".join(
        f"{what}_temp_path {directory}/{what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx.log info;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}\n}}\n"
    )
    return config


def caddy_config(directory: Path, certificate: Certificate, port: int, gateways: Sequence[int]) -> Path:
    """The example with a certificate of our own, as no authority can reach it here."""
    text = CADDYFILES[0].read_text()
    text = text.replace(f"{NAME} {{", f"https://{SITE}:{port} {{\n\ttls {certificate.chain} {certificate.key}", 1)
    for there, here in zip(PORTS, gateways, strict=True):
        text = text.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
    config = directory / "Caddyfile"
    options = f"admin off\n\tauto_https disable_redirects\n\tstorage file_system {directory}/caddy"
    config.write_text(f"{{\n\t{options}\n}}\n{text}")
    return config


# --- running ----------------------------------------------------------------------------------------------------------


def command_of(name: str) -> str:
    """The path of a program that Debian has under this name."""
    path = shutil.which(name, path=f"{_path()}:/usr/sbin:/sbin")
    require(path, f"needs {name}: apt-get install {'nginx-light' if name == 'nginx' else name}")
    assert path is not None
    return path


@contextmanager
def running(kind: str, directory: Path, gateways: Sequence[int]) -> Iterator[Proxy]:
    """A proxy (`nginx` or `caddy`) before gateways on these ports, until the block ends."""
    command = command_of(kind)
    certificate = make_certificate(directory)
    trust = ssl.create_default_context(cafile=str(certificate.chain))
    log = directory / f"{kind}.log"
    port, process = _start(kind, command, directory, certificate, gateways, log)
    try:
        assert process.poll() is None, log.read_text()
        yield Proxy(port, trust)
    finally:
        process.terminate()
        process.wait(10)


def _start(
    kind: str, command: str, directory: Path, certificate: Certificate, gateways: Sequence[int], log: Path
) -> tuple[int, "subprocess.Popen[bytes]"]:
    """Its port and its process, which has ended where it could not serve. A port that was free may be taken by the time
    that it is asked for."""
    for _ in range(TRIES):
        port = free_port()
        if kind == "nginx":
            argv = [command, "-p", str(directory), "-c", str(nginx_config(directory, certificate, port, gateways))]
        else:
            argv = [command, "run", "--config", str(caddy_config(directory, certificate, port, gateways))]
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                env={"HOME": str(directory), "PATH": _path()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(lambda: _listens(port) or process.poll() is not None, 20, kind)  # noqa: B023  # it is called here only
        if process.poll() is None:
            break
    return port, process


def _path() -> str:
    return os.environ.get("PATH", "")


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
