/* Persistent volumes: formatted where they are blank, checked, mounted, grown, and unmounted before the power goes. */
#ifndef HN_FILESYSTEM_H
#define HN_FILESYSTEM_H

#include "link.h"

#define DEVICES_OF_VOLUMES "/run/devices"

void filesystem_attach(struct request *);
void filesystem_detach(struct request *);
void filesystem_grow(struct request *);
void filesystem_mount_nfs(struct request *);
/* Before the power goes, when no process is left. */
void filesystem_unmount_all(void);

#endif
