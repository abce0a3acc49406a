/* The pod's services: HAProxy and nftables from the toolbox, in the service namespace. */
#ifndef HN_SERVICES_H
#define HN_SERVICES_H

#include "link.h"

/* Mounts the toolbox (LUN 0). */
void services_open(void);
/* Starts both programs idle, so that a template holds their code; answers when they stand. */
void services_prepare(struct request *);
/* New tables; answers when they are in force. */
void services_set(struct request *);

#endif
