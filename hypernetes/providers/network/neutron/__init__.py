"""The provider `neutron`: tenants' networks are networks of OpenStack's, each in its tenant's project.

    hn-controllers                                        hn-agent, on each node
    networks, groups, ports ── REST ──► Neutron           plugging ── OVSDB ──► br-int ── tap ── pod
        │                                  │                  ▲
        └── Port.status.binding ───────────│──────────────────┘
                                           └──► OVN northbound, or the agents of ML2/OVS

Only hn-controllers has the credential: a node learns of its own ports what it needs to plug them, no more.

* Whatever is made carries the tags of `tags` and is in the tenant's project; what doesn't, isn't touched. A network of
  `spec.providerNetworkID` must be the project's own or shared with it, and is used as it is.
* A network's subnets have no DHCP: a pod is told its address over the guest link. One router for each tenant joins its
  networks and leads outside, where an external network is configured.
* NetworkPolicies are security groups, one for the ports of a network that the same policies select.

`api` speaks to Neutron, `tags` says what things are called, `networks`, `groups` and `ports` are what is made, without
`await`; `provider` runs them in threads. `plugging` is the node's half and `switch` its Open vSwitch.
"""

from hypernetes.providers.network.neutron.provider import NeutronNetworkProvider

__all__ = ["NeutronNetworkProvider"]
