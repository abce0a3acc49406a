#define _GNU_SOURCE
#include "blank.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volume.h"

#define HEAD (1 << 20)	/* that must be zero of a blank device */
#define TAIL (64 << 10) /* where backup partition tables and RAID have their marks */
#define SECTOR 512
#define PIECE (256 << 10)
/* In the first sector while a file system is being made: neither ext4 nor XFS puts anything else there before its end. */
#define MARK "hypernetes: this device is being formatted\n"

static const struct {
	const char *name;
	unsigned offset, length;
	const char *magic;
} SIGNATURES[] = {
	{"a LUKS volume", 0, 6, "LUKS\xba\xbe"},
	{"an LVM physical volume", 512, 8, "LABELONE"},
	{"a GPT partition table", 512, 8, "EFI PART"},
	{"a btrfs file system", 65600, 8, "_BHRfS_M"},
	{"an NTFS file system", 3, 8, "NTFS    "},
	{"an exFAT file system", 3, 8, "EXFAT   "},
	{"a FAT file system", 82, 5, "FAT32"},
	{"a FAT file system", 54, 3, "FAT"},
	{"swap space", 4086, 10, "SWAPSPACE2"},
	{"a ZFS label", 131072, 8, "\x0c\xb1\xba\x00\x00\x00\x00\x00"},
	{"a squashfs", 0, 4, "hsqs"},
	{"an EROFS", 1024, 4, "\xe2\xe1\xf5\xe0"},
	{"an F2FS", 1024, 4, "\x10\x20\xf5\xf2"},
	{"a bcache device", 4120, 8, "\xc6\x85\x73\xf6"},
	{"a RAID member", 4096, 4, "\xfc\x4e\x2b\xa9"},
	{"an ISO 9660 image", 32769, 5, "CD001"},
	{"a qcow2 image", 0, 4, "QFI\xfb"},
	{"a partition table", 510, 2, "\x55\xaa"},
};

uint64_t device_size(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	uint64_t size = 0;

	if (fd >= 0 && ioctl(fd, BLKGETSIZE64, &size))
		size = 0;
	if (fd >= 0)
		close(fd);
	return size;
}

static uint32_t little(const uint8_t *p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }

static uint64_t big(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *p++;
	return value;
}

static bool zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Ext2 and ext3 are mounted as ext4 by the same driver. */
static bool find_ext4(const uint8_t *head, struct found *f)
{
	const uint8_t *super = head + 1024;
	uint32_t incompatible = little(super + 0x60);
	uint64_t blocks = little(super + 4);

	if (super[0x38] != 0x53 || super[0x39] != 0xef)
		return false;
	if (incompatible & 0x80)
		blocks |= (uint64_t)little(super + 0x150) << 32;
	f->content = EXT4;
	f->bytes = blocks << (10 + (little(super + 0x18) & 15));
	/* With a journal, what a power cut left is the kernel's to replay (recover, 4). */
	f->dirty = super[0x3a] & 2 || (!(super[0x3a] & 1) && !(little(super + 0x5c) & 4));
	return true;
}

static bool find_xfs(const uint8_t *head, struct found *f)
{
	if (memcmp(head, "XFSB", 4))
		return false;
	f->content = head[126] ? HALF_FORMATTED : XFS; /* sb_inprogress */
	f->bytes = big(head + 8, 8) * big(head + 4, 4);
	return true;
}

int probe(const char *device, uint64_t size, struct found *f)
{
	size_t length = size < HEAD ? size : HEAD, end = size < TAIL ? size : TAIL;
	int fd = open(device, O_RDONLY | O_CLOEXEC), error = 0;
	uint8_t *head = calloc(1, HEAD), *tail = calloc(1, TAIL);

	memset(f, 0, sizeof *f);
	if (fd < 0 || !head || !tail || pread(fd, head, length, 0) != (ssize_t)length ||
	    pread(fd, tail, end, size - end) != (ssize_t)end) {
		error = errno ? -errno : -EIO;
	} else if (memcmp(head, MARK, sizeof MARK - 1) == 0) {
		f->content = HALF_FORMATTED;
	} else if (!find_xfs(head, f) && !find_ext4(head, f)) {
		f->content = zero(head, length) && zero(tail, end) ? BLANK : FOREIGN;
		f->what = "data of an unknown kind";
		for (size_t i = 0; i < sizeof SIGNATURES / sizeof *SIGNATURES; i++)
			if (memcmp(head + SIGNATURES[i].offset, SIGNATURES[i].magic, SIGNATURES[i].length) == 0) {
				f->what = SIGNATURES[i].name;
				break;
			}
	}
	free(head);
	free(tail);
	if (fd >= 0)
		close(fd);
	return error;
}

static void demand(bool good, const char *what)
{
	if (!good)
		work_fail("FormatFailed", "%s: %s", what, strerror(errno ? errno : EIO));
}

static void copy_piece(int from, int to, uint64_t start, uint64_t end, uint8_t *buffer)
{
	while (start < end) {
		size_t n = end - start < PIECE ? end - start : PIECE;
		ssize_t got = pread(from, buffer, n, start);

		demand(got > 0 && pwrite(to, buffer, got, start) == got, "the file system can't be written");
		start += got;
	}
}

/* Made in a sparse file first: the order in which it comes to the device is ours then. The mark goes last. */
void format(const char *device, uint64_t size, const char *type, bool half_formatted)
{
	static const char inside[] = IMAGE_IN_TOOLBOX;
	/* hn-init's own kernel writes the inode tables when it has time; nothing old has to be discarded. */
	char *ext4[] = {"/bin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E",
			"lazy_itable_init=1,lazy_journal_init=1,nodiscard", (char *)inside, NULL};
	char *xfs[] = {"/bin/mkfs.xfs", "-q", "-f", "-K", (char *)inside, NULL};
	char said[400], sector[SECTOR] = MARK, image[64];
	uint8_t *buffer = malloc(PIECE);
	uint64_t range[2] = {0, size}, at = 0;
	int file, disk;

	disk = open(device, O_RDWR | O_CLOEXEC);
	demand(disk >= 0 && buffer, device);
	demand(pwrite(disk, sector, SECTOR, 0) == SECTOR && fsync(disk) == 0, "the device can't be written");
	range[0] = SECTOR;
	range[1] = size - SECTOR;
	if (half_formatted)
		demand(ioctl(disk, BLKZEROOUT, range) == 0, "the device can't be cleared");
	snprintf(image, sizeof image, SCRATCH "/formatting.%d", (int)getpid());
	unlink(image);
	file = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	demand(file >= 0 && ftruncate(file, size) == 0, "there is no room on the pod's own disk to make a file system");
	if (work_run(strcmp(type, "xfs") ? ext4 : xfs, image, said, sizeof said)) {
		unlink(image);
		work_fail("FormatFailed", "a file system of type %s can't be made: %s", type, said);
	}
	while (at < size) {
		off_t start = lseek(file, at, SEEK_DATA), end;
		if (start < 0)
			break;
		end = lseek(file, start, SEEK_HOLE);
		copy_piece(file, disk, start < SECTOR ? SECTOR : start, end, buffer);
		at = end;
	}
	demand(fsync(disk) == 0, "the file system can't be written");
	copy_piece(file, disk, 0, SECTOR, buffer);
	demand(fsync(disk) == 0, "the file system can't be written");
	close(disk);
	close(file);
	unlink(image);
	free(buffer);
}
