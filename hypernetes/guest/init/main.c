/* hn-init: pid 1 of a pod's machine. Boots it, then does what the host asks over the guest link. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "container.h"
#include "exec.h"
#include "filesystem.h"
#include "link.h"
#include "listen.h"
#include "loop.h"
#include "network.h"
#include "proto.h"
#include "services.h"
#include "spool.h"
#include "stream.h"
#include "volume.h"

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen("/modules/list", "re");

	while (list && fgets(path, sizeof path, list)) {
		path[strcspn(path, "\n")] = 0;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			note("module %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		unlink(path);
	}
	if (list)
		fclose(list);
}

/* Moves off the initramfs: the kernel's rootfs can't be pivoted away from, which containers do. */
static void change_root(void)
{
	static const char *const directories[] = {"/root", "/root/proc", "/root/sys", "/root/dev", "/root/run", "/root/tmp"};

	mkdir(directories[0], 0755);
	if (mount("root", "/root", "tmpfs", MS_NOSUID, "mode=0755"))
		note("no root: %s", strerror(errno));
	for (size_t i = 1; i < sizeof directories / sizeof *directories; i++)
		mkdir(directories[i], 0755);
	mount("/proc", "/root/proc", NULL, MS_MOVE, NULL);
	mount("/sys", "/root/sys", NULL, MS_MOVE, NULL);
	mount("/dev", "/root/dev", NULL, MS_MOVE, NULL);
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		note("the root can't be changed: %s", strerror(errno));
}

static void boot(void)
{
	umask(022);
	mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	load_modules();
	change_root();
	write_file("/proc/self/oom_score_adj", "-1000");
	containers_open();
	network_prepare();
	services_open();
}

void dispatch_hello(void)
{
	struct message m = {0};

	streams_reset_all();
	spool_rewind();
	message_number(&m, T_VERSION, PROTOCOL_VERSION);
	clock_boot_id(&m);
	link_send(M_HELLO, 0, 0, m.bytes, m.length);
	free(m.bytes);
	spool_pump();
}

void dispatch_drained(void) { spool_pump(); }

static void answer_stat(struct request *r)
{
	struct message m = {0};
	unsigned long long total = 0, available = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof line, f)) {
		sscanf(line, "MemTotal: %llu kB", &total);
		sscanf(line, "MemAvailable: %llu kB", &available);
	}
	if (f)
		fclose(f);
	message_number(&m, T_MEMORY, (total - available) * 1024);
	containers_usage(&m);
	reply(r->id, &m);
}

static void power_off(struct request *r)
{
	reply_ok(r->id);
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0) /* their mount namespaces hold volumes until they are gone */
		;
	filesystem_unmount_all();
	sync();
	reboot(RB_AUTOBOOT); /* with QEMU's -no-reboot that is the end of the process */
}

void dispatch_request(struct request *r)
{
	switch (r->type) {
	case M_IDENTIFY: clock_identify(r); break;
	case M_CONFIGURE: network_configure(r); break;
	case M_MOUNT_DISK: volume_mount_disk(r); break;
	case M_UNMOUNT_DISK: volume_unmount_disk(r); break;
	case M_MAKE_VOLUME: volume_make(r); break;
	case M_WRITE_VOLUME: volume_write(r); break;
	case M_PREPARE:
	case M_SERVICES: services_set(r); break;
	case M_START: container_start(r); break;
	case M_SIGNAL: container_signal(r); break;
	case M_REMOVE: container_remove(r); break;
	case M_ATTACH: container_attach(r); break;
	case M_EXEC: exec_start(r); break;
	case M_FORWARD: listen_forward(r); break;
	case M_RESIZE: container_resize(r); break;
	case M_LIST: container_list(r); break;
	case M_STAT: answer_stat(r); break;
	case M_CLOCK: clock_request(r); break;
	case M_ATTACH_VOLUME: filesystem_attach(r); break;
	case M_DETACH_VOLUME: filesystem_detach(r); break;
	case M_GROW_VOLUME: filesystem_grow(r); break;
	case M_MOUNT_NFS: filesystem_mount_nfs(r); break;
	case M_READ_FILE: volume_read(r); break;
	case M_MEASURE: volume_measure(r); break;
	case M_LIMIT: container_limit(r); break;
	case M_POWEROFF: power_off(r); break;
	case M_WAIT_DISK: volume_wait_disk(r); break;
	default: reply_error(r->id, "BadRequest", "unknown request %u", r->type);
	}
}

static void acknowledge(const struct frame *f)
{
	uint64_t sequence = 0;

	for (uint32_t i = 0; i < f->length && i < 8; i++)
		sequence |= (uint64_t)f->payload[i] << (8 * i);
	spool_acknowledge(sequence);
}

void dispatch_frame(const struct frame *f)
{
	switch (f->type) {
	case M_ACK: acknowledge(f); break;
	case M_ANSWER: listen_answer(f); break;
	default: stream_frame(f);
	}
}

int main(void)
{
	if (getpid() != 1) {
		fprintf(stderr, "hn-init is the first process of a pod's machine and nothing else\n");
		return 1;
	}
	loop_init();
	boot();
	link_open();
	loop_run();
}
