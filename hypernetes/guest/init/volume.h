/* Disks by LUN, volumes by name, and mounting them where a container wants them. */
#ifndef HN_VOLUME_H
#define HN_VOLUME_H

#include "link.h"

#define SCRATCH "/run/scratch"
#define IMAGES "/run/images"
#define VOLUMES "/run/volumes"

/* Mounts the disk on `lun` once the kernel has found it; 0 or -errno. */
int mount_lun(unsigned lun, const char *target, const char *type, unsigned long flags, const char *options);
/* Whether the disk on `lun` appears in time; its path goes to `device`. */
bool wait_lun(unsigned lun, char *device, size_t size);
void volume_mount_disk(struct request *);
/* Answers when the kernel has found a disk that isn't mounted yet. */
void volume_wait_disk(struct request *);
void volume_unmount_disk(struct request *);
void volume_make(struct request *);
void volume_read(struct request *);
void volume_measure(struct request *);
void volume_write(struct request *);

int write_file(const char *path, const char *text); /* 0 or -errno */
int make_directories(const char *path, unsigned mode);
void remove_tree(const char *path);
/* A name that is one path component. */
bool good_name(const char *);

#endif
