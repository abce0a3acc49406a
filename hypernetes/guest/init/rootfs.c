#define _GNU_SOURCE
#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "proto.h"
#include "volume.h"

/* linux/mount.h clashes with musl's sys/mount.h. */
#define OPEN_TREE_CLONE 1
#define AT_RECURSIVE 0x8000
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#define MOUNT_ATTR_RDONLY 0x00000001

struct mount_attributes {
	uint64_t set, clear, propagation, user_namespace;
};

/* What an unprivileged container may not see, and may not write: the lists every container runtime has. */
static const char *const MASKED[] = {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				     "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", NULL};
static const char *const READ_ONLY[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

static const struct {
	const char *path;
	unsigned major, minor;
} DEVICES[] = {{"/dev/null", 1, 3}, {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
	       {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};

static const struct {
	const char *path, *target;
} LINKS[] = {{"/dev/fd", "/proc/self/fd"},	{"/dev/stdin", "/proc/self/fd/0"}, {"/dev/stdout", "/proc/self/fd/1"},
	     {"/dev/stderr", "/proc/self/fd/2"}, {"/dev/ptmx", "pts/ptmx"},	    {"/dev/core", "/proc/kcore"}};

static int open_in(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};

	return syscall(SYS_openat2, directory, path, &how, sizeof how);
}

/* Makes `path` below `root` as a directory (or a file) where it isn't yet, following symbolic links inside only.
 * `mode` is that of the directories. */
static int make_in(int root, const char *path, bool directory, unsigned mode, uint64_t resolve)
{
	char partial[PATH_MAX];

	while (*path == '/')
		path++;
	if (!*path || strlen(path) >= sizeof partial)
		return open_in(root, ".", O_PATH | O_DIRECTORY, 0, resolve);
	for (const char *p = path;; p++) {
		int fd, parent;
		char *name;
		bool leaf = *p == 0;

		if (*p != '/' && !leaf)
			continue;
		snprintf(partial, sizeof partial, "%.*s", (int)(p - path), path);
		fd = open_in(root, partial, O_PATH, 0, resolve);
		if (fd < 0 && errno == ENOENT) {
			name = strrchr(partial, '/');
			if (name)
				*name++ = 0;
			parent = open_in(root, name ? partial : ".", O_PATH | O_DIRECTORY, 0, resolve);
			if (!name)
				name = partial;
			if (leaf && !directory)
				fd = open_in(parent, name, O_CREAT | O_EXCL | O_WRONLY, 0644, RESOLVE_NO_SYMLINKS);
			else if (mkdirat(parent, name, mode & 0777) == 0 && fchmodat(parent, name, mode, 0) == 0)
				fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
			int error = errno;
			close(parent);
			errno = error;
		}
		if (fd < 0 || leaf)
			return fd;
		close(fd);
	}
}

static int set_attributes(int tree, unsigned flags, struct mount_attributes attributes)
{
	return syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes);
}

/* A copy of what is mounted at `source`, not yet mounted anywhere; `options` are those of a mount. */
static int clone_tree(int source, uint64_t options, const char *name)
{
	int tree = syscall(SYS_open_tree, source, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	unsigned depth = options & O_RECURSIVE ? AT_RECURSIVE : 0;
	struct mount_attributes read_only = {.set = MOUNT_ATTR_RDONLY},
				propagation = {.propagation = options & O_FROM_MACHINE ? MS_SLAVE : MS_PRIVATE};

	if (tree < 0 || (options & O_READ_ONLY && set_attributes(tree, depth, read_only)) ||
	    (!(options & O_TO_MACHINE) && set_attributes(tree, AT_RECURSIVE, propagation)))
		setup_fail("MountFailed", "%s can't be mounted: %s", name, strerror(errno));
	return tree;
}

static void place(int tree, int target, const char *name)
{
	if (syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		setup_fail("MountFailed", "%s can't be mounted: %s", name, strerror(errno));
	close(tree);
}

/* The volume's part that is to be mounted; taken while its mounts still are the machine's, so that they propagate. */
static int take_volume(int volumes, const struct plan_mount *m)
{
	int volume, source, tree;
	char device[256];
	struct stat st;

	if (m->options & O_BLOCK) {
		snprintf(device, sizeof device, "../devices/%s", m->source);
		volume = source = openat(volumes, device, O_PATH | O_CLOEXEC);
	} else {
		volume = source = openat(volumes, m->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (volume < 0 || fstat(volume, &st))
		setup_fail("NoSuchVolume", "the machine has no volume %s", m->source);
	/* A sub-path must stay in its volume whatever links a container left there. Made, it is as open as the volume. */
	if (m->sub_path) {
		source = open_in(volume, m->sub_path, O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
		if (source < 0 && errno == ENOENT)
			source = make_in(volume, m->sub_path, true, st.st_mode & 07777, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	}
	if (source < 0)
		setup_fail("MountFailed", "the path %s in volume %s can't be used: %s", m->sub_path ? m->sub_path : ".", m->source,
			   strerror(errno));
	tree = clone_tree(source, m->options, m->target);
	if (source != volume)
		close(source);
	close(volume);
	return tree;
}

static void mount_at(int root, int tree, const char *path)
{
	struct stat st;
	int target;

	if (fstat(tree, &st))
		setup_fail("MountFailed", "%s can't be mounted: %s", path, strerror(errno));
	target = make_in(root, path, S_ISDIR(st.st_mode), 0755, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (target < 0)
		setup_fail("MountFailed", "the mount point %s can't be made: %s", path, strerror(errno));
	place(tree, target, path);
	close(target);
}

/* A file beside the writable layer, which whoever the container runs as may write. */
static int take_message_file(const struct plan *p)
{
	char path[PATH_MAX];
	int file, tree;

	snprintf(path, sizeof path, SCRATCH "/containers/%s/message", p->id);
	file = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (file < 0 || fchmod(file, 0666))
		setup_fail("MountFailed", "the file for the termination message can't be made: %s", strerror(errno));
	tree = clone_tree(file, 0, p->message_path);
	close(file);
	return tree;
}

static void mount_or_fail(const char *source, const char *target, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(target, 0755) && errno != EEXIST)
		setup_fail("MountFailed", "%s can't be made: %s", target, strerror(errno));
	if (mount(source, target, type, flags, options))
		setup_fail("MountFailed", "%s can't be mounted: %s", target, strerror(errno));
}

static void mount_overlay(const struct plan *p, char *root)
{
	char lower[512], upper[PATH_MAX], work[PATH_MAX], options[3 * PATH_MAX];
	int error;

	snprintf(lower, sizeof lower, IMAGES "/%s", p->image);
	snprintf(upper, sizeof upper, SCRATCH "/containers/%s/upper", p->id);
	snprintf(work, sizeof work, SCRATCH "/containers/%s/work", p->id);
	if ((error = make_directories(upper, 0755)) || (error = make_directories(work, 0755)) ||
	    (error = make_directories(root, 0755)))
		setup_fail(error == -ENOSPC ? "DiskFull" : "MountFailed", "the writable layer can't be made: %s", strerror(-error));
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
	if (mount("overlay", root, "overlay", MS_NODEV, options))
		setup_fail("MountFailed", "the image can't be mounted: %s", strerror(errno));
}

static void make_devices(const struct plan *p)
{
	if (p->options & O_PRIVILEGED) {
		mount_or_fail("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	} else {
		mount_or_fail("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=0755,size=64k");
		for (size_t i = 0; i < sizeof DEVICES / sizeof *DEVICES; i++) {
			mode_t old = umask(0);
			if (mknod(DEVICES[i].path, S_IFCHR | 0666, makedev(DEVICES[i].major, DEVICES[i].minor)))
				setup_fail("MountFailed", "%s can't be made: %s", DEVICES[i].path, strerror(errno));
			umask(old);
		}
	}
	mount_or_fail("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	for (size_t i = 0; i < sizeof LINKS / sizeof *LINKS; i++) {
		unlink(LINKS[i].path);
		if (symlink(LINKS[i].target, LINKS[i].path))
			setup_fail("MountFailed", "%s can't be made: %s", LINKS[i].path, strerror(errno));
	}
	mount_or_fail("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

static void mask(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return; /* this kernel has none */
	if (S_ISDIR(st.st_mode) ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0,nr_inodes=2") : mount("/dev/null", path, NULL, MS_BIND, NULL))
		setup_fail("MountFailed", "%s can't be masked: %s", path, strerror(errno));
}

static void protect(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return;
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) || mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		setup_fail("MountFailed", "%s can't be made read-only: %s", path, strerror(errno));
}

static void mount_kernel(const struct plan *p)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	unsigned long read_only = p->options & O_PRIVILEGED ? 0 : MS_RDONLY;

	mount_or_fail("proc", "/proc", "proc", safe, NULL);
	make_devices(p);
	mount_or_fail("sysfs", "/sys", "sysfs", safe | read_only, NULL);
	if (unshare(CLONE_NEWCGROUP))
		setup_fail("MountFailed", "no cgroup namespace: %s", strerror(errno));
	mount_or_fail("cgroup2", "/sys/fs/cgroup", "cgroup2", safe | read_only, NULL);
	if (p->options & (O_PRIVILEGED | O_UNMASKED))
		return;
	for (const char *const *path = MASKED; *path; path++)
		mask(*path);
	for (const char *const *path = READ_ONLY; *path; path++)
		protect(*path);
}

static void write_files(int root, const struct plan *p)
{
	for (unsigned i = 0; i < p->file_count; i++) {
		const struct plan_file *f = &p->files[i];
		int place = make_in(root, f->path, false, 0755, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), fd;

		if (place >= 0)
			close(place);
		fd = open_in(root, f->path, O_WRONLY | O_TRUNC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (fd < 0 || write(fd, f->content, f->length) != (ssize_t)f->length)
			setup_fail(errno == ENOSPC ? "DiskFull" : "StartFailed", "%s can't be written: %s", f->path, strerror(errno));
		close(fd);
	}
}

void rootfs_enter(const struct plan *p)
{
	char root[PATH_MAX];
	int old_root, root_fd, volumes, shm, message = -1, trees[MOUNTS_MAX];

	if (unshare(CLONE_NEWNS))
		setup_fail("StartFailed", "no mount namespace: %s", strerror(errno));
	volumes = open(VOLUMES, O_PATH | O_DIRECTORY | O_CLOEXEC);
	shm = open("/run/shm", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (volumes < 0 || shm < 0)
		setup_fail("StartFailed", "the machine's volumes are not there: %s", strerror(errno));
	for (unsigned i = 0; i < p->mount_count; i++)
		trees[i] = take_volume(volumes, &p->mounts[i]);
	shm = clone_tree(shm, 0, "/dev/shm");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		setup_fail("StartFailed", "no mount namespace: %s", strerror(errno));
	snprintf(root, sizeof root, "/run/containers/%s", p->id);
	mount_overlay(p, root);
	old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->message_path)
		message = take_message_file(p);
	if (old_root < 0 || root_fd < 0 || fchdir(root_fd))
		setup_fail("StartFailed", "the container's root is not there: %s", strerror(errno));
	write_files(root_fd, p);
	/* The old root stays stacked on the new one until the volumes, which lie in it, are mounted. */
	if (syscall(SYS_pivot_root, ".", "."))
		setup_fail("StartFailed", "the container's root can't be entered: %s", strerror(errno));
	mount_kernel(p);
	mount_at(root_fd, shm, "/dev/shm");
	for (unsigned i = 0; i < p->mount_count; i++)
		mount_at(root_fd, trees[i], p->mounts[i].target);
	if (message >= 0)
		mount_at(root_fd, message, p->message_path);
	if (fchdir(old_root) || umount2(".", MNT_DETACH) || chdir("/"))
		setup_fail("StartFailed", "the machine's root can't be left: %s", strerror(errno));
	if (p->options & O_READ_ONLY && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV, NULL))
		setup_fail("MountFailed", "the root can't be made read-only: %s", strerror(errno));
}
