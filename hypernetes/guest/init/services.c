#define _GNU_SOURCE
#include "services.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "network.h"
#include "proto.h"
#include "volume.h"

#define TOOLBOX "/run/toolbox"
#define TABLES TOOLBOX "/services"
#define NOTIFY TOOLBOX "/run/notify"
#define RESTART_MS 500

/* What leaves the service namespace carries the pod's address; loaded once, into the pod's namespace. */
static const char POD_RULES[] =
	"table ip hypernetes {\n"
	"  chain leave { type nat hook postrouting priority 100; iifname \"hn0\" oifname != \"hn0\" masquerade; }\n"
	"}\n";
/* A forwarded datagram must not come back to the pod under the pod's own address: the kernel drops that as spoofed. */
static const char SERVICE_RULES[] =
	"flush ruleset\n"
	"table ip hypernetes {\n"
	"  chain leave { type nat hook postrouting priority 101; oifname \"hn1\" ip saddr 169.254.100.0/30 masquerade; }\n"
	"}\n";
static const char IDLE_CONFIG[] =
	"global\n  maxconn 16\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
	"frontend idle\n  bind 0.0.0.0:15001\n  tcp-request connection reject\n";

static struct source notifications;
static pid_t haproxy;
static bool pod_rules_loaded, haproxy_ready;

/* The one request in progress: the host sends the next only after the answer. */
static struct {
	uint32_t id;
	bool active, failed;
	unsigned waiting; /* nft runs, and HAProxy */
	bool haproxy;
	char complaint[900];
} work;

/* What the programs say: the end of it explains a failure. */
static struct source sayings;
static int sayings_write = -1;
static char said[800];
static size_t said_length;

static void finish(void)
{
	if (!work.active || work.waiting || work.haproxy)
		return;
	work.active = false;
	if (work.failed)
		reply_error(work.id, "ServicesFailed", "the service tables are refused: %s", work.complaint);
	else
		reply_ok(work.id);
}

static void complain(const char *text)
{
	if (!work.failed)
		snprintf(work.complaint, sizeof work.complaint, "%s", text);
	work.failed = true;
}

static void on_saying(struct source *s, uint32_t events)
{
	char text[sizeof said / 2];
	ssize_t n;

	(void)events;
	while ((n = read(s->fd, text, sizeof text)) > 0) {
		if (said_length + n >= sizeof said) { /* keep the end */
			memmove(said, said + sizeof said / 2, sizeof said / 2);
			said_length = said_length > sizeof said / 2 ? said_length - sizeof said / 2 : 0;
		}
		memcpy(said + said_length, text, n);
		said_length += n;
		note("services: %.*s", (int)n, text);
	}
}

static void read_complaint(const char *program)
{
	char line[900];

	on_saying(&sayings, 0);
	snprintf(line, sizeof line, "%s: %.*s", program, (int)said_length, said);
	complain(line);
}

static pid_t run(char *const argv[], bool in_services)
{
	static char *const environment[] = {"PATH=/bin", "NOTIFY_SOCKET=/run/notify", NULL};
	sigset_t none;
	pid_t pid = fork();

	if (pid)
		return pid;
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if ((in_services && enter_service_namespace()) || chroot(TOOLBOX) || chdir("/"))
		_exit(126);
	dup2(open("/dev/null", O_RDWR), 0);
	dup2(sayings_write, 1);
	dup2(sayings_write, 2);
	execve(argv[0], argv, environment);
	_exit(127);
}

static void on_nft(void *owner, pid_t pid, int status)
{
	(void)owner;
	(void)pid;
	work.waiting--;
	if (status)
		read_complaint("nft");
	finish();
}

static void start_nft(const char *file, bool in_services)
{
	char *const argv[] = {"/bin/nft", "-f", (char *)file, NULL};
	pid_t pid = run(argv, in_services);

	if (pid < 0) {
		complain("nft can't be started");
		return;
	}
	work.waiting++;
	loop_child(pid, on_nft, NULL);
}

static void start_haproxy(void);

static void restart_haproxy(void)
{
	if (!haproxy)
		start_haproxy();
}

static void on_haproxy(void *owner, pid_t pid, int status)
{
	(void)owner;
	(void)pid;
	haproxy = 0;
	haproxy_ready = false;
	note("haproxy ended with status %d", status);
	if (work.active && work.haproxy) {
		work.haproxy = false;
		read_complaint("haproxy");
		finish();
	}
	loop_after(RESTART_MS, restart_haproxy);
}

static void start_haproxy(void)
{
	char *const argv[] = {"/bin/haproxy", "-Ws", "-f", "/services/haproxy.cfg", NULL};

	haproxy = run(argv, true);
	if (haproxy < 0) {
		haproxy = 0;
		work.haproxy = false;
		complain("haproxy can't be started");
		return;
	}
	loop_child(haproxy, on_haproxy, NULL);
}

/* HAProxy's master tells by sd_notify(3) when a configuration is in force, and when it was refused. */
static void on_notification(struct source *s, uint32_t events)
{
	char text[512];
	ssize_t n = recv(s->fd, text, sizeof text - 1, 0);

	(void)events;
	if (n <= 0)
		return;
	text[n] = 0;
	if (!strstr(text, "READY=1"))
		return;
	haproxy_ready = true;
	if (!work.active || !work.haproxy)
		return;
	work.haproxy = false;
	/* Of a refused configuration it tells only on its standard error; the former one stays in force. */
	on_saying(&sayings, 0);
	if (memmem(said, said_length, "Loading failure", 15))
		read_complaint("haproxy");
	finish();
}

static void load_haproxy(void)
{
	work.haproxy = true;
	if (!haproxy)
		start_haproxy();
	else if (kill(haproxy, SIGUSR2))
		complain("haproxy is gone");
}

static int write_table(const char *name, const char *head, const void *bytes, size_t length)
{
	char path[PATH_MAX], partial[PATH_MAX];
	int fd, error = 0;

	snprintf(path, sizeof path, TABLES "/%s", name);
	snprintf(partial, sizeof partial, TABLES "/.%s", name);
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (write(fd, head, strlen(head)) < 0 || write(fd, bytes, length) != (ssize_t)length)
		error = -EIO;
	close(fd);
	return !error && rename(partial, path) ? -errno : error;
}

static void begin(uint32_t id)
{
	said_length = 0;
	memset(&work, 0, sizeof work);
	work.id = id;
	work.active = true;
	if (!pod_rules_loaded) {
		pod_rules_loaded = true;
		write_table("pod.nft", "", POD_RULES, strlen(POD_RULES));
		start_nft("/services/pod.nft", false);
	}
}

void services_open(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = NOTIFY};
	int error = mount_lun(0, TOOLBOX, "squashfs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL), fd, ends[2];

	if (error || mount("tmpfs", TABLES, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") ||
	    mount("tmpfs", TOOLBOX "/run", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") ||
	    mount("/dev", TOOLBOX "/dev", NULL, MS_BIND, NULL) || mount("proc", TOOLBOX "/proc", "proc", 0, NULL)) {
		note("no toolbox: %s", strerror(error ? -error : errno));
		return;
	}
	if (pipe2(ends, O_CLOEXEC) == 0) {
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		sayings_write = ends[1];
		loop_add(&sayings, ends[0], EPOLLIN, on_saying, NULL);
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a))
		note("no notifications of haproxy: %s", strerror(errno));
	else
		loop_add(&notifications, fd, EPOLLIN, on_notification, NULL);
}

void services_prepare(struct request *r)
{
	begin(r->id);
	write_table("haproxy.cfg", "", IDLE_CONFIG, strlen(IDLE_CONFIG));
	write_table("service.nft", SERVICE_RULES, "", 0);
	start_nft("/services/service.nft", true);
	load_haproxy();
	finish();
}

void services_set(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	const char *name = NULL;
	struct field f;
	int error = 0;

	begin(r->id);
	while (!error && field_next(&fields, &f) > 0) {
		switch (f.tag) {
		case T_HAPROXY: error = write_table("haproxy.cfg", "", f.value, f.length); break;
		case T_NFTABLES: error = write_table("service.nft", SERVICE_RULES, f.value, f.length); break;
		case T_NAME: name = field_string(&f); break;
		case T_CONTENT: error = good_name(name) ? write_table(name, "", f.value, f.length) : -EINVAL; break;
		}
	}
	if (error) {
		complain(strerror(-error));
	} else {
		start_nft("/services/service.nft", true);
		load_haproxy();
	}
	finish();
}
