/* Starting a process: a container's first, or another in a running container. */
#ifndef HN_LAUNCH_H
#define HN_LAUNCH_H

#include "loop.h"
#include "plan.h"

struct launch {
	pid_t pid;
	int in, out, err; /* our ends, -1 where there is none; of a terminal `in` and `out` are its master */
	struct source status;
	bool failed;
	char reason[32], message[512];
	void (*done)(struct launch *); /* the command runs, or `failed` */
	void *owner;
};

/* What the child is given. */
struct child_ends {
	int in, out, err, status;
};

/* `container` is where an exec goes: the pid of its first process; 0 starts a container. `pid_namespace` is shared by
 * the pod's containers, or -1. False (with reason and message) if there is no child at all. */
bool launch(struct launch *, const struct plan *, pid_t container, int pid_namespace);

/* setup.c: in the child. */
void setup_container(const struct plan *, const struct child_ends *) __attribute__((noreturn));
void setup_exec(const struct plan *, const struct child_ends *, int pidfd) __attribute__((noreturn));

#endif
