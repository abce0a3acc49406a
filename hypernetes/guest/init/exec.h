/* Commands run in a running container. */
#ifndef HN_EXEC_H
#define HN_EXEC_H

#include "link.h"

void exec_start(struct request *);
void exec_signal(uint32_t stream, int number);

#endif
