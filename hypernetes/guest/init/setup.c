/* The child's way from a fork of hn-init to the container's command. Whatever fails here is told over the status socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container.h"
#include "launch.h"
#include "proto.h"
#include "rootfs.h"
#include "volume.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OPEN_FILES_SOFT 65536
#define OPEN_FILES_HARD 1048576

static int status_socket = -1;

void setup_fail(const char *reason, const char *format, ...)
{
	char text[512];
	size_t n = strlen(reason) + 1;
	va_list args;

	memcpy(text, reason, n);
	va_start(args, format);
	n += vsnprintf(text + n, sizeof text - n, format, args);
	va_end(args);
	send(status_socket, text, n < sizeof text ? n : sizeof text, MSG_NOSIGNAL);
	_exit(127);
}

static void send_terminal(int master)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec part = {"t", 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &master, sizeof master);
	if (sendmsg(status_socket, &m, MSG_NOSIGNAL) < 0)
		_exit(127);
}

/* A terminal of the container's own devpts, so that ttyname(3) works inside. */
static void open_terminal(uid_t uid)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), slave, unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock))
		setup_fail("StartFailed", "no terminal: %s", strerror(errno));
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		setup_fail("StartFailed", "no terminal: %s", strerror(errno));
	if (fchown(slave, uid, -1))
		setup_fail("StartFailed", "the terminal can't be given away: %s", strerror(errno));
	send_terminal(master);
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	for (int fd = 0; fd < 3; fd++)
		dup2(slave, fd);
}

static void wire_streams(const struct plan *p, const struct child_ends *ends)
{
	if (p->options & O_TTY) {
		open_terminal(p->uid);
		return;
	}
	setsid();
	dup2(ends->in >= 0 ? ends->in : open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(ends->out, 1);
	dup2(ends->err, 2);
	/* Reopening /dev/stdout must work for an unprivileged process. */
	if (fchown(1, p->uid, -1) || fchown(2, p->uid, -1))
		setup_fail("StartFailed", "the output can't be given away: %s", strerror(errno));
}

static void install_filter(const struct plan *p)
{
	struct sock_filter *filter = malloc(p->seccomp_length);
	struct sock_fprog program = {.len = p->seccomp_length / sizeof *filter, .filter = filter};

	if (filter)
		memcpy(filter, p->seccomp, p->seccomp_length);
	if (!filter || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		setup_fail("StartFailed", "the seccomp profile can't be set: %s", strerror(errno));
	free(filter);
}

static void drop_privileges(const struct plan *p)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {0};
	gid_t groups[GROUPS_MAX];

	for (unsigned i = 0; i < p->group_count; i++)
		groups[i] = p->groups[i];
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(p->capabilities >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	/* It needs CAP_SYS_ADMIN, or else no_new_privs: then it comes last, and restricts nothing of what is done here. */
	if (p->seccomp && !(p->options & O_NO_NEW_PRIVILEGES))
		install_filter(p);
	if (setgroups(p->group_count, groups) || setresgid(p->gid, p->gid, p->gid) || setresuid(p->uid, p->uid, p->uid))
		setup_fail("StartFailed", "user %u can't be taken on: %s", (unsigned)p->uid, strerror(errno));
	/* Of another user than root the kernel cleared them. */
	if (p->uid == 0) {
		for (int i = 0; i < 2; i++)
			data[i].effective = data[i].permitted = p->capabilities >> (32 * i);
		if (syscall(SYS_capset, &header, data))
			setup_fail("StartFailed", "capabilities can't be set: %s", strerror(errno));
	}
	if (p->options & O_NO_NEW_PRIVILEGES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		setup_fail("StartFailed", "no_new_privs can't be set: %s", strerror(errno));
	if (p->seccomp && p->options & O_NO_NEW_PRIVILEGES)
		install_filter(p);
}

static void reset_process(void)
{
	struct rlimit files = {OPEN_FILES_SOFT, OPEN_FILES_HARD};
	sigset_t none;

	setrlimit(RLIMIT_NOFILE, &files);
	for (int n = 1; n < NSIG; n++)
		signal(n, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	write_file("/proc/self/oom_score_adj", "0");
	umask(022);
}

static const char *variable(const struct plan *p, const char *name)
{
	size_t n = strlen(name);

	for (unsigned i = 0; i < p->envc; i++)
		if (!strncmp(p->env[i], name, n) && p->env[i][n] == '=')
			return p->env[i] + n + 1;
	return NULL;
}

static void fail_exec(const char *command, int error)
{
	if (error == ENOENT || error == ENOTDIR)
		setup_fail("NoSuchCommand", "the image has no command %s: check the container's command, or the image", command);
	setup_fail("NotExecutable", "%s can't be executed: %s", command, strerror(error));
}

/* As execvpe(3), but with the container's own PATH, and telling "not there" from "not executable". */
static void run_command(const struct plan *p)
{
	const char *command = p->argv[0], *path = variable(p, "PATH");
	char full[PATH_MAX];
	int error = ENOENT;

	if (!path)
		path = DEFAULT_PATH;
	if (strchr(command, '/')) {
		execve(command, p->argv, p->env);
		fail_exec(command, errno);
	}
	while (*path) {
		size_t n = strcspn(path, ":");
		if (snprintf(full, sizeof full, "%.*s/%s", (int)n, path, command) < (int)sizeof full) {
			execve(full, p->argv, p->env);
			if (errno != ENOENT && errno != ENOTDIR)
				error = errno;
		}
		path += n + (path[n] == ':');
	}
	fail_exec(command, error);
}

static void enter_directory(const struct plan *p)
{
	if (chdir(p->cwd) == 0)
		return;
	make_directories(p->cwd, 0755);
	if (chdir(p->cwd))
		setup_fail("StartFailed", "the working directory %s can't be entered: %s", p->cwd, strerror(errno));
}

static void default_environment(struct plan *p)
{
	if (!variable(p, "PATH") && p->envc < ARGS_MAX)
		p->env[p->envc++] = "PATH=" DEFAULT_PATH;
	if (!variable(p, "HOME") && p->envc < ARGS_MAX)
		p->env[p->envc++] = p->uid ? "HOME=/" : "HOME=/root";
	if (p->options & O_TTY && !variable(p, "TERM") && p->envc < ARGS_MAX)
		p->env[p->envc++] = "TERM=xterm";
}

static void become(const struct plan *plan, const struct child_ends *ends)
{
	struct plan p = *plan;

	default_environment(&p);
	wire_streams(&p, ends);
	enter_directory(&p);
	reset_process();
	drop_privileges(&p);
	run_command(&p);
}

void setup_container(const struct plan *p, const struct child_ends *ends)
{
	status_socket = ends->status;
	rootfs_enter(p);
	become(p, ends);
	_exit(127);
}

void setup_exec(const struct plan *p, const struct child_ends *ends, int pidfd)
{
	status_socket = ends->status;
	if (setns(pidfd, CLONE_NEWNS | CLONE_NEWCGROUP))
		setup_fail("ContainerGone", "the container can't be entered: %s", strerror(errno));
	become(p, ends);
	_exit(127);
}
