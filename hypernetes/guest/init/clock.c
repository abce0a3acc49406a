#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "network.h"
#include "proto.h"

static bool identified;

static int set_clock(int64_t ns)
{
	struct timespec t = {ns / 1000000000, ns % 1000000000};

	return clock_settime(CLOCK_REALTIME, &t);
}

static void reseed(const uint8_t *entropy, size_t length)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[64];
	} pool;
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (length > sizeof pool.bytes)
		length = sizeof pool.bytes;
	pool.info.entropy_count = length * 8;
	pool.info.buf_size = length;
	memcpy(pool.info.buf, entropy, length);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG))
		note("the random pool takes no seed: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* Read only once the pool is this machine's own: the kernel makes the id at the first read. */
void clock_boot_id(struct message *m)
{
	char id[64];
	int fd;
	ssize_t n;

	if (!identified || (fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)) < 0)
		return;
	n = read(fd, id, sizeof id);
	close(fd);
	if (n > 1)
		message_bytes(m, T_BOOT_ID, id, n - 1);
}

void clock_identify(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	struct message m = {0};
	struct field f;
	uint64_t time;

	while (field_next(&fields, &f) > 0) {
		if (f.tag == T_ENTROPY)
			reseed(f.value, f.length);
		if (f.tag == T_TIME && field_number(&f, &time) && set_clock(time))
			note("the clock can't be set: %s", strerror(errno));
	}
	identified = true;
	clock_boot_id(&m);
	reply(r->id, &m);
}

void clock_request(struct request *r)
{
	struct fields fields = {r->bytes, r->length};
	struct message m = {0};
	struct field f;
	uint64_t delta;

	while (field_next(&fields, &f) > 0)
		if (f.tag == T_DELTA && field_number(&f, &delta) && set_clock(now_ns() + (int64_t)delta))
			note("the clock can't be set: %s", strerror(errno));
	message_number(&m, T_TIME, now_ns());
	reply(r->id, &m);
}
