"""Directories of this machine as what pods mount: local persistent volumes, which need no provisioner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.cluster import NODE, Cluster

SIZE = "2Gi"


def make_volume(cluster: Cluster, name: str, directory: Path) -> None:
    """A volume of the storage class `name`, kept when its claim goes: nobody else's claim can take it."""
    chosen = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": SIZE},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(directory)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [chosen]}]}},
            },
        }
    )


def claim(name: str, storage_class: str) -> dict[str, Any]:
    """A claim for the volume of that class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": SIZE}},
        },
    }
