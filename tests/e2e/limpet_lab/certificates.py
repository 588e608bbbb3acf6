# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for one laboratory, made with the openssl command."""
import pathlib

from .process import run


class Authority:
    """Certificates as files in a folder: NAME.pem and NAME.key."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder) / "certificates"
        self.folder.mkdir()
        self.ca = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        self._index = self.folder / "index.txt"
        self._index.write_text("")
        (self.folder / "ca.cnf").write_text(f"[ca]\ndefault_ca = all\n[all]\ndatabase = {self._index}\n"
                                            "default_md = sha256\ndefault_crl_days = 30\n")
        self._openssl("req", "-x509", *self._new_key(self._key), "-out", self.ca, "-days", "30",
                      "-subj", "/CN=Limpet's laboratory")

    @staticmethod
    def _new_key(path, kind="ec"):
        parameters = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        return ["-newkey", *parameters, "-nodes", "-keyout", path]

    def _openssl(self, *words):
        return run("openssl", *words, timeout=30)

    def issue(self, name, common_name=None, names="DNS:localhost", kind="ec"):
        """Returns the certificate's and the key's path; one that is there already is replaced."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request = self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *self._new_key(key, kind), "-out", request, "-subj", f"/CN={common_name or name}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial",
                      "-out", certificate, "-days", "20", "-extfile", extensions)
        return certificate, key

    def revoke(self, certificate):
        """Puts a certificate on the list of revoked ones and returns the list's path."""
        listed = self.folder / "crl.pem"
        common = ["-config", self.folder / "ca.cnf", "-cert", self.ca, "-keyfile", self._key]
        self._openssl("ca", *common, "-revoke", certificate)
        self._openssl("ca", *common, "-gencrl", "-out", listed)
        return listed

    def status_of(self, certificate):
        """An OCSP response of this authority that says that the certificate is good; its path (DER)."""
        serial = self._openssl("x509", "-in", certificate, "-noout", "-serial").stdout.strip().removeprefix("serial=")
        with open(self._index, "a") as index:  # as `openssl ca` would have noted it: valid, its end, serial, subject
            index.write(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN={certificate.stem}\n")
        question, answer = (self.folder / f"{certificate.stem}.{ending}" for ending in ("ocsp-request", "ocsp"))
        self._openssl("ocsp", "-issuer", self.ca, "-cert", certificate, "-reqout", question, "-no_nonce")
        self._openssl("ocsp", "-index", self._index, "-CA", self.ca, "-rsigner", self.ca, "-rkey", self._key,
                      "-reqin", question, "-respout", answer, "-ndays", "7")
        return answer
