"""The local provider: tenants' networks with nothing but Linux.

    host                │ router namespace of tenant A          hn-<cluster>-<tenant>
                        │
      eth0 ◄─masquerade─┤ hn…u… ═══════ uplink ◄─masquerade─ brX 10.0.0.1/24 ── tap ── pod 10.0.0.5
                        │ 100.64.0.0/31                             └────────── tap ── pod 10.0.0.6
      nftables          │                                      brY 10.1.0.1/24 ── tap ── pod 10.1.0.7
      inet hn_<cluster> │ nftables: inet router, bridge ports
                        │
                        │ router namespace of tenant B: the same again, with the same addresses if it likes

`provider` is the interface; it calls `routers`, which are made of `bridges`, `ports` and `uplinks`, and `tunnels`,
which join a network's bridges on several nodes; `filters` and `policies` say what each nftables table holds and
`addressing` who gets which address, without I/O; `namespaces`, `links`, `taps`
and `nft` talk to the kernel.

* A pod can reach pods of its own network, its gateway (by ping), and the outside through two masquerades. Everything
  else of the machine is dropped on the host before any other table sees it, other tenants' uplinks included.
* The kernel holds the only state. Names are derived from UIDs and a tap's alias says whose it is, so that an agent
  that comes after a crash finds everything; one lock per machine keeps agents apart.
* IPv4 only for now: IPv6 is off in routers and on uplinks, and dropped from taps.
"""

from hypernetes.providers.network.local.provider import LocalNetworkProvider

__all__ = ["LocalNetworkProvider"]
