"""Somebody at a shell: `hn` and kubectl with a home and a kubeconfig of their own."""

import sys
from pathlib import Path

from tests.e2e.clusters import Cluster
from tests.integration.clients.commands import Command, Kubectl
from tests.integration.control_plane import ControlPlane
from tests.openstack.keystones import Keystone

_HN = str(Path(sys.executable).with_name("hn"))


class Person:
    def __init__(self, keystone: Keystone, plane: ControlPlane | Cluster, name: str, project: str) -> None:
        self.settings = keystone.as_user(name, project)
        self.kubeconfig = plane.layout.root / f"{name}.kubeconfig"
        self.hn, self.kubectl = Command(_HN, self.kubeconfig), Kubectl(self.kubeconfig)
        self._directory = str(plane.layout.root)

    def log_in(self, **settings: str) -> str:
        return self.hn("login", "--dir", self._directory, **(settings or self.settings))

    def does(self, *arguments: str) -> str:
        """kubectl, with the password at hand."""
        return self.kubectl(*arguments, **self.settings)
