/* The little of rtnetlink a pod's network needs. Each call returns 0 or -errno, and acts in the caller's namespace. */
#ifndef HN_NETLINK_H
#define HN_NETLINK_H

#include <netinet/in.h>
#include <stdint.h>

int net_link_up(const char *name);
int net_link_mtu(const char *name, uint32_t mtu);
int net_link_mac(const char *name, const uint8_t mac[6]);
int net_address(const char *name, struct in_addr address, int prefix);
/* `via` 0.0.0.0: on the link. */
int net_route(struct in_addr destination, int prefix, struct in_addr via, const char *name);
/* A veth pair whose other end is in the namespace `peer_namespace` (a descriptor). */
int net_veth(const char *name, const char *peer, int peer_namespace);

#endif
