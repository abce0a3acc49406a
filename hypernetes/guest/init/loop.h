/* The one poll loop: file descriptors, children, timers. */
#ifndef HN_LOOP_H
#define HN_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct source {
	int fd; /* -1 while it isn't watched */
	uint32_t events;
	bool registered;
	bool bulk; /* produces data for the link: rests while the link is congested */
	void (*ready)(struct source *, uint32_t events);
	void *owner;
	struct source *next;
};

void loop_init(void);
void loop_run(void) __attribute__((noreturn));

/* Takes `fd` over: loop_close closes it. */
void loop_add(struct source *, int fd, uint32_t events, void (*ready)(struct source *, uint32_t), void *owner);
void loop_want(struct source *, uint32_t events);
void loop_close(struct source *);
void loop_rest_bulk(bool rest);

/* Calls `exited` once when the child ends; `status` is waitpid's. */
void loop_child(pid_t, void (*exited)(void *owner, pid_t, int status), void *owner);
void loop_forget_child(pid_t);
void loop_after(unsigned milliseconds, void (*due)(void));

/* A line for the operator: the kernel's log, and the host's if it is there. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocate(size_t);
int64_t now_ns(void);
int64_t monotonic_ms(void);

#endif
