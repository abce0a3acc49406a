"""What lies where under DIR, and the few facts about a cluster that outlive its processes (`cluster.json`)."""

import json
import secrets
import string
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hypernetes.cli.errors import CommandError
from hypernetes.pki import PkiDirectory, write_public

_ID_CHARACTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Cluster:
    """`cluster.json`. The id is part of every host-global name, so it never changes; the rest is of the last start."""

    id: str
    bind: str = "127.0.0.1"
    port: int = 6443
    agent_ports: tuple[int, ...] = ()  # one per node, kept so that a restarted node is found where it was
    network_provider: str = "local"  # NAME or NAME=FILE: who takes networks away again

    @property
    def server(self) -> str:
        """Where this machine reaches the API."""
        host = "127.0.0.1" if self.bind == "0.0.0.0" else self.bind
        return f"https://[{host}]:{self.port}" if ":" in host else f"https://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Layout:
    """All paths of one cluster; `root` is DIR, absolute."""

    root: Path

    @classmethod
    def of(cls, directory: Path) -> "Layout":
        return cls(directory.expanduser().resolve())

    @property
    def cluster_file(self) -> Path:
        return self.root / "cluster.json"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.root / "admin.kubeconfig"

    @property
    def first_objects(self) -> Path:
        """There once a new cluster's objects have been made; empty."""
        return self.root / "first-objects"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    def kubeconfig(self, component: str) -> Path:
        return self.root / "kubeconfig" / f"{component}.kubeconfig"

    def tenant_kubeconfig(self, tenant: str) -> Path:
        return self.root / "tenants" / f"{tenant}.kubeconfig"

    def node(self, name: str) -> Path:
        return self.root / "nodes" / name

    def node_network(self, name: str) -> Path:
        """The local network provider's configuration of one of several nodes."""
        return self.node(name) / "network.yaml"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def pid(self, process: str) -> Path:
        return self.run / f"{process}.pid"

    def pki_directory(self, cluster: Cluster) -> PkiDirectory:
        return PkiDirectory(self.pki, cluster.id)

    def load(self) -> Cluster:
        """The cluster that lives here. Raises CommandError where none does."""
        try:
            facts = json.loads(self.cluster_file.read_bytes())
            facts["agent_ports"] = tuple(facts.get("agent_ports", ()))
            return Cluster(**facts)
        except FileNotFoundError:
            raise CommandError(f"{self.root} holds no cluster; `hn up --dir {self.root}` makes one") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise CommandError(f"{self.cluster_file} is damaged: {error}") from error

    def save(self, cluster: Cluster) -> None:
        write_public(self.cluster_file, json.dumps(asdict(cluster), indent=2).encode() + b"\n")

    def load_or_create(self, *, bind: str, port: int) -> Cluster:
        """The cluster with its new address, made if there is none. Not written yet."""
        if self.cluster_file.exists():
            return replace(self.load(), bind=bind, port=port)
        return Cluster(new_cluster_id(), bind, port)


def new_cluster_id() -> str:
    """Random, so that clusters of several directories and machines don't meet. Begins with a letter."""
    first = secrets.choice(string.ascii_lowercase)
    return first + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH - 1))


def node_names(count: int, host: str) -> list[str]:
    """One node is called after its machine; of several each has a number."""
    return [host] if count == 1 else [f"{host}-{number}" for number in range(1, count + 1)]
