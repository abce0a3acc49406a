#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "link.h"
#include "proto.h"

#define TIMERS 8

static int epoll_fd = -1;
static struct source *sources;
static bool resting;
static struct source children_source;

static struct child {
	pid_t pid;
	void (*exited)(void *, pid_t, int);
	void *owner;
	struct child *next;
} *children;

static struct timer {
	int64_t at_ms;
	void (*due)(void);
} timers[TIMERS];

void *allocate(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		abort(); /* pid 1 without memory: the kernel panics, the host sees the machine end */
	return p;
}

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void note(const char *format, ...)
{
	char line[512];
	va_list args;
	int length, fd;

	va_start(args, format);
	length = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (length >= (int)sizeof line)
		length = sizeof line - 1;
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		dprintf(fd, "hn-init: %s\n", line);
		close(fd);
	}
	link_send(M_LOG, 0, 0, line, length);
}

static uint32_t effective(const struct source *s)
{
	return s->bulk && resting ? 0 : s->events;
}

/* A source that wants nothing leaves epoll: otherwise a hang-up, which is always reported, would spin. */
static void update(struct source *s)
{
	struct epoll_event e = {.events = effective(s), .data.ptr = s};
	int operation = !e.events ? EPOLL_CTL_DEL : s->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (!e.events && !s->registered)
		return;
	if (epoll_ctl(epoll_fd, operation, s->fd, &e))
		note("epoll refuses descriptor %d: %s", s->fd, strerror(errno));
	s->registered = e.events != 0;
}

void loop_add(struct source *s, int fd, uint32_t events, void (*ready)(struct source *, uint32_t), void *owner)
{
	s->fd = fd;
	s->events = events;
	s->registered = false;
	s->ready = ready;
	s->owner = owner;
	s->next = sources;
	sources = s;
	update(s);
}

void loop_want(struct source *s, uint32_t events)
{
	if (s->fd < 0 || s->events == events)
		return;
	s->events = events;
	update(s);
}

void loop_close(struct source *s)
{
	if (s->fd < 0)
		return;
	for (struct source **p = &sources; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	if (s->registered)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	close(s->fd);
	s->fd = -1;
}

void loop_rest_bulk(bool rest)
{
	if (rest == resting)
		return;
	resting = rest;
	for (struct source *s = sources; s; s = s->next)
		if (s->bulk)
			update(s);
}

void loop_child(pid_t pid, void (*exited)(void *, pid_t, int), void *owner)
{
	struct child *c = allocate(sizeof *c);

	*c = (struct child){pid, exited, owner, children};
	children = c;
}

void loop_forget_child(pid_t pid)
{
	for (struct child **p = &children; *p; p = &(*p)->next)
		if ((*p)->pid == pid) {
			struct child *c = *p;
			*p = c->next;
			free(c);
			return;
		}
}

static void reap(struct source *s, uint32_t events)
{
	struct signalfd_siginfo info;
	pid_t pid;
	int status;

	(void)events;
	while (read(s->fd, &info, sizeof info) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (struct child **p = &children; *p; p = &(*p)->next)
			if ((*p)->pid == pid) {
				struct child c = **p;
				free(*p);
				*p = c.next;
				c.exited(c.owner, pid, status);
				break;
			}
}

void loop_after(unsigned milliseconds, void (*due)(void))
{
	for (int i = 0; i < TIMERS; i++)
		if (!timers[i].due || timers[i].due == due) {
			timers[i] = (struct timer){monotonic_ms() + milliseconds, due};
			return;
		}
}

static int run_timers(void)
{
	int64_t now = monotonic_ms(), wait = -1;

	for (int i = 0; i < TIMERS; i++) {
		if (timers[i].due && timers[i].at_ms <= now) {
			void (*due)(void) = timers[i].due;
			timers[i].due = NULL;
			due();
		}
		if (timers[i].due && (wait < 0 || timers[i].at_ms - now < wait))
			wait = timers[i].at_ms - now;
	}
	return wait < 0 ? -1 : (int)wait + 1;
}

void loop_init(void)
{
	sigset_t set;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	loop_add(&children_source, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), EPOLLIN, reap, NULL);
}

void loop_run(void)
{
	for (;;) {
		struct epoll_event e;

		/* One event at a time: a handler may close any other source. */
		if (epoll_wait(epoll_fd, &e, 1, run_timers()) == 1) {
			struct source *s = e.data.ptr;
			s->ready(s, e.events);
		}
	}
}
