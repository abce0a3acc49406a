#include "link.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop.h"
#include "proto.h"

#define CONGESTED 262144	   /* bytes queued at which bulk sources rest */
#define REQUEST_MAX (16 << 20)	   /* a request in several frames; a projected volume is the largest */
#define WRITE_SIZE 32768	   /* what virtio_console takes in one buffer */

static struct source port;
static struct parser parser;
static bool synced;
static uint8_t *queue;
static size_t queue_head, queue_length, queue_room;
static struct request partial;

bool link_synced(void) { return synced; }
bool link_congested(void) { return queue_length > CONGESTED; }

static void enqueue(const void *data, size_t length)
{
	if (queue_head && queue_head + queue_length + length > queue_room) {
		memmove(queue, queue + queue_head, queue_length);
		queue_head = 0;
	}
	if (queue_length + length > queue_room) {
		queue_room = (queue_length + length) * 2;
		queue = realloc(queue, queue_room);
		if (!queue)
			abort();
	}
	memcpy(queue + queue_head + queue_length, data, length);
	queue_length += length;
}

/* Bytes that the port takes at once; it refuses when all its buffers wait for the host. */
static size_t write_port(const uint8_t *data, size_t length)
{
	size_t sent = 0;

	while (sent < length) {
		size_t n = length - sent < WRITE_SIZE ? length - sent : WRITE_SIZE;
		ssize_t done = write(port.fd, data + sent, n);
		if (done <= 0)
			break;
		sent += done;
	}
	return sent;
}

static void flush(void)
{
	bool was = link_congested();
	size_t sent = write_port(queue + queue_head, queue_length);

	queue_head += sent;
	queue_length -= sent;
	if (!queue_length)
		queue_head = 0;
	loop_rest_bulk(link_congested());
	if (was && !link_congested())
		dispatch_drained();
}

void link_send_in_place(uint8_t type, uint8_t flags, uint32_t id, uint8_t *payload, size_t length)
{
	struct frame f = {type, flags, id, length, payload};
	uint8_t *bytes = payload - FRAME_HEADER;
	size_t sent = 0;

	if (!synced || length > FRAME_MAX)
		return;
	frame_header(bytes, parser.seed, &f);
	length += FRAME_HEADER;
	if (!queue_length)
		sent = write_port(bytes, length);
	if (sent < length) {
		enqueue(bytes + sent, length - sent);
		flush();
	}
}

void link_send(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t length)
{
	static uint8_t frame[FRAME_HEADER + FRAME_MAX];

	if (length > FRAME_MAX)
		return;
	if (length)
		memcpy(frame + FRAME_HEADER, payload, length);
	link_send_in_place(type, flags, id, frame + FRAME_HEADER, length);
}

static void on_sync(void)
{
	synced = true;
	queue_length = queue_head = 0;
	free(partial.bytes);
	memset(&partial, 0, sizeof partial);
	enqueue(frame_magic, MAGIC_SIZE);
	enqueue(parser.epoch, EPOCH_SIZE);
	dispatch_hello();
}

/* Joins a request's frames; a request that grows beyond bounds, or is interrupted by another, is dropped. */
static void on_request(const struct frame *f)
{
	if (partial.bytes && partial.id != f->id) {
		free(partial.bytes);
		memset(&partial, 0, sizeof partial);
	}
	if (partial.length + f->length > REQUEST_MAX) {
		free(partial.bytes);
		memset(&partial, 0, sizeof partial);
		reply_error(f->id, "RequestTooLarge", "the request exceeds %d bytes", REQUEST_MAX);
		return;
	}
	partial.type = f->type;
	partial.id = f->id;
	partial.bytes = realloc(partial.bytes, partial.length + f->length + 1);
	if (!partial.bytes)
		abort();
	memcpy(partial.bytes + partial.length, f->payload, f->length);
	partial.length += f->length;
	if (!(f->flags & FLAG_MORE)) {
		struct request r = partial;
		memset(&partial, 0, sizeof partial);
		dispatch_request(&r);
		free(r.bytes);
	}
}

static void on_frame(const struct frame *f)
{
	if (f->type < M_ACK)
		on_request(f);
	else
		dispatch_frame(f);
}

/* Edge-triggered, because a port without a host is POLLHUP for ever. */
static void on_port(struct source *s, uint32_t events)
{
	static uint8_t buffer[65536];

	(void)events;
	for (;;) {
		ssize_t n = read(s->fd, buffer, sizeof buffer);
		if (n > 0) {
			parser_feed(&parser, buffer, n);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		break; /* nothing there, or no host: the next connection begins with a sync */
	}
	flush();
}

static int find_port(void)
{
	char path[320], name[64];
	int fd = -1;
	DIR *ports = opendir("/sys/class/virtio-ports");

	for (struct dirent *e; ports && fd < 0 && (e = readdir(ports));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", e->d_name);
		int f = open(path, O_RDONLY | O_CLOEXEC);
		if (f < 0)
			continue;
		ssize_t n = read(f, name, sizeof name - 1);
		close(f);
		name[n > 0 ? n : 0] = 0;
		name[strcspn(name, "\n")] = 0;
		if (strcmp(name, PORT_NAME))
			continue;
		snprintf(path, sizeof path, "/dev/%s", e->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (ports)
		closedir(ports);
	return fd;
}

void link_open(void)
{
	int fd;

	parser_init(&parser, on_sync, on_frame);
	while ((fd = find_port()) < 0)
		usleep(1000); /* the driver's probe is asynchronous; without a port there is nothing else to do */
	loop_add(&port, fd, EPOLLIN | EPOLLOUT | EPOLLET, on_port, NULL);
}

void message_bytes(struct message *m, uint16_t tag, const void *value, size_t length)
{
	uint8_t head[6] = {tag, tag >> 8, length, length >> 8, length >> 16, length >> 24};

	if (m->length + 6 + length > m->room) {
		m->room = (m->length + 6 + length) * 2;
		m->bytes = realloc(m->bytes, m->room);
		if (!m->bytes)
			abort();
	}
	memcpy(m->bytes + m->length, head, 6);
	if (length)
		memcpy(m->bytes + m->length + 6, value, length);
	m->length += 6 + length;
}

void message_string(struct message *m, uint16_t tag, const char *value) { message_bytes(m, tag, value, strlen(value)); }

void message_number(struct message *m, uint16_t tag, uint64_t value)
{
	uint8_t b[8];

	for (int i = 0; i < 8; i++)
		b[i] = value >> (8 * i);
	message_bytes(m, tag, b, sizeof b);
}

void reply(uint32_t id, struct message *m)
{
	if (m->length > FRAME_MAX) {
		m->length = 0;
		message_string(m, T_REASON, "ReplyTooLarge");
		message_string(m, T_MESSAGE, "the machine's answer does not fit a frame");
	}
	link_send(M_RESULT, 0, id, m->bytes, m->length);
	free(m->bytes);
	memset(m, 0, sizeof *m);
}

void reply_ok(uint32_t id)
{
	struct message m = {0};

	reply(id, &m);
}

void reply_error(uint32_t id, const char *reason, const char *format, ...)
{
	char text[1024];
	struct message m = {0};
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	message_string(&m, T_REASON, reason);
	message_string(&m, T_MESSAGE, text);
	reply(id, &m);
}
