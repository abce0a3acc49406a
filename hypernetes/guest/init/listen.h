/* DNS and the `kubernetes` service: they end here and go on over the guest link. */
#ifndef HN_LISTEN_H
#define HN_LISTEN_H

#include <netinet/in.h>

#include "link.h"

/* Listens in the service namespace on dns:53 (UDP, TCP) and kubernetes:443; 0 or -errno. */
int listen_start(struct in_addr dns, struct in_addr kubernetes);
/* The host's answer to a DNS question. */
void listen_answer(const struct frame *);
/* The host wants a TCP connection to an address of the pod. */
void listen_forward(struct request *);

#endif
