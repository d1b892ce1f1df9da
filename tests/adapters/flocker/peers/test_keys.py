"""
Keys for a trial: one CA, and for each node what it shows to others.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.peers.keys import make_keys
from powerstrip_flocker.peers.tls import PeerTls

# Twisted's own, of a certificate that it shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(it.relative_to(directory)): it.read_bytes()
        for it in directory.rglob("*")
        if it.is_file()
    }


def test_each_node_has_its_files(tmp_path: Path) -> None:
    """
    In Docker's form; nobody but their owner reads keys.
    """
    make_keys(tmp_path / "keys", ["node1", "node_2"])
    made = files(tmp_path / "keys")
    nodes = {f"{node}/{it}.pem" for node in ("node1", "node_2") for it in ("ca", "cert", "key")}
    assert {"ca.pem", "ca-key.pem", *nodes} == made.keys()
    assert made["node1/ca.pem"] == made["ca.pem"]
    for key in ("ca-key.pem", "node1/key.pem", "node_2/key.pem"):
        assert (tmp_path / "keys" / key).stat().st_mode & 0o777 == 0o600
    folder = tmp_path / "keys" / "node_2"
    tls = PeerTls.load(*(folder / f"{it}.pem" for it in ("ca", "cert", "key")))
    assert tls.names == {"node_2"}


def test_a_node_has_no_common_name(tmp_path: Path) -> None:
    """
    Etcd's gateway refuses one.
    """
    make_keys(tmp_path, ["node1"])
    cert = x509.load_pem_x509_certificate((tmp_path / "node1" / "cert.pem").read_bytes())
    assert list(cert.subject) == []
    assert cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_nodes_are_added(tmp_path: Path) -> None:
    """
    By the same CA, and what is there stays as it is.
    """
    make_keys(tmp_path, ["node1"])
    before = files(tmp_path)
    make_keys(tmp_path, ["node2"])
    after = files(tmp_path)
    assert before.items() <= after.items()
    assert after["node2/ca.pem"] == before["ca.pem"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """
    Neither a node's keys, nor a CA's of which a part is lost or is another's.
    """
    make_keys(tmp_path, ["node1"])
    before = files(tmp_path)
    with pytest.raises(FlockerError, match="node1 is there already: it is not written over"):
        make_keys(tmp_path, ["node2", "node1"])
    assert before == files(tmp_path)
    make_keys(tmp_path / "other", [])
    (tmp_path / "ca-key.pem").write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    with pytest.raises(FlockerError, match=r"ca-key\.pem is not the key of .*ca\.pem"):
        make_keys(tmp_path, ["node2"])
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(FlockerError, match=r"ca-key\.pem"):
        make_keys(tmp_path, ["node2"])
    assert (tmp_path / "ca.pem").read_bytes() == before["ca.pem"]


@pytest.mark.parametrize("node", ["", ".", "..", "a/b", "a b", "n\u00f6de", "a\nb"])
def test_what_can_be_no_name_is_refused(tmp_path: Path, node: str) -> None:
    """
    Nothing is made then.
    """
    with pytest.raises(FlockerError, match="can't be the name of a node"):
        make_keys(tmp_path / "keys", [node])
    assert not (tmp_path / "keys").exists()
