"""Tenants' networks as logical switches of OVN, made in its northbound database; no Neutron.

    hn-controllers: control ── ovn-nbctl ──► northbound          hn-agent: node ── ovs-vsctl ──► br-int ── tap

Each network is a switch, each tenant has a router that joins its networks and leads outside, each pod a port with its
addresses pinned, each set of policies a port group with its access control lists. The provider's file:

northbound: unix:/var/run/ovn/ovnnb_db.sock
ovsdb: unix:/var/run/openvswitch/db.sock
outside: {network: public, chassis: node-1, cidr: 192.0.2.0/24, gateway: 192.0.2.1, first: 192.0.2.10, last: 192.0.2.99}
"""

from hypernetes_ovn.provider import OVNNetworkProvider

__all__ = ["OVNNetworkProvider"]
