/* writer write BYTES CHUNK     lines of 64 bytes to standard output, CHUNK bytes at a time
 * writer read CHUNK            reads standard input and keeps nothing
 * writer (as pid 1)            zeros to the guest link's port for ever, BARE_CHUNK at a time: the bare link */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef BARE_CHUNK
#define BARE_CHUNK 32768
#endif

static char buffer[1 << 20];

static int write_lines(long long left, size_t chunk)
{
	for (size_t i = 0; i < sizeof buffer; i++)
		buffer[i] = i % 64 == 63 ? '\n' : '0' + i % 64 % 10;
	while (left > 0) {
		ssize_t n = write(1, buffer, left < (long long)chunk ? (size_t)left : chunk);
		if (n < 0)
			return 1;
		left -= n;
	}
	return 0;
}

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen("/modules/list", "re");

	while (list && fgets(path, sizeof path, list)) {
		path[strcspn(path, "\n")] = 0;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
}

static int open_port(void)
{
	char path[300] = "";
	DIR *ports = opendir("/sys/class/virtio-ports");

	for (struct dirent *e; ports && (e = readdir(ports));)
		if (e->d_name[0] != '.')
			snprintf(path, sizeof path, "/dev/%s", e->d_name);
	if (ports)
		closedir(ports);
	return *path ? open(path, O_RDWR) : -1;
}

static void bare_link(void)
{
	int fd;

	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	while ((fd = open_port()) < 0)
		usleep(1000);
	for (;;)
		if (write(fd, buffer, BARE_CHUNK) <= 0)
			usleep(1000); /* no host yet */
}

int main(int argc, char **argv)
{
	if (getpid() == 1 && argc < 2)
		bare_link();
	if (argc == 4 && !strcmp(argv[1], "write"))
		return write_lines(atoll(argv[2]), atol(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "read")) {
		while (read(0, buffer, atol(argv[2])) > 0)
			;
		return 0;
	}
	return 2;
}
