/* A container's file system: overlay of the image over scratch, the kernel's file systems, volumes. In the child. */
#ifndef HN_ROOTFS_H
#define HN_ROOTFS_H

#include "plan.h"

/* Makes it and moves into it; ends the process by setup_fail where it can't. */
void rootfs_enter(const struct plan *);
void setup_fail(const char *reason, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

#endif
