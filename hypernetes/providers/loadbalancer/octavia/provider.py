"""The provider itself: runs what blocks in a few threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hypernetes.providers import clouds, fencing
from hypernetes.providers.loadbalancer.base import LoadBalancerError, LoadBalancerSpec
from hypernetes.providers.loadbalancer.octavia import api, balancers
from hypernetes.providers.loadbalancer.octavia import configuration as configurations
from hypernetes.providers.network.base import NetworkError
from hypernetes.providers.network.neutron import api as neutron_api

Result = TypeVar("Result")

_THREADS = 8  # load balancers worked on at once


class OctaviaProvider:
    """See hypernetes/providers/loadbalancer/base.py, which has the promises."""

    name = "octavia"

    def __init__(self, cluster_id: str, configuration: Path | None = None) -> None:
        """Raises ValueError for a configuration that can't be used."""
        self._cluster_id = cluster_id
        self._configuration = configurations.read(configuration)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="octavia")
        self._clients: tuple[api.Octavia, neutron_api.Neutron] | None = None

    async def ensure(self, wanted: LoadBalancerSpec) -> str:
        said = self._configuration

        def ensured(octavia: api.Octavia, neutron: neutron_api.Neutron) -> str:
            return balancers.ensure(octavia, neutron, self._cluster_id, said.provider, said.floating_network, wanted)

        return await self._ask(ensured)

    async def delete(self, project: str, uid: str) -> None:
        await self._ask(lambda octavia, neutron: balancers.delete(octavia, neutron, self._cluster_id, project, uid))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, question: Callable[[api.Octavia, neutron_api.Neutron], Result]) -> Result:
        """Raises LoadBalancerError, Pending and Fenced."""

        def asked() -> Result:
            try:
                if self._clients is None:
                    region = clouds.region(self._configuration.cloud, self._configuration.clouds)
                    self._clients = api.connected(region), neutron_api.connected(region)
                return question(*self._clients)
            except clouds.UnknownCloud as error:
                why = f"{error}; say which (--load-balancer-provider octavia=FILE)"
                raise LoadBalancerError("NoCloud", why) from error
            except NetworkError as error:
                raise LoadBalancerError(error.reason, error.message) from error
            except (LookupError, TypeError, AttributeError) as error:  # what an answer comes to that isn't one
                raise LoadBalancerError("Unavailable", f"OpenStack's answer can't be understood: {error!r}") from error

        return await fencing.in_thread(self._threads, asked)
