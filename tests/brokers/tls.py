"""A private certificate authority, made by openssl for one test run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_DAYS = "30"

# Of the ways openssl 3.0 has, only its `ca` takes dates of the past.
_SIGNING = """\
[ca]
default_ca = test
[test]
database = {index}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
"""


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

    def issue(self, *hosts: str, name: str = "server", expired: bool = False) -> Certificate:
        """
        Make a key and a certificate.

        Args:
            hosts: host names the certificate stands for; none: this machine, as ``localhost`` and 127.0.0.1.
            name: of the files.
            expired: it was valid until some day long ago.
        """
        names = [f"DNS:{host}" for host in hosts] or ["DNS:localhost", "IP:127.0.0.1"]
        key, request, signed = (self._directory / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\n")
        self._make_key(key)
        self._openssl("req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-out", str(request))
        settings = self._directory / f"{name}.conf"
        (self._directory / f"{name}.index").touch()
        settings.write_text(_SIGNING.format(index=self._directory / f"{name}.index"))
        dates = ("20200101000000Z", "20200201000000Z") if expired else ("20200101000000Z", "20990101000000Z")
        self._openssl(
            *("ca", "-batch", "-notext", "-config", str(settings), "-in", str(request), "-out", str(signed)),
            *("-cert", str(self.certificate), "-keyfile", str(self._key), "-outdir", str(self._directory)),
            *("-startdate", dates[0], "-enddate", dates[1], "-extfile", str(extensions)),
        )
        return Certificate(signed, key, self.certificate)

    def _make_key(self, path: Path) -> None:
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
