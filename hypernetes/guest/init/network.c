#define _GNU_SOURCE
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "clock.h"
#include "listen.h"
#include "loop.h"
#include "netlink.h"
#include "proto.h"
#include "volume.h"

/* Link-local, and of no network a pod could be in. */
#define POD_END "169.254.100.1"
#define SERVICE_END "169.254.100.2"
#define LINK_PREFIX 30

static int pod_namespace = -1, service_namespace = -1;

int enter_service_namespace(void) { return setns(service_namespace, CLONE_NEWNET); }

int in_service_namespace(int (*work)(const void *), const void *argument)
{
	int result;

	if (enter_service_namespace())
		return -errno;
	result = work(argument);
	if (setns(pod_namespace, CLONE_NEWNET))
		return -errno;
	return result;
}

static int first_of(const int *results, int count)
{
	for (int i = 0; i < count; i++)
		if (results[i])
			return results[i];
	return 0;
}

static int prepare_service_end(const void *unused)
{
	struct in_addr pod, service, any = {0};
	int results[5];

	(void)unused;
	inet_aton(POD_END, &pod);
	inet_aton(SERVICE_END, &service);
	results[0] = net_link_up("lo");
	results[1] = net_address("hn1", service, LINK_PREFIX);
	results[2] = net_link_up("hn1");
	results[3] = net_route(any, 0, pod, "hn1");
	/* UDP services are forwarded to their back ends. */
	results[4] = write_file("/proc/sys/net/ipv4/ip_forward", "1");
	return first_of(results, 5);
}

void network_prepare(void)
{
	struct in_addr pod;
	int results[5];

	pod_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET))
		note("no service namespace: %s", strerror(errno));
	service_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	setns(pod_namespace, CLONE_NEWNET);
	inet_aton(POD_END, &pod);
	results[0] = net_link_up("lo");
	results[1] = net_veth("hn0", "hn1", service_namespace);
	results[2] = net_address("hn0", pod, LINK_PREFIX);
	results[3] = net_link_up("hn0");
	results[4] = in_service_namespace(prepare_service_end, NULL);
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
	/* As every container runtime: a service may listen on port 80 without being root. */
	write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	if (first_of(results, 5))
		note("the service namespace is not wired: %s", strerror(-first_of(results, 5)));
}

struct configuration {
	const char *hostname;
	struct in_addr address, gateway, service, dns, kubernetes;
	uint64_t prefix, service_prefix, mtu, options;
	const uint8_t *mac;
	bool network;
};

static bool parse_address(const struct field *f, struct in_addr *out)
{
	const char *text = field_string(f);

	return text && inet_pton(AF_INET, text, out) == 1;
}

static int set_sysctl(const char *setting)
{
	char path[256] = "/proc/sys/";
	const char *equals = strchr(setting, '=');
	size_t at = strlen(path);

	if (!equals || equals - setting > 200 || strstr(setting, ".."))
		return -EINVAL;
	for (const char *p = setting; p < equals; p++)
		path[at++] = *p == '.' ? '/' : *p;
	return write_file(path, equals + 1);
}

static bool parse(struct request *r, struct configuration *c)
{
	struct fields fields = {r->bytes, r->length};
	struct field f;
	bool good = true;
	int more;

	while (good && (more = field_next(&fields, &f)) != 0) {
		if (more < 0)
			return false;
		switch (f.tag) {
		case T_HOSTNAME: good = (c->hostname = field_string(&f)) != NULL; break;
		case T_ADDRESS: good = c->network = parse_address(&f, &c->address); break;
		case T_PREFIX: good = field_number(&f, &c->prefix) && c->prefix <= 32; break;
		case T_GATEWAY: good = parse_address(&f, &c->gateway); break;
		case T_MTU: good = field_number(&f, &c->mtu); break;
		case T_MAC: good = f.length == 6; c->mac = f.value; break;
		case T_SERVICE_ADDRESS: good = parse_address(&f, &c->service); break;
		case T_SERVICE_PREFIX: good = field_number(&f, &c->service_prefix) && c->service_prefix <= 32; break;
		case T_DNS_ADDRESS: good = parse_address(&f, &c->dns); break;
		case T_KUBERNETES_ADDRESS: good = parse_address(&f, &c->kubernetes); break;
		case T_OPTIONS: good = field_number(&f, &c->options); break;
		}
	}
	return good && c->hostname;
}

static int configure_nic(const struct configuration *c, const char **what)
{
	struct in_addr any = {0}, service_end;
	int error;

	inet_aton(SERVICE_END, &service_end);
	*what = "its link";
	if (c->mac && (error = net_link_mac(NIC, c->mac)))
		return error;
	if (c->mtu && (error = net_link_mtu(NIC, c->mtu)))
		return error;
	*what = "its address";
	if ((error = net_address(NIC, c->address, c->prefix)) || (error = net_link_up(NIC)))
		return error;
	*what = "its gateway";
	if (c->gateway.s_addr && (error = net_route(any, 0, c->gateway, NIC)))
		return error;
	*what = "the service range";
	if ((error = net_route(c->service, c->service_prefix, service_end, "hn0")))
		return error;
	*what = "DNS and the API";
	return listen_start(c->dns, c->kubernetes);
}

void network_configure(struct request *r)
{
	struct configuration c = {0};
	struct fields fields = {r->bytes, r->length};
	struct field f;
	const char *what = "";
	int error = 0;

	if (!parse(r, &c)) {
		reply_error(r->id, "BadRequest", "the configuration is malformed");
		return;
	}
	if (sethostname(c.hostname, strlen(c.hostname))) {
		reply_error(r->id, "ConfigureFailed", "the host name %s is refused: %s", c.hostname, strerror(errno));
		return;
	}
	if (c.network && (error = configure_nic(&c, &what))) {
		reply_error(r->id, "ConfigureFailed", "the network can't be set up (%s): %s", what, strerror(-error));
		return;
	}
	while (field_next(&fields, &f) > 0)
		if (f.tag == T_SYSCTL && (!field_string(&f) || (error = set_sysctl(field_string(&f))))) {
			reply_error(r->id, "ConfigureFailed", "the sysctl %.*s can't be set: %s", (int)f.length,
				    (const char *)f.value, strerror(-error));
			return;
		}
	containers_configure(c.options & O_SHARE_PIDS);
	reply_ok(r->id);
}
