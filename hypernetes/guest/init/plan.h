/* What the host said a process shall be: parsed once, kept for the container's life (exec inherits it). */
#ifndef HN_PLAN_H
#define HN_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"
#include "link.h"

#define ARGS_MAX 4096
#define MOUNTS_MAX 256
#define FILES_MAX 64
#define GROUPS_MAX 64

struct plan_mount {
	const char *source, *target, *sub_path;
	uint64_t options;
};

struct plan_file {
	const char *path;
	const uint8_t *content;
	uint32_t length;
};

struct plan {
	uint8_t *message; /* owned; every pointer below goes into it */
	const char *id, *image, *cwd, *message_path, *processes_of;
	char **argv, **env;
	unsigned argc, envc, mount_count, file_count, group_count;
	struct plan_mount *mounts;
	struct plan_file *files;
	const uint8_t *seccomp; /* struct sock_filter[], unaligned */
	uint32_t seccomp_length;
	gid_t groups[GROUPS_MAX];
	uint64_t uid, gid, options, capabilities, memory, cpu_millis, stream;
};

/* Takes the request's bytes over; false if it is malformed or beyond bounds (then nothing is taken). */
bool plan_parse(struct plan *, struct request *);
void plan_free(struct plan *);

#endif
