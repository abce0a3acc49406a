#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "exec.h"
#include "launch.h"
#include "proto.h"
#include "spool.h"
#include "stream.h"
#include "volume.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CONTAINERS_MAX 64
#define ATTACHED_MAX 8
#define PIDS_MAX "16384" /* half of the kernel's default limit: one container can't starve the others of processes */
#define MESSAGE_MAX 4096 /* of a container's last words, as Kubernetes has it */
#define DRAIN_MS 1000	 /* for output held open by a process that outlived its container */

enum state { CREATED, RUNNING, EXITED };

struct container {
	struct plan plan;
	struct launch launch;
	uint32_t request;
	enum state state;
	bool gone, oom; /* gone: reaped, its output perhaps not yet read */
	int code, in;
	int64_t started, finished;
	struct source out[2];
	struct stream *attached[ATTACHED_MAX];
	struct container *next;
};

static struct container *containers;
static unsigned count;
static int shared_pids = -1;

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static struct container *find(const char *id)
{
	for (struct container *c = containers; c; c = c->next)
		if (id && !strcmp(c->plan.id, id))
			return c;
	return NULL;
}

const struct plan *container_running(const char *id, pid_t *pid)
{
	struct container *c = find(id);

	if (!c || c->state != RUNNING || c->gone)
		return NULL;
	*pid = c->launch.pid;
	return &c->plan;
}

void containers_open(void)
{
	mount("cgroup2", CGROUP_ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	if (write_file(CGROUP_ROOT "/cgroup.subtree_control", "+memory +cpu +pids") || mkdir(CGROUPS, 0755) ||
	    write_file(CGROUPS "/cgroup.subtree_control", "+memory +cpu +pids"))
		note("no cgroup controllers");
	make_directories("/run/containers", 0755);
	make_directories(VOLUMES, 0755);
	make_directories("/run/shm", 0755);
	mount("shm", "/run/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
}

/* The first process of the PID namespace that the pod's containers share: it only reaps. */
static void pause_for_ever(void)
{
	sigset_t all;
	int received;

	sigfillset(&all);
	for (;;) {
		sigwait(&all, &received);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

void containers_configure(bool share)
{
	char path[64];
	pid_t pid;

	if (!share || shared_pids >= 0)
		return;
	pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		pause_for_ever();
	snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)pid);
	shared_pids = open(path, O_RDONLY | O_CLOEXEC);
	if (shared_pids < 0)
		note("no shared PID namespace: %s", strerror(errno));
}

/* Of a container's cgroup, or with "." the pod's. */
static int set_limit(const char *id, const char *name, const char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, CGROUPS "/%s/%s", id, name);
	return write_file(path, value);
}

/* 0 is no limit. */
static int limit(const char *id, uint64_t memory, uint64_t cpu_millis)
{
	char text[64] = "max";
	int error;

	if (memory)
		snprintf(text, sizeof text, "%llu", (unsigned long long)memory);
	if ((error = set_limit(id, "memory.max", text)))
		return error;
	/* Of each 100 ms; the kernel takes no less than 1 ms. */
	snprintf(text, sizeof text, "%llu 100000", (unsigned long long)(cpu_millis < 10 ? 1000 : cpu_millis * 100));
	return set_limit(id, "cpu.max", cpu_millis ? text : "max 100000");
}

static int make_cgroup(const struct plan *p)
{
	char path[PATH_MAX];
	int error;

	snprintf(path, sizeof path, CGROUPS "/%s", p->id);
	if (mkdir(path, 0755) && errno != EEXIST)
		return -errno;
	if ((error = set_limit(p->id, "pids.max", PIDS_MAX)) || (error = set_limit(p->id, "memory.oom.group", "1")))
		return error;
	return limit(p->id, p->memory, p->cpu_millis);
}

void container_limit(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	const char *name = ".";
	uint64_t memory = 0, cpu_millis = 0;
	struct field f;
	int error;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_NAME)
			name = field_string(&f);
		if (f.tag == T_MEMORY)
			field_number(&f, &memory);
		if (f.tag == T_CPU)
			field_number(&f, &cpu_millis);
	}
	if (!name || (strcmp(name, ".") && !find(name)))
		reply_error(r->id, "ContainerGone", "the machine has no container %s", name ? name : "");
	else if ((error = limit(name, memory, cpu_millis)))
		reply_error(r->id, "LimitFailed", "the limits can't be set: %s", strerror(-error));
	else
		reply_ok(r->id);
}

/* The number that follows `name` in a file of the container's cgroup, or with "" the one it begins with; 0 if none. */
static unsigned long long read_number(const char *id, const char *file, const char *name)
{
	char path[PATH_MAX], text[4096];
	const char *found;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, CGROUPS "/%s/%s", id, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	found = strstr(text, name);
	return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

static bool was_oom_killed(const char *id) { return read_number(id, "memory.events", "oom_kill ") > 0; }

static void free_container(struct container *c)
{
	char path[PATH_MAX];

	for (struct container **p = &containers; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			count--;
			break;
		}
	snprintf(path, sizeof path, CGROUPS "/%s", c->plan.id);
	rmdir(path);
	loop_close(&c->out[0]);
	loop_close(&c->out[1]);
	if (c->in >= 0)
		close(c->in);
	plan_free(&c->plan);
	free(c);
}

/* The writable layer may be large: a child removes it. */
static void remove_layer(const char *id)
{
	static unsigned serial;
	char path[PATH_MAX], trash[PATH_MAX];

	snprintf(path, sizeof path, SCRATCH "/containers/%s", id);
	snprintf(trash, sizeof trash, SCRATCH "/trash.%u", serial++);
	if (rename(path, trash))
		return; /* it never got one */
	if (fork() == 0) {
		remove_tree(trash);
		_exit(0);
	}
}

static void add_last_words(struct message *m, const struct container *c)
{
	char path[PATH_MAX], text[MESSAGE_MAX];
	ssize_t n;
	int fd;

	if (!c->plan.message_path)
		return;
	snprintf(path, sizeof path, SCRATCH "/containers/%s/message", c->plan.id);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof text);
	close(fd);
	if (n > 0)
		message_bytes(m, T_CONTENT, text, n);
}

static void add_status(struct message *m, const struct container *c)
{
	message_string(m, T_NAME, c->plan.id);
	message_number(m, T_STATE, c->state);
	if (c->started)
		message_number(m, T_STARTED, c->started);
	if (c->state == EXITED) {
		message_number(m, T_FINISHED, c->finished);
		message_number(m, T_CODE, c->code);
		message_number(m, T_OOM, c->oom);
		add_last_words(m, c);
	}
}

static void finish(struct container *c)
{
	struct message m = {0};

	c->state = EXITED;
	add_status(&m, c);
	spool_exit(m.bytes, m.length);
	free(m.bytes);
	if (c->in >= 0)
		close(c->in);
	c->in = -1;
	for (int i = 0; i < ATTACHED_MAX; i++)
		if (c->attached[i])
			stream_end(c->attached[i], c->code);
	memset(c->attached, 0, sizeof c->attached);
}

static void output_ended(struct container *c)
{
	if (c->gone && c->state == RUNNING && c->out[0].fd < 0 && c->out[1].fd < 0)
		finish(c);
}

static void on_output(struct source *s, uint32_t events)
{
	struct container *c = s->owner;
	int channel = s == &c->out[0] ? 1 : 2;
	uint8_t *buffer;
	size_t room;
	ssize_t n;

	(void)events;
	if (!spool_has_room()) {
		loop_want(s, 0);
		return;
	}
	buffer = spool_begin(c->plan.id, &room);
	n = read(s->fd, buffer, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_close(s);
		output_ended(c);
		return;
	}
	for (int i = 0; i < ATTACHED_MAX; i++)
		if (c->attached[i])
			stream_push(c->attached[i], channel, buffer, n);
	spool_output(channel, n);
}

void containers_resume_output(void)
{
	for (struct container *c = containers; c && spool_has_room(); c = c->next) {
		loop_want(&c->out[0], EPOLLIN);
		loop_want(&c->out[1], EPOLLIN);
	}
}

/* A process that left the container's namespaces with its output in hand doesn't keep it from having exited. */
static void give_up_draining(void)
{
	for (struct container *c = containers; c; c = c->next) {
		if (!c->gone || c->state != RUNNING)
			continue;
		if (!spool_has_room()) {
			loop_after(DRAIN_MS, give_up_draining);
			continue;
		}
		loop_close(&c->out[0]);
		loop_close(&c->out[1]);
		output_ended(c);
	}
}

static void settle(struct container *c)
{
	if (!c->gone || c->state != RUNNING)
		return;
	set_limit(c->plan.id, "cgroup.kill", "1");
	output_ended(c);
	if (c->state == RUNNING)
		loop_after(DRAIN_MS, give_up_draining);
}

static void on_exit(void *owner, pid_t pid, int status)
{
	struct container *c = owner;

	(void)pid;
	c->gone = true;
	c->finished = now_ns();
	c->code = exit_code(status);
	c->oom = was_oom_killed(c->plan.id);
	settle(c); /* unless it isn't known yet whether the command ever ran */
}

static void on_launched(struct launch *l)
{
	struct container *c = l->owner;

	if (l->failed) {
		loop_forget_child(l->pid);
		reply_error(c->request, l->reason, "%s", l->message);
		c->in = l->in;
		if (l->out >= 0)
			close(l->out);
		if (l->err >= 0)
			close(l->err);
		remove_layer(c->plan.id);
		free_container(c);
		return;
	}
	c->state = RUNNING;
	c->started = now_ns();
	c->in = l->in;
	if (l->in >= 0)
		fcntl(l->in, F_SETFL, O_NONBLOCK);
	fcntl(l->out, F_SETFL, O_NONBLOCK);
	loop_add(&c->out[0], l->out, EPOLLIN, on_output, c);
	if (l->err >= 0) {
		fcntl(l->err, F_SETFL, O_NONBLOCK);
		loop_add(&c->out[1], l->err, EPOLLIN, on_output, c);
	}
	reply_ok(c->request);
	settle(c);
}

/* That of another container, the pod's, or -1 for one of its own. */
static int process_namespace(const struct plan *p)
{
	struct container *other = find(p->processes_of);
	char path[64];

	if (!p->processes_of)
		return shared_pids < 0 ? -1 : fcntl(shared_pids, F_DUPFD_CLOEXEC, 3);
	if (!other || other->state != RUNNING || other->gone)
		return -ESRCH;
	snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)other->launch.pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void container_start(struct request *r)
{
	struct container *c;
	struct plan plan;
	int error, processes;
	bool launched;

	if (!plan_parse(&plan, r)) {
		reply_error(r->id, "BadRequest", "the container's description is malformed");
		return;
	}
	if (find(plan.id) || count >= CONTAINERS_MAX) {
		reply_error(r->id, "ContainerExists", "the machine has a container %s already, or too many", plan.id);
		plan_free(&plan);
		return;
	}
	c = allocate(sizeof *c);
	c->plan = plan;
	c->request = r->id;
	c->in = c->out[0].fd = c->out[1].fd = -1;
	c->next = containers;
	containers = c;
	count++;
	if ((error = make_cgroup(&c->plan))) {
		reply_error(r->id, "StartFailed", "the container's limits can't be set: %s", strerror(-error));
		free_container(c);
		return;
	}
	processes = process_namespace(&c->plan);
	if (c->plan.processes_of && processes < 0) {
		reply_error(r->id, "ContainerGone", "the container %s doesn't run", c->plan.processes_of);
		free_container(c);
		return;
	}
	launched = launch(&c->launch, &c->plan, 0, processes);
	if (processes >= 0)
		close(processes);
	if (!launched) {
		reply_error(r->id, c->launch.reason, "%s", c->launch.message);
		free_container(c);
		return;
	}
	c->launch.owner = c;
	c->launch.done = on_launched;
	loop_child(c->launch.pid, on_exit, c);
}

void container_signal(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	const char *name = NULL;
	uint64_t number = 0, stream = 0;
	struct field f;
	struct container *c;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_NAME)
			name = field_string(&f);
		if (f.tag == T_SIGNAL)
			field_number(&f, &number);
		if (f.tag == T_STREAM)
			field_number(&f, &stream);
	}
	if (stream)
		exec_signal(stream, number);
	else if ((c = find(name)) && !c->gone && c->launch.pid > 0)
		kill(c->launch.pid, number);
	reply_ok(r->id);
}

static const char *only_name(struct request *r, uint64_t *stream)
{
	struct fields fields = {r->bytes, r->length};
	const char *name = NULL;
	struct field f;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_NAME)
			name = field_string(&f);
		if (f.tag == T_STREAM && stream)
			field_number(&f, stream);
	}
	return name;
}

void container_remove(struct request *r)
{
	struct container *c = find(only_name(r, NULL));

	if (c && c->state != EXITED) {
		reply_error(r->id, "ContainerRunning", "the container %s has not exited", c->plan.id);
		return;
	}
	if (c) {
		remove_layer(c->plan.id);
		free_container(c);
	}
	reply_ok(r->id);
}

/* The first client's end is the container's, where it says so (stdinOnce). */
static void end_input(struct container *c)
{
	if (c->in < 0 || c->plan.options & O_TTY || !(c->plan.options & O_STDIN_ONCE))
		return;
	close(c->in);
	c->in = -1;
}

static void on_detached(struct stream *s)
{
	struct container *c = s->owner;

	end_input(c);
	for (int i = 0; i < ATTACHED_MAX; i++)
		if (c->attached[i] == s)
			c->attached[i] = NULL;
}

static void on_attached_input_ended(struct stream *s)
{
	end_input(s->owner);
}

void container_attach(struct request *r)
{
	uint64_t id = 0;
	struct container *c = find(only_name(r, &id));
	struct stream *s;
	int slot = 0;

	if (!c || c->state != RUNNING) {
		reply_error(r->id, "ContainerGone", "the container doesn't run");
		return;
	}
	while (slot < ATTACHED_MAX && c->attached[slot])
		slot++;
	if (slot == ATTACHED_MAX || !(s = stream_new(id, STREAM_WINDOW))) {
		reply_error(r->id, "TooManyStreams", "too many clients are attached to %s", c->plan.id);
		return;
	}
	c->attached[slot] = s;
	s->owner = c;
	s->has_process = true;
	s->closed = on_detached;
	s->input_ended = on_attached_input_ended;
	s->terminal = c->plan.options & O_TTY;
	if (c->in >= 0 && c->plan.options & O_STDIN)
		stream_write_to(s, fcntl(c->in, F_DUPFD_CLOEXEC, 3));
	reply_ok(r->id);
}

static int terminal_of(uint32_t id)
{
	struct stream *s = stream_find(id);

	if (s && s->in[0].fd >= 0)
		return s->in[0].fd;
	for (struct container *c = containers; s && c; c = c->next)
		for (int i = 0; i < ATTACHED_MAX; i++)
			if (c->attached[i] == s)
				return c->out[0].fd;
	return -1;
}

void container_resize(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	uint64_t stream = 0, columns = 0, rows = 0;
	struct field f;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_STREAM)
			field_number(&f, &stream);
		if (f.tag == T_COLUMNS)
			field_number(&f, &columns);
		if (f.tag == T_ROWS)
			field_number(&f, &rows);
	}
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	int fd = terminal_of(stream);
	if (fd >= 0)
		ioctl(fd, TIOCSWINSZ, &size); /* of what is no terminal: nothing to resize */
	reply_ok(r->id);
}

/* Memory is the working set: without what the kernel could drop at once. */
void containers_usage(struct message *m)
{
	for (struct container *c = containers; c; c = c->next) {
		struct message one = {0};
		unsigned long long memory, droppable;

		if (c->state != RUNNING)
			continue;
		memory = read_number(c->plan.id, "memory.current", "");
		droppable = read_number(c->plan.id, "memory.stat", "inactive_file ");
		message_string(&one, T_NAME, c->plan.id);
		message_number(&one, T_CPU_TIME, read_number(c->plan.id, "cpu.stat", "usage_usec "));
		message_number(&one, T_MEMORY, memory > droppable ? memory - droppable : 0);
		message_bytes(m, T_CONTAINER, one.bytes, one.length);
		free(one.bytes);
	}
}

void container_list(struct request *r)
{
	struct message all = {0};

	for (struct container *c = containers; c; c = c->next) {
		struct message one = {0};

		add_status(&one, c);
		message_bytes(&all, T_CONTAINER, one.bytes, one.length);
		free(one.bytes);
	}
	reply(r->id, &all);
}
