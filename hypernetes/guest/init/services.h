/* The pod's services: HAProxy and nftables from the toolbox, in the service namespace. */
#ifndef HN_SERVICES_H
#define HN_SERVICES_H

#include "link.h"

/* Mounts the toolbox (LUN 0). */
void services_open(void);
/* New tables; answers when they are in force. M_PREPARE's are those that a template's clones start from. */
void services_set(struct request *);

#endif
