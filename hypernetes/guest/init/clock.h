/* Identity that only the host can give: time and randomness. */
#ifndef HN_CLOCK_H
#define HN_CLOCK_H

#include "link.h"

/* Entropy, the time, and the boot id in return: the first request a machine gets, before anything random is used. */
void clock_identify(struct request *);
/* Reads the clock, or shifts it by T_DELTA. */
void clock_request(struct request *);
void clock_boot_id(struct message *);

#endif
