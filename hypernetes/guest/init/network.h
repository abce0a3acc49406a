/* The pod's network namespace and the service namespace beside it.
 *
 *   containers ── pod namespace ── hn0 ═══ hn1 ── service namespace
 *                  │ eth0 (NIC)                    HAProxy :15001, DNS :53, API :443, nftables
 *
 * The service range is routed into the service namespace; what leaves that carries the pod's address (masquerade). */
#ifndef HN_NETWORK_H
#define HN_NETWORK_H

#include "link.h"

#define NIC "eth0"

/* Makes both namespaces' static parts; nothing of it is a machine's own. */
void network_prepare(void);
/* Runs `work` with this thread inside the service namespace. */
int in_service_namespace(int (*work)(const void *), const void *argument);
/* For a child: goes there for good. */
int enter_service_namespace(void);
void network_configure(struct request *);

#endif
