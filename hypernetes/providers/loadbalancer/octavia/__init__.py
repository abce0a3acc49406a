"""The provider `octavia`: a load balancer of OpenStack's for each Service, in the tenant's project, known by its tags.

A new one is made by one call that holds all of it; members change by one call for each port. `balancers` decides and
acts, without `await`; `provider` runs it in threads.
"""

from hypernetes.providers.loadbalancer.octavia.provider import OctaviaProvider

__all__ = ["OctaviaProvider"]
