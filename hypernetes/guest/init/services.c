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
#define ADMIN TOOLBOX "/run/admin" /* HAProxy's, as the host's configuration names it */
#define SERVICE_TABLES "/services/service.nft"
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
static struct source notifications;
static pid_t haproxy, loader;
static struct source loading = {.fd = -1}; /* the loader's socket: a file's name there, how it went back */
static unsigned loads;			   /* that it hasn't answered */
static bool pod_rules_loaded, haproxy_ready;

/* The one request in progress: the host sends the next only after the answer. */
static struct {
	uint32_t id;
	bool active, failed;
	bool pod_rules, tables, haproxy; /* what is waited for */
	uint8_t *bytes;			 /* of the request, which `commands` points into */
	struct fields commands;		 /* of which HAProxy has yet to be told */
	char complaint[900];
} work;

/* HAProxy's answer to the command line that it has been told. */
static struct source administration = {.fd = -1};
static char answer[160];
static size_t answer_length;
static bool answer_good;

/* What the programs say: the end of it explains a failure. */
static struct source sayings;
static int sayings_write = -1;
static char said[800];
static size_t said_length;

static void finish(void)
{
	if (!work.active || work.pod_rules || work.tables || work.haproxy)
		return;
	work.active = false;
	free(work.bytes);
	work.bytes = NULL;
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
		if (administration.fd < 0) /* else it echoes commands */
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

static pid_t run(char *const argv[], bool in_services, int input)
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
	dup2(input >= 0 ? input : open("/dev/null", O_RDWR), 0);
	dup2(sayings_write, 1);
	dup2(sayings_write, 2);
	execve(argv[0], argv, environment);
	_exit(127);
}

static void on_pod_rules(void *owner, pid_t pid, int status)
{
	(void)owner;
	(void)pid;
	work.pod_rules = false;
	if (status)
		read_complaint("the pod's rules");
	finish();
}

static void load_pod_rules(void)
{
	char *const argv[] = {"/bin/hn-tables", "/services/pod.nft", NULL};
	pid_t pid = run(argv, false, -1);

	if (pid < 0) {
		complain("the pod's rules can't be loaded");
		return;
	}
	work.pod_rules = true;
	loop_child(pid, on_pod_rules, NULL);
}

static void on_tables(struct source *s, uint32_t events)
{
	char text[900];
	ssize_t n = recv(s->fd, text, sizeof text - 1, 0);

	(void)events;
	if (n <= 0 || !loads)
		return; /* its end is told by on_loader */
	text[n] = 0;
	if (--loads)
		return; /* it was about earlier ones, whose request a lost link has ended */
	work.tables = false;
	if (*text)
		complain(text);
	finish();
}

static void on_loader(void *owner, pid_t pid, int status)
{
	(void)owner;
	(void)pid;
	note("the loader of tables ended with status %d", status);
	loader = 0;
	loads = 0;
	loop_close(&loading);
	if (work.tables) {
		work.tables = false;
		read_complaint("the loader of tables ended");
		finish();
	}
}

/* It stays: starting it costs an emulated processor ten times what a table does. */
static int start_loader(void)
{
	char *const argv[] = {"/bin/hn-tables", NULL};
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	loader = run(argv, true, ends[1]);
	close(ends[1]);
	if (loader < 0) {
		loader = 0;
		close(ends[0]);
		return -EAGAIN;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	loop_add(&loading, ends[0], EPOLLIN, on_tables, NULL);
	loop_child(loader, on_loader, NULL);
	return 0;
}

static void load_tables(void)
{
	int error = loader ? 0 : start_loader();

	if (!error && send(loading.fd, SERVICE_TABLES, strlen(SERVICE_TABLES), MSG_NOSIGNAL) < 0)
		error = -errno;
	if (error)
		complain("the loader of tables can't be asked");
	else
		work.tables = ++loads > 0;
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

	haproxy = run(argv, true, -1);
	if (haproxy < 0) {
		haproxy = 0;
		work.haproxy = false;
		complain("haproxy can't be started");
		return;
	}
	loop_child(haproxy, on_haproxy, NULL);
}

static void command_haproxy(void);

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
	/* Of a refused configuration it tells only on its standard error; the former one stays in force. */
	on_saying(&sayings, 0);
	if (memmem(said, said_length, "Loading failure", 15)) {
		work.haproxy = false;
		read_complaint("haproxy");
		finish();
	} else {
		command_haproxy();
	}
}

static void load_haproxy(void)
{
	if (!haproxy)
		start_haproxy();
	else if (kill(haproxy, SIGUSR2))
		complain("haproxy is gone");
}

/* What a command that has worked answers, and one that had nothing to do: a server that a connection still uses stays
 * where it is, disabled, until it is wanted again. */
static bool expected_answer(const char *line)
{
	static const char *const expected[] = {
		"",
		"New server registered.",
		"Server deleted.",
		"Already exists a server with the same name in backend.",
		"Server still has connections attached to it, cannot remove it.",
	};

	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
		if (!strcmp(line, expected[i]))
			return true;
	return false;
}

static void read_answer(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] != '\n') {
			if (answer_length < sizeof answer - 1)
				answer[answer_length++] = text[i];
			continue;
		}
		answer[answer_length] = 0;
		if (answer_good && !expected_answer(answer)) {
			note("haproxy doesn't do what it is told, and loads its configuration: %s", answer);
			answer_good = false;
		}
		answer_length = 0;
	}
}

static void on_answer(struct source *s, uint32_t events)
{
	char text[4096];
	ssize_t n;

	(void)events;
	while ((n = read(s->fd, text, sizeof text)) > 0)
		read_answer(text, n);
	if (n < 0 && errno == EAGAIN)
		return;
	loop_close(s);
	if (!work.active || !work.haproxy)
		return; /* it ended meanwhile */
	if (answer_good) {
		command_haproxy();
	} else {
		work.commands.left = 0;
		load_haproxy();
	}
}

static int tell_haproxy(const char *line)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = ADMIN};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
	size_t length = strlen(line);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof a))
		error = -errno;
	else if (send(fd, line, length, MSG_NOSIGNAL) != (ssize_t)length || send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		error = -EIO;
	if (error) {
		close(fd);
		return error;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	answer_length = 0;
	answer_good = true;
	loop_add(&administration, fd, EPOLLIN, on_answer, NULL);
	return 0;
}

/* The next command line of the request, or its end. */
static void command_haproxy(void)
{
	const char *line = NULL;
	struct field f;

	while (!line && field_next(&work.commands, &f) > 0)
		if (f.tag == T_COMMAND)
			line = field_string(&f);
	if (!line) {
		work.haproxy = false;
		finish();
	} else if (tell_haproxy(line)) {
		note("haproxy can't be told anything, and loads its configuration");
		work.commands.left = 0;
		load_haproxy();
	}
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

static void begin(struct request *r)
{
	said_length = 0;
	loop_close(&administration);
	free(work.bytes);
	memset(&work, 0, sizeof work);
	work.id = r->id;
	work.active = true;
	work.bytes = r->bytes;
	work.commands = (struct fields){r->bytes, r->length};
	r->bytes = NULL;
	if (!pod_rules_loaded) {
		pod_rules_loaded = true;
		write_table("pod.nft", "", POD_RULES, strlen(POD_RULES));
		load_pod_rules();
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

/* Commands lead from the configuration in force to the new one: with them nothing is loaded, unless HAProxy isn't
 * there. A template's are for practice, after it has loaded its configuration. */
void services_set(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	bool balance = false, commands = false, tables = false, practice = r->type == M_PREPARE;
	const char *name = NULL;
	struct field f;
	int error = 0;

	begin(r);
	while (!error && field_next(&fields, &f) > 0) {
		switch (f.tag) {
		case T_HAPROXY: error = write_table("haproxy.cfg", "", f.value, f.length); break;
		case T_NFTABLES: error = write_table("service.nft", SERVICE_RULES, f.value, f.length); break;
		case T_NAME: name = field_string(&f); break;
		case T_CONTENT: error = good_name(name) ? write_table(name, "", f.value, f.length) : -EINVAL; break;
		}
		balance |= f.tag == T_HAPROXY;
		tables |= f.tag == T_NFTABLES;
		commands |= f.tag == T_COMMAND;
	}
	if (error) {
		complain(strerror(-error));
	} else {
		if (tables)
			load_tables();
		work.haproxy = balance;
		if (!practice && (!commands || !haproxy_ready))
			work.commands.left = 0;
		if (balance && commands && haproxy_ready && !practice)
			command_haproxy();
		else if (balance)
			load_haproxy();
	}
	finish();
}
