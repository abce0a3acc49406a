/* Containers' output and exits, in order, until the host acknowledges them.
 *
 * The oldest records are in memory (some SPOOL_WINDOW bytes, which is also what may be on its way unacknowledged). When
 * that is full the containers wait in write(2) for a host that is behind; while it is away, the rest goes to a file on the
 * scratch disk, and when that is full too they wait. Nothing is lost. */
#ifndef HN_SPOOL_H
#define HN_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a record of that size fits now. An exit always does. */
bool spool_has_room(void);
uint8_t *spool_begin(const char *container, size_t *room); /* where its next output is to be read to */
void spool_output(int stream, size_t length);		   /* so much was */
void spool_exit(const uint8_t *status, size_t length);
void spool_acknowledge(uint64_t sequence);
/* Sends what the window and the link allow. */
void spool_pump(void);
/* A new connection: everything unacknowledged is sent again. */
void spool_rewind(void);

#endif
