#define _GNU_SOURCE
#include "volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loop.h"
#include "proto.h"

#define LUN_WAIT_MS 10000
#define READ_MAX 16384 /* of a file, in one answer */

bool good_name(const char *name)
{
	return name && *name && strlen(name) < 200 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), result = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		result = -errno;
	close(fd);
	return result;
}

int make_directories(const char *path, unsigned mode)
{
	char partial[PATH_MAX];

	for (const char *p = path + 1;; p++) {
		if (*p != '/' && *p)
			continue;
		snprintf(partial, sizeof partial, "%.*s", (int)(p - path), path);
		if (mkdir(partial, mode) && errno != EEXIST)
			return -errno;
		if (!*p)
			return 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

/* A disk's node is there before the disk: until the probe is through, opening it says ENXIO. */
static bool opens(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool find_lun(unsigned lun, char *device, size_t size)
{
	char path[300];
	bool found = false;
	DIR *d;

	snprintf(path, sizeof path, "/sys/bus/scsi/devices/0:0:0:%u/block", lun);
	d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.') {
			snprintf(device, size, "/dev/%s", e->d_name);
			found = opens(device);
		}
	if (d)
		closedir(d);
	return found;
}

bool wait_lun(unsigned lun, char *device, size_t size)
{
	for (int waited = 0; waited < LUN_WAIT_MS; waited++) {
		if (find_lun(lun, device, size))
			return true;
		usleep(1000);
	}
	return false;
}

int mount_lun(unsigned lun, const char *target, const char *type, unsigned long flags, const char *options)
{
	char device[300];
	int error = make_directories(target, 0755);

	/* The host plugged it before it asked, but the kernel's scan is asynchronous: first there is no device, then one
	 * that can't be opened yet. */
	for (int waited = 0; !error && waited < LUN_WAIT_MS; waited++) {
		if (find_lun(lun, device, sizeof device)) {
			if (mount(device, target, type, flags, options) == 0)
				return 0;
			if (errno != ENXIO && errno != ENOENT && errno != ENOMEDIUM)
				return -errno;
		}
		usleep(1000);
	}
	return error ? error : -ENODEV;
}

static int delete_lun(unsigned lun)
{
	char path[128];

	snprintf(path, sizeof path, "/sys/bus/scsi/devices/0:0:0:%u/delete", lun);
	return write_file(path, "1");
}

struct disk_request {
	const char *image, *volume;
	uint64_t lun, options, size, group;
	bool scratch, owned;
};

static bool parse_disk(struct request *r, struct disk_request *d)
{
	struct fields fields = {r->bytes, r->length};
	struct field f;
	bool good = true;
	int more;

	while (good && (more = field_next(&fields, &f)) != 0) {
		if (more < 0)
			return false;
		switch (f.tag) {
		case T_IMAGE: good = good_name(d->image = field_string(&f)); break;
		case T_NAME: good = good_name(d->volume = field_string(&f)); break;
		case T_LUN: good = field_number(&f, &d->lun); break;
		case T_OPTIONS: good = field_number(&f, &d->options); break;
		case T_SIZE: good = field_number(&f, &d->size); break;
		case T_FS_GROUP: good = d->owned = field_number(&f, &d->group); break;
		}
	}
	d->scratch = !d->image && !d->volume;
	return good;
}

static void disk_target(const struct disk_request *d, char *path, size_t size)
{
	if (d->scratch)
		snprintf(path, size, SCRATCH);
	else if (d->image)
		snprintf(path, size, IMAGES "/%s", d->image);
	else
		snprintf(path, size, VOLUMES "/%s", d->volume);
}

void volume_mount_disk(struct request *r)
{
	struct disk_request d = {0};
	char target[PATH_MAX];
	int error;

	if (!parse_disk(r, &d)) {
		reply_error(r->id, "BadRequest", "the disk's description is malformed");
		return;
	}
	disk_target(&d, target, sizeof target);
	if (d.image)
		error = mount_lun(d.lun, target, "squashfs", MS_RDONLY | MS_NODEV, NULL);
	else
		error = mount_lun(d.lun, target, "ext4", (d.options & O_READ_ONLY ? MS_RDONLY : 0) | MS_NODEV, NULL);
	if (error)
		reply_error(r->id, "MountFailed", "the disk at %s can't be mounted: %s", target, strerror(-error));
	else
		reply_ok(r->id);
}

void volume_wait_disk(struct request *r)
{
	struct disk_request d = {0};
	char device[300];

	if (!parse_disk(r, &d))
		reply_error(r->id, "BadRequest", "the disk's description is malformed");
	else if (wait_lun(d.lun, device, sizeof device))
		reply_ok(r->id);
	else
		reply_error(r->id, "NoDisk", "the disk of LUN %u doesn't appear", (unsigned)d.lun);
}

void volume_unmount_disk(struct request *r)
{
	struct disk_request d = {0};
	char target[PATH_MAX];
	int error;

	if (!parse_disk(r, &d) || d.scratch) {
		reply_error(r->id, "BadRequest", "the disk's description is malformed");
		return;
	}
	disk_target(&d, target, sizeof target);
	if (umount2(target, 0) && errno != EINVAL && errno != ENOENT) {
		reply_error(r->id, "DiskBusy", "the disk at %s is in use: %s", target, strerror(errno));
		return;
	}
	rmdir(target);
	if ((error = delete_lun(d.lun)) && error != -ENOENT)
		reply_error(r->id, "UnplugFailed", "the disk can't be let go: %s", strerror(-error));
	else
		reply_ok(r->id);
}

void volume_make(struct request *r)
{
	struct disk_request d = {0};
	char target[PATH_MAX], place[PATH_MAX], options[64] = "mode=0777";
	int error;

	if (!parse_disk(r, &d) || !d.volume) {
		reply_error(r->id, "BadRequest", "the volume's description is malformed");
		return;
	}
	snprintf(target, sizeof target, VOLUMES "/%s", d.volume);
	if (access(target, F_OK) == 0) {
		reply_ok(r->id); /* made before, by a host that lost the answer */
		return;
	}
	error = make_directories(target, 0755);
	if (!error && d.image) {
		snprintf(place, sizeof place, IMAGES "/%s", d.image);
		if (mount(place, target, NULL, MS_BIND, NULL) ||
		    mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
			error = -errno;
	} else if (!error && d.options & O_MEMORY) {
		if (d.size)
			snprintf(options, sizeof options, "mode=0777,size=%llu", (unsigned long long)d.size);
		error = mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options) ? -errno : 0;
	} else if (!error) {
		snprintf(place, sizeof place, SCRATCH "/volumes/%s", d.volume);
		error = make_directories(place, 0755);
		if (!error && (chmod(place, 0777) || mount(place, target, NULL, MS_BIND, NULL)))
			error = -errno;
	}
	if (!error && d.owned && (chown(target, -1, d.group) || chmod(target, 02777)))
		error = -errno;
	if (!error && mount(NULL, target, NULL, MS_SHARED, NULL))
		error = -errno;
	if (error)
		reply_error(r->id, error == -ENOSPC ? "DiskFull" : "VolumeFailed", "the volume %s can't be made: %s", d.volume,
			    strerror(-error));
	else
		reply_ok(r->id);
}

/* A relative path without empty, "." or ".." components, and none that begins with ".." at the top. */
static bool good_path(const char *path)
{
	if (!path || !*path || *path == '/' || strlen(path) > 1024 || strncmp(path, "..", 2) == 0)
		return false;
	for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
	}
	return true;
}

static int write_content(const char *directory, const char *path, unsigned mode, const struct disk_request *d,
			 const struct field *content)
{
	char full[PATH_MAX], *slash;
	int fd, error = 0;

	snprintf(full, sizeof full, "%s/%s", directory, path);
	slash = strrchr(full, '/');
	*slash = 0;
	if ((error = make_directories(full, 0755)))
		return error;
	*slash = '/';
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, content->value, content->length) != (ssize_t)content->length)
		error = errno ? -errno : -ENOSPC;
	/* Its group may read what is made for a pod with an fsGroup, whatever the mode says. */
	if (!error && ((d->owned && fchown(fd, -1, d->group)) || fchmod(fd, d->owned ? mode | 0440 : mode)))
		error = -errno;
	close(fd);
	return error;
}

/* Gives each first component of the new content a link through ..data, and drops links to what is gone. */
static int refresh_links(const char *volume, const char *fresh)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(fresh);
	int error = 0;

	while (d && !error && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof path, "%s/%s", volume, e->d_name);
		snprintf(target, sizeof target, "..data/%s", e->d_name);
		if (symlink(target, path) && errno != EEXIST)
			error = -errno;
	}
	if (d)
		closedir(d);
	d = opendir(volume);
	while (d && (e = readdir(d))) {
		if (!strncmp(e->d_name, "..", 2) || !strcmp(e->d_name, "."))
			continue;
		snprintf(path, sizeof path, "%s/%s", fresh, e->d_name);
		if (access(path, F_OK) == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", volume, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	return error;
}

static int fill(struct request *r, const char *directory, const struct disk_request *d)
{
	struct fields fields = {r->bytes, r->length};
	const char *path = NULL;
	uint64_t mode = 0644;
	struct field f;
	int error = 0;

	while (!error && field_next(&fields, &f) > 0) {
		if (f.tag == T_PATH) {
			path = field_string(&f);
			if (!good_path(path))
				error = -EINVAL;
		} else if (f.tag == T_MODE) {
			field_number(&f, &mode);
		} else if (f.tag == T_CONTENT) {
			error = path ? write_content(directory, path, mode & 07777, d, &f) : -EINVAL;
		}
	}
	return error;
}

/* The swap every reader of a ConfigMap relies on: a new directory beside the old, then one rename of ..data. */
static int replace(struct request *r, const char *volume, const struct disk_request *d)
{
	static unsigned generation;
	char fresh[PATH_MAX], name[64], data[PATH_MAX], link[PATH_MAX], old[256] = "";
	int error;

	snprintf(name, sizeof name, "..%lld_%u", (long long)(now_ns() / 1000000000), ++generation);
	snprintf(fresh, sizeof fresh, "%s/%s", volume, name);
	snprintf(data, sizeof data, "%s/..data", volume);
	snprintf(link, sizeof link, "%s/..data_tmp", volume);
	if (mkdir(fresh, 0755))
		return -errno;
	error = fill(r, fresh, d);
	ssize_t n = readlink(data, old, sizeof old - 1);
	old[n > 0 ? n : 0] = 0;
	unlink(link);
	if (!error && (symlink(name, link) || rename(link, data)))
		error = -errno;
	if (!error)
		error = refresh_links(volume, fresh);
	if (error) {
		remove_tree(fresh);
	} else if (*old) {
		snprintf(fresh, sizeof fresh, "%s/%s", volume, old);
		remove_tree(fresh);
	}
	return error;
}

void volume_write(struct request *r)
{
	struct disk_request d = {0};
	char target[PATH_MAX];
	int error = 0;

	if (!parse_disk(r, &d) || !d.volume) {
		reply_error(r->id, "BadRequest", "the volume's description is malformed");
		return;
	}
	disk_target(&d, target, sizeof target);
	if (access(target, F_OK)) {
		error = make_directories(target, 0755);
		if (!error && mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755"))
			error = -errno;
	}
	if (!error)
		error = replace(r, target, &d);
	if (error)
		reply_error(r->id, "VolumeFailed", "the volume %s can't be written: %s", d.volume, strerror(-error));
	else
		reply_ok(r->id);
}

static ssize_t read_piece(const struct disk_request *d, const char *path, char *bytes)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	char target[PATH_MAX];
	struct stat st;
	ssize_t n = -1;
	int volume, fd, error;

	disk_target(d, target, sizeof target);
	volume = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = volume < 0 ? -1 : syscall(SYS_openat2, volume, path, &how, sizeof how);
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		errno = EINVAL;
	else if (fd >= 0)
		n = pread(fd, bytes, READ_MAX, d->size);
	error = errno;
	close(fd);
	close(volume);
	return n < 0 ? -error : n;
}

/* A piece of a regular file in a volume, from T_SIZE on. */
void volume_read(struct request *r)
{
	static char bytes[READ_MAX];
	struct disk_request d = {0};
	struct fields fields = {r->bytes, r->length};
	struct message m = {0};
	const char *path = NULL;
	struct field f;
	ssize_t n;

	while (field_next(&fields, &f) > 0)
		if (f.tag == T_PATH)
			path = field_string(&f);
	if (!parse_disk(r, &d) || !d.volume || !good_path(path)) {
		reply_error(r->id, "BadRequest", "the file's description is malformed");
		return;
	}
	n = read_piece(&d, path, bytes);
	if (n < 0) {
		reply_error(r->id, n == -ENOENT ? "NoSuchFile" : "ReadFailed", "the file %s in volume %s can't be read: %s", path,
			    d.volume, strerror(-n));
		return;
	}
	message_bytes(&m, T_CONTENT, bytes, n);
	reply(r->id, &m);
}

struct measure {
	struct source result;
	uint32_t request;
};

static uint64_t measured_bytes;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)type;
	(void)at;
	measured_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static void on_measured(struct source *s, uint32_t events)
{
	struct measure *m = s->owner;
	struct message answer = {0};
	uint64_t bytes;

	(void)events;
	if (read(s->fd, &bytes, sizeof bytes) != sizeof bytes) {
		reply_error(m->request, "MeasureFailed", "what is on the disk can't be measured");
	} else {
		message_number(&answer, T_SIZE, bytes);
		reply(m->request, &answer);
	}
	loop_close(s);
	free(m);
}

/* The bytes on disk of a volume (T_NAME) or of a container's writable layer (T_PATH, its id). A child looks: there may
 * be a million files. */
void volume_measure(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	char path[PATH_MAX] = "";
	struct measure *m;
	struct field f;
	int result[2];
	pid_t child;

	while (field_next(&fields, &f) > 0) {
		const char *name = field_string(&f);

		if (good_name(name) && f.tag == T_NAME)
			snprintf(path, sizeof path, VOLUMES "/%s", name);
		if (good_name(name) && f.tag == T_PATH)
			snprintf(path, sizeof path, SCRATCH "/containers/%s/upper", name);
	}
	if (!*path || pipe2(result, O_CLOEXEC)) {
		reply_error(r->id, "BadRequest", "it isn't said what to measure");
		return;
	}
	child = fork();
	if (child == 0) {
		nftw(path, add_size, 16, FTW_PHYS | FTW_MOUNT);
		if (write(result[1], &measured_bytes, sizeof measured_bytes) < 0)
			_exit(1);
		_exit(0);
	}
	close(result[1]);
	m = allocate(sizeof *m);
	m->request = r->id;
	loop_add(&m->result, result[0], EPOLLIN, on_measured, m);
}
