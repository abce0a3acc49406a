#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container.h"
#include "proto.h"

static int own_pid_namespace = -1;

static void close_all(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* The child tells of a terminal (with its master) or of an error; the end of file says that the command runs. */
static void on_status(struct source *s, uint32_t events)
{
	struct launch *l = s->owner;
	char text[sizeof l->reason + sizeof l->message];
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {text, sizeof text - 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(s->fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (c && c->cmsg_type == SCM_RIGHTS) {
		memcpy(&l->out, CMSG_DATA(c), sizeof l->out);
		l->in = fcntl(l->out, F_DUPFD_CLOEXEC, 3);
		return;
	}
	if (n > 0) {
		text[n] = 0;
		l->failed = true;
		snprintf(l->reason, sizeof l->reason, "%s", text);
		snprintf(l->message, sizeof l->message, "%s", strlen(text) + 1 < (size_t)n ? text + strlen(text) + 1 : "");
		return;
	}
	loop_close(s);
	l->done(l);
}

/* A fork whose child is in the container's cgroup from the start. Joining it later makes the kernel wait for a grace
 * period of RCU, which is most of what a command's start would take. */
static pid_t fork_into(const char *id, uint64_t flags)
{
	struct clone_args arguments = {.flags = flags | CLONE_INTO_CGROUP, .exit_signal = SIGCHLD};
	char path[PATH_MAX];
	pid_t pid = -1;
	int cgroup;

	snprintf(path, sizeof path, CGROUPS "/%s", id);
	cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return -1;
	arguments.cgroup = cgroup;
	pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	close(cgroup);
	return pid;
}

static pid_t spawn(const char *id, pid_t container, int pid_namespace, int *pidfd)
{
	uint64_t flags = 0;
	pid_t pid;

	if (own_pid_namespace < 0)
		own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	*pidfd = -1;
	if (container) {
		*pidfd = syscall(SYS_pidfd_open, container, 0);
		if (*pidfd < 0 || setns(*pidfd, CLONE_NEWPID))
			return -1;
	} else if (pid_namespace >= 0) {
		if (setns(pid_namespace, CLONE_NEWPID))
			return -1;
	} else {
		flags = CLONE_NEWPID;
	}
	pid = fork_into(id, flags);
	if (pid && (container || pid_namespace >= 0))
		setns(own_pid_namespace, CLONE_NEWPID);
	return pid;
}

bool launch(struct launch *l, const struct plan *p, pid_t container, int pid_namespace)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, status[2] = {-1, -1}, pidfd = -1;
	bool tty = p->options & O_TTY;

	memset(l, 0, sizeof *l);
	l->in = l->out = l->err = l->status.fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) ||
	    (!tty && (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))) ||
	    (!tty && p->options & O_STDIN && pipe2(in, O_CLOEXEC)))
		l->pid = -1;
	else
		l->pid = spawn(p->id, container, pid_namespace, &pidfd);
	if (l->pid == 0) {
		struct child_ends ends = {in[0], out[1], err[1], status[1]};

		if (container)
			setup_exec(p, &ends, pidfd);
		setup_container(p, &ends);
	}
	close_all((int[]){in[0], out[1], err[1], status[1], pidfd}, 5);
	if (l->pid < 0) {
		snprintf(l->reason, sizeof l->reason, "StartFailed");
		snprintf(l->message, sizeof l->message, "no process can be started: %s", strerror(errno));
		close_all((int[]){in[1], out[0], err[0], status[0]}, 4);
		return false;
	}
	l->in = in[1];
	l->out = out[0];
	l->err = err[0];
	fcntl(status[0], F_SETFL, O_NONBLOCK);
	loop_add(&l->status, status[0], EPOLLIN, on_status, l);
	return true;
}
