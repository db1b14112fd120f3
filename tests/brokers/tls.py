"""A private certificate authority, made by openssl for one test run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_DAYS = "30"


class Certificate(NamedTuple):
    """
    A server's certificate.

    Args:
        certificate: PEM file.
        key: PEM file, PKCS#8, without a password.
        authority: PEM file of the authority that signed it: what a client trusts.
    """

    certificate: Path
    key: Path
    authority: Path


class Authority:
    """
    Signs certificates for servers.

    Args:
        directory: where keys and certificates are written; made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / "authority.key"
        self.certificate = directory / "authority.pem"
        self._make_key(self._key)
        self._openssl(
            *("req", "-x509", "-new", "-key", str(self._key), "-days", _DAYS, "-subj", "/CN=test authority"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(self.certificate)),
        )

    def issue(self, *hosts: str, name: str = "server") -> Certificate:
        """
        Make a key and a certificate.

        Args:
            hosts: host names the certificate stands for; none: this machine, as ``localhost`` and 127.0.0.1.
            name: of the files.
        """
        names = [f"DNS:{host}" for host in hosts] or ["DNS:localhost", "IP:127.0.0.1"]
        key, request, signed = (self._directory / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\n")
        self._make_key(key)
        self._openssl("req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-out", str(request))
        self._openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", _DAYS, "-extfile", str(extensions), "-out", str(signed)),
        )
        return Certificate(signed, key, self.certificate)

    def _make_key(self, path: Path) -> None:
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
