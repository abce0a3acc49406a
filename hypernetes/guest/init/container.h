/* The pod's containers: start, output, exit, attach, exec. */
#ifndef HN_CONTAINER_H
#define HN_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "link.h"
#include "plan.h"

/* The pod's cgroup, and in it each container's. */
#define CGROUPS "/sys/fs/cgroup/pod"

void containers_open(void);
void containers_configure(bool share_pids);
void containers_resume_output(void);

void container_start(struct request *);
void container_signal(struct request *);
void container_remove(struct request *);
void container_attach(struct request *);
void container_resize(struct request *);
void container_list(struct request *);
void container_limit(struct request *);
/* Adds what each running container uses. */
void containers_usage(struct message *);

/* The plan and first process of a running container, for exec; NULL if it doesn't run. */
const struct plan *container_running(const char *id, pid_t *pid);
int exit_code(int wait_status);

#endif
