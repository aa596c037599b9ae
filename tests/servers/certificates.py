"""Certificates for servers in tests, of an authority of their own, and of their clients."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

SERVER = "localhost"
"""The only name in the certificate of servers: 127.0.0.1 is a wrong one."""


class Certificates:
    """PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.unknown_ca = folder / "unknown_ca.pem"
        self.server, self.server_key = folder / "server.pem", folder / "server.key"
        self.client, self.client_key = folder / "client.pem", folder / "client.key"
        self.java_store = folder / "store.pem"
        """Key and certificates of the server in the only format that Java reads."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.unknown_ca))
        server = authority.issue_cert(SERVER)
        self._write(server, self.server, self.server_key)
        self._write(authority.issue_cert("trelay@example.com"), self.client, self.client_key)
        key = load_pem_private_key(server.private_key_pem.bytes(), None)
        pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.java_store.write_bytes(pkcs8 + self.server.read_bytes())

    @property
    def of_client(self) -> dict[str, Path]:
        """The settings of a client that trusts the server, and that the server trusts."""
        return {"ca_file": self.ca, "cert_file": self.client, "key_file": self.client_key}

    @staticmethod
    def _write(issued: trustme.LeafCert, certificate: Path, key: Path) -> None:
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
