/* What is on a block device, and making a file system on one that has nothing. */
#ifndef HN_BLANK_H
#define HN_BLANK_H

#include <stdbool.h>
#include <stdint.h>

enum content { BLANK, EXT4, XFS, HALF_FORMATTED, FOREIGN };

struct found {
	enum content content;
	const char *what; /* of FOREIGN */
	uint64_t bytes;	  /* that the file system covers */
	bool dirty;	  /* ext4 says that it has errors or was not closed */
};

/* 0 or -errno. `size` is the device's in bytes. */
int probe(const char *device, uint64_t size, struct found *);
uint64_t device_size(const char *device);
/* Makes a file system, so that a power cut at any moment leaves a device that is formatted again. In a child. Exits with
 * a reason where it fails. */
void format(const char *device, uint64_t size, const char *type, bool half_formatted);

/* filesystem.c: in the child. */
void work_fail(const char *reason, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
int work_run(char *const argv[], const char *image, char *said, unsigned size);
#define IMAGE_IN_TOOLBOX "/run/formatting.img"

#endif
