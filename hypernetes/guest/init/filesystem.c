#define _GNU_SOURCE
#include "filesystem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blank.h"
#include "loop.h"
#include "proto.h"
#include "volume.h"

#define TOOLBOX "/run/toolbox"
#define OPTIONS_MAX 64
#define GROWTH (1 << 20) /* bytes beyond the file system that are worth growing it */
#define UNMOUNT_MS 10000

/* linux/fs.h and xfs/xfs_fs.h aren't to be had with musl. */
#define EXT4_RESIZE _IOW('f', 16, uint64_t)
struct xfs_growth {
	uint64_t blocks;
	uint32_t inode_percent;
};
#define XFS_GROW _IOW('X', 110, struct xfs_growth)
/* struct xfs_fsop_geom_v1: blocksize at 0, imaxpct at 28 */
#define XFS_GEOMETRY _IOC(_IOC_READ, 'X', 100, 112)

static const struct {
	const char *name;
	unsigned long set, clear;
} FLAGS[] = {
	{"ro", MS_RDONLY, 0},	      {"rw", 0, MS_RDONLY},	    {"noatime", MS_NOATIME, 0},
	{"relatime", MS_RELATIME, 0}, {"strictatime", MS_STRICTATIME, 0}, {"nodiratime", MS_NODIRATIME, 0},
	{"nosuid", MS_NOSUID, 0},     {"suid", 0, MS_NOSUID},	    {"noexec", MS_NOEXEC, 0},
	{"exec", 0, MS_NOEXEC},	      {"nodev", MS_NODEV, 0},	    {"sync", MS_SYNCHRONOUS, 0},
	{"async", 0, MS_SYNCHRONOUS}, {"dirsync", MS_DIRSYNC, 0},   {"lazytime", MS_LAZYTIME, 0},
	{"defaults", 0, 0},	      {"_netdev", 0, 0},
};

struct job {
	uint32_t request;
	pid_t pid;
	int words; /* what the child says: a reason, NUL, a message */
};

struct volume_request {
	const char *name, *type, *source, *address;
	const char *mount_options[OPTIONS_MAX];
	unsigned option_count;
	uint64_t lun, options, group;
	bool has_group;
};

static int words = -1;

void work_fail(const char *reason, const char *format, ...)
{
	char text[700];
	size_t n = strlen(reason) + 1;
	va_list args;

	memcpy(text, reason, n);
	va_start(args, format);
	n += vsnprintf(text + n, sizeof text - n, format, args);
	va_end(args);
	if (write(words, text, n < sizeof text ? n : sizeof text) < 0)
		_exit(126);
	_exit(1);
}

/* A program of the toolbox; its exit code. `image` is a file that it finds at IMAGE_IN_TOOLBOX. What it says last is in
 * `said`. */
int work_run(char *const argv[], const char *image, char *said, unsigned size)
{
	static char *const environment[] = {"PATH=/bin", NULL};
	int ends[2], status = 0;
	size_t have = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0)
		return 127;
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(126);
		/* The toolbox's /run is a tmpfs, where the image of a new file system is put in its place. */
		if (image) {
			close(open(TOOLBOX IMAGE_IN_TOOLBOX, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
			if (mount(image, TOOLBOX IMAGE_IN_TOOLBOX, NULL, MS_BIND, NULL))
				_exit(126);
		}
		if (chroot(TOOLBOX) || chdir("/"))
			_exit(126);
		dup2(open("/dev/null", O_RDWR), 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		execve(argv[0], argv, environment);
		_exit(127);
	}
	close(ends[1]);
	while ((n = read(ends[0], said + have, size - 1 - have)) > 0 || (n < 0 && errno == EINTR)) {
		have += n > 0 ? n : 0;
		if (have == size - 1) { /* keep the end */
			memmove(said, said + size / 2, have - size / 2);
			have -= size / 2;
		}
	}
	said[have] = 0;
	for (char *p = said; *p; p++)
		if (*p == '\n')
			*p = ' ';
	close(ends[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool parse(struct request *r, struct volume_request *v)
{
	struct fields fields = {r->bytes, r->length};
	struct field f;
	bool good = true;
	int more;

	memset(v, 0, sizeof *v);
	v->type = "ext4";
	while (good && (more = field_next(&fields, &f)) != 0) {
		if (more < 0)
			return false;
		switch (f.tag) {
		case T_NAME: good = good_name(v->name = field_string(&f)); break;
		case T_FILE_SYSTEM: good = good_name(v->type = field_string(&f)); break;
		case T_SOURCE: good = (v->source = field_string(&f)) != NULL; break;
		case T_ADDRESS: good = (v->address = field_string(&f)) != NULL; break;
		case T_LUN: good = field_number(&f, &v->lun); break;
		case T_OPTIONS: good = field_number(&f, &v->options); break;
		case T_GID: good = v->has_group = field_number(&f, &v->group); break;
		case T_ARG:
			good = v->option_count < OPTIONS_MAX && (v->mount_options[v->option_count++] = field_string(&f));
			break;
		}
	}
	return good && v->name;
}

static void on_done(void *owner, pid_t pid, int status)
{
	struct job *job = owner;
	char text[700] = "";
	ssize_t n = read(job->words, text, sizeof text - 1);

	(void)pid;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		reply_ok(job->request);
	} else if (n <= 0) {
		reply_error(job->request, "MountFailed", "the machine failed at the volume (status %d)", status);
	} else {
		text[n] = 0;
		reply_error(job->request, text, "%s", text + strnlen(text, n) + 1);
	}
	close(job->words);
	free(job);
}

/* All of this may take long, so a child does it; it shares hn-init's mounts. */
static void begin(struct request *r, void (*work)(const struct volume_request *))
{
	struct volume_request v;
	struct job *job;
	sigset_t none;
	int ends[2];

	if (!parse(r, &v)) {
		reply_error(r->id, "BadRequest", "the volume's description is malformed");
		return;
	}
	if (pipe2(ends, O_CLOEXEC)) {
		reply_error(r->id, "MountFailed", "the machine has no resources: %s", strerror(errno));
		return;
	}
	job = allocate(sizeof *job);
	job->request = r->id;
	job->words = ends[0];
	job->pid = fork();
	if (job->pid == 0) {
		words = ends[1];
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGCHLD, SIG_DFL);
		work(&v);
		_exit(0);
	}
	close(ends[1]);
	if (job->pid < 0) {
		reply_error(r->id, "MountFailed", "the machine has no resources: %s", strerror(errno));
		close(ends[0]);
		free(job);
		return;
	}
	loop_child(job->pid, on_done, job);
}

static void target_of(const struct volume_request *v, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", v->options & O_BLOCK ? DEVICES_OF_VOLUMES : VOLUMES, v->name);
}

static bool is_mounted(const char *target)
{
	struct stat inside, outside;
	char parent[PATH_MAX];

	snprintf(parent, sizeof parent, "%s/..", target);
	return stat(target, &inside) == 0 && stat(parent, &outside) == 0 && inside.st_dev != outside.st_dev;
}

/* Modules that few pods need are in the toolbox, and cost the others nothing. */
static void load_modules(const char *of)
{
	char path[PATH_MAX], line[256];
	FILE *list;

	snprintf(path, sizeof path, TOOLBOX "/modules/%s", of);
	list = fopen(path, "re");
	while (list && fgets(line, sizeof line, list)) {
		line[strcspn(line, "\n")] = 0;
		snprintf(path, sizeof path, TOOLBOX "/modules/%s", line);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			work_fail("MountFailed", "the machine can't load %s: %s", line, strerror(errno));
		close(fd);
	}
	if (list)
		fclose(list);
}

/* Options become flags, or text for the file system: `text` has what is left. */
static unsigned long options_of(const struct volume_request *v, char *text, size_t size)
{
	unsigned long flags = MS_NODEV;
	bool known;

	*text = 0;
	for (unsigned i = 0; i < v->option_count; i++) {
		known = false;
		for (size_t j = 0; j < sizeof FLAGS / sizeof *FLAGS; j++)
			if (!strcmp(v->mount_options[i], FLAGS[j].name)) {
				flags = (flags | FLAGS[j].set) & ~FLAGS[j].clear;
				known = true;
			}
		if (!known && snprintf(text + strlen(text), size - strlen(text), "%s%s", *text ? "," : "",
				       v->mount_options[i]) >= (int)(size - strlen(text)))
			work_fail("MountFailed", "the mount options are too long");
	}
	return flags | (v->options & O_READ_ONLY ? MS_RDONLY : 0);
}

static gid_t group;

static int give_to_group(const char *path, const struct stat *st, int type, struct FTW *at)
{
	mode_t mode = st->st_mode | 0060 | (st->st_mode & 0111 || S_ISDIR(st->st_mode) ? 0010 : 0);

	(void)at;
	if (lchown(path, -1, group))
		return -1;
	/* Whatever is made in a directory later belongs to the group, too. */
	if (type != FTW_SL && chmod(path, (mode | (S_ISDIR(st->st_mode) ? 02000 : 0)) & 07777))
		return -1;
	return 0;
}

static void apply_group(const struct volume_request *v, const char *target)
{
	struct stat st;

	if (!v->has_group || v->options & O_READ_ONLY)
		return;
	group = v->group;
	if (v->options & O_ON_ROOT_MISMATCH && stat(target, &st) == 0 && st.st_gid == group &&
	    (st.st_mode & 02070) == 02070)
		return;
	if (nftw(target, give_to_group, 32, FTW_PHYS | FTW_MOUNT))
		work_fail("MountFailed", "the volume's files can't be given to group %u: %s", (unsigned)group, strerror(errno));
}

static void grow(const char *device, const char *target)
{
	uint64_t size = device_size(device), blocks;
	struct xfs_growth xfs = {0};
	uint8_t geometry[112] = {0};
	struct found f;
	int fd, failed, error;

	if ((error = probe(device, size, &f)))
		work_fail("GrowFailed", "the device can't be read: %s", strerror(-error));
	if (f.content != EXT4 && f.content != XFS)
		return;
	fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f.content == EXT4 && size > f.bytes + GROWTH) {
		uint8_t super[64];
		int disk = open(device, O_RDONLY | O_CLOEXEC);
		if (disk < 0 || pread(disk, super, sizeof super, 1024) != sizeof super)
			work_fail("GrowFailed", "the device can't be read: %s", strerror(errno));
		close(disk);
		blocks = size >> (10 + (super[0x18] & 15));
		if (fd < 0 || ioctl(fd, EXT4_RESIZE, &blocks))
			work_fail("GrowFailed", "the file system can't be grown: %s", strerror(errno));
	} else if (f.content == XFS && size > f.bytes + GROWTH) {
		failed = fd < 0 || ioctl(fd, XFS_GEOMETRY, geometry);
		if (!failed) {
			uint32_t block_size, percent;
			memcpy(&block_size, geometry, 4);
			memcpy(&percent, geometry + 28, 4);
			xfs.blocks = size / (block_size ? block_size : 4096);
			xfs.inode_percent = percent;
			failed = ioctl(fd, XFS_GROW, &xfs);
		}
		if (failed)
			work_fail("GrowFailed", "the file system can't be grown: %s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

static void check(const char *device)
{
	char *argv[] = {"/bin/e2fsck", "-p", (char *)device, NULL}, said[400];
	int code = work_run(argv, NULL, said, sizeof said);

	if (code & ~3)
		work_fail("FsckFailed", "the file system has errors that need a person (e2fsck, code %d): %s", code, said);
}

static void prepare(const struct volume_request *v, const char *device)
{
	uint64_t size = device_size(device);
	struct found f;
	int error = probe(device, size, &f);

	if (error)
		work_fail("MountFailed", "the device can't be read: %s", strerror(-error));
	if (f.content == FOREIGN)
		work_fail("ForeignContent", "the volume has %s, which is not touched: empty it, or use volumeMode Block", f.what);
	if (f.content == BLANK || f.content == HALF_FORMATTED) {
		if (v->options & O_READ_ONLY)
			work_fail("NotFormatted", "the volume is read-only and has no file system");
		format(device, size, v->type, f.content == HALF_FORMATTED);
		return;
	}
	if ((f.content == XFS) != !strcmp(v->type, "xfs"))
		work_fail("WrongFileSystem", "the volume has a file system of type %s, and not %s",
			  f.content == XFS ? "xfs" : "ext4", v->type);
	if (f.content == EXT4 && f.dirty && !(v->options & O_READ_ONLY))
		check(device);
}

static void find_device(const struct volume_request *v, char *device, size_t size)
{
	if (!wait_lun(v->lun, device, size))
		work_fail("MountFailed", "the volume's device does not appear");
}

/* One child at a time works on a volume: until this one ends, others wait. */
static void own_device(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX))
		work_fail("MountFailed", "the volume's device can't be locked: %s", strerror(errno));
}

static void attach_block(const struct volume_request *v, const char *device, const char *target)
{
	struct stat st;

	make_directories(DEVICES_OF_VOLUMES, 0755);
	unlink(target);
	if (stat(device, &st) || mknod(target, S_IFBLK | 0660, st.st_rdev) || chown(target, 0, v->has_group ? v->group : 0) ||
	    chmod(target, 0660))
		work_fail("MountFailed", "the device can't be made: %s", strerror(errno));
}

static void attach(const struct volume_request *v)
{
	char device[300], target[PATH_MAX], text[2048];
	unsigned long flags;
	int error;

	target_of(v, target, sizeof target);
	find_device(v, device, sizeof device);
	if (v->options & O_BLOCK) {
		attach_block(v, device, target);
		return;
	}
	if (strcmp(v->type, "ext4") && strcmp(v->type, "xfs") && strcmp(v->type, "ext3") && strcmp(v->type, "ext2"))
		work_fail("WrongFileSystem", "file systems of type %s are not supported: use ext4 or xfs", v->type);
	own_device(device);
	flags = options_of(v, text, sizeof text);
	if (is_mounted(target)) { /* by an earlier request, whose answer was lost, or that got no further */
		if (!(flags & MS_RDONLY))
			grow(device, target);
		apply_group(v, target);
		return;
	}
	if (!strcmp(v->type, "xfs"))
		load_modules("xfs");
	prepare(v, device);
	if (!(flags & MS_RDONLY) && !strstr(text, "discard") && strlen(text) + 9 < sizeof text)
		strcat(text, *text ? ",discard" : "discard");
	if ((error = make_directories(target, 0755)) ||
	    (error = mount(device, target, strcmp(v->type, "xfs") ? "ext4" : "xfs", flags, text) ? -errno : 0)) {
		rmdir(target);
		work_fail("MountFailed", "the volume can't be mounted (%s): %s", text, strerror(-error));
	}
	if (!(flags & MS_RDONLY))
		grow(device, target);
	apply_group(v, target);
}

static void detach(const struct volume_request *v)
{
	char target[PATH_MAX], path[128];
	int error;

	target_of(v, target, sizeof target);
	if (v->options & O_BLOCK) {
		unlink(target);
	} else {
		if (umount2(target, 0) && errno != EINVAL && errno != ENOENT)
			work_fail("DiskBusy", "the volume is in use: %s", strerror(errno));
		rmdir(target);
	}
	snprintf(path, sizeof path, "/sys/bus/scsi/devices/0:0:0:%u/delete", (unsigned)v->lun);
	if (v->lun && (error = write_file(path, "1")) && error != -ENOENT)
		work_fail("UnplugFailed", "the device can't be let go: %s", strerror(-error));
}

static void grow_volume(const struct volume_request *v)
{
	char device[300], target[PATH_MAX], path[128];

	target_of(v, target, sizeof target);
	snprintf(path, sizeof path, "/sys/bus/scsi/devices/0:0:0:%u/rescan", (unsigned)v->lun);
	write_file(path, "1");
	find_device(v, device, sizeof device);
	if (v->options & O_BLOCK)
		return;
	own_device(device);
	grow(device, target);
}

static void mount_nfs(const struct volume_request *v)
{
	static const char *const versions[] = {"vers=4.2", "vers=4.1", "vers=4.0", "vers=3", NULL};
	static const char *const asked[] = {"", NULL};
	char target[PATH_MAX], text[2048], all[2560];
	const char *const *version;
	unsigned long flags;
	int error = EPROTONOSUPPORT;

	if (!v->source || !v->address)
		work_fail("BadRequest", "an NFS volume has a source and an address");
	target_of(v, target, sizeof target);
	if (is_mounted(target))
		return;
	load_modules("nfs");
	flags = options_of(v, text, sizeof text);
	make_directories(target, 0755);
	version = strstr(text, "vers=") ? asked : versions;
	for (; *version; version++) {
		bool third = strstr(**version ? *version : text, "vers=3") != NULL;
		snprintf(all, sizeof all, "%s%s%s%saddr=%s%s%s%s", *version, **version ? "," : "", text, *text ? "," : "",
			 v->address, third ? ",nolock,proto=tcp,mountproto=tcp,mountaddr=" : "", third ? v->address : "",
			 third ? "" : ",clientaddr=0.0.0.0");
		if (mount(v->source, target, third ? "nfs" : "nfs4", flags, all) == 0)
			return;
		error = errno;
		if (error != EPROTONOSUPPORT && error != EINVAL && error != EOPNOTSUPP)
			break;
	}
	rmdir(target);
	work_fail("MountFailed", "%s can't be mounted: %s", v->source, strerror(error));
}

void filesystem_attach(struct request *r) { begin(r, attach); }
void filesystem_detach(struct request *r) { begin(r, detach); }
void filesystem_grow(struct request *r) { begin(r, grow_volume); }
void filesystem_mount_nfs(struct request *r) { begin(r, mount_nfs); }

void filesystem_unmount_all(void)
{
	char target[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(VOLUMES);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(target, sizeof target, VOLUMES "/%s", e->d_name);
		/* What still has it open has been killed: the kernel may need a moment to let go. */
		for (int waited = 0; is_mounted(target) && waited < UNMOUNT_MS; waited++) {
			if (umount2(target, 0) == 0 || errno != EBUSY)
				break;
			usleep(1000);
		}
		if (is_mounted(target) && mount(NULL, target, NULL, MS_REMOUNT | MS_RDONLY, NULL))
			note("volume %s can't be closed: %s", e->d_name, strerror(errno));
	}
	if (d)
		closedir(d);
}
