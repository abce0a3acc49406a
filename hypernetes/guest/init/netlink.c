#include "netlink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct netlink_request {
	struct nlmsghdr header;
	uint8_t body[512];
};

static void begin(struct netlink_request *r, int type, int flags, const void *body, size_t length)
{
	memset(r, 0, sizeof *r);
	r->header.nlmsg_type = type;
	r->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->header.nlmsg_len = NLMSG_LENGTH(length);
	memcpy(NLMSG_DATA(&r->header), body, length);
}

static struct rtattr *attribute(struct netlink_request *r, int type, const void *value, size_t length)
{
	struct rtattr *a = (void *)((uint8_t *)&r->header + NLMSG_ALIGN(r->header.nlmsg_len));

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(length);
	if (length)
		memcpy(RTA_DATA(a), value, length);
	r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static void close_nest(struct netlink_request *r, struct rtattr *nest)
{
	nest->rta_len = (uint8_t *)&r->header + r->header.nlmsg_len - (uint8_t *)nest;
}

static int talk(struct netlink_request *r)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[1024];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), result = -EIO;

	if (fd < 0)
		return -errno;
	if (send(fd, r, r->header.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
		result = -errno;
	else if (answer.header.nlmsg_type == NLMSG_ERROR)
		result = answer.error.error;
	close(fd);
	return result;
}

static int link_change(const char *name, unsigned flags, int type, const void *value, size_t length)
{
	struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = if_nametoindex(name), .ifi_flags = flags, .ifi_change = flags};
	struct netlink_request r;

	if (!link.ifi_index)
		return -ENODEV;
	begin(&r, RTM_NEWLINK, 0, &link, sizeof link);
	if (length)
		attribute(&r, type, value, length);
	return talk(&r);
}

int net_link_up(const char *name) { return link_change(name, IFF_UP, 0, NULL, 0); }
int net_link_mtu(const char *name, uint32_t mtu) { return link_change(name, 0, IFLA_MTU, &mtu, sizeof mtu); }
int net_link_mac(const char *name, const uint8_t mac[6]) { return link_change(name, 0, IFLA_ADDRESS, mac, 6); }

int net_address(const char *name, struct in_addr address, int prefix)
{
	struct ifaddrmsg m = {.ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = if_nametoindex(name)};
	struct netlink_request r;
	struct in_addr broadcast = {address.s_addr | htonl(prefix < 31 ? 0xffffffffu >> prefix : 0)};

	if (!m.ifa_index)
		return -ENODEV;
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
	attribute(&r, IFA_LOCAL, &address, sizeof address);
	attribute(&r, IFA_ADDRESS, &address, sizeof address);
	if (prefix < 31)
		attribute(&r, IFA_BROADCAST, &broadcast, sizeof broadcast);
	return talk(&r);
}

int net_route(struct in_addr destination, int prefix, struct in_addr via, const char *name)
{
	struct rtmsg m = {.rtm_family = AF_INET, .rtm_dst_len = prefix, .rtm_table = RT_TABLE_MAIN,
			  .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST,
			  .rtm_scope = via.s_addr ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK};
	uint32_t index = if_nametoindex(name);
	struct netlink_request r;

	if (!index)
		return -ENODEV;
	begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
	if (prefix)
		attribute(&r, RTA_DST, &destination, sizeof destination);
	if (via.s_addr)
		attribute(&r, RTA_GATEWAY, &via, sizeof via);
	attribute(&r, RTA_OIF, &index, sizeof index);
	return talk(&r);
}

int net_veth(const char *name, const char *peer, int peer_namespace)
{
	struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
	struct netlink_request r;
	struct rtattr *info, *data, *other;
	uint32_t namespace = peer_namespace;

	begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
	attribute(&r, IFLA_IFNAME, name, strlen(name) + 1);
	info = attribute(&r, IFLA_LINKINFO, NULL, 0);
	attribute(&r, IFLA_INFO_KIND, "veth", 4);
	data = attribute(&r, IFLA_INFO_DATA, NULL, 0);
	other = attribute(&r, VETH_INFO_PEER, &link, sizeof link);
	attribute(&r, IFLA_IFNAME, peer, strlen(peer) + 1);
	attribute(&r, IFLA_NET_NS_FD, &namespace, sizeof namespace);
	close_nest(&r, other);
	close_nest(&r, data);
	close_nest(&r, info);
	return talk(&r);
}
